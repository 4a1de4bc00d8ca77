"""A record of all steps, from creation to teardown. They run once for all tests, because they take a minute.

Each step is a separate process with `--debug --echo`. The record has the calls to AWS, the output, the
files, and the arguments and environments of all processes.
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
from tests.support.slurmrestd import Slurmrestd, run_server

CLUSTER = "pcluster-ubuntu"
SSH_FROM = "203.0.113.7/32"
UP = [
    "create-key-pair check",
    "configure",
    "upload-bootstrap",
    "create-jwt-key",
    f"fill-parameters --ssh-from {SSH_FROM} render",
    "create-cluster",
    "connect-uqle handover",
    "handover --with-key",
    "status status --json status --all-regions picture",
    "update-cluster",
]
DOWN = ["pause resume", "down --yes --all"]
# Steps that first run with a fault: the answer to this call is lost.
FAILING = {"create-jwt-key": "CreateSecret", "handover --with-key": "GetSecretValue"}

# `create-cluster` reads the log of a head node that failed in this way.
READ_LOG = f"""
from slurm_cluster.aws import clients, node_log
assert node_log.read_head_node_log(clients.make_client("logs", "{REGION}"), "{CLUSTER}")
"""


class RecordedWalk(NamedTuple):
    """The record. The account is as it was after the steps in UP.

    Args:
        calls: all calls to AWS, with their answers.
        decisions: `read_decisions` after the UQLE machine was connected.
        outputs: standard output and standard error of each step.
        process_data: the arguments and environments of all processes that the steps started.
        files: modes and contents of the files in the home, work and temporary folders.
        key: the JWT key.
        private_key: the private half of the key pair.
        open_ports: who can reach which ports.
        machines: how the machines are protected, and those that launch templates make.
        buckets: how the buckets are protected.
        encrypted: which file systems are encrypted.
        tags: of all resources of EC2, by their ids.
        templates: of all stacks, by their names.

    """

    calls: list[record.RecordedCall]
    decisions: dict[str, Any]
    outputs: dict[str, str]
    process_data: set[bytes]
    files: dict[str, tuple[int, bytes]]
    key: str
    private_key: str
    open_ports: list[exposure.OpenPort]
    machines: dict[str, exposure.MachineProtection]
    buckets: dict[str, exposure.BucketProtection]
    encrypted: dict[str, bool]
    tags: dict[str, dict[str, str]]
    templates: dict[str, dict[str, Any]]


def record_walk(folder: Path) -> RecordedWalk:
    """Run all steps, from creation to teardown, in an empty folder."""
    folders = {"HOME": folder / "home", "TMPDIR": folder / "tmp", "PWD": folder / "work"}
    for path in folders.values():
        path.mkdir()
    environment = {**os.environ, **{name: str(path) for name, path in folders.items()}, "INVOKE_DEBUG": "1"}
    outputs: dict[str, str] = {}
    process_data: set[bytes] = set()
    shared = folder / "shared"
    shared.mkdir()
    sandbox.reset()

    def run_step(task: str, status: int | None = 0) -> None:
        with watch_processes(process_data):
            result = subprocess.run(
                [*INVOKE, "--debug", "--echo", *task.split()],
                cwd=folders["PWD"],
                env=environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
            )
        outputs[f"{task} ({len(outputs)})"] = result.stdout + result.stderr
        if status is not None:
            assert result.returncode == status, f"{task}: {result.stdout}{result.stderr[-3000:]}"

    with record.record_calls() as calls:
        for task in UP:
            if task in FAILING:
                with faults.inject(
                    faults.lose_response,
                    then=faults.fail_with_error("AccessDeniedException"),
                    only=FAILING[task],
                ):
                    run_step(task, status=None)
            run_step(task)
            if task == "connect-uqle handover":
                with pause_recording(calls):
                    decisions = read_decisions(folders["PWD"])
        key = next(call.arguments["SecretString"] for call in calls if call.operation == "CreateSecret")
        server = Slurmrestd(shared)
        server.key = key
        with run_server(server):
            run_step(f"verify --url {server.url}")
        run_step("rotate-jwt-key", status=1)  # the head node accepts no SSH, so nothing changes
        files = {
            str(path.relative_to(folder)): (path.stat().st_mode & 0o777, path.read_bytes())
            for root in folders.values()
            for path in root.rglob("*")
            if path.is_file()
        }
        with pause_recording(calls):
            account = (
                exposure.list_open_ports(REGION),
                exposure.check_machines(REGION),
                exposure.check_buckets(REGION),
                exposure.check_file_systems(REGION),
                read_tags(),
                read_templates(),
            )
            write_head_node_log()
        subprocess.run(
            [sys.executable, "-c", READ_LOG], env={**environment, "PYTHONPATH": str(ROOT)}, check=True
        )
        for task in DOWN:
            run_step(task)
        run_step("create-jwt-key")  # from the secret that is scheduled for deletion
        with pause_recording(calls):
            change_policy()
        run_step("create-jwt-key")
        run_step("down --yes --all")
    private_key = (folders["HOME"] / ".ssh" / f"{CLUSTER}.pem").read_text()
    return RecordedWalk(calls, decisions, outputs, process_data, files, key, private_key, *account)


def read_tags() -> dict[str, dict[str, str]]:
    """Return the tags of all resources of EC2, by their ids."""
    tags: dict[str, dict[str, str]] = {}
    for tag in client("ec2", REGION).describe_tags()["Tags"]:
        tags.setdefault(tag["ResourceId"], {})[tag["Key"]] = tag["Value"]
    return tags


def read_templates() -> dict[str, dict[str, Any]]:
    """Return the templates of all stacks, by their names."""
    cloudformation = client("cloudformation", REGION)
    names = [stack["StackName"] for stack in cloudformation.describe_stacks()["Stacks"]]
    templates = {name: cloudformation.get_template(StackName=name)["TemplateBody"] for name in names}
    for name, body in templates.items():
        if isinstance(body, str):
            templates[name] = yaml.load(body, yaml.BaseLoader)  # noqa: S506 - it makes only text, lists and dicts
    return templates


@contextmanager
def pause_recording(calls: list[record.RecordedCall]) -> Iterator[None]:
    """Remove the calls that this module makes while the context lasts."""
    before = len(calls)
    yield
    del calls[before:]


def write_head_node_log() -> None:
    """Write the first line of a head node's log."""
    logs = client("logs", REGION)
    [group] = node_log.list_log_groups(logs, CLUSTER)
    stream = {"logGroupName": group, "logStreamName": "ip-10-0-0-10.i-1.cfn-init"}
    logs.create_log_stream(**stream)
    event = {"timestamp": int(time.time() * 1000), "message": "Running configSets"}
    logs.put_log_events(**stream, logEvents=[event])


