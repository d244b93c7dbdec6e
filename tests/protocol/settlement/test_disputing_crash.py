"""Reorganisations and crashes in a dispute: nobody says a second thing, whatever the other side
shows now, and the end is the one that would have come without them."""

import pytest

from protocol.dispute.claim import Party
from protocol.dispute.lies.rehearsal import Sides
from protocol.dispute.play import Challenge, Move, Pick, Play, Wait
from protocol.dispute.rules import History, charges
from protocol.dispute.sides import HONEST, Strategy
from protocol.settlement.messages import Event, Keep
from protocol.settlement.record import Facts
from protocol.settlement.terms import Role
from tests.builders.party_disputes import (
    DEEP,
    check_money,
    claimed,
    forget,
    height_of,
    lied,
    play,
    said_on_chain,
    until_said,
    winner,
)
from tests.builders.party_world import Side, World

pytestmark = pytest.mark.usefixtures("short_traces")

LONG = {"move_window": 12, "challenge_window": 12, "sweep_delay": 16}
"""Blocks that nobody looks at come with a reorganisation."""
SCENARIOS = {"wrong-pc": 3, "challenge": 3, "assert-pc-way": DEEP, "no-refute": DEEP}
"""A verdict, a false challenge, a refutation, a TAKE."""


def mortal(world: World, *roles: Role) -> World:
    for role in roles:
        world.sides[role].deaths = set()
    return world


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_crash_of_both_after_every_effect(name):
    check_crashes(name, *Role)


@pytest.mark.parametrize("role", list(Role))
def test_a_crash_of_one_after_every_effect(role):
    check_crashes("wrong-pc", role)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["challenge", "assert-pc-way", "no-refute"])
@pytest.mark.parametrize("role", list(Role))
def test_a_crash_of_each_after_every_effect(name, role):
    check_crashes(name, role)


def check_crashes(name: str, *dying: Role) -> None:
    """Each of them dies once of everything that it keeps, asks for and broadcasts."""
    calm = lied(name, SCENARIOS[name]).run()
    world = mortal(lied(name, SCENARIOS[name]), *dying).run()
    assert all(world.sides[role].crashes > 15 for role in dying)
    assert world.path() == calm.path()
    assert said_on_chain(world) == said_on_chain(calm)
    for side in world.sides.values():
        assert Facts.of(side.records) == side.party.facts
        assert side.guard.conflicts == 0


@pytest.mark.parametrize(("name", "depth"), [("wrong-pc", 5), ("challenge", 2)])
def test_a_reorganisation_at_every_stage(name, depth):
    check_reorganisations(name, depth)


