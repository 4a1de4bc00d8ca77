"""A client of Slurm's REST API. Its error messages name the component that failed.

It reads the answers of API v0.0.41 and later, which Slurm 24.11 and later offer.
"""

import json
import re
import socket
import time
from collections.abc import Generator, Iterator
from typing import Any, NamedTuple

import requests

from slurm_cluster.errors import ClusterError
from slurm_cluster.slurm import REST_PORT
from slurm_cluster.slurm.token import sign_token
from slurm_cluster.trees import find_value, list_mappings

TOKEN_SECONDS = 300  # lifetime of a token; each request has its own
CONNECT_TIMEOUT = 10
RESPONSE_TIMEOUT = 90  # slurmrestd itself tries for 60 s to reach slurmctld
LAG_SECONDS = 60  # how long accounting and the shared file system may take to show the result
SKEW_SECONDS = 60  # a clock difference up to this cannot cause an error
DAY_SECONDS = 86400
# https://slurm.schedmd.com/job_state_codes.html
JOB_END_STATES = {
    "BOOT_FAIL",
    "CANCELLED",
    "COMPLETED",
    "DEADLINE",
    "FAILED",
    "NODE_FAIL",
    "OUT_OF_MEMORY",
    "PREEMPTED",
    "TIMEOUT",
}
BOOT_STATES = {"CONFIGURING", "POWER_UP_NODE"}
# https://github.com/SchedMD/slurm/blob/master/slurm/slurm_errno.h
PARTITION_ERRORS = {2000, 2001}
UNKNOWN_JOB_ERROR = 2017
LOG_HINT = "Log in with `invoke ssh` and read `journalctl -u slurmctld -u slurmrestd -u slurmdbd`."
RULE_HINT = (
    f"Port {REST_PORT} is open only inside the head node's security group. "
    "Leave out --url to use a tunnel, or run `invoke allow-head-node-group`."
)
NO_ROUTE = f"No route: {{url}} did not respond within {CONNECT_TIMEOUT} s. {RULE_HINT}"
NOT_HTTP = f"Not slurmrestd: no HTTP answer from {{url}}. Check that --url names port {REST_PORT}."
NO_ANSWER_MESSAGES: list[tuple[type[BaseException], str]] = [  # the first match counts
    (requests.ConnectTimeout, NO_ROUTE),
    (
        requests.Timeout,
        "slurmrestd hangs: {url} accepted the request, "
        f"but did not respond within {RESPONSE_TIMEOUT} s. {LOG_HINT}",
    ),
    (
        socket.gaierror,
        f"No route: cannot resolve the name in {{url}}. It is only known inside the VPC. {RULE_HINT}",
    ),
    (ConnectionRefusedError, f"Port closed: nothing listens at {{url}}, so slurmrestd is down. {LOG_HINT}"),
    (ConnectionError, f"slurmrestd is down: {{url}} closed the connection without a response. {LOG_HINT}"),
]


class Response(NamedTuple):
    """A response: its HTTP status, its JSON object or an empty one, and its errors in one line."""

    status: int
    body: dict[str, Any]
    errors: str

    @property
    def is_success(self) -> bool:
        """Whether the request succeeded: a status of 200 can come with errors."""
        return self.status == 200 and not self.errors

    @property
    def error_numbers(self) -> set[object]:
        """The error numbers of Slurm."""
        return {error.get("error_number") for error in list_mappings(self.body, "errors")}

    @property
    def is_accounting_error(self) -> bool:
        """Whether slurmctld failed because it cannot reach slurmdbd."""
        return "slurmdb" in self.errors.lower()

    @property
    def summary(self) -> str:
        """The status and the errors, for a message."""
        return f"{self.status} {self.errors}".strip()


