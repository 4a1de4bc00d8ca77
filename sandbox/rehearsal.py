"""The README's whole path in the emulated AWS, and back: what `make rehearse` runs.

Each step is the task that a person runs, as a process of its own, in an empty folder. What it made is read from the
emulated account, not from what the step says of itself.
"""

import subprocess
import sys
import tempfile
import textwrap
import time
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from sandbox import Inventory, Thing, emulated_aws, inventory
from sandbox.environment import DEFAULT_REGION

ROOT = Path(__file__).parent.parent
INVOKE = [str(Path(sys.executable).with_name("invoke")), "--search-root", str(ROOT)]


class Step(NamedTuple):
    """A step of the README.

    Args:
        task: the task and its flags.
        makes: the kinds of things in the account without which it did not do what it says.
        writes: the file that it leaves in the folder.
    """

    task: str
    makes: frozenset[str] = frozenset()
    writes: str = ""


NETWORK = {"VPC", "subnet", "internet gateway", "NAT gateway", "Elastic IP", "route table", "stack"}
CLUSTER = {
    "stack",
    "instance",
    "security group",
    "file system",
    "role",
    "launch template",
    "dashboard",
    "log group",
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
BACK = "down --yes --all"
LEFT_ON_PURPOSE = {
    "key pair": "costs nothing; its private half in ~/.ssh is the only one",
    "log group": "the nodes' logs, kept 180 days to look failures up",
    "bucket": "pcluster's own, shared by all clusters of the region",
    "object": "pcluster's own, a few kilobytes",
    "secret to be deleted": "gone for good in 7 days, free until then",
}


def on_purpose(thing: Thing) -> bool:
    """Say whether a thing is left on purpose: of buckets and what is in them, only pcluster's own."""
    bucket = thing.id.removeprefix("s3://")
    return thing.kind in LEFT_ON_PURPOSE and (
        thing.kind not in ("bucket", "object") or bucket.startswith("parallelcluster-")
    )


class Done(NamedTuple):
    """A step that was walked: the task, how long it took, what it made, and what is wrong with that."""

    task: str
    seconds: float
    made: str
    fault: str


def main() -> int:
    """Walk the path, and say what came of it.

    Returns:
        0 when each step did what it says, and nothing is left that was not left on purpose.
    """
    began = time.monotonic()
    print(
        "Rehearsal in an emulated AWS: no account is used, nothing costs money, no machine boots.", flush=True
    )
    with emulated_aws(), tempfile.TemporaryDirectory(prefix="rehearsal-") as folder:
        empty = inventory(DEFAULT_REGION)
        before, walked = empty, []
        for step in STEPS:
            done, before = walk(step, Path(folder), before)
            walked.append(done)
            if done.fault:
                break
        back, after = walk(Step(BACK), Path(folder), before)
        walked.append(back)
    left = after - empty
    print(table(walked), flush=True)
    print(leftovers(left))
    faults = [f"{done.task}: {done.fault}" for done in walked if done.fault]
    faults += [f"{thing.kind} {thing.id} is left" for thing in sorted(left) if not on_purpose(thing)]
    print(
        "\n".join(faults)
        or f"\nEvery step did what it says, in {time.monotonic() - began:.0f} s, and nothing is left that costs."
    )
    return 1 if faults else 0


def walk(step: Step, folder: Path, before: Inventory) -> tuple[Done, Inventory]:
    """Run a step, and compare the account before and after it.

    Args:
        step: the step.
        folder: where it is run.
        before: what the account held.

    Returns:
        What came of it, and what the account holds now.
    """
    print(f"\n=== invoke {step.task}", flush=True)
    began = time.monotonic()
    status = subprocess.run([*INVOKE, *step.task.split()], cwd=folder, stdin=subprocess.DEVNULL).returncode
    seconds = time.monotonic() - began
    after = inventory(DEFAULT_REGION)
    made = Counter(thing.kind for thing in after - before)
    gone = len(before - after)
    absent = sorted(step.makes - made.keys())
    fault = ""
    if status:
        fault = f"ended with status {status}"
    elif absent:
        fault = f"made no {', no '.join(absent)}"
    elif step.writes and not (folder / step.writes).exists():
        fault = f"did not write {step.writes}"
    told = [step.writes] if step.writes else []
    told += [f"{kind} ({count})" if count > 1 else kind for kind, count in sorted(made.items())]
    told += [f"{gone} things taken away"] if step.task == BACK else []
    return Done(step.task, seconds, ", ".join(told), fault), after


def table(walked: list[Done]) -> str:
    """Give the steps as a table of 80 columns."""
    lines = ["", f"{'step':30} {'time':>6}  what it made"]
    for done in walked:
        words = textwrap.wrap(done.fault or done.made or "nothing", 40)
        lines.append(f"{done.task.split(' --')[0]:30} {done.seconds:5.1f}s  {words[0]}")
        lines += [f"{'':39}{line}" for line in words[1:]]
    return "\n".join(lines)


def leftovers(left: Inventory) -> str:
    """Say what was left on purpose, and why."""
    kinds = Counter(thing.kind for thing in left if thing.kind in LEFT_ON_PURPOSE)
    lines = [
        f"  {count} {kind}{'s' if count > 1 else ''}: {LEFT_ON_PURPOSE[kind]}"
        for kind, count in sorted(kinds.items())
    ]
    return "\n".join(["", "Left behind on purpose:", *lines])


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        print("\nStopped: the emulated AWS is gone, and all that was in it.")
        sys.exit(130)
