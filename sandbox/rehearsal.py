"""Run the README's steps in the emulated AWS, then remove everything again. `make rehearse` runs this.

Each step is an `invoke` process in an empty folder, as a user would run it. The created resources are read
from the emulated account, not from the output of the step.
"""

import json
import shutil
import subprocess
import sys
import tempfile
import textwrap
import time
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from sandbox import Inventory, Resource, emulated_aws, list_resources
from sandbox.api_calls import client
from sandbox.environment import DEFAULT_REGION

ROOT = Path(__file__).parent.parent
INVOKE = [str(Path(sys.executable).with_name("invoke")), "--search-root", str(ROOT)]


class Step(NamedTuple):
    """A step of the README.

    Attributes:
        task: the task and its flags.
        creates: the kinds of the resources that it must create.
        writes: the file that it must write.

    """

    task: str
    creates: frozenset[str] = frozenset()
    writes: str = ""


NETWORK = {"VPC", "subnet", "internet gateway", "NAT gateway", "Elastic IP", "route table", "stack"}
CLUSTER = {
    *("stack", "instance", "security group", "file system", "role"),
    *("launch template", "dashboard", "log group"),
}
STEPS = [
    Step("create-key-pair", frozenset({"key pair"})),
    Step("check"),
    Step("configure", frozenset(NETWORK), "temp-config.yml"),
    Step("upload-bootstrap", frozenset({"bucket", "object"})),
    Step("create-jwt-key", frozenset({"secret", "policy"})),
    Step("fill-parameters --ssh-from 203.0.113.7/32", writes="config-parameters.json"),
    Step("render", writes="config.yml"),
    Step("create-cluster", frozenset(CLUSTER)),
    Step("allow-head-node-group", frozenset({"inbound rule"})),
    Step("create-instance", frozenset({"instance", "volume"})),
    Step("handover", writes="uqle.env"),
    Step("status"),
]
FILE_SYSTEM = "FILE_SYSTEM"  # the parameter of a template for an existing file system
TEARDOWN = Step("down --yes --all")
LEFT_ON_PURPOSE = {
    "key pair": "free; ~/.ssh has the only copy of its private key",
    "log group": "the nodes' logs, kept for 180 days",
    "bucket": "pcluster's own, shared by all clusters in the region",
    "object": "pcluster's own, a few kilobytes",
    "secret to be deleted": "free; AWS deletes it in 7 days",
}


class StepResult(NamedTuple):
    """The result of a step.

    Attributes:
        task: the task and its flags.
        seconds: how long it took.
        changes: what it created and wrote.
        error: what is wrong; empty if nothing is.

    """

    task: str
    seconds: float
    changes: str
    error: str


def main(template: str = "") -> int:
    """Run all steps, then print the results.

    Args:
        template: the path of a template to put into the folder as config.template.yml; empty for none.

    Returns:
        0 if each step succeeded, and everything was removed except what is left on purpose.

    """
    if template and not Path(template).is_file():
        print(f"There is no template {template}.")
        return 1
    start = time.monotonic()
    print(
        "Rehearsal in an emulated AWS: no account is used, nothing costs money, no machine boots.", flush=True
    )
    results = []
    with emulated_aws(), tempfile.TemporaryDirectory(prefix="rehearsal-") as folder:
        if template:
            shutil.copyfile(template, Path(folder) / "config.template.yml")
        takes_file_system = bool(template) and FILE_SYSTEM in Path(template).read_text()
        initial = inventory = list_resources(DEFAULT_REGION)
        for step in STEPS:
            if takes_file_system and step.task == "render":
                create_file_system(Path(folder) / "config-parameters.json")
                inventory = list_resources(DEFAULT_REGION)
            if takes_file_system and step.task == "create-cluster":
                step = step._replace(creates=step.creates - {"file system"})
            result, inventory = run_step(step, Path(folder), inventory)
            results.append(result)
            if result.error:
                break
        if takes_file_system:
            delete_file_systems()
            inventory = list_resources(DEFAULT_REGION)
        result, inventory = run_step(TEARDOWN, Path(folder), inventory)
        results.append(result)
    left = inventory - initial
    print(format_results(results), flush=True)
    print(format_left_resources(left))
    errors = [f"{result.task}: {result.error}" for result in results if result.error]
    errors += [
        f"not removed: {resource.kind} {resource.id}"
        for resource in sorted(left)
        if not is_left_on_purpose(resource)
    ]
    if errors:
        print(*errors, sep="\n")
        return 1
    print(f"\nAll steps succeeded in {time.monotonic() - start:.0f} s. Nothing is left that costs money.")
    return 0