class SlurmClient:
    """A client of slurmrestd. It signs a new token for each request.

    Args:
        url: the URL of slurmrestd, as http://head-node:8082.
        key: the JWT key, exactly as in Slurm's key file.
        user: the user that the requests are for.

    Raises:
        ClusterError: the URL is not valid.
    """

    def __init__(self, url: str, key: str, user: str) -> None:
        if not re.fullmatch(r"https?://[^\s/@?#]+(/[^\s?#]*)?", url):
            raise ClusterError(
                f"{url!r} is not a URL of slurmrestd. Use one like http://head-node:{REST_PORT}."
            )
        self.url, self.user, self.version, self._key = url.rstrip("/"), user, "", key
        self._session = requests.Session()
        self._session.trust_env = False  # no proxy may see the token, and no .netrc may add a password

    def send(
        self, method: str, path: str, body: object = None, user: str = "", lifetime: int = TOKEN_SECONDS
    ) -> Response:
        """Send a request and return the response, whatever its status.

        Args:
            method: the HTTP method.
            path: the path, with the API's version.
            body: what is sent as JSON.
            user: the user that the token is for, if not the client's.
            lifetime: the token's, in seconds.

        Raises:
            ClusterError: there is no answer, or the key or the user name is not valid.
        """
        token = sign_token(self._key, user or self.user, lifetime)
        try:
            http_response = self._session.request(
                method,
                self.url + path,
                json=body,
                headers={"X-SLURM-USER-TOKEN": token},
                timeout=(CONNECT_TIMEOUT, RESPONSE_TIMEOUT),
                allow_redirects=False,
            )
        except (requests.RequestException, ValueError) as error:
            raise ClusterError(explain_no_answer(error).format(url=self.url)) from None
        text = (
            http_response.content.decode(errors="replace")
            .replace(token, "(token)")
            .replace(self._key, "(key)")
        )
        try:
            parsed = json.loads(text)
        except ValueError:
            return Response(http_response.status_code, {}, to_one_line(text))
        content = parsed if isinstance(parsed, dict) else {}
        texts = [
            str(error.get(name) or "")
            for error in list_mappings(content, "errors")
            for name in ("error", "description")
        ]
        unique_texts = dict.fromkeys(filter(None, texts))
        return Response(http_response.status_code, content, to_one_line(", ".join(unique_texts)))

    def fetch(self, path: str, *ignored_errors: int) -> dict[str, Any]:
        """Return the body of a GET request to slurmctld.

        Args:
            path: the part of the path after the API's version, as /job/7.
            ignored_errors: numbers of Slurm's errors that are not failures.

        Raises:
            ClusterError: it answers with another error.
        """
        response = self.send("GET", f"/slurm/{self.version}{path}")
        if not response.is_success and not response.error_numbers & set(ignored_errors):
            problem = "No accounting" if response.is_accounting_error else "slurmctld failed"
            kind = path.split("/")[1]
            raise ClusterError(f"{problem}: slurmctld did not return {kind} ({response.summary}). {LOG_HINT}")
        return response.body

    def find_job(self, job_id: int, name: str) -> dict[str, Any] | None:
        """Return the job with this number and name, or None if slurmctld does not have it.

        If slurmctld crashes, it can lose a job that it has just accepted, and reuse the job's number.

        Args:
            job_id: its number.
            name: its name, which is unique.

        Raises:
            ClusterError: slurmctld answers with another error.
        """
        jobs = list_mappings(self.fetch(f"/job/{job_id}", UNKNOWN_JOB_ERROR), "jobs")
        return next((job for job in jobs if job.get("name") == name), None)

    def cancel_job(self, job_id: int, name: str) -> None:
        """Cancel the job with this number and name, if slurmctld still has it.

        Raises:
            ClusterError: there is no response.
        """
        if self.find_job(job_id, name):
            self.send("DELETE", f"/slurm/{self.version}/job/{job_id}")

    def discover_version(self) -> Iterator[str]:
        """Choose the newest version of the API that slurmrestd offers.

        Yields:
            A line for each result.

        Raises:
            ClusterError: another program answers, or slurmrestd accepts no tokens.
        """
        response = self.send("GET", "/openapi/v3")
        yield format_result("route", f"{self.url} answers")
        if response.status == 401:
            raise ClusterError(
                f"Token refused: slurmrestd accepts no tokens ({response.summary}). "
                f"Its unit needs Environment=SLURM_JWT=daemon and -a rest_auth/jwt. {LOG_HINT}"
            )
        paths = response.body.get("paths") or {}
        matches = [re.match(r"/slurm/v(\d+\.\d+\.\d+)/job/submit", str(path)) for path in paths]
        versions = {match[1] for match in matches if match}
        if response.status != 200 or not versions:
            raise ClusterError(
                f"Not slurmrestd: another program answers at {self.url} ({response.summary}). "
                "Check the address and the port."
            )
        oldest_first = sorted(versions, key=lambda version: [int(part) for part in version.split(".")])
        self.version = f"v{oldest_first[-1]}"
        yield format_result("slurmrestd", f"API {self.version}, the newest of {', '.join(oldest_first)}")

    def check_token(self) -> str:
        """Check that slurmctld accepts the token, and return a line that says so.

        slurmrestd passes tokens on unchecked. /diag is the smallest request for which slurmctld checks them.

        Raises:
            ClusterError: the token is refused, or slurmctld is down.
        """
        path = f"/slurm/{self.version}/diag"
        response = self.send("GET", path)
        if response.is_success:
            return format_result("token", f"accepted, for user {self.user}")
        if re.search("contact|connect", response.errors, re.IGNORECASE):
            raise ClusterError(
                f"slurmctld is down: slurmrestd cannot reach it ({response.summary}). {LOG_HINT}"
            )
        # Find out whether a clock or the key is wrong. Only a successful response contains Slurm's time, so
        # send a token that is valid for a day, for a user without rights.
        probe = self.send("GET", path, user="nobody", lifetime=DAY_SECONDS)
        if not probe.is_success:
            raise ClusterError(
                f"Token refused: the JWT key is not the head node's key ({response.summary}). "
                "Check whether the secret was changed after the head node booted. "
                "Also check the clock of this machine."
            )
        slurm_time = find_value(probe.body, "statistics", "req_time", "number") or 0
        seconds_behind = slurm_time - int(time.time())
        if seconds_behind > SKEW_SECONDS:
            raise ClusterError(
                f"Token refused: the clock here is {seconds_behind} s behind the head node's "
                f"({response.summary}). Set the clock of this machine, then run this again."
            )
        raise ClusterError(
            f"Token refused: the key is right, but Slurm refuses user {self.user} ({response.summary}). "
            "Choose another user with --user."
        )

    def check_partitions(self) -> str:
        """Check that a partition takes jobs, and return a line that names all that do.

        Raises:
            ClusterError: there is none.
        """
        partitions = list_mappings(self.fetch("/partitions/"), "partitions")
        states = {
            str(partition.get("name")): get_states(find_value(partition, "partition", "state"))
            for partition in partitions
        }
        names_up = [name for name, words in states.items() if "UP" in words]
        if not names_up:
            known = ", ".join(f"{name} is {' '.join(words)}" for name, words in states.items())
            raise ClusterError(
                f"No partition: no partition of Slurm is up ({known or 'there are none'}). "
                "If the compute fleet was stopped, start it with `invoke resume`."
            )
        return format_result("partition", f"up: {', '.join(names_up)}")

    def submit_job(self, name: str, script: str) -> int:
        """Submit a job to the default partition, and return its number.

        Raises:
            ClusterError: Slurm does not accept it.
        """
        job = {
            "name": name,
            "tasks": 1,
            "current_working_directory": "/tmp",  # noqa: S108 - every node has it
            "environment": ["PATH=/usr/local/bin:/usr/bin:/bin"],
            "standard_output": "/dev/null",
            "standard_error": "/dev/null",
        }
        response = self.send("POST", f"/slurm/{self.version}/job/submit", {"script": script, "job": job})
        job_id = response.body.get("job_id")
        if response.status == 200 and job_id:  # errors beside a number only say what the job waits for
            return int(job_id)
        problem = "Job rejected"
        if PARTITION_ERRORS & response.error_numbers:
            problem = "No partition"
        elif response.is_accounting_error:
            problem = "No accounting"
        raise ClusterError(
            f"{problem}: Slurm did not accept the job ({response.summary}). "
            f"On the head node, check `scontrol show partition`, and that user {self.user} exists."
        )

    def watch_job(
        self, job_id: int, name: str, seconds: int, pause: float
    ) -> Generator[str, None, dict[str, Any]]:
        """Wait until a job has ended, and return it.

        Args:
            job_id: its number.
            name: its name, which is unique.
            seconds: the longest wait. A node that boots for the job takes minutes.
            pause: seconds between two requests.

        Yields:
            A line for each change.

        Raises:
            ClusterError: the job is held, does not end in time, or is lost.
        """
        deadline, last_status = time.monotonic() + seconds, ""
        while True:
            job = self.find_job(job_id, name)
            if job is None:
                raise ClusterError(
                    f"Job lost: slurmctld accepted job {job_id}, {name}, but no longer lists it. "
                    f"slurmctld may have crashed. Run this again. {LOG_HINT}"
                )
            states, reason = get_states(job.get("job_state")), str(job.get("state_reason") or "None")
            status = " ".join(states)
            if reason != "None":
                status += f" ({reason})"
            if status != last_status:
                nodes = f" on {job['nodes']}" if job.get("nodes") else ""
                is_booting = BOOT_STATES & set(states)
                note = ": a compute node is booting, which takes minutes" if is_booting else ""
                yield format_result("job", f"{job_id} is {status}{nodes}{note}")
            if JOB_END_STATES & set(states):
                return job
            if "Held" in reason:
                raise ClusterError(
                    f"Job held: job {job_id} is {status}. The head node may have no user {self.user}. "
                    "Choose another user with --user."
                )
            if time.monotonic() > deadline:
                raise ClusterError(
                    f"Job does not end: job {job_id} is {status} after {seconds} s. "
                    "If its node does not boot, read /var/log/parallelcluster/slurm_resume.log "
                    "on the head node. To wait longer, pass --seconds."
                )
            last_status = status
            time.sleep(pause)

    def check_accounting(self, job_id: int, name: str, pause: float) -> str:
        """Wait until accounting has the ended job, and return a line with its state.

        Args:
            job_id: its number. An earlier job may have had the same one.
            name: its name, which is unique.
            pause: seconds between two requests.

        Raises:
            ClusterError: accounting does not have it in time.
        """
        deadline = time.monotonic() + LAG_SECONDS
        while True:
            response = self.send("GET", f"/slurmdb/{self.version}/job/{job_id}")
            records = [job for job in list_mappings(response.body, "jobs") if job.get("name") == name]
            states = get_states(find_value(records[-1], "state", "current")) if records else []
            if JOB_END_STATES & set(states):
                detail = f"job {job_id}: {' '.join(states)}, exit status {get_exit_status(records[-1])}"
                return format_result("accounting", detail)
            if time.monotonic() > deadline:
                reason = response.errors or " ".join(states) or "no record"
                raise ClusterError(
                    f"No accounting: slurmdbd does not have job {job_id} after {LAG_SECONDS} s "
                    f"({response.status} {reason}). {LOG_HINT}"
                )
            time.sleep(pause)


def explain_no_answer(error: BaseException) -> str:
    """Return the message for an error of `requests`, by its causes. Its own text may contain secrets."""
    causes = [error]
    while cause := causes[-1].__cause__ or causes[-1].__context__:
        causes.append(cause)
    for kind, message in NO_ANSWER_MESSAGES:
        if any(isinstance(cause, kind) for cause in causes):
            return message
    # EHOSTUNREACH and ENETUNREACH have no class of their own.
    return NO_ROUTE if any(type(cause) is OSError for cause in causes) else NOT_HTTP


def format_result(part: str, detail: str) -> str:
    """Return the output line of a check."""
    return f"{part:10} {detail}"


def get_states(value: object) -> list[str]:
    """Return the flags of a job or partition state, such as COMPLETED."""
    return [str(word) for word in value] if isinstance(value, list) else ["UNKNOWN"]


def get_exit_status(job: dict[str, Any]) -> int:
    """Return a job's exit status."""
    return int(find_value(job, "exit_code", "return_code", "number") or 0)


def to_one_line(text: str) -> str:
    """Make a server's text safe to print: one line, 200 printable characters at most."""
    single_spaced = " ".join(text.split())
    return "".join(character if character.isprintable() else " " for character in single_spaced)[:200]
