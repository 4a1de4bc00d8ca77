"""A stand-in for slurmrestd: it verifies tokens, and its answers are like those of real Slurm."""

import http.server
import json
import re
import shlex
import subprocess
import threading
import time
from contextlib import contextmanager

import jwt

KEY = "the-key-of-this-test-_0123456789-abcdefghijk"
VERSIONS = ("0.0.42", "0.0.45", "0.0.9")
AUTHENTICATION = {
    "error_number": 1007,
    "error": "Protocol authentication error",
    "description": "slurm_get_statistics() failed",
}


class RequestHandler(http.server.BaseHTTPRequestHandler):
    """Answers requests; `server.answers` replaces answers, by method and path without the version."""

    server: "Slurmrestd"

    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        """Write no log."""

    def reply(self, status, body, kind="application/json"):
        content = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        self.send_response_only(status)  # without a date, as slurmrestd's
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def verify_token(self):
        """Verify the token as slurmctld does, by the server's clock. Return its claims."""
        token = self.headers.get("X-SLURM-USER-TOKEN", "")
        options = {"require": ["exp", "sun"], "verify_exp": False, "verify_iat": False}
        claims = jwt.decode(token, self.server.key, algorithms=["HS256"], options=options)
        if claims["exp"] < time.time() + self.server.seconds_ahead:
            raise jwt.ExpiredSignatureError
        if claims["sun"] in self.server.refused_users:
            raise jwt.InvalidTokenError
        return claims

    def do_GET(self):
        self.answer_request()

    do_POST = do_DELETE = do_GET  # noqa: N815 - the library's names

    def answer_request(self):
        server, length = self.server, int(self.headers.get("Content-Length", 0))
        body, path = json.loads(self.rfile.read(length) or "null"), re.sub(r"/v\d+\.\d+\.\d+", "", self.path)
        server.requests.append((self.command, self.path, self.headers.get("X-SLURM-USER-TOKEN"), body))
        if "X-SLURM-USER-TOKEN" not in self.headers:
            return self.reply(401, "Authentication failure", "text/plain")
        answer = server.answers.get(f"{self.command} {re.sub(r'[0-9]+$', 'N', path)}")
        if callable(answer):
            return answer(self)
        if path == "/openapi/v3":  # slurmrestd does not verify the token of this request
            return self.reply(*(answer or (200, describe_api(server.versions))))
        try:
            claims = self.verify_token()
        except jwt.InvalidTokenError:
            status = 502 if "/slurmdb/" in path else server.refusal_status
            return self.reply(status, {"errors": [AUTHENTICATION]})
        if answer:
            return self.reply(*answer)
        return self.reply(200, server.answer(self.command, path, body, claims["sun"]))


def describe_api(versions):
    """Return the part of Slurm's OpenAPI document that is read."""
    paths = ("slurm/v{}/job/submit", "slurm/v{}/partitions/", "slurmdb/v{}/job/{{job_id}}")
    described = {f"/{path.format(version)}": {} for version in versions for path in paths}
    return {"openapi": "3.0.3", "paths": described}


def make_number(value):
    return {"set": True, "infinite": False, "number": value}


class Slurmrestd(http.server.ThreadingHTTPServer):
    """The server, with the state of slurmctld and slurmdbd. It runs the jobs' scripts on this machine.

    A test may set these attributes:

    - key: the JWT key;
    - seconds_ahead: by how much the server's clock is ahead;
    - refused_users: users whose tokens are refused;
    - refusal_status: the HTTP status of a refusal;
    - versions: the versions of the API;
    - answers: other answers, by method and path, such as `GET /slurm/job/N`; each is the arguments of
      `RequestHandler.reply`, or a function that takes the handler;
    - states: the job's states, one for each request;
    - accounting_lag: how many requests accounting answers without the job.
    """

    daemon_threads = True

    def __init__(self, root):
        """Open the server on a free port; jobs use the folder `root` as /shared."""
        super().__init__(("127.0.0.1", 0), RequestHandler)
        self.root, self.key, self.versions = root, KEY, VERSIONS
        self.seconds_ahead, self.refused_users, self.refusal_status = 0, (), 511
        self.answers, self.requests, self.jobs, self.accounting_lag = {}, [], [], 1
        self.states = [["PENDING"], ["RUNNING", "CONFIGURING"], ["RUNNING"], ["COMPLETED"]]
        self.url = f"http://127.0.0.1:{self.server_port}"

    def answer(self, method, path, body, user):
        if path == "/slurm/diag":
            return {
                "errors": [],
                "statistics": {"req_time": make_number(int(time.time() + self.seconds_ahead))},
            }
        if path == "/slurm/partitions/":
            return {"errors": [], "partitions": [{"name": "queue1", "partition": {"state": ["UP"]}}]}
        if path == "/slurm/job/submit":
            assert isinstance(body["job"]["environment"], list)
            script = body["script"].replace("/shared/", f"{shlex.quote(str(self.root))}/")
            status = subprocess.run(["sh", "-c", script], stderr=subprocess.DEVNULL, check=False).returncode
            self.jobs.append({"name": body["job"]["name"], "status": status, "user": user, "polls": 0})
            return {"errors": [], "job_id": 7, "step_id": "batch"}
        job = self.jobs[-1]
        job["polls"] += 1
        if path == "/slurm/job/7":
            state = self.states[min(job["polls"], len(self.states)) - 1]
            state = ["FAILED"] if job["status"] and state == ["COMPLETED"] else state
            if method == "DELETE":
                return {"errors": []}
            description = {
                "name": job["name"],
                "job_state": state,
                "state_reason": "NonZeroExitCode" if job["status"] else "None",
                "exit_code": {"status": ["SUCCESS"], "return_code": make_number(job["status"])},
                "nodes": "queue1-dy-1",
            }
            return {"errors": [], "jobs": [description]}
        assert path == "/slurmdb/job/7"
        state = {"current": ["COMPLETED"]}
        earlier = {"name": "another", "state": state}
        self.accounting_lag -= 1
        if self.accounting_lag >= 0:
            return {"errors": [], "jobs": [earlier]}
        code = {"status": ["SUCCESS"], "return_code": make_number(0)}
        return {"jobs": [earlier, {"name": job["name"], "state": state, "exit_code": code}]}


@contextmanager
def run_server(server):
    """Run a server in a thread, and close it when the context ends."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
