"""Fixtures for the whole run: one Ray cluster, started only if a test needs it."""

import pytest

from actors.runtime import local_cluster


@pytest.fixture(scope="session")
def cluster():
    """The one Ray cluster of the test run."""
    with local_cluster(cpus=4):
        yield
