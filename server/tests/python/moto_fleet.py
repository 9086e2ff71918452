"""moto, with what AWS does and moto does not, and with devices to work on jobs.

Added, by AWS's documentation: jobs fan out to the members of groups; a job id is taken once; a job's counts follow its
executions; a job is COMPLETED when every execution has ended; a cancelled job cancels its queued executions;
conditional writes to S3 are atomic. POST /-/end lets a device end its execution, as it would through the jobs data
plane, which moto lacks.

    python moto_fleet.py PORT
"""

import json
import sys
import threading

from moto.backends import get_backend
from moto.core.utils import utcnow
from moto.iot import models
from moto.iot.exceptions import InvalidStateTransitionException, ResourceAlreadyExistsException
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import run_simple

TERMINAL = {"SUCCEEDED", "FAILED", "REJECTED", "TIMED_OUT", "REMOVED", "CANCELED"}
COUNTED = {
    "QUEUED": "numberOfQueuedThings",
    "IN_PROGRESS": "numberOfInProgressThings",
    "SUCCEEDED": "numberOfSucceededThings",
    "FAILED": "numberOfFailedThings",
    "REJECTED": "numberOfRejectedThings",
    "TIMED_OUT": "numberOfTimedOutThings",
    "REMOVED": "numberOfRemovedThings",
    "CANCELED": "numberOfCanceledThings",
}
LOCK = threading.RLock()


def executions(backend, job_id):
    return [execution for (job, _), execution in backend.job_executions.items() if job == job_id]


def refresh(backend, job):
    all_of_it = executions(backend, job.job_id)
    for status, name in COUNTED.items():
        job.job_process_details[name] = sum(1 for one in all_of_it if one.status == status)
    if job.status in ("QUEUED", "IN_PROGRESS"):
        job.status = "COMPLETED" if all(one.status in TERMINAL for one in all_of_it) else "IN_PROGRESS"


def create_job(backend, create, **wanted):
    with LOCK:
        if wanted["job_id"] in backend.jobs:
            raise ResourceAlreadyExistsException("the job exists", wanted["job_id"], "")
        targets = wanted["targets"]
        answer = create(backend, **{**wanted, "targets": targets})
        for arn in targets:
            kind, _, name = arn.split(":")[-1].partition("/")
            if kind == "thinggroup":
                del backend.job_executions[(wanted["job_id"], name)]
                for group in backend.thing_groups.values():
                    if group.thing_group_name == name:
                        for thing_arn in group.things:
                            thing = thing_arn.split("/")[-1]
                            one = models.FakeJobExecution(wanted["job_id"], thing_arn)
                            one.execution_number = 1
                            backend.job_executions[(wanted["job_id"], thing)] = one
            else:
                backend.job_executions[(wanted["job_id"], name)].execution_number = 1
        return answer


def describe_job(backend, describe, job_id):
    with LOCK:
        job = describe(backend, job_id)
        refresh(backend, job)
        return job


def cancel_job(backend, cancel, **wanted):
    with LOCK:
        if wanted["job_id"] not in backend.jobs:
            raise models.ResourceNotFoundException()
        job = backend.jobs[wanted["job_id"]]
        refresh(backend, job)
        if job.status in ("COMPLETED", "CANCELED") and not wanted.get("force"):
            raise InvalidStateTransitionException()
        answer = cancel(backend, **wanted)
        for one in executions(backend, wanted["job_id"]):
            if one.status == "QUEUED" or (wanted.get("force") and one.status == "IN_PROGRESS"):
                one.status = "CANCELED"
        refresh(backend, answer)
        return answer


def patch(name, around):
    original = getattr(models.IoTBackend, name)
    if name == "describe_job":
        setattr(models.IoTBackend, name, lambda self, job_id: around(self, original, job_id))
    else:
        setattr(models.IoTBackend, name, lambda self, **wanted: around(self, original, **wanted))


def end(wanted):
    backend = get_backend("iot")["123456789012"][wanted["region"]]
    with LOCK:
        one = backend.job_executions.get((wanted["job"], wanted["thing"]))
        if one is None or one.status in TERMINAL:
            return {"done": False, "status": one and one.status}
        one.status = wanted["status"]
        one.status_details_map = wanted.get("details", {})
        one.last_updated_at = utcnow()
        return {"done": True, "number": one.execution_number}


def versioning(moto, environ, start_response):
    """moto names this answer's root element otherwise than S3 does."""
    said = {}
    body = b"".join(moto(environ, lambda status, headers, *_: said.update(status=status, headers=headers)))
    body = body.replace(b"GetBucketVersioningResponse", b"VersioningConfiguration")
    headers = [(name, value) for name, value in said["headers"] if name.lower() != "content-length"]
    start_response(said["status"], [*headers, ("Content-Length", str(len(body)))])
    return [body]


def application(moto):
    def serve(environ, start_response):
        if environ["PATH_INFO"] == "/-/end":
            length = int(environ.get("CONTENT_LENGTH") or 0)
            answer = json.dumps(end(json.loads(environ["wsgi.input"].read(length)))).encode()
            start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(answer)))])
            return [answer]
        if environ["REQUEST_METHOD"] == "GET" and environ["QUERY_STRING"].startswith("versioning"):
            return versioning(moto, environ, start_response)
        conditional = "HTTP_IF_MATCH" in environ or "HTTP_IF_NONE_MATCH" in environ
        if conditional:
            with LOCK:
                return list(moto(environ, start_response))
        return moto(environ, start_response)

    return serve


if __name__ == "__main__":
    patch("create_job", create_job)
    patch("describe_job", describe_job)
    patch("cancel_job", cancel_job)
    app = application(DomainDispatcherApplication(create_backend_app))
    run_simple("127.0.0.1", int(sys.argv[1]), app, threaded=True)
