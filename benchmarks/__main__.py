"""`python -m benchmarks [NAME...]` measures, then writes results.json and the table in docs/benchmarks.md."""

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
from benchmarks.comparisons import WITH_CLUSTER, WITHOUT_CLUSTER, Comparison, Row

RESULTS = Path(__file__).with_name("results.json")
DOCUMENT = ROOT / "docs" / "benchmarks.md"
START, END = "<!-- benchmarks -->\n", "<!-- end of benchmarks -->"
NAMES = [*WITHOUT_CLUSTER, *WITH_CLUSTER]
HEADER = """\
| measured | compared with | ratio | medians | limit | reason for the limit |
| --- | --- | --- | --- | --- | --- |"""


def main(names: list[str]) -> int:
    """Measure the named comparisons, or all of them, and save the results.

    Returns:
        The number of comparisons that failed. A missed limit is not a failure: the table marks it.

    """
    unknown = [name for name in names if name not in NAMES]
    if unknown:
        print(f"Unknown comparison {', '.join(unknown)}. Use {', '.join(NAMES)}.", file=sys.stderr)
        return 1
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    failures = 0
    for name, rows in run_comparisons(names or NAMES):
        if not rows:
            failures += 1
            continue
        print(f"{name}\n{format_rows(rows)}", flush=True)
        save_rows(name, rows)
    return failures


def run_comparisons(names: list[str]) -> Iterator[tuple[str, list[Row]]]:
    """Yield the rows of each comparison; none if it failed."""
    if "nodes" in names and os.geteuid():
        print("Skipping nodes: booting machines needs root.", file=sys.stderr)
        names = [name for name in names if name != "nodes"]
    for name in [name for name in WITHOUT_CLUSTER if name in names]:
        with tempfile.TemporaryDirectory() as folder:
            yield name, run_comparison(WITHOUT_CLUSTER[name], Path(folder))
    if WITH_CLUSTER.keys() & names:
        with connected_cluster() as cluster_folder:
            for name in [name for name in WITH_CLUSTER if name in names]:
                yield name, run_comparison(WITH_CLUSTER[name], cluster_folder)


def run_comparison(comparison: Comparison, folder: Path) -> list[Row]:
    """Return the rows of a comparison; if it fails, print why and return none."""
    try:
        return list(comparison(folder))
    except (subprocess.CalledProcessError, RuntimeError) as error:
        print(error, file=sys.stderr)
        return []


def save_rows(name: str, rows: list[Row]) -> None:
    """Replace the rows of a comparison in results.json, and the table in the document."""
    saved = json.loads(RESULTS.read_text())["rows"] | {name: [row._asdict() for row in rows]}
    results = {
        "machine": f"{os.cpu_count()} cores, Python {platform.python_version()}, {datetime.date.today()}",
        "rows": {name: saved[name] for name in NAMES if name in saved},
    }
    RESULTS.write_text(json.dumps(results, indent=2) + "\n")
    before, _, rest = DOCUMENT.read_text().partition(START)
    DOCUMENT.write_text(f"{before}{START}{format_results(results)}{END}{rest.partition(END)[2]}")


def format_results(results: dict[str, Any]) -> str:
    """Return the table of the results, as docs/benchmarks.md shows it."""
    rows = [Row(**row) for rows in results["rows"].values() for row in rows]
    return f"{HEADER}\n{format_rows(rows)}\n\nMeasured on {results['machine']}.\n"


def format_rows(rows: list[Row]) -> str:
    """Return rows of the table."""
    return "\n".join(format_row(row) for row in rows)


def format_row(row: Row) -> str:
    """Return one row of the table."""
    ratio, limit = row.median / row.other_median, "none"
    if row.limit is not None:
        limit = f"{row.limit:.2f}" if ratio <= row.limit else f"{row.limit:.2f}, **missed**"
    medians = f"{row.median:.3g} against {row.other_median:.3g} {row.unit}"
    cells = [row.measured, row.compared_with, f"{ratio:.2f}", medians, limit, row.reason]
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
