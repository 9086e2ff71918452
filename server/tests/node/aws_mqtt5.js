// Drives AWS's own device client for Node.js (aws-iot-device-sdk-v2, its jobs client over MQTT 5) against a server:
// node aws_mqtt5.js HOST PORT CA CERTIFICATE KEY THING. Works through the job sl-one.
"use strict";
const assert = require("node:assert");
const { createRequire } = require("node:module");
const sdk = createRequire(process.env.SEALIFT_NODE_MODULES + "/")("aws-iot-device-sdk-v2");
const { iot, iotjobs, mqtt5 } = sdk;

const [host, port, ca, certificate, key, thing] = process.argv.slice(2);
let checks = 0;
function check(what, holds) {
    assert(holds, what);
    checks += 1;
}

async function main() {
    const builder = iot.AwsIotMqtt5ClientConfigBuilder.newDirectMqttBuilderWithMtlsFromPath(host, certificate, key);
    builder.withCertificateAuthorityFromPath(undefined, ca);
    builder.withPort(Number(port));
    builder.withConnectProperties({ clientId: thing, keepAliveIntervalSeconds: 60 });
    const client = new mqtt5.Mqtt5Client(builder.build());
    const connected = new Promise((resolve, reject) => {
        client.on("connectionSuccess", resolve);
        client.on("connectionFailure", (event) => reject(event.error));
    });
    const stopped = new Promise((resolve) => client.on("stopped", resolve));
    client.start();
    const settings = (await connected).settings;
    check("limits are told", settings.maximumPacketSizeToServer === 149504 && settings.maximumQos === 1);
    const jobs = iotjobs.IotJobsClientv2.newFromMqtt5(client, {
        maxRequestResponseSubscriptions: 8,
        maxStreamingSubscriptions: 2,
        operationTimeoutInSeconds: 20,
    });
    const pending = await jobs.getPendingJobExecutions({ thingName: thing });
    check("queued", pending.queuedJobs.map((job) => job.jobId).join() === "sl-one,sl-two");
    const started = await jobs.startNextPendingJobExecution({ thingName: thing });
    check("started", started.execution.jobId === "sl-one" && started.execution.status === "IN_PROGRESS");
    check("the document is an object", started.execution.jobDocument.hello === thing);
    let refused;
    try {
        await jobs.updateJobExecution({ thingName: thing, jobId: "sl-one", status: "SUCCEEDED", expectedVersion: 1 });
    } catch (error) {
        refused = error;
    }
    check("mismatch", refused && refused.modeledError.code === "VersionMismatch");
    const done = await jobs.updateJobExecution({
        thingName: thing, jobId: "sl-one", status: "SUCCEEDED", expectedVersion: 2, includeJobExecutionState: true,
    });
    check("done", done.executionState.status === "SUCCEEDED");
    jobs.close();
    client.stop();
    await stopped;
    console.log(`${checks} checks passed`);
    process.exit(0);
}

main().catch((error) => {
    console.error(error);
    process.exit(1);
});
