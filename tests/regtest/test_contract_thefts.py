"""Every attempt to take more than one's own, each refused by consensus in a real block."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pytest
from bitcoin.core import CTransaction, CTxIn, CTxOut

from protocol.bitcoin.script import number_bytes
from protocol.bitcoin.sighash import LeafSpend, sign_input
from protocol.bitcoin.taproot import key_path_script, tweak_key
from protocol.bitcoin.tx import (
    outpoint,
    transaction,
    txid,
    txin,
    txout,
    with_witness,
    witness_stack,
)
from protocol.bitcoin.winternitz_script import message_items
from protocol.crypto.hashes import hash160
from protocol.crypto.keys import SecretKey
from protocol.crypto.winternitz import Label
from protocol.errors import SignatureError
from protocol.settlement.closing import close_tx, sign_close
from protocol.settlement.move import Move
from protocol.settlement.onetime import SignedMessage, payout_label
from protocol.settlement.payout import payout_of
from protocol.settlement.reading import read_messages
from protocol.settlement.spending import sweep_tx, timeout_tx
from protocol.settlement.terms import Role
from tests.builders.contracts import (
    AUX,
    BACKENDS,
    BAD_SIGNATURE,
    KEYS,
    LOCKED,
    NONFINAL,
    SPENT,
    STRANGER,
    Deal,
    Stage,
    contract_terms,
    opened_stage,
)

UNITS = 0b0101_0011
STRANGER_SCRIPT = key_path_script(STRANGER.key.public)
AGES = 1_000
"""Blocks that no test here mines."""

WRONG = "Script failed an OP_VERIFY operation"
NOT_EQUAL = "Script failed an OP_EQUALVERIFY operation"
NOT_SUMMED = "Script failed an OP_NUMEQUALVERIFY operation"
OTHER_TREE = "Witness program hash mismatch"


@pytest.fixture(scope="module", params=BACKENDS, ids=lambda backend: backend.name)
def stage(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stage]:
    with opened_stage(request.param, tmp_path_factory.mktemp("node")) as opened:
        yield opened


@dataclass(frozen=True)
class Claimed:
    """A contract whose SETTLE is in a block."""

    made: Deal
    prover: Role
    settle: CTransaction

    @property
    def other(self) -> Role:
        return self.prover.other

    @property
    def settled(self) -> Move:
        return self.made.graph.settle(self.prover)

    @property
    def payout(self) -> SignedMessage:
        return self.made.payout(self.prover, UNITS)

    def sweep(
        self, role: Role, outputs: tuple[int, ...], payout: SignedMessage | None = None
    ) -> CTransaction:
        graph, keys = self.made.graph, KEYS[role]
        shown = payout or self.payout
        return sweep_tx(graph, self.settled, role, outputs, keys, AUX, payout=shown)


@pytest.fixture(scope="module", params=Role, ids=lambda role: role.value)
def claimed(stage: Stage, request: pytest.FixtureRequest) -> Claimed:
    made = stage.fund(contract_terms(sweep_delay=AGES))
    return Claimed(made, request.param, stage.settled(made, request.param, UNITS))


@pytest.fixture(scope="module")
def fresh(stage: Stage) -> Deal:
    """A contract that is funded and nothing else."""
    return stage.fund(contract_terms())


@pytest.fixture(scope="module")
def started(stage: Stage) -> Deal:
    """A contract in which the holder has published half of a claim."""
    made = stage.fund(contract_terms(move_window=AGES))
    stage.broadcast(made.claim(Role.HOLDER, UNITS)[0])
    return made


def restacked(tx: CTransaction, changes: Mapping[int, bytes]) -> CTransaction:
    """``tx`` with other items in its first witness, counted from the bottom."""
    stack = list(witness_stack(tx, 0))
    for place, item in changes.items():
        stack[place] = item
    return with_witness(tx, [stack])


def resigned(
    move: Move, tx: CTransaction, keys: Mapping[Role, SecretKey], items: tuple[bytes, ...] = ()
) -> CTransaction:
    """``tx`` in the place of ``move``, signed by whatever keys one has."""
    _, way = move.way()
    leaf = LeafSpend(way.leaf.hash)
    signatures = {
        role: sign_input(tx, 0, move.spent, k, AUX, leaf=leaf) for role, k in keys.items()
    }
    return with_witness(tx, [move.spent_locks[0].stack(way, signatures, items)])


def altered(
    tx: CTransaction,
    *,
    vin: list[CTxIn] | None = None,
    vout: list[CTxOut] | None = None,
    locktime: int | None = None,
) -> CTransaction:
    when = int(tx.nLockTime) if locktime is None else locktime
    return transaction(vin or tx.vin, vout or tx.vout, locktime=when, version=tx.nVersion)


# Signatures and outputs of the pre-signed transactions


@pytest.mark.parametrize("role", Role, ids=lambda role: role.value)
def test_one_party_alone_moves_nothing(stage: Stage, fresh: Deal, role: Role) -> None:
    first = fresh.claim(role, UNITS)[0]
    theirs, own, *_ = witness_stack(first, 0)
    move = next(fresh.graph.forward(role))
    pairs = [
        (own, own),
        (theirs, theirs),
        (own, theirs),
        (bytes([theirs[0] ^ 1]) + theirs[1:], own),
    ]
    for pair in pairs:
        stage.refused(restacked(first, dict(enumerate(pair))), BAD_SIGNATURE)
    mine = KEYS[role].prover_key
    items = witness_stack(first, 0)[2:-2]
    robbed = altered(first, vout=[txout(300_000, fresh.terms.party(role).script)])
    stage.refused(resigned(move, robbed, dict.fromkeys(Role, mine), items), BAD_SIGNATURE)


def test_outputs_cannot_be_swapped(stage: Stage, claimed: Claimed) -> None:
    made = stage.fund(contract_terms())
    stage.broadcast(*made.claim(claimed.prover, UNITS))
    stage.chain.mine(made.terms.chain.challenge_window)
    settle = made.settle(claimed.prover)
    assert stage.chain.check(settle).accepted
    outputs = list(settle.vout)
    outputs[-3], outputs[-2] = outputs[-2], outputs[-3]
    stack = [witness_stack(settle, 0)]
    stage.refused(with_witness(altered(settle, vout=outputs), stack), BAD_SIGNATURE)
    outputs = list(settle.vout)
    outputs[0], outputs[7] = outputs[7], outputs[0]
    stage.refused(with_witness(altered(settle, vout=outputs), stack), BAD_SIGNATURE)
    stage.refused(with_witness(altered(settle, vout=outputs[:-1]), stack), BAD_SIGNATURE)


def test_close_needs_both(stage: Stage, fresh: Deal) -> None:
    contract = fresh.graph.contract
    close = close_tx(contract, fresh.graph.fund, 255_123)
    for role in Role:
        path = contract.lock.path("CLOSE")
        own = sign_close(contract, close, KEYS[role].key, AUX)
        stack = contract.lock.stack(path, dict.fromkeys(Role, own), [])
        stage.refused(with_witness(close, [stack]), BAD_SIGNATURE)
        root = contract.lock.output.merkle_root
        spent = [txout(contract.value_sats, contract.script_pubkey)]
        for key in (KEYS[role].key, tweak_key(KEYS[role].key, root)):
            alone = sign_input(close, 0, spent, key, AUX)
            stage.refused(with_witness(close, [[alone]]), BAD_SIGNATURE)


def test_a_lock_height_cannot_be_left_out(stage: Stage) -> None:
    made = stage.fund(contract_terms(expiry_height=stage.chain.height + 50))
    for name in ("holder:INPUT_1", "writer:INPUT_1", "REFUND"):
        move = made.graph.moves[name]
        prover = move.prover or Role.HOLDER
        whole = made.signed(name, made.messages(prover, UNITS))
        stage.refused(whole, NONFINAL)
        early = with_witness(altered(whole, locktime=0), [witness_stack(whole, 0)])
        stage.refused(early, LOCKED)


def test_only_one_claim_moves_the_contract(stage: Stage) -> None:
    made = stage.fund(contract_terms(refund_height=50))
    first, kickoff = made.claim(Role.HOLDER, UNITS)
    stage.broadcast(first, kickoff)
    second = {
        **made.messages(Role.HOLDER, UNITS),
        payout_label(made.terms, Role.HOLDER): made.payout(Role.HOLDER, 0xFF),
    }
    again = made.signed("holder:KICKOFF", second)
    assert txid(again) == txid(kickoff) and again != kickoff
    stage.refused(again, "bad-txns-BIP30")  # it is the transaction that is there already
    stage.refused(made.claim(Role.WRITER, 0)[0], SPENT)
    stage.refused(made.signed("REFUND"), SPENT)


# One-time messages


def test_digits_cannot_be_changed(stage: Stage, started: Deal) -> None:
    kickoff = started.claim(Role.HOLDER, UNITS)[1]
    move = started.graph.moves["holder:KICKOFF"]
    stack = witness_stack(kickoff, 0)
    # The payout lies lowest: two signatures, its two checksum digits, then its digits 5 and 3.
    assert stack[7] == number_bytes(5) and stack[9] == number_bytes(3)
    for forged in (number_bytes(6), number_bytes(4), number_bytes(16), number_bytes(21)):
        stage.refused(restacked(kickoff, {7: forged}), NOT_EQUAL)
    stage.refused(
        restacked(kickoff, {7: b"\x81"}), "Operation not valid with the current stack size"
    )
    forwards = {6: hash160(stack[6]), 7: number_bytes(6)}
    stage.refused(restacked(kickoff, forwards), NOT_SUMMED)
    balanced = {**forwards, 4: hash160(stack[4]), 5: number_bytes(stack[5][0] + 1)}
    stage.refused(restacked(kickoff, balanced), NOT_SUMMED)
    stage.refused(restacked(kickoff, {6: stack[6] + b"\0"}), NOT_EQUAL)
    padded = restacked(kickoff, {7: b"\x05\x00"})
    assert stage.chain.check(padded).consensus
    assert read_messages(move, padded) == read_messages(move, kickoff)


def test_messages_of_another_contract_are_worth_nothing(stage: Stage, started: Deal) -> None:
    other = stage.fund(contract_terms(premium_sats=5_001))
    assert KEYS[Role.HOLDER].key.public == other.terms.holder.key == started.terms.holder.key
    first = other.claim(Role.HOLDER, UNITS)[0]
    move = other.graph.moves["holder:INPUT_1"]
    strange = started.messages(Role.HOLDER, UNITS)
    same_place = {label: _like(label, strange) for label in move.messages}
    stage.refused(_with_messages(first, same_place), NOT_EQUAL)


def test_messages_of_the_other_direction_are_worth_nothing(stage: Stage, fresh: Deal) -> None:
    theirs = fresh.messages(Role.WRITER, UNITS)
    move = fresh.graph.moves["holder:INPUT_1"]
    same_place = {label: _like(label, theirs) for label in move.messages}
    first = fresh.claim(Role.HOLDER, UNITS)[0]
    stage.refused(_with_messages(first, same_place), NOT_EQUAL)


def _like(label: Label, messages: Mapping[Label, SignedMessage]) -> SignedMessage:
    """What another contract or direction says under the same field and number."""
    (found,) = [m for o, m in messages.items() if (o.field, o.round) == (label.field, label.round)]
    return found


def _with_messages(tx: CTransaction, messages: Mapping[Label, SignedMessage]) -> CTransaction:
    """``tx``, its signatures and leaf, with these messages."""
    stack = witness_stack(tx, 0)
    items = [message_items(m.digits, m.signature) for m in messages.values()]
    middle = [item for part in reversed(items) for item in part]
    return with_witness(tx, [[*stack[:2], *middle, *stack[-2:]]])


# Time-outs


def test_a_timeout_is_late(stage: Stage, started: Deal) -> None:
    move = started.graph.moves["holder:INPUT_1"]
    timeout = timeout_tx(started.graph, move, KEYS[Role.WRITER], AUX)
    stage.refused(timeout, NONFINAL)
    hasty = altered(timeout, vin=[txin(timeout.vin[0].prevout, 1)])
    stage.refused(_timed_out(move, hasty, KEYS[Role.WRITER].challenger_key), LOCKED)


def test_a_timeout_is_the_other_sides(stage: Stage) -> None:
    made = stage.fund(contract_terms())
    move = made.graph.moves["holder:INPUT_1"]
    stage.broadcast(made.claim(Role.HOLDER, UNITS)[0])
    stage.chain.mine(made.terms.chain.move_window)
    timeout = timeout_tx(made.graph, move, KEYS[Role.WRITER], AUX)
    assert stage.chain.check(timeout).accepted
    holder, writer = KEYS[Role.HOLDER], KEYS[Role.WRITER]
    for thief in (holder.prover_key, holder.challenger_key, writer.prover_key, STRANGER.key):
        stage.refused(_timed_out(move, timeout, thief), BAD_SIGNATURE)
    with pytest.raises(SignatureError, match="no key of this party"):
        timeout_tx(made.graph, move, holder, AUX)


def _timed_out(move: Move, tx: CTransaction, key: SecretKey) -> CTransaction:
    """``tx`` by the time-out leaf behind ``move``, signed by ``key``."""
    lock = move.locks[0]
    path = lock.path("holder:TIMEOUT")
    signature = sign_input(tx, 0, [move.tx.vout[0]], key, AUX, leaf=LeafSpend(path.leaf.hash))
    return with_witness(tx, [lock.stack(path, {Role.WRITER: signature}, [])])


# Sweeps


def test_the_other_side_takes_its_bits_and_no_others(stage: Stage, claimed: Claimed) -> None:
    sweeps = payout_of(claimed.made.graph, claimed.settled, UNITS).sweeps
    assert len(sweeps[claimed.other]) == 4 and len(sweeps[claimed.prover]) == 5
    assert stage.chain.check(claimed.sweep(claimed.other, sweeps[claimed.other])).accepted
    *bits, claim_fee = sweeps[claimed.prover]
    for output in bits:
        stage.refused(claimed.sweep(claimed.other, (output,)), WRONG)
    nothing = claimed.made.payout(claimed.prover, 0 if claimed.prover is Role.HOLDER else 255)
    stage.refused(claimed.sweep(claimed.other, (claim_fee,)), NOT_EQUAL)
    assert stage.chain.check(claimed.sweep(claimed.other, (claim_fee,), nothing)).accepted


def test_a_second_payout_only_helps_the_other_side(stage: Stage, claimed: Claimed) -> None:
    second = claimed.made.payout(claimed.prover, UNITS ^ 0xFF)
    lost = payout_of(claimed.made.graph, claimed.settled, UNITS).sweeps[claimed.prover][:-1]
    assert stage.chain.check(claimed.sweep(claimed.other, lost, second)).accepted


def test_the_prover_waits_and_shows_no_payout(stage: Stage, claimed: Claimed) -> None:
    graph, prover, other = claimed.made.graph, claimed.prover, claimed.other
    greedy = claimed.made.payout(prover, UNITS ^ 0xFF)
    for output in payout_of(graph, claimed.settled, UNITS).sweeps[other]:
        late = claimed.sweep(prover, (output,))
        stage.refused(late, NONFINAL)
        lock = claimed.made.graph.settle(prover).locks[output]
        spent = [claimed.settle.vout[output]]
        shown, own = lock.paths
        hasty = altered(late, vin=[txin(late.vin[0].prevout, 1)])
        for key in (KEYS[prover].prover_key, KEYS[prover].challenger_key):
            at_once = sign_input(hasty, 0, spent, key, AUX, leaf=LeafSpend(shown.leaf.hash))
            for payout in (greedy, claimed.made.payout(prover, UNITS)):
                items = shown.items({payout_label(claimed.made.terms, prover): payout})
                stack = lock.stack(shown, {other: at_once}, items)
                expected = BAD_SIGNATURE if payout_fits(claimed, output, payout) else WRONG
                stage.refused(with_witness(hasty, [stack]), expected)
        early = sign_input(
            hasty, 0, spent, KEYS[prover].prover_key, AUX, leaf=LeafSpend(own.leaf.hash)
        )
        stage.refused(with_witness(hasty, [lock.stack(own, {prover: early}, [])]), LOCKED)


def payout_fits(claimed: Claimed, output: int, payout: SignedMessage) -> bool:
    """Whether this message gives the output to the other side."""
    units = 16 * payout.digits[0] + payout.digits[1]
    return output in payout_of(claimed.made.graph, claimed.settled, units).sweeps[claimed.other]


def test_one_output_does_not_open_the_next(stage: Stage, claimed: Claimed) -> None:
    """The leaf of a bit that is the other side's own, shown for a bit that is not."""
    sweeps = payout_of(claimed.made.graph, claimed.settled, UNITS).sweeps
    settle = claimed.made.graph.settle(claimed.prover)
    wanted = sweeps[claimed.prover][0]
    lock = settle.locks[sweeps[claimed.other][0]]
    path = lock.paths[0]
    script = claimed.made.terms.party(claimed.other).script
    tx = transaction([txin(outpoint(txid(claimed.settle), wanted), 1)], [txout(600, script)])
    key = KEYS[claimed.other].challenger_key
    signature = sign_input(
        tx, 0, [settle.tx.vout[wanted]], key, AUX, leaf=LeafSpend(path.leaf.hash)
    )
    items = path.items({payout_label(claimed.made.terms, claimed.prover): claimed.payout})
    stack = lock.stack(path, {claimed.other: signature}, items)
    stage.refused(with_witness(tx, [stack]), OTHER_TREE)


def test_what_everybody_has_read_is_no_key(stage: Stage, claimed: Claimed) -> None:
    """The payout is public once KICKOFF is: a miner still lacks the signature beside it."""
    settle = claimed.made.graph.settle(claimed.prover)
    for output in payout_of(claimed.made.graph, claimed.settled, UNITS).sweeps[claimed.other]:
        whole = claimed.sweep(claimed.other, (output,))
        spent = [settle.tx.vout[output]]
        leaf = LeafSpend(settle.locks[output].paths[0].leaf.hash)
        forged = sign_input(whole, 0, spent, STRANGER.challenger_key, AUX, leaf=leaf)
        stage.refused(restacked(whole, {0: forged}), BAD_SIGNATURE)
        rerouted = altered(whole, vout=[txout(600, STRANGER_SCRIPT)])
        stage.refused(with_witness(rerouted, [witness_stack(whole, 0)]), BAD_SIGNATURE)
