"""A wallet of one key: Taproot addresses derived from it, coin selection, key path signatures."""

from collections.abc import Callable, Collection, Sequence

from bitcoin.core import COutPoint, CTransaction, CTxOut

from protocol.bitcoin.address import REGTEST, encode_address
from protocol.bitcoin.fees import (
    KEY_PATH_INPUT_WEIGHT,
    OVERHEAD_WEIGHT,
    dust_limit_sats,
    fee_sats,
    output_weight,
)
from protocol.bitcoin.psbt import Psbt
from protocol.bitcoin.sighash import sign_input
from protocol.bitcoin.taproot import p2tr, tweak_key
from protocol.bitcoin.tx import (
    Coin,
    outpoint_key,
    transaction,
    txin,
    txout,
    with_witness,
    witness_stack,
)
from protocol.crypto.keys import SecretKey
from protocol.crypto.tagged import tagged_hash
from protocol.errors import ChainError
from regtest.chain import Chain, Utxo

ADDRESSES = 16
"""Addresses a wallet looks at: numbers 0 to 15."""


class Wallet:
    """Spends what one key owns on ``chain``. It keeps no state: the chain is asked every time.

    Address 0 is the key's own (BIP86); number n > 0 tweaks it with a hash of n, so whoever learns
    the key signing for one address can compute the others: a wallet for regtest.
    """

    def __init__(self, chain: Chain, key: SecretKey) -> None:
        self._chain = chain
        self._keys = {
            p2tr(signer.public): signer
            for signer in (tweak_key(key, _commitment(n)) for n in range(ADDRESSES))
        }
        self._scripts = tuple(self._keys)

    def script(self, number: int = 0) -> bytes:
        """Output script of an address; ChainError beyond the ones it looks at."""
        if not 0 <= number < ADDRESSES:
            raise ChainError(f"a wallet has addresses 0 to {ADDRESSES - 1}, not {number}")
        return self._scripts[number]

    def address(self, number: int = 0) -> str:
        return encode_address(self.script(number), REGTEST)

    def utxos(self) -> tuple[Utxo, ...]:
        """Confirmed, mature, not spent by the mempool; the largest first."""
        next_height = self._chain.height + 1
        found = [u for script in self._scripts for u in self._chain.unspent(script)]
        ripe = [utxo for utxo in found if utxo.mature_at(next_height)]
        return tuple(sorted(ripe, key=lambda u: (-u.sats, u.txid, u.index)))

    def balance_sats(self) -> int:
        return sum(utxo.sats for utxo in self.utxos())

    def gather(
        self,
        needs: Callable[[int], int],
        *,
        first: Sequence[Coin] = (),
        without: Collection[COutPoint] = (),
    ) -> tuple[Coin, ...]:
        """The fewest coins, largest first, that n of them hold ``needs(n)`` sats.

        Those ``first`` that this wallet owns come before all others, also where the mempool spends
        them: to replace what does. ``without`` are coins promised elsewhere. ChainError if all of
        them do not suffice.
        """
        own = [coin for coin in first if bytes(coin.output.scriptPubKey) in self._keys]
        coins = {outpoint_key(c.outpoint): c for c in (*own, *(u.coin for u in self.utxos()))}
        return gathered([*coins.values()], needs, without, f"the wallet of {self.address()}")

    def sign(self, tx: CTransaction, spent: Sequence[CTxOut], aux_rand: bytes) -> CTransaction:
        """``tx`` with the inputs signed that this wallet owns; others keep their witness.

        ``spent`` are the outputs its inputs spend, in order; ``aux_rand`` 32 bytes (BIP340).
        """
        stacks: list[Sequence[bytes]] = []
        for n, coin in enumerate(spent):
            key = self._keys.get(bytes(coin.scriptPubKey))
            if key is None:
                stacks.append(witness_stack(tx, n))
            else:
                stacks.append([sign_input(tx, n, spent, key, aux_rand)])
        return with_witness(tx, stacks)

    def sign_psbt(self, psbt: Psbt, aux_rand: bytes) -> Psbt:
        """``psbt`` with a signature for each input that this wallet owns. ChainError if it does not
        say what every input spends: a Taproot signature covers that."""
        spent = []
        for n in range(len(psbt.tx.vin)):
            coin = psbt.spent(n)
            if coin is None:
                raise ChainError(f"psbt: input {n} does not say what it spends; update it first")
            spent.append(coin)
        for n, coin in enumerate(spent):
            key = self._keys.get(bytes(coin.scriptPubKey))
            if key is not None:
                signature = sign_input(psbt.tx, n, spent, key, aux_rand)
                psbt = psbt.with_key_path_signature(n, signature)
        return psbt

    def pay(
        self,
        outputs: Sequence[CTxOut],
        aux_rand: bytes,
        *,
        feerate_sat_vb: int = 2,
        without: Collection[COutPoint] = (),
    ) -> CTransaction:
        """A signed payment, with change to address 0 where it exceeds dust."""
        amount = sum(int(out.nValue) for out in outputs)
        base = OVERHEAD_WEIGHT + sum(output_weight(bytes(out.scriptPubKey)) for out in outputs)

        def needs(inputs: int, extra: int = 0) -> int:
            weight = base + inputs * KEY_PATH_INPUT_WEIGHT + extra
            return amount + fee_sats(weight, feerate_sat_vb)

        coins = self.gather(needs, without=without)
        change_script = self.script()
        held = sum(coin.sats for coin in coins)
        change = held - needs(len(coins), output_weight(change_script))
        if change >= dust_limit_sats(change_script):
            outputs = [*outputs, txout(change, change_script)]
        tx = transaction([txin(coin.outpoint) for coin in coins], outputs)
        return self.sign(tx, [coin.output for coin in coins], aux_rand)


def gathered(
    coins: Sequence[Coin],
    needs: Callable[[int], int],
    without: Collection[COutPoint],
    owner: str,
) -> tuple[Coin, ...]:
    """The first n of ``coins``, those ``without`` left out, that hold ``needs(n)`` sats."""
    taken = {outpoint_key(point) for point in without}
    chosen: list[Coin] = []
    held = 0
    for coin in coins:
        if outpoint_key(coin.outpoint) in taken:
            continue
        chosen.append(coin)
        held += coin.sats
        if held >= needs(len(chosen)):
            return tuple(chosen)
    raise ChainError(
        f"{owner} holds {held} spendable sats and needs {needs(max(len(chosen), 1))}: mine to it,"
        " wait for maturity, or ask for less"
    )


def _commitment(number: int) -> bytes | None:
    """What address ``number`` tweaks the key with: nothing for the first."""
    if number == 0:
        return None
    return tagged_hash("btcfi/wallet/address/v1", number.to_bytes(4))
