"""Seventeen ways to spend a Taproot output by script, around the edges of BIP341 and BIP342.

For each: whether a block may hold it, with Core's script error where not, and which mempools took
it when it was measured (``Caps.policy``: Core 31, Knots 29.4 with ``-corepolicy=1``, our model).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from bitcoin.core import CTransaction

from protocol.bitcoin.opcodes import Op
from protocol.bitcoin.script import after_blocks, script, single_key
from protocol.bitcoin.sighash import LeafSpend, sign_input
from protocol.bitcoin.taproot import (
    MAX_DEPTH,
    NUMS_KEY,
    TapLeaf,
    TaprootOutput,
    TapTree,
    taproot_output,
)
from protocol.bitcoin.tx import Coin, transaction, txin, txout, with_witness
from protocol.crypto.keys import SecretKey
from regtest.chain import ANYONE, COINBASE_MATURITY
from regtest.conformance.record import AUX, Record, expect
from regtest.wallet import Wallet

KEY: Final = SecretKey(b"\x17" * 32)
EVERY: Final = frozenset({"core", "model", "knots-rdts"})
WITHOUT_RDTS: Final = frozenset({"core", "model"})
NOBODY: Final = frozenset[str]()
FEE_SATS: Final = 50_000
LARGE_FEE_SATS: Final = 2_000_000


@dataclass(frozen=True, slots=True)
class SpendCase:
    """A leaf and the witness that spends it."""

    name: str
    code: bytes
    items: tuple[bytes, ...] = ()
    """The witness below the script, bottom to top."""
    taken_by: frozenset[str] = NOBODY
    error: str = ""
    """Core's words; empty for a valid spend."""
    signature: bytes | None = None
    """Not None: KEY signs, and the signature is xored with these bytes."""
    leaf_version: int = 0xC0
    depth: int = 0
    sequence: int = 0xFFFFFFFD
    annex: bytes = b""

    @property
    def leaf(self) -> TapLeaf:
        return TapLeaf(self.code, version=self.leaf_version)

    @property
    def output(self) -> TaprootOutput:
        tree: TapTree = self.leaf
        for level in range(self.depth):
            tree = (tree, TapLeaf(script(Op.RETURN, level)))
        return taproot_output(NUMS_KEY, tree)

    def spend(self, coin: Coin, to: bytes) -> CTransaction:
        """The whole of ``coin``, which pays to ``output``, less a fee."""
        fee = LARGE_FEE_SATS if len(self.code) > 10_000 else FEE_SATS
        tx = transaction([txin(coin.outpoint, self.sequence)], [txout(coin.sats - fee, to)])
        items = self.items
        if self.signature is not None:
            signed = sign_input(tx, 0, [coin.output], KEY, AUX, leaf=LeafSpend(self.leaf.hash))
            items = (_xor(signed, self.signature), *items)
        tail = [self.annex] if self.annex else []
        control = self.output.control_block(self.leaf)
        return with_witness(tx, [[*items, self.code, control, *tail]])


def _xor(data: bytes, mask: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(data, mask.ljust(len(data), b"\0"), strict=True))


def _padded(size: int) -> bytes:
    """A true script of about ``size`` bytes: additions and subtractions that cancel."""
    return script(0) + bytes([Op.ADD1, Op.SUB1]) * (size // 2 - 1) + bytes([Op.NOT])


CASES: Final[Sequence[SpendCase]] = (
    SpendCase("an executed OP_IF", script(1, Op.IF, 1, Op.ENDIF), taken_by=WITHOUT_RDTS),
    SpendCase(
        "an OP_IF of 2",
        script(Op.IF, 1, Op.ELSE, 1, Op.ENDIF),
        (b"\x02",),
        error="OP_IF/NOTIF argument must be minimal in tapscript",
    ),
    SpendCase("a leaf at depth 128", script(1), taken_by=WITHOUT_RDTS, depth=MAX_DEPTH),
    SpendCase("a push of 520 bytes", script(bytes(520), Op.DROP, 1), taken_by=WITHOUT_RDTS),
    SpendCase(
        "a push of 521 bytes",
        bytes([Op.PUSHDATA2]) + (521).to_bytes(2, "little") + bytes(521) + script(Op.DROP, 1),
        error="Push value size limit exceeded",
    ),
    SpendCase("an annex", script(1), annex=b"\x50annex"),
    SpendCase("an OP_SUCCESS80", bytes([0x50])),
    SpendCase("leaf version c2", script(0), leaf_version=0xC2),
    SpendCase("a signature", single_key(KEY.public), taken_by=EVERY, signature=b""),
    SpendCase(
        "a wrong signature",
        single_key(KEY.public),
        signature=b"\x01",
        error="Invalid Schnorr signature",
    ),
    SpendCase("a relative lock", after_blocks(3, script(1)), taken_by=EVERY, sequence=3),
    SpendCase("a script of 350 kB", _padded(350_000), taken_by=EVERY),
    SpendCase("a script of 3.9 MB", _padded(3_900_000)),
    SpendCase(
        "two items left", script(1, 1), error="Stack size must be exactly one after execution"
    ),
    SpendCase(
        "a false result",
        script(0),
        error="Script evaluated without error but finished with a false/empty top stack element",
    ),
    SpendCase("an OP_CAT, which is an OP_SUCCESS", bytes([0x7E])),
    # Core does not relay it. The model does: it does not run scripts.
    SpendCase(
        "a key of unknown type",
        script(b"\x04" + bytes(32), Op.CHECKSIG),
        (b"\x01",),
        taken_by=frozenset({"model"}),
    ),
)


def spend_cases(on: Record) -> None:
    """Each case judged, then put in a block."""
    chain = on.chain
    payee = Wallet(chain, KEY).script()
    for case in CASES:
        on.mine(to=case.output.script_pubkey)
    on.mine(COINBASE_MATURITY)
    for case in CASES:
        utxo = next(one for one in chain.unspent(case.output.script_pubkey) if one.script != ANYONE)
        tx = case.spend(utxo.coin, payee)
        if case.error:
            on.invalid(case.name, tx, case.error)
            continue
        verdict = on.valid(case.name, tx)
        if verdict.policy_by in EVERY:
            expect(
                verdict.policy is (verdict.policy_by in case.taken_by),
                f"{verdict.policy_by} {'takes' if not verdict.policy else 'refuses'} {case.name}"
                f" (it said: {verdict.policy_reason or 'yes'})",
            )
        on.mine(txs=[tx])
