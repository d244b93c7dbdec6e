"""Fixtures for the whole run: one Ray cluster, started only if a test needs it."""

import pytest
from hypothesis import settings

from actors.runtime import local_cluster

settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")


@pytest.fixture(scope="session")
def cluster():
    """The one Ray cluster of the test run."""
    with local_cluster(cpus=4):
        yield


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest comes first: with `-n 2 --dist loadgroup` each test goes to the process
    that is free."""
    items.sort(key=lambda item: item.path.parent.name not in ("e2e", "fault"))
