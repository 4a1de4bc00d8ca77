"""The rows of the table: what is measured, what it is compared with, and the limit of the ratio."""

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from benchmarks.account import (
    CLUSTER,
    ROOT,
    copy_with_queues,
    count_calls,
    create_cluster,
    create_other_clusters,
    delay_calls,
    format_invoke,
    run,
)
from benchmarks.measure import Command, format_script, measure_medians

HERE = Path(__file__).parent
ONE_TASK = (
    'from invoke import task\n\n\n@task\ndef hello(c):\n    """Print a greeting."""\n    print("Hello")\n'
)


class Row(NamedTuple):
    """A row of the table.

    Attributes:
        measured: what is measured.
        compared_with: what a user would use instead, or a lower bound.
        median: the median of what is measured.
        other_median: the median of what it is compared with.
        limit: the highest accepted ratio of the two; None if there is no limit.
        reason: the reason for the limit.
        unit: the unit of the medians.

    """

    measured: str
    compared_with: str
    median: float
    other_median: float
    limit: float | None
    reason: str
    unit: str = "s"


Comparison = Callable[[Path], Iterator[Row]]


def compare_setup(folder: Path) -> Iterator[Row]:
    """Compare `make setup` with pip, both with empty caches."""
    python = Path(sys.executable).resolve()
    caches = f"export PIP_CACHE_DIR={folder}/pip-cache UV_CACHE_DIR={folder}/uv-cache"
    with_make = (
        f"{caches}; git clone --quiet {ROOT} clone; make --silent -C clone PYTHON={python} setup;"
        " clone/.venv/bin/invoke -r clone --list"
    )
    with_pip = (
        f"{caches}; {python} -m venv pip;"
        f" pip/bin/pip install --quiet --require-hashes --requirement {ROOT}/requirements.lock"
    )
    commands = [Command(format_script(with_make)), Command(format_script(with_pip))]
    make, pip = measure_medians(commands, folder, rounds=1, warm_up=0)
    yield Row(
        "`git clone`, `make setup`, `invoke --list`, with empty caches",
        "`pip install` of the same lock, with an empty cache",
        make,
        pip,
        1 / 3,
        "uv installs packages in parallel, pip one by one",
    )


def compare_start(folder: Path) -> Iterator[Row]:
    """Compare the start of `invoke` with that of an `invoke` that has one task."""
    (folder / "tasks.py").write_text(ONE_TASK)
    for flags, flags_of_one_task in {"--list": "--list", "--help render": "--help hello"}.items():
        commands = [Command(format_invoke(flags)), Command(format_invoke(flags_of_one_task, folder))]
        ours, one_task = measure_medians(commands, folder, 15)
        yield Row(
            f"`invoke {flags}`", "`invoke` with one task", ours, one_task, 1.15, "the start of `invoke`"
        )


def compare_render(folder: Path) -> Iterator[Row]:
    """Compare `invoke render` with chevron and a task that does nothing."""
    (folder / "tasks.py").write_text(ONE_TASK)
    by_hand = f"chevron --data config-parameters.json {ROOT}/config.template.yml"
    commands = [format_invoke("render"), by_hand, format_invoke("hello", folder)]
    render, chevron, hello = measure_medians([Command(line) for line in commands], folder, 15)
    yield Row(
        "`invoke render`",
        f"`chevron` by hand ({chevron:.2f} s) and a task that does nothing ({hello:.2f} s)",
        render,
        chevron + hello,
        1.3,
        "both programs have to start",
    )


# The longest chain of calls of connect-uqle in which each call needs the response of the previous one.
# All other calls can run at the same time.
DEPENDENT_CALLS = [
    "describe-stacks: the head node",
    "describe-instances: its subnet",
    "run-instances: in that subnet",
    "describe-instances: whether it is running",
    "describe-instances: its address, once it is running",
]
DELAY_SECONDS = 0.1


def compare_connect(folder: Path) -> Iterator[Row]:
    """Compare `invoke connect-uqle` with the same calls by `aws`, and with its own second run."""
    disconnect = format_invoke("disconnect-uqle")
    by_hand = f"{HERE}/connect-uqle.sh {CLUSTER} {CLUSTER} {ROOT}/bootstrap/uqle_instance_ubuntu.sh"
    commands = [
        Command(format_invoke("connect-uqle"), disconnect),
        Command(format_invoke("connect-uqle")),
        Command(by_hand, disconnect),
    ]
    first, again, script = measure_medians(commands, folder, 3)
    with delay_calls(DELAY_SECONDS):
        slow_first, slow_again, slow_script = measure_medians(commands, folder, 3, warm_up=0)
    task = "`invoke connect-uqle`"
    slow = f"each call delayed by {DELAY_SECONDS * 1000:.0f} ms"
    with_aws, one_start = "the same with `aws`", "one start of Python instead of eight"
    yield Row(task, with_aws, first, script, 1 / 4, one_start)
    yield Row(f"{task}, {slow}", with_aws, slow_first, slow_script, 1 / 3, one_start)
    calls, delay = f"{len(DEPENDENT_CALLS)} calls", len(DEPENDENT_CALLS) * DELAY_SECONDS
    the_delay = f"the delay of {calls}"
    yield Row(f"{task}, {slow}", the_delay, slow_first, delay, 1.5, f"{calls} depend on each other")
    yield Row("the time that the delay adds", the_delay, slow_first - first, delay, 1.5, "the same")
    nothing_to_do = "there is nothing to do"
    yield Row(f"{task} again", "the first run", again, first, 1 / 2, nothing_to_do)
    yield Row(f"{task} again, {slow}", "the first run", slow_again, slow_first, 1 / 2, nothing_to_do)


