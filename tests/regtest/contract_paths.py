"""Our own contract on a chain as scenarios: every way out of FUND, and what is refused."""

from collections.abc import Callable, Mapping
from typing import Final

from bitcoin.core import CTransaction

from protocol.bitcoin.tx import hash_hex, txid, with_witness, witness_stack
from protocol.crypto.keys import SecretKey
from protocol.settlement.anchor import ClaimAnchor
from protocol.settlement.closing import (
    assemble_close,
    close_nonce,
    close_session,
    close_tx,
    finish_close,
    sign_close,
)
from protocol.settlement.payout import payout_of
from protocol.settlement.spending import bump_tx, sweep_tx, timeout_tx
from protocol.settlement.terms import Role
from regtest.chain import COINBASE_MATURITY, Chain
from regtest.conformance.record import Record, expect
from regtest.wallet import Wallet
from tests.builders.contracts import AUX, KEYS, Deal, Stage, contract_terms

UNITS: Final = 0b10110001
ANCHOR: Final = ClaimAnchor.of(bytes(20), bytes(32)).encode()
WALLETS: Final = {Role.HOLDER: SecretKey(b"\x48" * 32), Role.WRITER: SecretKey(b"\x57" * 32)}


def stage(on: Record) -> Stage:
    """Two wallets with mature coins."""
    wallets = {role: Wallet(on.chain, key) for role, key in WALLETS.items()}
    for wallet in wallets.values():
        on.mine(6, to=wallet.script())
    on.mine(COINBASE_MATURITY)
    return Stage(on.chain, wallets)


def mined(on: Record, *txs: CTransaction) -> None:
    """Into a block each, whatever the backend's mempool thinks of them: that is its own policy."""
    for tx in txs:
        expect(on.chain.check(tx).consensus, f"{hash_hex(txid(tx))} is valid")
        on.mine(txs=[tx])


def paid(on: Record, made: Deal, *txs: CTransaction) -> None:
    """Note what each party received in these."""
    for role in Role:
        script = made.terms.party(role).script
        sats = sum(int(o.nValue) for tx in txs for o in tx.vout if bytes(o.scriptPubKey) == script)
        on.note(f"the {role.value} received {sats}")


def claimed(on: Record, prover: Role) -> None:
    """A claim to its end: each move too early is refused, each output is swept by its owner, and
    by nobody else."""
    made = stage(on).fund(contract_terms())
    steps = made.claim(prover, UNITS)
    for number, step in enumerate(steps):
        if number + 1 < len(steps):
            on.invalid("a later move", steps[number + 1], "bad-txns-inputs-missingorspent")
        _broken(on, step)
        mined(on, step)
    settle = made.settle(prover)
    for _ in range(made.terms.chain.challenge_window - 1):
        on.invalid("an early SETTLE", settle, "bad-txns-nonfinal")
        on.mine()
    mined(on, settle)
    move = made.graph.settle(prover)
    split = payout_of(made.graph, move, UNITS)
    shown, other = made.payout(prover, UNITS), prover.other
    theirs = sweep_tx(made.graph, move, other, split.sweeps[other], KEYS[other], AUX, payout=shown)
    ours = sweep_tx(made.graph, move, prover, split.sweeps[prover], KEYS[prover], AUX)
    greedy = sweep_tx(
        made.graph, move, other, split.sweeps[prover][:1], KEYS[other], AUX, payout=shown
    )
    on.invalid("a bit that is not theirs", greedy, _refused_bit(on, greedy))
    mined(on, theirs)
    for _ in range(made.terms.chain.sweep_delay - 2):
        on.invalid("an early sweep of the prover", ours, "bad-txns-nonfinal")
        on.mine()
    mined(on, ours)
    paid(on, made, settle, theirs, ours)


def _refused_bit(on: Record, tx: CTransaction) -> str:
    """The rule by which this chain refuses a payout message whose bit says otherwise: Record wants
    one that every backend names alike."""
    reason = on.chain.check(tx).consensus_reason
    return reason[reason.find("(") + 1 : reason.find(")")]


def _broken(on: Record, tx: CTransaction) -> None:
    """The same move with a one-time signature that does not open its chain."""
    stack = list(witness_stack(tx, 0))
    place = next(n for n, item in enumerate(stack) if len(item) == 20)
    stack[place] = bytes([stack[place][0] ^ 1]) + stack[place][1:]
    verdict = on.chain.check(with_witness(tx, [stack]))
    expect(not verdict.consensus, "a forged one-time signature is invalid")