def create_file_system(parameter_file: Path) -> None:
    """Create, in the cluster's zone, the existing file system that a template mounts.

    Args:
        parameter_file: config-parameters.json, to which the file system's id is written.

    """
    ec2, efs = client("ec2", DEFAULT_REGION), client("efs", DEFAULT_REGION)
    parameters = json.loads(parameter_file.read_text())
    [subnet] = ec2.describe_subnets(SubnetIds=[parameters["PRIVATE_SUBNET"]])["Subnets"]
    [vpc] = ec2.describe_vpcs(VpcIds=[subnet["VpcId"]])["Vpcs"]
    group = ec2.create_security_group(GroupName="nfs", Description="NFS", VpcId=vpc["VpcId"])["GroupId"]
    nfs = {"IpProtocol": "tcp", "FromPort": 2049, "ToPort": 2049, "IpRanges": [{"CidrIp": vpc["CidrBlock"]}]}
    ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[nfs])
    file_system = efs.create_file_system(CreationToken="existing")["FileSystemId"]
    efs.create_mount_target(FileSystemId=file_system, SubnetId=subnet["SubnetId"], SecurityGroups=[group])
    parameter_file.write_text(json.dumps(parameters | {FILE_SYSTEM: file_system}, indent=2))
    print(f"\n=== Created {file_system}, and wrote it to {parameter_file.name} as {FILE_SYSTEM}", flush=True)


def delete_file_systems() -> None:
    """Delete the existing file system: otherwise the teardown would keep the network."""
    ec2, efs = client("ec2", DEFAULT_REGION), client("efs", DEFAULT_REGION)
    for file_system in efs.describe_file_systems(CreationToken="existing")["FileSystems"]:
        file_system_id = file_system["FileSystemId"]
        [target] = efs.describe_mount_targets(FileSystemId=file_system_id)["MountTargets"]
        [group] = efs.describe_mount_target_security_groups(MountTargetId=target["MountTargetId"])[
            "SecurityGroups"
        ]
        efs.delete_mount_target(MountTargetId=target["MountTargetId"])
        efs.delete_file_system(FileSystemId=file_system_id)
        ec2.delete_security_group(GroupId=group)
        print(f"\n=== Deleted {file_system_id}, which would keep the network", flush=True)


def run_step(step: Step, folder: Path, before: Inventory) -> tuple[StepResult, Inventory]:
    """Run a step, and compare the account before and after it.

    Args:
        step: the step.
        folder: the current folder of the process.
        before: the inventory before the step.

    Returns:
        The result, and the inventory after the step.

    """
    print(f"\n=== invoke {step.task}", flush=True)
    start = time.monotonic()
    status = subprocess.run([*INVOKE, *step.task.split()], cwd=folder, stdin=subprocess.DEVNULL).returncode
    seconds = time.monotonic() - start
    after = list_resources(DEFAULT_REGION)
    created = Counter(resource.kind for resource in after - before)
    missing = sorted(step.creates - created.keys())
    error = ""
    if status:
        error = f"exit status {status}"
    elif missing:
        error = f"did not create: {', '.join(missing)}"
    elif step.writes and not (folder / step.writes).exists():
        error = f"did not write {step.writes}"
    changes = [step.writes] if step.writes else []
    changes += [f"{kind} ({count})" if count > 1 else kind for kind, count in sorted(created.items())]
    if step == TEARDOWN:
        changes.append(f"{len(before - after)} resources deleted")
    return StepResult(step.task, seconds, ", ".join(changes), error), after


def is_left_on_purpose(resource: Resource) -> bool:
    """Return whether the teardown keeps a resource; of buckets and objects, it keeps only pcluster's."""
    if resource.kind in ("bucket", "object"):
        return resource.id.removeprefix("s3://").startswith("parallelcluster-")
    return resource.kind in LEFT_ON_PURPOSE


def format_results(results: list[StepResult]) -> str:
    """Return a table of the results, 80 columns wide."""
    lines = ["", f"{'step':30} {'time':>6}  created"]
    for result in results:
        first, *rest = textwrap.wrap(result.error or result.changes or "nothing", 40)
        lines.append(f"{result.task.split(' --')[0]:30} {result.seconds:5.1f}s  {first}")
        lines += [f"{'':39}{line}" for line in rest]
    return "\n".join(lines)


def format_left_resources(left: Inventory) -> str:
    """Return what was left on purpose, and why."""
    counts = Counter(resource.kind for resource in left if resource.kind in LEFT_ON_PURPOSE)
    lines = ["", "Left on purpose:"]
    for kind, count in sorted(counts.items()):
        lines.append(f"  {count} {kind}{'s' if count > 1 else ''}: {LEFT_ON_PURPOSE[kind]}")
    return "\n".join(lines)


if __name__ == "__main__":
    try:
        sys.exit(main(*sys.argv[1:]))
    except KeyboardInterrupt:
        print("\nStopped. The emulated AWS and everything in it is deleted.")
        sys.exit(130)
