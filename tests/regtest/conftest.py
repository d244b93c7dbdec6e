"""A chain with mature coins, and what tests do with it."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from protocol.bitcoin.tx import Coin, transaction, txin, txout
from protocol.crypto.keys import SecretKey
from regtest.kernel import KernelChain
from regtest.wallet import Wallet

AUX = bytes(32)
ALICE = SecretKey(b"\xa1" * 32)


@pytest.fixture(autouse=True)
def small_disk(tmp_path: Path) -> Iterator[None]:
    """A datadir takes 18 MB: gone with its test."""
    yield
    shutil.rmtree(tmp_path, ignore_errors=True)


@pytest.fixture
def chain(tmp_path: Path) -> Iterator[KernelChain]:
    """An empty chain."""
    with KernelChain(tmp_path / "node") as node:
        yield node


@pytest.fixture
def alice(chain: KernelChain) -> Wallet:
    """A wallet on ``chain`` with ten mature coinbases."""
    wallet = Wallet(chain, ALICE)
    chain.mine(10, to=wallet.script())
    chain.mine(100)
    return wallet


@pytest.fixture
def spend(alice: Wallet) -> Callable[..., object]:
    """``spend(coins, sats...)``: alice's signed transaction paying herself these amounts."""

    def build(
        coins: list[Coin],
        *sats: int,
        sequence: int = 0xFFFFFFFD,
        locktime: int = 0,
        version: int = 2,
    ) -> object:
        tx = transaction(
            [txin(coin.outpoint, sequence) for coin in coins],
            [txout(amount, alice.script()) for amount in sats],
            locktime=locktime,
            version=version,
        )
        return alice.sign(tx, [coin.output for coin in coins], AUX)

    return build
