"""Drives AWS's own device clients against a server's MQTT.

python aws_mqtt.py CLIENT HOST PORT CA CERTIFICATE KEY THING
CLIENT is mqtt5 or mqtt3 (awsiotsdk, with its IotJobsClientV2) or classic (AWSIoTPythonSDK).
Works through the jobs sl-one and sl-two, in that order, and is refused what a device may not do.
"""
import json
import os
import sys
import threading

kind, host, port, ca, certificate, key, thing = sys.argv[1:]
port = int(port)
checks = 0


def check(what, holds):
    global checks
    assert holds, what
    checks += 1


def crt():
    from awscrt import mqtt5, mqtt_request_response
    from awsiot import iotjobs, mqtt5_client_builder, mqtt_connection_builder

    options = mqtt_request_response.ClientOptions(
        max_request_response_subscriptions=8, max_streaming_subscriptions=4, operation_timeout_in_seconds=20)
    files = dict(cert_filepath=certificate, pri_key_filepath=key, ca_filepath=ca, endpoint=host, port=port)
    connected, stopped = threading.Event(), threading.Event()
    if kind == "mqtt5":
        client = mqtt5_client_builder.mtls_from_path(
            **files,
            client_id=thing,
            on_lifecycle_connection_success=lambda _: connected.set(),
            on_lifecycle_stopped=lambda _: stopped.set(),
        )
        client.start()
        assert connected.wait(20), "no connection"
        jobs = iotjobs.IotJobsClientV2(client, options)
    else:
        client = mqtt_connection_builder.mtls_from_path(**files, client_id=thing, clean_session=True, keep_alive_secs=30)
        session = client.connect().result(20)
        check("no session of before", session["session_present"] is False)
        jobs = iotjobs.IotJobsClientV2(client, options)

    pending = jobs.get_pending_job_executions(iotjobs.GetPendingJobExecutionsRequest(thing_name=thing)).result(20)
    check("queued", [j.job_id for j in pending.queued_jobs] == ["sl-one", "sl-two"] and not pending.in_progress_jobs)

    # The streams subscribe for themselves; the pushes come while the requests go on.
    changed, notified = threading.Event(), threading.Event()
    seen = []
    subscribed = [threading.Event(), threading.Event()]
    from awsiot import ServiceStreamOptions

    def next_changed(event):
        seen.append(event.execution.job_id if event.execution else None)
        changed.set()

    streams = [
        jobs.create_next_job_execution_changed_stream(
            iotjobs.NextJobExecutionChangedSubscriptionRequest(thing_name=thing),
            ServiceStreamOptions(
                incoming_event_listener=next_changed,
                subscription_status_listener=lambda _: subscribed[0].set(),
            ),
        ),
        jobs.create_job_executions_changed_stream(
            iotjobs.JobExecutionsChangedSubscriptionRequest(thing_name=thing),
            ServiceStreamOptions(
                incoming_event_listener=lambda _: notified.set(),
                subscription_status_listener=lambda _: subscribed[1].set(),
            ),
        ),
    ]
    for stream, done in zip(streams, subscribed):
        stream.open()
        assert done.wait(20), "no subscription"

    peek = jobs.describe_job_execution(iotjobs.DescribeJobExecutionRequest(thing_name=thing, job_id="$next")).result(20)
    check("peek", (peek.execution.job_id, peek.execution.status, peek.execution.version_number) == ("sl-one", "QUEUED", 1))
    started = jobs.start_next_pending_job_execution(
        iotjobs.StartNextPendingJobExecutionRequest(thing_name=thing, status_details={"step": "metadata"})
    ).result(20)
    check("started", (started.execution.job_id, started.execution.status) == ("sl-one", "IN_PROGRESS"))
    check("details", started.execution.status_details == {"step": "metadata"})
    check("the document is an object", started.execution.job_document["hello"] == thing)
    check("timestamps", abs((started.timestamp - started.execution.started_at).total_seconds()) < 60)
    from awsiot import V2ServiceException

    def refused(code, future):
        try:
            future.result(20)
        except V2ServiceException as error:
            check(f"{code}: {error.modeled_error.code}", error.modeled_error.code == code)
            return error.modeled_error
        raise AssertionError(f"{code}: not refused")

    def update(**more):
        return jobs.update_job_execution(iotjobs.UpdateJobExecutionRequest(thing_name=thing, job_id="sl-one", **more))

    stale = refused("VersionMismatch", update(status="IN_PROGRESS", expected_version=1))
    check("the state comes with it", stale.execution_state.version_number == 2)
    refused("InvalidRequest", update(status="QUEUED"))
    refused("ResourceNotFound",
            jobs.describe_job_execution(iotjobs.DescribeJobExecutionRequest(thing_name=thing, job_id="none")))
    done = update(status="SUCCEEDED", expected_version=2, include_job_execution_state=True,
                  include_job_document=True).result(20)
    check("done", done.execution_state.status == "SUCCEEDED" and done.job_document["hello"] == thing)
    assert changed.wait(20) and notified.wait(20), "no push"
    check("the next job is told", seen[0] == "sl-two")
    late = refused("InvalidStateTransition", update(status="FAILED"))
    check("how it ended", late.execution_state.status == "SUCCEEDED")
    refused("TerminalStateReached",
            jobs.describe_job_execution(iotjobs.DescribeJobExecutionRequest(thing_name=thing, job_id="sl-one")))
    if kind == "mqtt5":
        foreign = client.subscribe(mqtt5.SubscribePacket(
            subscriptions=[mqtt5.Subscription(topic_filter="$aws/things/+/jobs/#", qos=mqtt5.QoS.AT_LEAST_ONCE)]))
        codes = foreign.result(20).reason_codes
        check(f"foreign topics: {codes}", codes == [mqtt5.SubackReasonCode.NOT_AUTHORIZED])
        client.stop()
        assert stopped.wait(20)
    else:
        client.disconnect().result(20)


