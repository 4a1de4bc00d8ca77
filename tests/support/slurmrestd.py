"""A stand-in for slurmrestd: it checks tokens for real, and answers as Slurm was seen to answer."""

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


class StandIn(http.server.BaseHTTPRequestHandler):
    """Answers as slurmrestd does; `server.over` has what a test wants otherwise, by method and path without version."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        """Say nothing."""

    def reply(self, status, body, kind="application/json"):
        content = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        self.send_response_only(status)  # without a date, as slurmrestd's
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def claims(self):
        """Check the token as slurmctld does."""
        s, token = self.server, self.headers.get("X-SLURM-USER-TOKEN", "")
        claims = jwt.decode(token, s.key, algorithms=["HS256"], options={"require": ["exp", "sun"], "verify_exp": False,
                            "verify_iat": False})  # fmt: skip
        if claims["exp"] < time.time() + s.ahead:
            raise jwt.ExpiredSignatureError
        if claims["sun"] in s.refused:
            raise jwt.InvalidTokenError
        return claims

    def do_GET(self):
        self.act()

    do_POST = do_DELETE = do_GET  # noqa: N815 - their names

    def act(self):
        s, length = self.server, int(self.headers.get("Content-Length", 0))
        body, path = json.loads(self.rfile.read(length) or "null"), re.sub(r"/v\d+\.\d+\.\d+", "", self.path)
        s.seen.append((self.command, self.path, self.headers.get("X-SLURM-USER-TOKEN"), body))
        if "X-SLURM-USER-TOKEN" not in self.headers:
            return self.reply(401, "Authentication failure", "text/plain")
        over = s.over.get(f"{self.command} {re.sub(r'[0-9]+$', 'N', path)}")
        if callable(over):
            return over(self)
        if path == "/openapi/v3":  # whose token is not even looked at
            paths = {f"/{part}/v{v}{p}": {} for v in s.versions for part, p in
                     (("slurm", "/job/submit"), ("slurm", "/partitions/"), ("slurmdb", "/job/{job_id}"))}  # fmt: skip
            return self.reply(*(over or (200, {"openapi": "3.0.3", "paths": paths})))
        try:
            claims = self.claims()
        except jwt.InvalidTokenError:
            return self.reply(502 if "/slurmdb/" in path else s.refusal, {"errors": [AUTHENTICATION]})
        if over:
            return self.reply(*over)
        return self.reply(200, s.answer(self.command, path, body, claims["sun"]))


class Slurmrestd(http.server.ThreadingHTTPServer):
    """The stand-in, and in it what slurmctld and slurmdbd know; a job is really run, on this machine."""

    daemon_threads = True

    def __init__(self, root):
        super().__init__(("127.0.0.1", 0), StandIn)
        self.root, self.key, self.ahead, self.refused, self.refusal = root, KEY, 0, (), 511
        self.versions, self.over, self.seen, self.jobs, self.lag = VERSIONS, {}, [], [], 1
        self.states = [["PENDING"], ["RUNNING", "CONFIGURING"], ["RUNNING"], ["COMPLETED"]]
        self.url = f"http://127.0.0.1:{self.server_port}"

    def number(self, value):
        return {"set": True, "infinite": False, "number": value}

    def answer(self, method, path, body, user):
        if path == "/slurm/diag":
            return {"errors": [], "statistics": {"req_time": self.number(int(time.time() + self.ahead))}}
        if path == "/slurm/partitions/":
            return {"errors": [], "partitions": [{"name": "queue1", "partition": {"state": ["UP"]}}]}
        if path == "/slurm/job/submit":
            assert isinstance(body["job"]["environment"], list)
            script = body["script"].replace("/shared/", f"{shlex.quote(str(self.root))}/")
            status = subprocess.run(["sh", "-c", script], stderr=subprocess.DEVNULL, check=False).returncode
            self.jobs.append({"name": body["job"]["name"], "status": status, "user": user, "looks": 0})
            return {"errors": [], "job_id": 7, "step_id": "batch"}
        job = self.jobs[-1]
        job["looks"] += 1
        if path == "/slurm/job/7":
            state = self.states[min(job["looks"], len(self.states)) - 1]
            state = ["FAILED"] if job["status"] and state == ["COMPLETED"] else state
            code = {"status": ["SUCCESS"], "return_code": self.number(job["status"])}
            reason = "NonZeroExitCode" if job["status"] else "None"
            return {"errors": [], "jobs": [{"job_state": state, "state_reason": reason, "exit_code": code,
                    "nodes": "queue1-dy-1"}]} if method == "GET" else {"errors": []}  # fmt: skip
        assert path == "/slurmdb/job/7"
        earlier = {"name": "another", "state": {"current": ["COMPLETED"]}}
        self.lag -= 1
        if self.lag >= 0:
            return {"errors": [], "jobs": [earlier]}
        code = {"status": ["SUCCESS"], "return_code": self.number(0)}
        return {
            "jobs": [
                earlier,
                {"name": job["name"], "state": {"current": ["COMPLETED"]}, "exit_code": code},
            ]
        }


@contextmanager
def served(server):
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
