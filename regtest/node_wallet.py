"""A node's own wallet: its keys stay in the node, which is asked over RPC.

The counterpart of :class:`regtest.wallet.Wallet`: coins for a contract, signatures of the inputs
that it owns, payments; and PSBTs (BIP174) and descriptors (BIP380), which that one has not.
"""

from collections.abc import Callable, Collection, Sequence
from typing import Any, Self

from bitcoin.core import COutPoint, CTransaction, CTxOut

from protocol.bitcoin.address import REGTEST, decode_address, encode_address
from protocol.bitcoin.opcodes import Op
from protocol.bitcoin.psbt import Psbt, parse_psbt
from protocol.bitcoin.script import operations
from protocol.bitcoin.tx import Coin, hash_hex, outpoint, parse_hash, parse_tx, serialize, txout
from protocol.errors import ChainError
from regtest.blocks import GENESIS_TIME
from regtest.rpc import WALLET_NOT_FOUND, Rpc, RpcError, bitcoins_of, sats_of
from regtest.wallet import gathered


class NodeWallet:
    """One descriptor wallet of a bitcoind. Its addresses are Taproot, key path."""

    def __init__(self, rpc: Rpc, name: str) -> None:
        self._rpc = rpc
        self.name = name

    @classmethod
    def open(cls, rpc: Rpc, name: str) -> Self:
        """Load it, or create it as old as the chain."""
        if name in rpc.call("listwallets"):
            return cls(rpc, name)
        try:
            rpc.call("loadwallet", name)
        except RpcError as error:
            if error.code != WALLET_NOT_FOUND:
                raise
            # A wallet skips blocks from before its birth, and our chain's clock begins in 2011.
            rpc.call("setmocktime", GENESIS_TIME)
            try:
                rpc.call("createwallet", name, False, False, "", False, True)
            finally:
                rpc.call("setmocktime", 0)
        return cls(rpc, name)

    def script(self) -> bytes:
        """Output script of a new address."""
        return decode_address(self.address(), REGTEST)

    def address(self) -> str:
        return str(self._call("getnewaddress", "", "bech32m"))

    def coins(self) -> tuple[Coin, ...]:
        """Confirmed, mature, not spent by the mempool; the largest first."""
        listed = [
            Coin(
                outpoint(parse_hash(one["txid"]), one["vout"]),
                txout(sats_of(one["amount"]), bytes.fromhex(one["scriptPubKey"])),
            )
            for one in self._call("listunspent", 1)
            if one["spendable"]
        ]
        return tuple(sorted(listed, key=lambda coin: -coin.sats))

    def balance_sats(self) -> int:
        return sum(coin.sats for coin in self.coins())

    def gather(
        self, needs: Callable[[int], int], *, without: Collection[COutPoint] = ()
    ) -> tuple[Coin, ...]:
        """As :meth:`regtest.wallet.Wallet.gather`."""
        return gathered(self.coins(), needs, without, f"the node's wallet {self.name}")

    def sign(self, tx: CTransaction, spent: Sequence[CTxOut]) -> CTransaction:
        """``tx`` with the inputs signed that this wallet owns; others keep their witness.

        ``spent`` are the outputs its inputs spend, in order.
        """
        known = [
            {
                "txid": hash_hex(bytes(spend.prevout.hash)),
                "vout": spend.prevout.n,
                "scriptPubKey": bytes(coin.scriptPubKey).hex(),
                "amount": bitcoins_of(coin.nValue),
            }
            for spend, coin in zip(tx.vin, spent, strict=True)
        ]
        signed = self._call("signrawtransactionwithwallet", serialize(tx).hex(), known)
        return parse_tx(bytes.fromhex(signed["hex"]))

    def pay(self, outputs: Sequence[CTxOut], *, feerate_sat_vb: int = 2) -> CTransaction:
        """A signed payment with change, not broadcast; RpcError if the coins do not suffice."""
        psbt = self.sign_psbt(self.fund_psbt(outputs, feerate_sat_vb=feerate_sat_vb))
        done = self._call("finalizepsbt", psbt.text)
        if not done["complete"]:
            raise ChainError(f"the node's wallet {self.name} cannot sign its own payment")
        return parse_tx(bytes.fromhex(done["hex"]))

    def fund_psbt(self, outputs: Sequence[CTxOut], *, feerate_sat_vb: int = 2) -> Psbt:
        """An unsigned PSBT that pays ``outputs`` from this wallet's coins, with change."""
        made = self._call(
            "walletcreatefundedpsbt",
            [],
            [_paying(out) for out in outputs],
            0,
            {"fee_rate": feerate_sat_vb, "change_type": "bech32m"},
        )
        return parse_psbt(made["psbt"])

    def sign_psbt(self, psbt: Psbt) -> Psbt:
        """The PSBT with what this wallet knows of its inputs and, once every input's output is in
        it (a Taproot signature covers them all), its signatures."""
        return parse_psbt(self._call("walletprocesspsbt", psbt.text)["psbt"])

    def import_descriptor(self, descriptor: str) -> None:
        """Also own what ``descriptor`` describes, from the first block on; ChainError with the
        node's reason. A missing checksum is added."""
        if "#" not in descriptor:
            told = self._call("getdescriptorinfo", descriptor)
            descriptor = f"{descriptor}#{told['checksum']}"
        request = {"desc": descriptor, "timestamp": 0}
        (answer,) = self._call("importdescriptors", [request])
        if not answer["success"]:
            raise ChainError(f"the node refuses the descriptor: {answer['error']['message']}")

    def _call(self, method: str, *params: Any) -> Any:
        return self._rpc.call(method, *params, wallet=self.name)


def _paying(out: CTxOut) -> dict[str, str]:
    code = bytes(out.scriptPubKey)
    if code[:1] == bytes([Op.RETURN]):
        return {"data": b"".join(data or b"" for _, data in operations(code[1:])).hex()}
    return {encode_address(code, REGTEST): bitcoins_of(out.nValue)}
