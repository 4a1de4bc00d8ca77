"""Tests of whole lifecycles with the real pcluster, which take up to minutes. `make test-lifecycle` runs them."""

import pytest

from tests.support.recorded_walk import RecordedWalk, record_walk


@pytest.fixture(scope="session")
def walk(tmp_path_factory: pytest.TempPathFactory) -> RecordedWalk:
    """Run all steps, from creation to teardown, once for all tests of the group `walk`."""
    return record_walk(tmp_path_factory.mktemp("walk"))
