"""Inject faults into every call with --every-fault (`make test-faults`), and into a sample of calls without."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--every-fault", action="store_true", help="inject every fault into every call")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "whole: runs only with --every-fault, because it is too slow for `make test-lifecycle`"
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("--every-fault", default=False):
        config.hook.pytest_deselected(items=[item for item in items if item.get_closest_marker("whole")])
        items[:] = [item for item in items if not item.get_closest_marker("whole")]


def pytest_terminal_summary(terminalreporter) -> None:
    reports = [
        report
        for kind in terminalreporter.stats.values()
        for report in kind
        if getattr(report, "when", "") == "call"
    ]
    properties = [each for report in reports for each in report.user_properties]
    count = {
        name: sum(number for key, number in properties if key == name) for name in ("injected", "survived")
    }
    if count["injected"]:
        terminalreporter.write_line(f"{count['injected']} faults injected, {count['survived']} survived")


@pytest.fixture(scope="session")
def every(pytestconfig) -> bool:
    return pytestconfig.getoption("--every-fault", default=False)