def change_policy() -> None:
    """Change the policy that allows reading the key, as another user could."""
    iam = client("iam", REGION)
    arn = jwt_secret.get_policy_arn(CLUSTER, "123456789012", REGION)
    document = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}],
    }
    iam.create_policy_version(PolicyArn=arn, PolicyDocument=json.dumps(document), SetAsDefault=True)


@contextmanager
def watch_processes(process_data: set[bytes]) -> Iterator[None]:
    """Collect the arguments and environments of this process's descendants while the context lasts."""
    stopped = threading.Event()

    def watch() -> None:
        while not stopped.wait(0.2):
            for process in list_descendants(os.getpid()):
                for name in ("cmdline", "environ"):
                    process_data.add(read_if_exists(Path(f"/proc/{process}/{name}")))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield
    finally:
        stopped.set()
        watcher.join()


def list_descendants(ancestor: int) -> set[int]:
    """Return the ids of the processes below one."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        words = read_if_exists(stat).rpartition(b")")[2].split()
        if words:
            parents[int(stat.parent.name)] = int(words[1])
    family = {ancestor}
    while children := {child for child, parent in parents.items() if parent in family} - family:
        family |= children
    return family - {ancestor}


def read_if_exists(path: Path) -> bytes:
    """Return a file's content; empty if its process has ended."""
    try:
        return path.read_bytes()
    except OSError:
        return b""