@pytest.mark.slow
@pytest.mark.parametrize("depth", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("name", ["wrong-pc", "challenge", "silent-execute"])
def test_a_reorganisation_of_every_depth_at_every_stage(name, depth):
    check_reorganisations(name, depth)


def check_reorganisations(name: str, depth: int) -> None:
    """What the blocks held is forgotten, and said again to the byte."""
    calm = lied(name, **LONG).run()
    for number in range(3, len(calm.path())):
        world = lied(name, **LONG)
        world.until(lambda world=world, number=number: len(world.path()) >= number)
        world.chain.mine(number % 3)
        world.chain.reorg(depth)
        world.run()
        assert said_on_chain(world) == said_on_chain(calm)
        assert winner(world) is winner(calm)
        check_money(world)


def test_a_reorganisation_and_a_crash_of_both():
    calm = lied("wrong-pc", **LONG).run()
    world = mortal(lied("wrong-pc", **LONG), *Role)
    for name in ("REVEAL_1", "PICK_2", "EXECUTE"):
        until_said(world, name).chain.reorg(4)
        for side in world.sides.values():
            side.start()
    assert said_on_chain(world.run()) == said_on_chain(calm)


# Who says something else after a reorganisation


def picking(*digits: int) -> Strategy:
    """A challenger of a true claim, with these digits, that plays whatever holds in the end."""

    def move(game: Play, history: History) -> Move | None:
        if game.wait is Wait.WINDOW:
            return Challenge()
        if game.wait is Wait.DIGIT:
            return Pick(digits[len(game.said.digits)])
        return next(iter(charges(game.premises, game.said, history)), None)

    return Strategy(challenger=move)


@pytest.mark.parametrize("turn", [1, 2, 3])
def test_a_prover_keeps_to_the_digit_that_it_has_answered(turn):
    """The challenger signs another one after a reorganisation: with that, what the prover has
    revealed would not fit together."""
    world = play(claimed(**LONG), Sides(HONEST, picking(0, 0, 0)))
    until_said(world, "EXECUTE" if turn == 3 else f"REVEAL_{turn + 1}")
    before = said_on_chain(world)
    world.chain.reorg(1 + world.chain.height - height_of(world, f"holder:PICK_{turn}"))
    forget(world, Role.WRITER, picking(*(2 * (n == turn - 1) for n in range(3))))
    until_said(world, "PICK_3").writer.alive = False
    world.run()
    assert winner(world) is Party.PROVER
    dispute = world.holder.party.dispute
    assert dispute is not None and dispute.step == 0
    after = said_on_chain(world)
    assert after[f"holder:PICK_{turn}"] != before[f"holder:PICK_{turn}"]
    shown = [name for name in before if "REVEAL" in name or "EXECUTE" in name]
    assert {name: after[name] for name in shown} == {name: before[name] for name in shown}
    check_money(world)


def test_a_challenger_keeps_to_the_claim_that_it_has_challenged():
    """After a reorganisation the prover claims the truth and plays honestly; its first claim stays
    signed, and convicts it."""
    world = until_said(lied("payout", **LONG), "REVEAL_1")
    before = said_on_chain(world)
    world.chain.reorg(1 + world.chain.height - height_of(world, "holder:INPUT_1"))
    forget(world, Role.HOLDER, HONEST)
    world.run()
    after = said_on_chain(world)
    assert after["holder:KICKOFF"] != before["holder:KICKOFF"]
    assert after["holder:CHALLENGE"] == before["holder:CHALLENGE"]
    assert winner(world) is Party.CHALLENGER
    check_money(world)


@pytest.mark.parametrize("name", ["wrong-pc", "unrevealed", "node-1"])
@pytest.mark.parametrize("move", ["REVEAL_1", "REVEAL_2", "REVEAL_3", "EXECUTE"])
def test_a_challenger_keeps_to_what_it_has_answered(name, move):
    """The prover tells the truth after a reorganisation, from this move on."""
    answer = move.replace("REVEAL", "PICK")
    world = until_said(lied(name, **LONG), answer)
    before = said_on_chain(world)
    world.chain.reorg(1 + world.chain.height - height_of(world, f"holder:{move}"))
    forget(world, Role.HOLDER, HONEST)
    world.run()
    assert winner(world) is Party.CHALLENGER
    if answer != move:
        assert said_on_chain(world)[f"holder:{answer}"] == before[f"holder:{answer}"]
    check_money(world)


def test_what_was_signed_once_is_not_signed_again():
    """A party whose records are lost and whose guard is not: it says so, and says nothing else."""
    world = until_said(lied("challenge", **LONG), "REVEAL_2")
    world.chain.reorg(1 + world.chain.height - height_of(world, "holder:REVEAL_1"))
    side = world.sides[Role.WRITER]
    side.records = [kept for kept in side.records if kept[1:5] != b"said"]
    digit = next(digits for label, digits in side.guard.items() if label.field == "digit")
    side.strategy = picking(*((digit[0] + 1) % 4,) * 3)
    side.start()
    world.run()
    assert side.events(Event.GUARDED) and side.guard.conflicts
    assert world.path()[-3] == "holder:SETTLE_round_1"


def test_what_it_answers_is_on_disk_before_its_guard_knows_an_answer():
    """Otherwise a crash and a reorganisation in between leave it with a digit for other nodes."""
    world = until_said(lied("wrong-pc", **LONG), "CHALLENGE")
    side = world.writer
    side.alive = False
    until_said(world, "REVEAL_1").chain.mine(world.writer.policy.depth)
    assert "seen" in kept(side) and not side.guard
    assert kept(side) == ["said"] and len(side.guard) == 1


def kept(side: Side) -> list[str]:
    """What sort of records it keeps when it looks now."""
    effects = side.party.look(side.world.chain, side.world.now_ms)
    records = [effect.record for effect in effects if isinstance(effect, Keep)]
    return [record[1 : 1 + record[0]].decode() for record in records]
