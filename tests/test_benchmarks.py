"""docs/benchmarks.md shows the results of the last `make bench`. No test measures the figures themselves."""

import json

from benchmarks.__main__ import DOCUMENT, RESULTS, format_results, format_rows
from benchmarks.comparisons import WITH_CLUSTER, WITHOUT_CLUSTER, Row


def test_document_shows_the_last_results():
    assert format_results(json.loads(RESULTS.read_text())) in DOCUMENT.read_text()


def test_each_comparison_has_a_result():
    assert [*json.loads(RESULTS.read_text())["rows"]] == [*WITHOUT_CLUSTER, *WITH_CLUSTER]


def test_missed_limits_are_marked():
    row = Row("`a`", "`b`", 1.2, 1.0, 1.1, "why")
    assert format_rows([row]) == "| `a` | `b` | 1.20 | 1.2 against 1 s | 1.10, **missed** | why |"
    assert format_rows([row._replace(limit=1.25)]) == "| `a` | `b` | 1.20 | 1.2 against 1 s | 1.25 | why |"
    assert format_rows([row._replace(limit=None)]) == "| `a` | `b` | 1.20 | 1.2 against 1 s | none | why |"
