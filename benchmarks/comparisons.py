"""The rows of the table: what is measured against what, and how far apart the two may be."""

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from benchmarks.account import CLUSTER, ROOT, calls, go_up, invoke, late, neighbours, run, with_queues
from benchmarks.measure import Command, medians, shell

HERE = Path(__file__).parent
ONE_TASK = 'from invoke import task\n\n\n@task\ndef hello(c):\n    """Say hello."""\n    print("Hello")\n'


class Row(NamedTuple):
    """A row of the table.

    Args:
        what: is measured.
        against: what a person would pick instead, or what cannot be undercut.
        median: of what is measured.
        rival: the median of what it is measured against.
        limit: what the ratio of the two may be at most; None where there is none.
        source: where the limit comes from.
        unit: of the medians.

    """

    what: str
    against: str
    median: float
    rival: float
    limit: float | None
    source: str
    unit: str = "s"


Comparison = Callable[[Path], Iterator[Row]]


def set_up(folder: Path) -> Iterator[Row]:
    """Compare `make setup` with pip, both with nothing in their caches."""
    python, caches = (
        Path(sys.executable).resolve(),
        f"PIP_CACHE_DIR={folder}/pip-cache UV_CACHE_DIR={folder}/uv-cache",
    )
    ours = f"git clone --quiet {ROOT} clone; make --silent -C clone PYTHON={python} setup; clone/.venv/bin/invoke -r clone --list"
    pips = f"{python} -m venv pip; pip/bin/pip install --quiet --require-hashes --requirement {ROOT}/requirements.lock"
    commands = [Command(shell(f"export {caches}; {ours}")), Command(shell(f"export {caches}; {pips}"))]
    times = medians(commands, folder, rounds=1, warm_up=0)
    what, against = (
        "`git clone`, `make setup`, `invoke --list`, with empty caches",
        "`pip install` of the same lock, with an empty cache",
    )
    yield Row(what, against, *times, 1 / 3, "uv installs packages in parallel, pip one by one")


def start(folder: Path) -> Iterator[Row]:
    """Compare what shell completion and a reader wait for with an invoke that has one task."""
    (folder / "tasks.py").write_text(ONE_TASK)
    for ours, floor in {"--list": "--list", "--help render": "--help hello"}.items():
        times = medians([Command(invoke(ours)), Command(invoke(floor, folder))], folder, 15)
        yield Row(f"`invoke {ours}`", "`invoke` with one task", *times, 1.15, "the start of `invoke`")


def render(folder: Path) -> Iterator[Row]:
    """Compare rendering with chevron by hand, and with an invoke that does nothing."""
    (folder / "tasks.py").write_text(ONE_TASK)
    by_hand = f"chevron --data config-parameters.json {ROOT}/config.template.yml"
    commands = [Command(invoke("render")), Command(by_hand), Command(invoke("hello", folder))]
    ours, chevron, floor = medians(commands, folder, 15)
    against = f"`chevron` by hand ({chevron:.2f} s) and a task that does nothing ({floor:.2f} s)"
    yield Row("`invoke render`", against, ours, chevron + floor, 1.3, "both programs have to start")


# The calls of connect-uqle that need each other's answers, at the shortest. What else it asks can be asked beside them.
CHAIN = [
    "describe-stacks: the head node",
    "describe-instances: its subnet",
    "run-instances: in that subnet",
    "describe-instances: whether it runs",
    "describe-instances: its address, which it has when it runs",
]
DELAY = 0.1


def connect(folder: Path) -> Iterator[Row]:
    """Compare connecting the UQLE machine with the same by the aws command line, and with its own second run."""
    away = invoke("disconnect-uqle")
    by_hand = f"{HERE}/connect-uqle.sh {CLUSTER} {CLUSTER} {ROOT}/bootstrap/uqle_instance_ubuntu.sh"
    commands = [
        Command(invoke("connect-uqle"), away),
        Command(invoke("connect-uqle")),
        Command(by_hand, away),
    ]
    first, again, script = medians(commands, folder, 3)
    with late(DELAY):
        late_first, late_again, late_script = medians(commands, folder, 3, warm_up=0)
    what, slowly = "`invoke connect-uqle`", f"each call delayed by {DELAY * 1000:.0f} ms"
    yield Row(what, "the same with `aws`", first, script, 1 / 4, "one start of Python instead of eight")
    yield Row(
        f"{what}, {slowly}",
        "the same with `aws`",
        late_first,
        late_script,
        1 / 3,
        "one start of Python instead of eight",
    )
    delayed, chain = f"{len(CHAIN)} calls", len(CHAIN) * DELAY
    yield Row(
        f"{what}, {slowly}",
        f"the delay of {delayed}",
        late_first,
        chain,
        1.5,
        f"{delayed} depend on each other",
    )
    yield Row(
        "the time that the delay adds", f"the delay of {delayed}", late_first - first, chain, 1.5, "the same"
    )
    yield Row(f"{what} again", "the first run", again, first, 1 / 2, "there is nothing to do")
    yield Row(
        f"{what} again, {slowly}", "the first run", late_again, late_first, 1 / 2, "there is nothing to do"
    )


