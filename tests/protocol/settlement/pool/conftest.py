"""One chain for the tests of a module; each opens a STATE of its own."""

from collections.abc import Iterator

import pytest

from actors.pool_chain import PoolChain
from tests.builders.pool_batches import ROOT, opened_pool


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Iterator[PoolChain]:
    with opened_pool(tmp_path_factory.mktemp("pool") / "chain") as made:
        yield made


@pytest.fixture
def pool(world: PoolChain) -> PoolChain:
    """With 100,000 sats in the vault."""
    world.open(ROOT, 100_000)
    return world
