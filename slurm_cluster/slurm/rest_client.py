"""A client of Slurm's REST API, which says in one sentence what is broken where something is."""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Generator, Iterator
from typing import Any, NamedTuple

import jwt
import requests

from slurm_cluster.errors import ClusterError

TOKEN_SECONDS = 300  # seconds that a token holds; each request has its own
CONNECT_SECONDS, ANSWER_SECONDS = 10, 90  # slurmrestd itself tries for 60 to reach slurmctld
LAG_SECONDS = 60  # that accounting, and a shared file system, may be behind
SKEW_SECONDS = 60  # between two clocks, before it is worth a word
DAY = 86400
# https://slurm.schedmd.com/job_state_codes.html
END_STATES = {
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
NO_PARTITION = {2000, 2001}  # https://github.com/SchedMD/slurm/blob/master/slurm/slurm_errno.h
LOG_HINT = "on the head node (`invoke ssh`), see `journalctl -u slurmctld -u slurmrestd -u slurmdbd`"
RULE_HINT = "it is open inside the head node's group alone: leave --url out for a tunnel, or run `invoke allow-head-node-group`"
NO_ANSWER_MESSAGES: list[tuple[type[BaseException], str]] = [  # the first that is among the causes
    (
        requests.ConnectTimeout,
        f"No route: nothing comes back from {{url}} in {CONNECT_SECONDS} s; {RULE_HINT}.",
    ),
    (
        requests.Timeout,
        f"slurmrestd hangs: {{url}} takes a request and does not answer in {ANSWER_SECONDS} s; {LOG_HINT}.",
    ),
    (
        socket.gaierror,
        f"No route: the name in {{url}} is not known here, a head node's is in its VPC alone; {RULE_HINT}.",
    ),
    (ConnectionRefusedError, f"Port closed: nothing listens at {{url}}, so slurmrestd is down; {LOG_HINT}."),
    (ConnectionError, f"slurmrestd is down: {{url}} ends the connection without an answer; {LOG_HINT}."),
    (
        requests.RequestException,
        "Not slurmrestd: what answers at {url} is not HTTP; see that --url names port 8082.",
    ),
]


class Answer(NamedTuple):
    """What the port answered: the status, the JSON object if it was one, and in a line the errors that it tells of."""

    status: int
    body: dict[str, Any]
    said: str

    @property
    def lacks_accounting(self) -> bool:
        """Whether Slurm could not answer for want of slurmdbd, which it asks for the names of things."""
        return "slurmdb" in self.said.lower()


class SlurmClient:
    """A client of slurmrestd, which makes a token for each request.

    Args:
        url: as http://head-node:8082.
        key: the JWT key, to the byte what Slurm's key file holds.
        user: as whom.

    Raises:
        ClusterError: one of them cannot be what it should be.
    """

    def __init__(self, url: str, key: str, user: str) -> None:
        if not re.fullmatch(r"https?://[^\s/@?#]+(/[^\s?#]*)?", url):
            raise ClusterError(f"{url!r} is not the URL of slurmrestd: give one as http://head-node:8082.")
        if not re.fullmatch(r"[a-z_][a-z0-9_.-]{0,31}", user):
            raise ClusterError(
                f"{user!r} cannot be the name of a user: give one that the head node has, as slurm."
            )
        if len(key.encode()) < 32:
            raise ClusterError(
                "The JWT key is empty or shorter than 32 bytes: `invoke create-jwt-key` makes a good one."
            )
        self.url, self.user, self.version, self._key = url.rstrip("/"), user, "", key
        self._session = requests.Session()
        self._session.trust_env = (
            False  # a proxy would see the token, and a .netrc adds what is not asked for
        )

    def _token(self, user: str, lifetime: int) -> str:
        """Make a token. https://slurm.schedmd.com/jwt.html."""
        now = int(time.time())
        try:
            return jwt.encode(
                {"iat": now, "exp": now + lifetime, "sun": user}, self._key.encode(), algorithm="HS256"
            )
        except jwt.InvalidKeyError:
            raise ClusterError(
                "The JWT key is half of a key pair: `invoke create-jwt-key` makes a good one."
            ) from None

    def ask(
        self, method: str, path: str, body: object = None, user: str = "", lifetime: int = TOKEN_SECONDS
    ) -> Answer:
        """Send a request, and give the answer, whatever it is.

        Raises:
            ClusterError: there is none.
        """
        sender = user or self.user
        token = self._token(sender, lifetime)
        headers = {"X-SLURM-USER-NAME": sender, "X-SLURM-USER-TOKEN": token}  # Slurm 22.05 wants both
        try:
            answer = self._session.request(
                method,
                self.url + path,
                json=body,
                headers=headers,
                timeout=(CONNECT_SECONDS, ANSWER_SECONDS),
                allow_redirects=False,
            )
        except (requests.RequestException, ValueError) as error:
            raise ClusterError(explain_no_answer(error).format(url=self.url)) from None
        text = answer.content.decode(errors="replace").replace(token, "(token)").replace(self._key, "(key)")
        try:
            parsed = json.loads(text)
        except ValueError:
            return Answer(answer.status_code, {}, to_one_line(text))
        parsed = parsed if isinstance(parsed, dict) else {}
        wrong = [
            str(each.get(name) or "")
            for each in get_objects(parsed, "errors")
            for name in ("error", "description")
        ]
        return Answer(answer.status_code, parsed, to_one_line(", ".join(dict.fromkeys(filter(None, wrong)))))

    def get(self, path: str) -> dict[str, Any]:
        """Get what Slurm has to have.

        Raises:
            ClusterError: it answers with an error.
        """
        answer = self.ask("GET", f"/slurm/{self.version}{path}")
        if answer.status != 200 or answer.said:
            who = "No accounting: slurmctld, without it," if answer.lacks_accounting else "slurmctld"
            raise ClusterError(
                f"{who} does not tell of {path.split('/')[1]} ({answer.status} {answer.said}): {LOG_HINT}."
            )
        return answer.body

    def discover(self) -> Iterator[str]:
        """Find the newest version of the API: which there are depends on Slurm's.

        Raises:
            ClusterError: what answers is not slurmrestd, or is one that refuses all tokens.
        """
        answer = self.ask("GET", "/openapi/v3")
        yield format_result("route", f"{self.url} answers")
        if answer.status == 401:
            needs = "its unit needs Environment=SLURM_JWT=daemon and -a rest_auth/jwt"
            raise ClusterError(
                f"Token refused: slurmrestd takes none at all (401 {answer.said}): {needs}; {LOG_HINT}."
            )
        paths = answer.body.get("paths")
        found = {
            m[1] for path in paths or {} if (m := re.match(r"/slurm/v(\d+\.\d+\.\d+)/job/submit", str(path)))
        }
        if answer.status != 200 or not found:
            said = f"{answer.status} {answer.said}".strip()
            raise ClusterError(
                f"Not slurmrestd: {self.url} answers as something else does ({said}): see what listens."
            )
        versions = sorted(found, key=lambda version: [int(each) for each in version.split(".")])
        self.version = f"v{versions[-1]}"
        yield format_result("slurmrestd", f"API {self.version}, of {', '.join(versions)}")

    def prove_token(self) -> str:
        """Prove that the token is taken: slurmrestd hands it on unseen, and /diag is the least that slurmctld checks.

        Raises:
            ClusterError: it is refused, or slurmctld is not there to check it.
        """
        path = f"/slurm/{self.version}/diag"
        answer = self.ask("GET", path)
        if answer.status == 200 and not answer.said:
            return format_result("token", f"accepted, for user {self.user}")
        said = f"{answer.status} {answer.said}".strip()
        if re.search("contact|connect", answer.said, re.IGNORECASE):
            raise ClusterError(f"slurmctld is down: slurmrestd does not reach it ({said}); {LOG_HINT}.")
        # Its answers have no date. But does it take a day's token of a user who may do nothing, then it tells its time.
        probe = self.ask("GET", path, user="nobody", lifetime=DAY)
        if probe.status != 200 or probe.said:
            why = "it keeps the one that it was made with, so see whether the secret is newer, and the clock here"
            raise ClusterError(f"Token refused: the JWT key here is not the head node's ({said}): {why}.")
        behind = get_number(get_nested(probe.body, "statistics", "req_time")) - int(time.time())
        if behind > SKEW_SECONDS:
            raise ClusterError(
                f"Token refused: the clock here is {behind} s behind the head node's ({said}): set it right."
            )
        raise ClusterError(
            f"Token refused: the key is right, and not for user {self.user} ({said}): name one with --user."
        )

    def find_partition(self) -> str:
        """Find the partitions that take jobs.

        Raises:
            ClusterError: there is none.
        """
        states = {
            str(each.get("name")): get_states(each.get("state") or get_nested(each, "partition", "state"))
            for each in get_objects(self.get("/partitions/"), "partitions")
        }
        up = [name for name, state in states.items() if "UP" in state]
        if not up:
            known = (
                ", ".join(f"{name} is {' '.join(state)}" for name, state in states.items())
                or "it has none at all"
            )
            start = "`pcluster update-compute-fleet --status START_REQUESTED` starts a fleet that was stopped"
            raise ClusterError(f"No partition: Slurm has none that is up ({known}): {start}.")
        return format_result("partition", f"up: {', '.join(up)}")

    def submit(self, name: str, script: str) -> int:
        """Submit a job to the default partition, and give its number.

        Raises:
            ClusterError: Slurm does not take it.
        """
        path = "PATH", "/usr/local/bin:/usr/bin:/bin"
        old = [int(each) for each in self.version[1:].split(".")] < [0, 0, 39]
        job = {
            "name": name,
            "tasks": 1,
            "current_working_directory": "/tmp",  # noqa: S108 - every node has it
            "environment": dict([path]) if old else ["=".join(path)],
            "standard_output": "/dev/null",
            "standard_error": "/dev/null",
        }
        answer = self.ask("POST", f"/slurm/{self.version}/job/submit", {"script": script, "job": job})
        if answer.status == 200 and get_number(
            answer.body.get("job_id")
        ):  # with a word in it on what the job has to wait for
            return get_number(answer.body["job_id"])
        codes = {
            get_number(each.get("error_number") or each.get("error_code"))
            for each in get_objects(answer.body, "errors")
        }
        link = (
            "No partition"
            if codes & NO_PARTITION
            else "No accounting"
            if answer.lacks_accounting
            else "Job rejected"
        )
        see = f"see `scontrol show partition`, and that it has a user {self.user}"
        raise ClusterError(
            f"{link}: Slurm does not take the job ({answer.status} {answer.said}): on the head node, {see}."
        )

    def watch(self, job: int, seconds: int, pause: float) -> Generator[str, None, dict[str, Any]]:
        """Look at a job until it has ended, and give it as it is then.

        Args:
            job: its number.
            seconds: how long at most; a node that is booted for it takes minutes.
            pause: seconds between two looks.

        Yields:
            A line for each change.

        Raises:
            ClusterError: it is held, or does not end.
        """
        end, last = time.monotonic() + seconds, ""
        while True:
            found = next(iter(get_objects(self.get(f"/job/{job}"), "jobs")), {})
            states, reason, nodes = (
                get_states(found.get("job_state")),
                found.get("state_reason"),
                found.get("nodes"),
            )
            now = " ".join(states) + (f" ({reason})" if reason not in (None, "", "None") else "")
            if now != last:
                booting = (
                    ": a compute node is being booted, which takes minutes"
                    if BOOT_STATES & set(states)
                    else ""
                )
                yield format_result("job", f"{job} is {now}{f' on {nodes}' if nodes else ''}{booting}")
            if END_STATES & set(states):
                return found
            if "Held" in str(reason):
                raise ClusterError(
                    f"Job held: job {job} is {now}, as if the head node had no user {self.user}: see --user."
                )
            if time.monotonic() > end:
                why = "/var/log/parallelcluster/slurm_resume.log on the head node tells of nodes that do not come up"
                raise ClusterError(
                    f"Job does not end: job {job} is {now} after {seconds} s; {why}; --seconds waits longer."
                )
            last = now
            time.sleep(pause)

    def check_accounting(self, job: int, name: str, pause: float) -> str:
        """Find the job in accounting, which may lag; its name tells it from one that had its number before.

        Raises:
            ClusterError: it is not there.
        """
        end = time.monotonic() + LAG_SECONDS
        while True:
            answer = self.ask("GET", f"/slurmdb/{self.version}/job/{job}")
            mine = [each for each in get_objects(answer.body, "jobs") if each.get("name") == name]
            states = get_states(get_nested(mine[-1], "state", "current")) if mine else []
            if END_STATES & set(states):
                status = get_exit_status(mine[-1].get("exit_code"))
                return format_result("accounting", f"job {job}: {' '.join(states)}, exit status {status}")
            if time.monotonic() > end:
                said = f"{answer.status} {answer.said or ' '.join(states) or 'not a word of it'}"
                raise ClusterError(
                    f"No accounting: after {LAG_SECONDS} s slurmdbd does not have job {job} ({said}); {LOG_HINT}."
                )
            time.sleep(pause)


def explain_no_answer(error: BaseException) -> str:
    """Give the sentence for what `requests` raised, by its causes: its own text may hold anything."""
    causes: list[BaseException] = []
    cause: BaseException | None = error
    while cause:
        causes.append(cause)
        cause = cause.__cause__ or cause.__context__
    unreachable = any(
        type(each) is OSError for each in causes
    )  # EHOSTUNREACH and ENETUNREACH have no class of their own
    found = (text for kind, text in NO_ANSWER_MESSAGES[:-1] if any(isinstance(each, kind) for each in causes))
    return next(found, NO_ANSWER_MESSAGES[0 if unreachable else -1][1])


def format_result(link: str, detail: str) -> str:
    """Give the line of a link."""
    return f"{link:10} {detail}"


def get_objects(body: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """Give a list of the answer, which may be missing."""
    found = body.get(name)
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []


def get_nested(value: Any, *names: str) -> Any:
    """Give what is inside of an object, and of the one inside of it; None where there is nothing."""
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def get_states(value: object) -> list[str]:
    """Give states: a list of words since v0.0.40, one word before."""
    return [str(each) for each in value] if isinstance(value, list) else str(value or "UNKNOWN").split()


def get_number(value: Any) -> int:
    """Give a number: in an object since v0.0.40, bare before."""
    found: Any = value.get("number") if isinstance(value, dict) else value
    return int(found) if str(found).lstrip("-").isdigit() else 0


def get_exit_status(value: Any) -> int:
    """Give a job's exit status: in an object since v0.0.39, before that as wait(2) has it."""
    return get_number(value.get("return_code")) if isinstance(value, dict) else get_number(value) >> 8


def to_one_line(text: str) -> str:
    """Make what a server said fit for a screen."""
    return "".join(each if each.isprintable() else " " for each in " ".join(text.split()))[:200]