def classic():
    from AWSIoTPythonSDK.core.jobs.thingJobManager import jobExecutionStatus, jobExecutionTopicReplyType
    from AWSIoTPythonSDK.core.jobs.thingJobManager import jobExecutionTopicType as topics
    from AWSIoTPythonSDK.MQTTLib import AWSIoTMQTTThingJobsClient

    client = AWSIoTMQTTThingJobsClient(thing, thing)
    client.configureEndpoint(host, port)
    client.configureCredentials(ca, key, certificate)
    client.configureConnectDisconnectTimeout(20)
    client.configureMQTTOperationTimeout(20)
    assert client.connect(30)
    answers = {}
    arrived = threading.Condition()

    def on(name):
        def callback(_client, _data, message):
            with arrived:
                answers.setdefault(name, []).append(json.loads(message.payload))
                arrived.notify_all()
        return callback

    def wait(name):
        with arrived:
            assert arrived.wait_for(lambda: answers.get(name), 20), f"no answer: {name}"
            return answers[name].pop(0)

    for reply, name in [(jobExecutionTopicReplyType.JOB_ACCEPTED_REPLY_TYPE, "accepted"),
                        (jobExecutionTopicReplyType.JOB_REJECTED_REPLY_TYPE, "rejected")]:
        client.createJobSubscription(on(f"start {name}"), topics.JOB_START_NEXT_TOPIC, reply)
        client.createJobSubscription(on(f"update {name}"), topics.JOB_UPDATE_TOPIC, reply, "+")
    client.createJobSubscription(on("next"), topics.JOB_NOTIFY_NEXT_TOPIC)
    client.sendJobsStartNext(statusDetails={"step": "metadata"})
    execution = wait("start accepted")["execution"]
    check("started", (execution["jobId"], execution["status"]) == ("sl-one", "IN_PROGRESS"))
    check("the document is an object", execution["jobDocument"]["hello"] == thing)
    client.sendJobsUpdate("sl-one", jobExecutionStatus.JOB_EXECUTION_SUCCEEDED, expectedVersion=1)
    check("mismatch", wait("update rejected")["code"] == "VersionMismatch")
    client.sendJobsUpdate("sl-one", jobExecutionStatus.JOB_EXECUTION_SUCCEEDED, expectedVersion=2)
    check("done", "timestamp" in wait("update accepted"))
    check("the next job is told", wait("next")["execution"]["jobId"] == "sl-two")
    client.disconnect()


classic() if kind == "classic" else crt()
print(f"{checks} checks passed", flush=True)
# The C runtime under awsiotsdk may crash while the interpreter tears it down; what it had to show is shown.
os._exit(0)
