"""Fixtures for the whole run: one Ray cluster, started only if a test needs it."""

from pathlib import Path
from typing import Final

import pytest
from hypothesis import settings

from actors.runtime import local_cluster

OPT_IN: Final = Path(__file__).parent / "netns"

settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")


@pytest.fixture(scope="session")
def cluster():
    """The one Ray cluster of the test run."""
    with local_cluster(cpus=4):
        yield


def pytest_report_header() -> str:
    """What a run without arguments leaves out."""
    return "not collected unless named: tests/netns (`make test-netns`: root, iproute2)"


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """The tests that change network namespaces run only where they are asked for by path."""
    if collection_path != OPT_IN:
        return None
    asked = (config.invocation_params.dir / arg.partition("::")[0] for arg in config.args)
    return None if any(path.resolve().is_relative_to(OPT_IN) for path in asked) else True


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest comes first: with `-n 2 --dist loadgroup` each test goes to the process
    that is free."""
    items.sort(key=lambda item: item.path.parent.name not in ("e2e", "fault"))
