"""The portable file: whoever lost the machine goes on, and signs nothing twice."""

from dataclasses import replace
from functools import lru_cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.errors import EncodingError, GuardError, ProtocolError, TermsError
from protocol.settlement.contract_file import MAGIC, ContractFile, restore, revealed_on_chain
from protocol.settlement.record import Facts
from protocol.settlement.terms import Role
from tests.builders.claims import certify, expiry_at
from tests.builders.party_world import KEYS, START, Guard, Side, World
from tests.protocol.settlement.test_party import HOLDER_CLAIMS, check_end, funded

pytestmark = pytest.mark.usefixtures("short_traces")

HOLDER, WRITER = Role.HOLDER, Role.WRITER


def exported(side: Side, sealed: bytes = b"sealed") -> ContractFile:
    made = ContractFile.of(side.role, KEYS[side.role], side.party.facts, side.guard.get)
    return ContractFile.decode(made.seal(sealed).encode())


def moved(side: Side, file: ContractFile) -> None:
    """The party goes on elsewhere, with this file and an empty disk."""
    side.guard = Guard()
    keys, chain = KEYS[side.role], side.world.chain
    side.records = list(restore(file, keys, side.guard, chain, side.world.judge))
    side.start()


@pytest.mark.parametrize("role", list(Role))
def test_a_party_goes_on_from_its_file(role):
    world = funded(settle_at=START + 12)
    moved(world.sides[role], exported(world.sides[role]))
    check_end(world.run(), "CLOSE")


@pytest.mark.parametrize("at", ["holder:INPUT_1", "holder:KICKOFF", "holder:SETTLE"])
@pytest.mark.parametrize("role", list(Role))
def test_a_party_goes_on_in_the_middle_of_a_claim(role, at):
    world = funded(settle_at=START + 12, policies=HOLDER_CLAIMS, move_window=8)
    world.until(lambda: at in world.path())
    moved(world.sides[role], exported(world.sides[role]))
    check_end(world.run(), "holder:SETTLE")


def test_an_old_file_does_not_sign_what_the_chain_shows_otherwise():
    """The file is from before the claim; the chain holds INPUT_1 by another certificate."""
    world = funded(settle_at=10**6, policies=HOLDER_CLAIMS, move_window=20)
    old = exported(world.holder)
    shown, other = (certify(expiry_at(world.terms, world.price_e8), s) for s in ((0, 1), (0, 2)))
    world.chain.mine(START + 12 - world.chain.height)
    world.holder.do(world.holder.party.settle(shown, world.chain, world.now_ms))
    world.until(lambda: "holder:INPUT_1" in world.path())
    moved(world.holder, old)
    assert world.holder.guard == revealed_on_chain(old.graph(world.judge), HOLDER, world.chain)
    assert len(world.holder.guard) > 0
    party = world.holder.party
    with pytest.raises(TermsError, match="bring that certificate"):
        party.settle(other, world.chain, world.now_ms)
    world.holder.do(party.settle(shown, world.chain, world.now_ms))
    check_end(world.run(), "holder:SETTLE")


def test_a_guard_of_another_history_is_refused():
    world = funded(settle_at=START + 12, policies=HOLDER_CLAIMS, move_window=20)
    world.until(lambda: "holder:INPUT_1" in world.path())
    file = exported(world.holder)
    label, digits = next(iter(world.holder.guard.items()))
    guard = Guard({label: tuple(15 - digit for digit in digits)})
    with pytest.raises(GuardError, match="two messages"):
        restore(file, KEYS[HOLDER], guard, world.chain, world.judge)


def test_what_a_file_must_be():
    world = funded()
    file = exported(world.holder)
    guard = Guard()
    with pytest.raises(TermsError, match="not that of its one-time keys"):
        restore(file, KEYS[WRITER], guard, world.chain, world.judge)
    bad = {**file.facts.signatures, WRITER: bytes(len(file.facts.signatures[WRITER]))}
    wrong = replace(file, facts=replace(file.facts, signatures=bad))
    with pytest.raises(ProtocolError, match="the writer's signature does not fit"):
        restore(wrong, KEYS[HOLDER], guard, world.chain, world.judge)
    assert not guard
    early = World().begin()
    with pytest.raises(TermsError, match="not complete yet"):
        exported(early.holder)


def test_a_watchers_file_shows_the_graph_and_signs_nothing():
    world = funded(settle_at=START + 12, policies=HOLDER_CLAIMS)
    world.until(lambda: "holder:KICKOFF" in world.path())
    file = ContractFile.decode(exported(world.holder).public().encode())
    assert not file.sealed and not any(file.revealed)
    assert not file.facts.signatures and file.facts.fund is None and file.facts.proof is None
    own = world.holder.party.graph
    assert own is not None and file.graph(world.judge).moves.keys() == own.moves.keys()
    assert all(file.graph(world.judge).moves[name].tx == own.moves[name].tx for name in own.moves)
    with pytest.raises(ProtocolError, match="signatures"):
        restore(file, KEYS[HOLDER], Guard(), world.chain, world.judge)


def test_the_seal_vouches_for_all_of_the_file():
    file = exported(funded().holder)
    assert file.bound == replace(file, sealed=b"").encode()
    assert file.bound != replace(file, revealed=(digits_of_first(file), *file.revealed[1:])).bound


def digits_of_first(file: ContractFile):
    return (0,) * file.labels[0].digits


@lru_cache(maxsize=1)
def encoded() -> bytes:
    return exported(funded().holder).encode()


@settings(deadline=None, max_examples=50)
@given(st.data())
def test_a_damaged_file_is_refused_or_means_something_else(data):
    file = encoded()
    at = data.draw(st.integers(0, len(file) - 1))
    bit = data.draw(st.integers(0, 7))
    damaged = file[:at] + bytes([file[at] ^ 1 << bit]) + file[at + 1 :]
    for other in (damaged, file[:at], file + damaged[at : at + 1]):
        try:
            assert ContractFile.decode(other).encode() == other
        except ProtocolError as error:
            assert str(error)


def test_other_files():
    for data in (b"", b"CTF0" + encoded()[4:], MAGIC, MAGIC + bytes(16)):
        with pytest.raises(EncodingError):
            ContractFile.decode(data)
    file = ContractFile.decode(encoded())
    with pytest.raises(EncodingError, match="malformed"):
        replace(file, revealed=((1,), *file.revealed[1:]))
    with pytest.raises(EncodingError, match="labels"):
        replace(file, revealed=())
    with pytest.raises(TermsError, match="agreed terms"):
        replace(file, facts=Facts())
