"""One walk of the whole path and back, written down: what was asked of AWS, said, kept in files, and seen by other processes.

Each step is a process of its own, as talkative as it can be made. It takes a minute, so all tests that look at it share it.
"""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import yaml

import sandbox
from sandbox import exposure, faults, record
from sandbox.api_calls import client
from sandbox.rehearsal import INVOKE
from slurm_cluster.aws import jwt_secret, node_log
from tests.support import REGION, ROOT
from tests.support.account_state import read_decisions
from tests.support.slurmrestd import Slurmrestd, served

CLUSTER = "pcluster-ubuntu"
SSH_FROM = "203.0.113.7/32"
UP = [
    "create-key-pair check", "configure", "upload-bootstrap", "create-jwt-key", f"fill-parameters --ssh-from {SSH_FROM} render",
    "create-cluster", "connect-uqle handover", "handover --with-key", "status status --json picture", "update-cluster",
]  # fmt: skip
DOWN = ["pause resume", "down --yes --all"]
FAILING = {
    "create-jwt-key": "CreateSecret",
    "handover --with-key": "GetSecretValue",
}  # whose first attempt loses the answer

# How `create-cluster` reads the log of a head node that failed
READ_LOG = f"from slurm_cluster.aws import clients, node_log; assert node_log.read_head_node_log(clients.make_client('logs', '{REGION}'), '{CLUSTER}')"


class RecordedWalk(NamedTuple):
    """What there was to see.

    Args:
        calls: all calls of AWS, with their answers.
        decided: what the steps had decided when the UQLE machine was connected.
        said: what each step printed.
        seen: command lines and environments of all processes that the steps started.
        files: the files below the home, the work folder and the folder for temporary ones, with their modes, at the end of `up`.
        key: the JWT key.
        private: the private half of the key pair.
        doors: who may reach what, at the end of `up`.
        machines: how the machines, and those that launch templates make, are protected then.
        buckets: how the buckets are protected then.
        encrypted: which file systems are encrypted then.
        tags: of what stands in EC2 then, by its id.
        templates: those of the stacks then, as pcluster made them.

    """

    calls: list[record.RecordedCall]
    decided: dict[str, Any]
    said: dict[str, str]
    seen: set[bytes]
    files: dict[str, tuple[int, bytes]]
    key: str
    private: str
    doors: list[exposure.OpenPort]
    machines: dict[str, exposure.MachineProtection]
    buckets: dict[str, exposure.BucketProtection]
    encrypted: dict[str, bool]
    tags: dict[str, dict[str, str]]
    templates: dict[str, dict[str, Any]]


def record_walk(folder: Path) -> RecordedWalk:
    """Walk the path, and back.

    Args:
        folder: an empty one.

    """
    places = {"HOME": folder / "home", "TMPDIR": folder / "tmp", "PWD": folder / "work"}
    for place in places.values():
        place.mkdir()
    environment = {**os.environ, **{name: str(place) for name, place in places.items()}, "INVOKE_DEBUG": "1"}
    said, seen = {}, set()
    shared = folder / "shared"
    shared.mkdir()
    sandbox.reset()

    def step(task: str, status: int = 0) -> None:
        with watched(seen):
            answer = subprocess.run(
                [*INVOKE, "--debug", "--echo", *task.split()],
                cwd=places["PWD"], env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            )  # fmt: skip
        said[f"{task} ({len(said)})"] = answer.stdout + answer.stderr
        assert status is None or answer.returncode == status, (
            f"{task}: {answer.stdout}{answer.stderr[-3000:]}"
        )

    with record.record_calls() as calls:
        for task in UP:
            if task in FAILING:
                with faults.inject(
                    faults.lose_response,
                    then=faults.fail_with_error("AccessDeniedException"),
                    only=FAILING[task],
                ):
                    step(task, status=None)
            step(task)
            if task == "connect-uqle handover":
                with unrecorded(calls):
                    decided = read_decisions(places["PWD"])
        key = next(call.arguments["SecretString"] for call in calls if call.operation == "CreateSecret")
        server = Slurmrestd(shared)
        server.key = key
        with served(server):
            step(f"verify --url {server.url}")
        step("rotate-jwt-key", status=1)  # the head node does not let anybody in, so nothing changes
        files = {
            str(path.relative_to(folder)): (path.stat().st_mode & 0o777, path.read_bytes())
            for place in places.values() for path in place.rglob("*") if path.is_file()
        }  # fmt: skip
        with unrecorded(calls):
            stands = (
                *(
                    exposure.list_open_ports(REGION),
                    exposure.check_machines(REGION),
                    exposure.check_buckets(REGION),
                    exposure.check_file_systems(REGION),
                ),
                *(tags(), templates()),
            )
            write_log_of_head_node()
        subprocess.run(
            [sys.executable, "-c", READ_LOG], env={**environment, "PYTHONPATH": str(ROOT)}, check=True
        )
        for task in DOWN:
            step(task)
        step("create-jwt-key")  # from the secret that is scheduled for deletion
        with unrecorded(calls):
            change_policy()
        step("create-jwt-key")
        step("down --yes --all")
    private = (places["HOME"] / ".ssh" / f"{CLUSTER}.pem").read_text()
    return RecordedWalk(calls, decided, said, seen, files, key, private, *stands)