def status(folder: Path) -> Iterator[Row]:
    """Compare status with pcluster's own."""
    commands = [Command(invoke("status")), Command(f"pcluster describe-cluster --cluster-name {CLUSTER}")]
    yield Row(
        "`invoke status`",
        "`pcluster describe-cluster`",
        *medians(commands, folder, 5),
        1,
        "`describe-cluster` shows less",
    )


def create(folder: Path) -> Iterator[Row]:
    """Compare creating a cluster with pcluster's two commands."""
    away = invoke("delete-cluster --yes")
    command = f"pcluster create-cluster --cluster-name {CLUSTER} --cluster-configuration config.yml"
    by_hand = shell(f"{command} --dryrun true || true; {command}")
    run(invoke("disconnect-uqle"), folder)
    times = medians([Command(invoke("create-cluster"), away), Command(by_hand, away)], folder, 2, warm_up=0)
    run(invoke("connect-uqle"), folder)
    yield Row(
        "`invoke create-cluster`",
        "`pcluster`'s dry run and creation by hand",
        *times,
        1.1,
        "the rest is preparation",
    )


def rehearse(folder: Path) -> Iterator[Row]:
    """Compare the rehearsal with the pcluster commands in it."""
    alone = f"{HERE}/pcluster-alone.sh config.yml {CLUSTER}"
    whole, commands = medians(
        [Command(f"make --silent -C {ROOT} rehearse"), Command(alone)], folder, 1, warm_up=0
    )
    yield Row(
        "`make rehearse`",
        "its `pcluster` commands alone",
        whole,
        commands,
        1.35,
        "the rest is the tasks' own time",
    )
    yield Row("`make rehearse`", "a minute", whole, 60, 1, "readers wait for it")


def queues(folder: Path) -> Iterator[Row]:
    """Compare rendering a template of many queues with one of one: the time may grow as the template does."""
    counts = (1, 10, 50)
    copies = [with_queues(count, folder) for count in counts]
    sizes = [(copy / "config.template.yml").stat().st_size for copy in copies]
    one, *more = medians([Command(invoke("render", copy)) for copy in copies], folder, 5)
    for count, size, seconds in zip(counts[1:], sizes[1:], more, strict=True):
        yield Row(
            f"`invoke render`, {count} queues",
            "one queue",
            seconds,
            one,
            size / sizes[0],
            "the template grows as much",
        )


def clusters(folder: Path) -> Iterator[Row]:
    """Compare the calls to AWS in an account of many clusters with those in an account of one."""
    tasks = {"status": "status", "check": "check", "down": "down --yes --all"}
    alone = [calls(invoke(task), folder) for task in tasks.values()]
    neighbours(19)
    go_up(folder)
    crowded = [calls(invoke(task), folder) for task in tasks.values()]
    for name, many, few in zip(tasks, crowded, alone, strict=True):
        source = "one call lists all clusters"
        yield Row(
            f"`invoke {name}`, 20 clusters in the account", "one cluster", many, few, 1, source, "calls"
        )


SPEED = re.compile(r"^(.+?) +\w+ +([\d.]+) s, .+? +([\d.]+) s, ratio", re.MULTILINE)
BOUNDS = {"HeadNode": 1.25, "ComputeFleet": 1.15}


def nodes(folder: Path) -> Iterator[Row]:
    """Take down the times of nodes that boot: of their scripts, and of jobs on the way into the queue."""
    run = subprocess.run(
        [f"{ROOT}/tests/nodes/run", "-m", "speed"], cwd=folder, stdout=subprocess.PIPE, text=True
    )
    found = {name: (float(median), float(rival)) for name, median, rival in SPEED.findall(run.stdout)}
    if not found:
        raise RuntimeError(f"No node was measured:\n{run.stdout}")
    for name, limit in BOUNDS.items():
        if name in found:
            what, against = f"`on_node_configured_ubuntu.sh`, {name}", "`apt-get install` of its packages"
            yield Row(what, against, *found.pop(name), limit, "the packages have to be installed")
    for name, times in found.items():
        yield Row(
            f"jobs through the REST API, {name}, until accepted",
            "`sbatch` on the head node",
            *times,
            None,
            "no limit is set",
        )


ALONE: dict[str, Comparison] = {"set-up": set_up, "start": start, "nodes": nodes}
IN_AWS: dict[str, Comparison] = {
    "render": render,
    "queues": queues,
    "connect": connect,
    "status": status,
    "create": create,
    "rehearse": rehearse,
    "clusters": clusters,  # the last one: it takes the cluster away
}
