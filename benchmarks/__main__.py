"""`python -m benchmarks [NAME...]` measures, writes results.json, and from it the table in docs/benchmarks.md."""

import datetime
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.account import ROOT, connected_cluster
from benchmarks.comparisons import ALONE, IN_AWS, Comparison, Row

RESULTS = Path(__file__).with_name("results.json")
DOCUMENT = ROOT / "docs" / "benchmarks.md"
START, END = "<!-- benchmarks -->\n", "<!-- end of benchmarks -->"


def main(wanted: list[str]) -> int:
    """Measure what is wanted, or everything, and write it down.

    Returns:
        How many comparisons could not be made. What misses its limit is shown as that, and no failure.

    """
    unknown = set(wanted) - {*ALONE, *IN_AWS}
    if unknown:
        print(
            f"There is no comparison {', '.join(unknown)}, but {', '.join([*ALONE, *IN_AWS])}.",
            file=sys.stderr,
        )
        return 1
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    failed = []
    for name, rows in measured(wanted or [*ALONE, *IN_AWS]):
        if not rows:
            failed.append(name)
            continue
        print(f"{name}\n{table(rows)}", flush=True)
        write_down(name, rows)
    return len(failed)


def attempted(comparison: Comparison, folder: Path) -> list[Row]:
    """Make a comparison; when it fails say why, and give nothing: the others are made all the same."""
    try:
        return list(comparison(folder))
    except (subprocess.CalledProcessError, RuntimeError) as error:
        print(error, file=sys.stderr)
        return []


def write_down(name: str, rows: list[Row]) -> None:
    """Put the rows of a comparison in the place of those that were measured before."""
    told = json.loads(RESULTS.read_text())["rows"] | {name: [row._asdict() for row in rows]}
    results = {
        "machine": f"{os.cpu_count()} cores, Python {platform.python_version()}, {datetime.date.today()}",
        "rows": {name: told[name] for name in [*ALONE, *IN_AWS] if name in told},
    }
    RESULTS.write_text(json.dumps(results, indent=2) + "\n")
    before, _, rest = DOCUMENT.read_text().partition(START)
    DOCUMENT.write_text(f"{before}{START}{shown(results)}{END}{rest.partition(END)[2]}")


def measured(names: list[str]) -> Iterator[tuple[str, list[Row]]]:
    """Give the rows of each comparison."""
    if "nodes" in names and os.geteuid():
        print("nodes is left out: machines are booted for it, which needs root.", file=sys.stderr)
        names = [name for name in names if name != "nodes"]
    for name in [name for name in ALONE if name in names]:
        with tempfile.TemporaryDirectory() as folder:
            yield name, attempted(ALONE[name], Path(folder))
    if IN_AWS.keys() & names:
        with connected_cluster() as folder:
            for name in [name for name in IN_AWS if name in names]:
                yield name, attempted(IN_AWS[name], folder)


def table(rows: list[Row]) -> str:
    """Give rows as a table."""
    lines = []
    for row in rows:
        ratio = row.median / row.rival
        bound = (
            "none" if row.limit is None else f"{row.limit:.2f}{'' if ratio <= row.limit else ', **missed**'}"
        )
        medians = f"{row.median:.3g} against {row.rival:.3g} {row.unit}"
        lines.append(f"| {row.what} | {row.against} | {ratio:.2f} | {medians} | {bound} | {row.source} |")
    return "\n".join(lines)


def shown(results: dict[str, Any]) -> str:
    """Return the table of the results, as docs/benchmarks.md shows it."""
    head = "| measured | compared with | ratio | medians | limit | reason for the limit |\n| --- | --- | --- | --- | --- | --- |"
    rows = [Row(**row) for rows in results["rows"].values() for row in rows]
    return f"{head}\n{table(rows)}\n\nMeasured on {results['machine']}.\n"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
