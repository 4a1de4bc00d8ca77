"""Tests of the page in a real Chromium. `make test-browser` runs them; a plain `pytest` does not."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from scripts import screenshots

HERE = Path(__file__).parent


def pytest_ignore_collect(config: pytest.Config) -> bool | None:
    return None if config.rootpath == HERE else True


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    try:
        with screenshots.start_browser() as browser:
            yield browser
    except SystemExit as needed:
        pytest.fail(str(needed), pytrace=False)
