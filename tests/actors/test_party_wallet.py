"""Coins of a wallet elsewhere: found on the chain, offered in a file, taken back signed."""

import base64
from pathlib import Path

import pytest

from actors.party_config import ExternalWallet
from actors.party_wallet import SIGNED, UNSIGNED, PsbtWallet
from protocol.bitcoin.tx import (
    outpoint,
    outpoint_key,
    transaction,
    txid,
    txin,
    txout,
    witness_stack,
)
from protocol.crypto.hashes import hash160
from protocol.errors import ChainError, ConfigError, EncodingError
from regtest.chain import Utxo

PUBLIC = b"\x03" * 33
P2WPKH = b"\x00\x14" + hash160(PUBLIC)
POINTS = (outpoint(b"\x01" * 32, 0), outpoint(b"\x02" * 32, 7))
FUND = transaction([txin(point) for point in POINTS], [txout(2_500, P2WPKH)])


class Coins:
    """As much of a chain as the wallet asks for."""

    def __init__(self, *sats: int) -> None:
        self._found = {
            outpoint_key(point): Utxo(bytes(point.hash), point.n, amount, P2WPKH, 1, False)
            for point, amount in zip(POINTS, sats, strict=False)
        }

    def utxo(self, point, *, mempool=True):
        return self._found.get(outpoint_key(point))


def wallet(folder: Path, *sats: int) -> PsbtWallet:
    return PsbtWallet(Coins(*sats), ExternalWallet(folder, POINTS, P2WPKH))


def test_all_coins_that_are_listed_are_put_in(tmp_path: Path) -> None:
    found = wallet(tmp_path, 1_000, 2_000).contribution(lambda count: 1_500 * count)
    assert [coin.sats for coin in found.coins] == [1_000, 2_000]
    assert found.change_script == P2WPKH


def test_coins_that_are_missing_or_too_few_are_named(tmp_path: Path) -> None:
    with pytest.raises(ChainError, match=r"\[psbt\] coins\[1\]: no such unspent output"):
        wallet(tmp_path, 1_000).contribution(lambda _: 0)
    with pytest.raises(ChainError, match="hold 3000 sats and FUND takes 3001"):
        wallet(tmp_path, 1_000, 2_000).contribution(lambda _: 3_001)


def test_a_person_signs_the_file(tmp_path: Path) -> None:
    purse, folder = wallet(tmp_path / "psbt", 1_000, 2_000), tmp_path / "psbt"
    spent = [coin.output for coin in purse.contribution(lambda _: 0).coins]
    assert purse.sign(FUND, spent) is None
    raw = base64.b64decode((folder / UNSIGNED).read_text())
    for output in spent:  # its wallet adds a partial signature behind each output
        plain = output.serialize()
        raw = raw.replace(plain, plain + b"\x22\x02" + PUBLIC + b"\x03sig")
    (folder / SIGNED).write_text(base64.b64encode(raw).decode())
    signed = purse.sign(FUND, spent)
    assert signed is not None
    assert txid(signed) == txid(FUND)
    assert witness_stack(signed, 1) == (b"sig", PUBLIC)


def test_a_file_that_cannot_be_used_says_so(tmp_path: Path) -> None:
    (tmp_path / SIGNED).write_text("hello")
    purse = wallet(tmp_path, 1_000, 2_000)
    with pytest.raises(EncodingError, match="psbt: neither binary nor base64"):
        purse.sign(FUND, [txout(1_000, P2WPKH)] * 2)
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"\[psbt\] folder"):
        wallet(tmp_path / "file", 1_000).sign(FUND, [txout(1_000, P2WPKH)] * 2)