def holder_claims(on: Record) -> None:
    """The holder claims."""
    claimed(on, Role.HOLDER)


def writer_claims(on: Record) -> None:
    """The writer claims."""
    claimed(on, Role.WRITER)


def silence(on: Record) -> None:
    """A prover that stops halfway loses everything, once its window is over."""
    made = stage(on).fund(contract_terms())
    first, second, *_ = made.claim(Role.HOLDER, UNITS)
    mined(on, first)
    move = next(made.graph.forward(Role.HOLDER))
    late = timeout_tx(made.graph, move, KEYS[Role.WRITER], AUX)
    for _ in range(made.terms.chain.move_window - 1):
        on.invalid("an early time-out", late, "bad-txns-nonfinal")
        on.mine()
    mined(on, late)
    on.invalid("a move behind the time-out", second, "bad-txns-inputs-missingorspent")
    paid(on, made, late)


def close_by_both(on: Record) -> None:
    """CLOSE by one MuSig2 signature, and of another contract by its leaf: same id, same outputs."""
    for by_key in (True, False):
        made = stage(on).fund(contract_terms())
        contract = made.graph.contract
        tx = close_tx(contract, made.graph.fund, 77_000, ANCHOR)
        if by_key:
            nonces = {
                role: close_nonce(contract, tx, KEYS[role].key, lambda size: b"\x07" * size)
                for role in Role
            }
            session = close_session(contract, tx, {r: nonces[r].public for r in Role})
            partials = {role: session.sign(nonces[role], KEYS[role].key) for role in Role}
            close = finish_close(contract, tx, session, partials)
        else:
            signed = {role: sign_close(contract, tx, KEYS[role].key, AUX) for role in Role}
            close = assemble_close(contract, tx, signed)
        stack = witness_stack(close, 0)
        forged = (bytes([stack[0][0] ^ 1]) + stack[0][1:], *stack[1:])
        on.invalid("CLOSE with a forged signature", with_witness(close, [forged]),
                   "Invalid Schnorr signature")  # fmt: skip
        mined(on, close)
        rival = made.claim(Role.WRITER, UNITS)[0]
        on.invalid("a claim behind CLOSE", rival, "bad-txns-inputs-missingorspent")
        paid(on, made, close)


def refund(on: Record) -> None:
    """REFUND, above its height and not before; a child pays for it through its anchor."""
    both = stage(on)
    made = both.fund(contract_terms(expiry_height=110, refund_height=on.chain.height + 4))
    tx = made.signed("REFUND")
    while on.chain.height < made.terms.chain.refund_height:
        on.invalid("an early REFUND", tx, "bad-txns-nonfinal")
        on.mine()
    wallet = both.wallets[Role.WRITER]
    coins = [wallet.utxos()[0].coin]
    bump = bump_tx(made.graph.moves["REFUND"], tx, coins, wallet.script(2), 20)
    child = wallet.sign(bump.tx, bump.spent, AUX)
    on.mine(txs=[tx, child])
    paid(on, made, tx)


def reorganised(on: Record) -> None:
    """A claim that a reorganisation drops, from its end or from its middle, is valid again on the
    new branch, in its order."""
    made = stage(on).fund(contract_terms())
    steps = [*made.claim(Role.HOLDER, UNITS), made.settle(Role.HOLDER)]
    mined(on, *steps[:-1])
    on.mine(made.terms.chain.challenge_window - 1)
    mined(on, steps[-1])
    for first in reversed(range(len(steps))):
        on.chain.reorg(on.chain.height - _height(on.chain, steps[first]) + 1)
        heights = [_height(on.chain, step) for step in steps]
        expect(all(heights[:first]) and not any(heights[first:]), "the rest is dropped")
        mined(on, *steps[first:-1])
        if first < len(steps) - 1:
            on.mine(made.terms.chain.challenge_window - 1)
        mined(on, steps[-1])


def _height(chain: Chain, tx: CTransaction) -> int:
    """Of its block; 0 where it is in none."""
    found = chain.tx(txid(tx))
    return 0 if found is None or found.block is None else found.block.height


PATHS: Final[Mapping[str, Callable[[Record], None]]] = {
    "the holder claims": holder_claims,
    "the writer claims": writer_claims,
    "silence": silence,
    "close": close_by_both,
    "refund": refund,
    "reorganised": reorganised,
}


def path_record(name: str, chain: Chain) -> list[str]:
    """Run a path on a new chain; ChainError if something does not hold."""
    on = Record(chain)
    PATHS[name](on)
    on.note(f"the tip is {chain.tip}")
    return on.lines
