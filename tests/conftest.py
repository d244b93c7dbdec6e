"""Fixtures for the whole run: one Ray cluster, started only if a test needs it."""

import pytest
from hypothesis import settings

from actors.runtime import local_cluster

settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")

PROCESSES = "processes"


@pytest.fixture(scope="session")
def cluster():
    """The one Ray cluster of the test run."""
    with local_cluster(cpus=4):
        yield


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """For `pytest -n 2 --dist loadgroup`: tests of real processes come first and one after the
    other, beside the pure ones, of which a file stays together."""
    for item in items:
        item.add_marker(pytest.mark.xdist_group(_group(item)))
    items.sort(key=lambda item: _group(item) != PROCESSES)


def _group(item: pytest.Item) -> str:
    uses_ray = "cluster" in getattr(item, "fixturenames", ())
    return PROCESSES if uses_ray or item.path.parent.name in ("e2e", "fault") else item.path.stem
