"""Drives AWS's own jobs data plane client against a server: python boto3_jobs.py ENDPOINT CA CERTIFICATE KEY."""
import json
import sys

import boto3
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError

endpoint, ca, certificate, key = sys.argv[1:]
client = boto3.client(
    "iot-jobs-data",
    endpoint_url=endpoint,
    region_name="eu-central-1",
    verify=ca,
    config=Config(client_cert=(certificate, key), signature_version=UNSIGNED, retries={"max_attempts": 0}),
)
me, job = "dev-1", "sl-boto-w1"
checks = 0


def check(what, holds):
    global checks
    assert holds, what
    checks += 1


def refused(name, http_status, call, **arguments):
    try:
        call(**arguments)
    except ClientError as error:
        found = (error.response["Error"]["Code"], error.response["ResponseMetadata"]["HTTPStatusCode"])
        check(f"{name}: {found}", found == (name, http_status))
        return error
    raise AssertionError(f"{name}: not refused")


pending = client.get_pending_job_executions(thingName=me)
check("queued", [j["jobId"] for j in pending["queuedJobs"]] == [job] and pending["inProgressJobs"] == [])
peek = client.describe_job_execution(thingName=me, jobId="$next")["execution"]
check("peek", (peek["status"], peek["versionNumber"], peek["executionNumber"]) == ("QUEUED", 1, 1))
started = client.start_next_pending_job_execution(
    thingName=me, statusDetails={"step": "metadata"}, stepTimeoutInMinutes=30
)["execution"]
check("started", (started["status"], started["statusDetails"]) == ("IN_PROGRESS", {"step": "metadata"}))
check("document", json.loads(started["jobDocument"])["sealift"] == 1)
check("step timer", 1700 < started["approximateSecondsBeforeTimedOut"] <= 1800)
refused(
    "VersionMismatchException", 409, client.update_job_execution,
    thingName=me, jobId=job, status="IN_PROGRESS", expectedVersion=1,
)
refused("InvalidRequestException", 400, client.update_job_execution, thingName=me, jobId=job, status="QUEUED")
refused("ResourceNotFoundException", 404, client.describe_job_execution, thingName=me, jobId="none")
refused("ForbiddenException", 403, client.get_pending_job_executions, thingName="dev-2")
done = client.update_job_execution(
    thingName=me, jobId=job, status="SUCCEEDED", expectedVersion=started["versionNumber"],
    includeJobExecutionState=True, includeJobDocument=True,
)
check("done", done["executionState"]["status"] == "SUCCEEDED" and json.loads(done["jobDocument"])["sealift"] == 1)
error = refused(
    "InvalidStateTransitionException", 409, client.update_job_execution, thingName=me, jobId=job, status="FAILED"
)
assert isinstance(error, client.exceptions.InvalidStateTransitionException)
error = refused("TerminalStateException", 410, client.describe_job_execution, thingName=me, jobId=job)
assert isinstance(error, client.exceptions.TerminalStateException)
assert "execution" not in client.start_next_pending_job_execution(thingName=me)
print(f"{checks} checks passed")