def compare_status(folder: Path) -> Iterator[Row]:
    """Compare `invoke status` with pcluster's own command."""
    commands = [
        Command(format_invoke("status")),
        Command(f"pcluster describe-cluster --cluster-name {CLUSTER}"),
    ]
    status, describe = measure_medians(commands, folder, 5)
    yield Row(
        "`invoke status`", "`pcluster describe-cluster`", status, describe, 1, "`describe-cluster` shows less"
    )


def compare_create(folder: Path) -> Iterator[Row]:
    """Compare `invoke create-cluster` with pcluster's two commands."""
    delete = format_invoke("delete-cluster --yes")
    command = f"pcluster create-cluster --cluster-name {CLUSTER} --cluster-configuration config.yml"
    by_hand = format_script(f"{command} --dryrun true || true; {command}")
    commands = [Command(format_invoke("create-cluster"), delete), Command(by_hand, delete)]
    run(format_invoke("disconnect-uqle"), folder)
    create, pcluster = measure_medians(commands, folder, 2, warm_up=0)
    run(format_invoke("connect-uqle"), folder)
    yield Row(
        "`invoke create-cluster`",
        "`pcluster`'s dry run and creation by hand",
        create,
        pcluster,
        1.1,
        "the rest is preparation",
    )


def compare_rehearsal(folder: Path) -> Iterator[Row]:
    """Compare the rehearsal with the pcluster commands in it, and with a minute."""
    commands = [
        Command(f"make --silent -C {ROOT} rehearse"),
        Command(f"{HERE}/pcluster-alone.sh config.yml {CLUSTER}"),
    ]
    rehearsal, pcluster = measure_medians(commands, folder, 1, warm_up=0)
    task = "`make rehearse`"
    yield Row(
        task, "its `pcluster` commands alone", rehearsal, pcluster, 1.35, "the rest is the tasks' own time"
    )
    yield Row(task, "a minute", rehearsal, 60, 1, "readers wait for it")


def compare_queues(folder: Path) -> Iterator[Row]:
    """Compare `invoke render` for many queues and for one. Its time may grow as much as the template."""
    counts = (1, 10, 50)
    copies = [copy_with_queues(count, folder) for count in counts]
    sizes = [(copy / "config.template.yml").stat().st_size for copy in copies]
    medians = measure_medians([Command(format_invoke("render", copy)) for copy in copies], folder, 5)
    for count, size, median in list(zip(counts, sizes, medians, strict=True))[1:]:
        yield Row(
            f"`invoke render`, {count} queues",
            "one queue",
            median,
            medians[0],
            size / sizes[0],
            "the template grows as much",
        )


def compare_clusters(folder: Path) -> Iterator[Row]:
    """Compare the number of calls to AWS in an account with many clusters and with one."""
    tasks = {"status": "status", "check": "check", "down": "down --yes --all"}
    with_one = [count_calls(format_invoke(task), folder) for task in tasks.values()]
    create_other_clusters(19)
    create_cluster(folder)
    with_many = [count_calls(format_invoke(task), folder) for task in tasks.values()]
    for name, many, one in zip(tasks, with_many, with_one, strict=True):
        measured = f"`invoke {name}`, 20 clusters in the account"
        yield Row(measured, "one cluster", many, one, 1, "one call lists all clusters", "calls")


NODE_TIMES = re.compile(r"^(.+?) +\w+ +([\d.]+) s, .+? +([\d.]+) s, ratio", re.MULTILINE)
NODE_LIMITS = {"HeadNode": 1.25, "ComputeFleet": 1.15}


def compare_nodes(folder: Path) -> Iterator[Row]:
    """Read the times of booted nodes: of their boot scripts, and of submitting jobs."""
    result = subprocess.run(
        [f"{ROOT}/tests/nodes/run", "-m", "speed"], cwd=folder, stdout=subprocess.PIPE, text=True
    )
    times = {name: (float(median), float(other)) for name, median, other in NODE_TIMES.findall(result.stdout)}
    if not times:
        raise RuntimeError(f"No node was measured:\n{result.stdout}")
    for name, limit in NODE_LIMITS.items():
        if name in times:
            script, apt_get = times.pop(name)
            yield Row(
                f"`on_node_configured_ubuntu.sh`, {name}",
                "`apt-get install` of its packages",
                script,
                apt_get,
                limit,
                "the packages have to be installed",
            )
    for name, (rest_api, sbatch) in times.items():
        measured = f"jobs through the REST API, {name}, until accepted"
        yield Row(measured, "`sbatch` on the head node", rest_api, sbatch, None, "no limit is set")


WITHOUT_CLUSTER: dict[str, Comparison] = {
    "set-up": compare_setup,
    "start": compare_start,
    "nodes": compare_nodes,
}
WITH_CLUSTER: dict[str, Comparison] = {
    "render": compare_render,
    "queues": compare_queues,
    "connect": compare_connect,
    "status": compare_status,
    "create": compare_create,
    "rehearse": compare_rehearsal,
    "clusters": compare_clusters,  # must be last: it deletes the cluster
}
