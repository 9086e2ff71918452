"""Enrols a device by claim with AWS's own client, unchanged.

python aws_claim.py CLIENT HOST PORT CA CLAIM CLAIM_KEY TEMPLATE SERIAL OUT
CLIENT is mqtt5 or mqtt3 (awsiotsdk, with its IotIdentityClientV2). Writes the device's key and certificate into OUT.
"""
import os
import sys
import threading

from awscrt import mqtt_request_response
from awsiot import V2ServiceException, iotidentity, iotjobs, mqtt5_client_builder, mqtt_connection_builder
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

kind, host, port, ca, claim, claim_key, template, serial, out = sys.argv[1:]
checks = 0


def check(what, holds):
    global checks
    assert holds, what
    checks += 1


def connect(certificate, key, client_id):
    files = dict(cert_filepath=certificate, pri_key_filepath=key, ca_filepath=ca, endpoint=host, port=int(port))
    if kind == "mqtt3":
        client = mqtt_connection_builder.mtls_from_path(**files, client_id=client_id, clean_session=True)
        client.connect().result(20)
        return client, lambda: client.disconnect().result(20)
    connected, stopped = threading.Event(), threading.Event()
    client = mqtt5_client_builder.mtls_from_path(
        **files, client_id=client_id,
        on_lifecycle_connection_success=lambda _: connected.set(),
        on_lifecycle_stopped=lambda _: stopped.set())
    client.start()
    assert connected.wait(20), "no connection"

    def stop():
        client.stop()
        assert stopped.wait(20)

    return client, stop


def request(key, name="a device"):
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    made = x509.CertificateSigningRequestBuilder().subject_name(subject)
    return made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


def refused(status, code, future):
    try:
        future.result(20)
    except V2ServiceException as error:
        said = error.modeled_error
        check(f"{code}: {said}", (said.status_code, said.error_code) == (status, code) and said.error_message)
        return said.error_message
    raise AssertionError(f"{code}: not refused")


options = mqtt_request_response.ClientOptions(
    max_request_response_subscriptions=8, max_streaming_subscriptions=4, operation_timeout_in_seconds=20)
client, stop = connect(claim, claim_key, f"line-{serial}")
identity = iotidentity.IotIdentityClientV2(client, options)


def create(csr):
    return identity.create_certificate_from_csr(
        iotidentity.CreateCertificateFromCsrRequest(certificate_signing_request=csr))


def register(token, parameters):
    return identity.register_thing(iotidentity.RegisterThingRequest(
        template_name=template, certificate_ownership_token=token, parameters=parameters))


said = refused(400, "InvalidRequest",
               identity.create_keys_and_certificate(iotidentity.CreateKeysAndCertificateRequest()))
check("says why", "private keys never leave the device" in said)
refused(400, "InvalidCertificateSigningRequest", create("junk"))
refused(400, "InvalidCertificateSigningRequest", create(request(rsa.generate_private_key(65537, 1024))))
refused(400, "InvalidCertificateSigningRequest", create(request(ec.generate_private_key(ec.SECP521R1()))))

key = rsa.generate_private_key(65537, 2048) if kind == "mqtt3" else ec.generate_private_key(ec.SECP256R1())
made = create(request(key)).result(20)
check("a certificate", x509.load_pem_x509_certificate(made.certificate_pem.encode()).public_key() == key.public_key())
check("its id", len(made.certificate_id) == 64)
refused(400, "InvalidCertificateOwnershipToken", register("bogus", {"SerialNumber": serial}))
refused(400, "InvalidParameters", register(made.certificate_ownership_token, {}))
done = register(made.certificate_ownership_token, {"SerialNumber": serial}).result(20)
check("the thing", done.thing_name == f"unit-{serial}")
check("its configuration", done.device_configuration == {"colour": "blue"})
stop()

files = [os.path.join(out, "device.pem"), os.path.join(out, "device.key")]
with open(files[0], "w") as file:
    file.write(made.certificate_pem)
with open(files[1], "wb") as file:
    file.write(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                 serialization.NoEncryption()))
client, stop = connect(*files, done.thing_name)
jobs = iotjobs.IotJobsClientV2(client, options)
pending = jobs.get_pending_job_executions(iotjobs.GetPendingJobExecutionsRequest(thing_name=done.thing_name)).result(20)
check("the device works", pending.queued_jobs == [])
stop()
print(f"{checks} checks passed", flush=True)
# The C runtime under awsiotsdk may crash while the interpreter tears it down; what it had to show is shown.
os._exit(0)
