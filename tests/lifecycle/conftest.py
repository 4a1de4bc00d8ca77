"""Tests of whole lifecycles with the real pcluster. `make test-lifecycle` runs them: each takes up to minutes."""

import pytest

from tests.support.recorded_walk import RecordedWalk, record_walk


@pytest.fixture(scope="session")
def walk(tmp_path_factory: pytest.TempPathFactory) -> RecordedWalk:
    """Run the whole path and back once, for all tests of the group `walk`."""
    return record_walk(tmp_path_factory.mktemp("walk"))
