"""Where a party's coins come from: the built-in wallet on regtest, or any wallet that signs PSBT
files."""

import secrets
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Protocol

from bitcoin.core import CTransaction, CTxOut

from actors.config import Chain, Wallet
from actors.party_config import ExternalWallet
from protocol.bitcoin.psbt import encode_psbt, signed_tx
from protocol.bitcoin.tx import Coin
from protocol.errors import ChainError, ConfigError
from protocol.settlement.funding import Contribution

UNSIGNED: Final = "fund.psbt"
SIGNED: Final = "fund.signed.psbt"


class PartyWallet(Protocol):
    """``script`` is where the contract pays this party."""

    script: bytes

    def contribution(self, needs: Callable[[int], int], again: Sequence[Coin] = ()) -> Contribution:
        """Coins of which n hold ``needs(n)`` sats, first those ``again`` that are this wallet's:
        what spends them waits, and is to be replaced. ChainError if there are not enough."""

    def sign(self, tx: CTransaction, spent: Sequence[CTxOut]) -> CTransaction | None:
        """``tx`` with this wallet's inputs signed; None while a person has yet to do it."""


class KeyWallet:
    """The coins of one key, signed here."""

    def __init__(self, wallet: Wallet) -> None:
        self._wallet = wallet
        self.script = wallet.script()

    def contribution(self, needs: Callable[[int], int], again: Sequence[Coin] = ()) -> Contribution:
        """The fewest coins that suffice."""
        return Contribution(self._wallet.gather(needs, first=again), self.script)

    def sign(self, tx: CTransaction, spent: Sequence[CTxOut]) -> CTransaction:
        """All inputs of this key, signed."""
        return self._wallet.sign(tx, spent, secrets.token_bytes(32))


class PsbtWallet:
    """The coins that the configuration lists: FUND is written to a file for another program to
    sign, and read from a second one that it writes."""

    def __init__(self, chain: Chain, settings: ExternalWallet) -> None:
        self._chain = chain
        self._settings = settings
        self.script = settings.change_script

    def contribution(self, needs: Callable[[int], int], again: Sequence[Coin] = ()) -> Contribution:
        """All the coins listed, and no other."""
        coins = tuple(map(self._coin, range(len(self._settings.coins))))
        held, needed = sum(coin.sats for coin in coins), needs(len(coins))
        if held < needed:
            raise ChainError(f"[psbt] coins: they hold {held} sats and FUND takes {needed}")
        return Contribution(coins, self.script)

    def sign(self, tx: CTransaction, spent: Sequence[CTxOut]) -> CTransaction | None:
        """What ``fund.signed.psbt`` says, once it is there; ``fund.psbt`` is what to sign."""
        folder = self._settings.folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / UNSIGNED).write_text(encode_psbt(tx, spent) + "\n")
            signed = folder / SIGNED
            return signed_tx(signed.read_bytes(), tx) if signed.exists() else None
        except OSError as error:
            raise ConfigError(f"[psbt] folder: {folder}: {error}") from None

    @property
    def unsigned(self) -> Path:
        """The file that waits for a signature."""
        return self._settings.folder / UNSIGNED

    def _coin(self, index: int) -> Coin:
        utxo = self._chain.utxo(self._settings.coins[index])
        if utxo is None:
            raise ChainError(f"[psbt] coins[{index}]: no such unspent output on this chain")
        return utxo.coin