def tags() -> dict[str, dict[str, str]]:
    """Give the tags of all that stands in EC2, by its id."""
    found: dict[str, dict[str, str]] = {}
    for tag in client("ec2", REGION).describe_tags()["Tags"]:
        found.setdefault(tag["ResourceId"], {})[tag["Key"]] = tag["Value"]
    return found


def templates() -> dict[str, dict[str, Any]]:
    """Return the templates of all stacks, by the stack's name."""
    cloudformation = client("cloudformation", REGION)
    names = [stack["StackName"] for stack in cloudformation.describe_stacks()["Stacks"]]
    found = {name: cloudformation.get_template(StackName=name)["TemplateBody"] for name in names}
    for name, body in found.items():
        if isinstance(body, str):
            found[name] = yaml.load(body, yaml.BaseLoader)  # noqa: S506 - it makes only text, lists and dicts
    return found


@contextmanager
def unrecorded(calls: list[record.RecordedCall]) -> Iterator[None]:
    """Leave out of the record what happens within: it is this module that asks."""
    before = len(calls)
    yield
    del calls[before:]


def write_log_of_head_node() -> None:
    """Write the beginning of a log, as a head node does while it boots."""
    logs = client("logs", REGION)
    [group] = node_log.list_log_groups(logs, CLUSTER)
    stream = {"logGroupName": group, "logStreamName": "ip-10-0-0-10.i-1.cfn-init"}
    logs.create_log_stream(**stream)
    logs.put_log_events(
        **stream, logEvents=[{"timestamp": int(time.time() * 1000), "message": "Running configSets"}]
    )


def change_policy() -> None:
    """Have somebody else change the policy to read the key."""
    iam = client("iam", REGION)
    arn = jwt_secret.get_policy_arn(CLUSTER, "123456789012", REGION)
    document = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}],
    }
    iam.create_policy_version(PolicyArn=arn, PolicyDocument=json.dumps(document), SetAsDefault=True)


@contextmanager
def watched(seen: set[bytes]) -> Iterator[None]:
    """Look at the processes that this one starts, as everybody on the machine can, until the context ends."""
    over = threading.Event()

    def look() -> None:
        while not over.wait(0.2):
            for process in descendants(os.getpid()):
                for kind in ("cmdline", "environ"):
                    seen.add(content(Path(f"/proc/{process}/{kind}")))

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()


def descendants(ancestor: int) -> set[int]:
    """Give the processes that a process started, and those that these started."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        words = content(stat).rpartition(b")")[2].split()
        if words:
            parents[int(stat.parent.name)] = int(words[1])
    found = {ancestor}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found - {ancestor}


def content(path: Path) -> bytes:
    """Give what the kernel says of a process, or nothing where it is gone."""
    try:
        return path.read_bytes()
    except OSError:
        return b""
