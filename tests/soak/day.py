"""A simulated day: orders as planned, exercises, settlements and disputes, until all is over."""

import asyncio
import hashlib
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict
from time import process_time
from typing import Final

from actors.config import Wallet
from actors.contract_accounts import Accounts
from actors.contract_txs import TxRow
from actors.history import History, decode_certificate
from actors.keyfile import load_key
from actors.market_store import Answer
from protocol.errors import ProtocolError
from protocol.options.book import Contract, Order, Stage
from protocol.options.instrument import Instrument, OptionKind
from protocol.settlement.terms import Role
from protocol.units import Sats
from tests.soak.diary import Day, Story
from tests.soak.gauges import sample
from tests.soak.plan import Plan
from tests.soak.virtual import real_s
from tests.soak.world import FEED, World

QUANTITY: Final = Sats(400_000_000)
"""So much that the smallest bit of a payout is worth its own sweep."""
RICH: Final = Sats(10**8)
POLL_S: Final = 20.0
"""How often a story looks at its contract."""
PATIENCE_BLOCKS: Final = 250
"""A contract that is open for so many blocks after its settlement is stuck."""
DAY_MS: Final = 86_400_000
UNITS: Final = 2**16 - 1
"""A payout has 16 bits."""


async def live(world: World, day: Day, sample_s: float, say: Callable[[str], None]) -> None:
    """The whole day."""
    began_ms, began_s, began_cpu_s = world.market.now_ms(), real_s(), process_time()
    clock = _Hours(world, began_ms)
    sampling = asyncio.create_task(_sample(world, day, clock, sample_s, say))
    lock = asyncio.Lock()
    telling = [asyncio.create_task(_tell(world, story, clock, lock)) for story in day.stories]
    try:
        await asyncio.sleep(day.hours * 3600)
        await asyncio.gather(*telling)
    finally:
        sampling.cancel()
        for task in telling:
            task.cancel()
    day.samples.append(sample(clock(), 0, world.folder))
    day.end_h, day.blocks = clock(), world.chain.height
    day.real_s, day.cpu_s = real_s() - began_s, process_time() - began_cpu_s
    _check_rounds(world, day, began_ms)
    day.errors += world.parties.faults + world.faults


class _Hours:
    """Hours of virtual time since the day began."""

    def __init__(self, world: World, began_ms: int) -> None:
        self._world, self._began_ms = world, began_ms

    def __call__(self) -> float:
        return (self._world.market.now_ms() - self._began_ms) / 3_600_000


async def _sample(
    world: World, day: Day, clock: _Hours, every_s: float, say: Callable[[str], None]
) -> None:
    while True:
        await asyncio.sleep(every_s)
        alive = sum(not c.stage.is_over for c in world.market.book.contracts.values())
        day.samples.append(sample(clock(), alive, world.folder))
        one = day.samples[-1]
        say(
            f"{one.hour:6.2f} h  {one.rss_kb / 1024:7.1f} MB  {one.fds} descriptors"
            f"  {one.tasks} tasks  {one.threads} threads  {one.objects:,} objects"
            f"  {alive} contracts"
        )


# One contract


async def _tell(world: World, story: Story, clock: _Hours, lock: asyncio.Lock) -> None:
    """From its order to its end; what goes wrong is its problem, and the day goes on."""
    await asyncio.sleep(story.plan.order_s)
    try:
        await _story(world, story, clock, lock)
    except ProtocolError as error:
        story.problems.append(str(error))


async def _story(world: World, story: Story, clock: _Hours, lock: asyncio.Lock) -> None:
    async with lock:  # numbers are given in the order of the plans
        accounts = await _order(world, story)
    story.ordered_h = clock()
    contract = await _until(world, story, lambda c: c.stage is not Stage.ORDERED, 600)
    contract = await _until(world, story, lambda c: c.stage not in _EARLY, 40)
    party = world.parties.party(world.contracts / str(story.number), Role.HOLDER).party
    story.terms = party.terms
    if story.plan.american:
        await asyncio.sleep(story.plan.exercise_s)
        await _exercise(world, story)
    contract = await _until(world, story, _is_settling, 10_000)
    contract = await _until(world, story, lambda c: c.stage.is_over, PATIENCE_BLOCKS)
    story.over_h = clock()
    await _close(world, story, contract, accounts)


_EARLY: Final = (Stage.ORDERED, Stage.OFFERED)


def _is_settling(contract: Contract) -> bool:
    return contract.settlement is not None or contract.stage.is_over


async def _order(world: World, story: Story) -> Accounts:
    plan, market = story.plan, world.market
    number = world.plans.index(plan) + 1
    instrument = _instrument(world, plan)
    scripts = {
        role: Wallet(world.chain, load_key(world.wallet(number, role))).script() for role in Role
    }
    accounts = Accounts(world.chain, scripts)
    order = Order(
        instrument=instrument,
        quantity_sats=QUANTITY,
        collateral_sats=QUANTITY,
        max_premium_sats=RICH,
    )
    await market.order(f"order-{number}", _digest(f"order {number}"), order, _answer)
    story.number, story.instrument = max(market.book.contracts), instrument.name
    assert story.number == number, "contracts are numbered as they are ordered"
    return accounts


def _instrument(world: World, plan: Plan) -> Instrument:
    """A put in the money: European of the next expiry, American of one that it does not live to."""
    market = world.market
    closing_ms = market.now_ms() + (DAY_MS if plan.american else market.closing_ms)
    listed = next(
        instruments
        for _, instruments in sorted(market.listed.items())
        if instruments[0].expiry_ms > closing_ms
    )
    puts = sorted(
        (
            one
            for one in listed
            if one.kind is OptionKind.PUT
            and one.is_american == plan.american
            and not one.is_binary
            and one.barrier is None
        ),
        key=lambda one: one.strike_e8,
    )
    above = [one for one in puts if one.strike_e8 > market.index.report.price_e8]
    return above[min(plan.strike_steps, len(above) - 1)]


async def _exercise(world: World, story: Story) -> None:
    market, number = world.market, story.number
    await market.exercise(
        f"exercise-{number}", _digest(f"exercise {number}"), number, None, _answer
    )
    named = market.book.contracts[number].exercise_round
    assert named is not None
    story.due_round = named


def _answer(_: Contract) -> Answer:
    return Answer(201, b"{}")


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


async def _until(
    world: World, story: Story, holds: Callable[[Contract], bool], blocks: int
) -> Contract:
    """The contract once it is as wanted. ProtocolError after so many blocks: it is stuck."""
    last = world.chain.height + blocks
    while True:
        contract = world.market.book.contracts[story.number]
        if holds(contract):
            return contract
        if world.chain.height > last:
            raise ProtocolError(
                f"contract {story.number} ({story.plan.end}) is {contract.stage} after {blocks}"
                f" blocks: {contract.fault}"
            )
        await asyncio.sleep(POLL_S)


# What it came to


async def _close(world: World, story: Story, contract: Contract, accounts: Accounts) -> None:
    """Round, price and payout against the terms, and every satoshi of both wallets."""
    config = world.network.config
    if not story.plan.american:
        story.due_round = config.round_at(contract.instrument.expiry_ms)
    story.outcome = contract.outcome
    problems = story.problems
    if contract.stage is not Stage.CLOSED or contract.settlement is None:
        problems.append(f"it ended {contract.stage}: {contract.fault}")
        return
    settled, certified = contract.settlement, _first_certified(world, story.due_round)
    if (settled.round, settled.price_e8) != certified:
        problems.append(
            f"settled in round {settled.round} at {settled.price_e8}, but the first that is"
            f" certified from {story.due_round} on is (round, price) {certified}"
        )
    expected = _payout(contract.instrument.strike_e8, certified[1])
    if settled.payout_sats != expected:
        problems.append(f"it pays {settled.payout_sats} sats, {expected} are due")
    terms = story.terms
    assert terms is not None, "it was open"
    rows = [TxRow(**asdict(row)) for row in contract.transactions]
    units = expected // terms.claim.unit_sats
    books = await asyncio.to_thread(accounts.close, terms, rows, units)
    if not books.add_up:
        problems.append(f"the books do not add up: {books}")
    liar = story.plan.end.liar
    if liar is not None:
        stood = "SETTLE" in story.outcome
        loser = story.plan.end.claims.other if stood else story.plan.end.claims
        if loser is not liar:
            problems.append(f"the {liar} lied, and the {loser} lost: {story.outcome}")


def _first_certified(world: World, due_round: int) -> tuple[int, int]:
    """Round and price of the first certificate from a round on, in an oracle's own history, once
    its quorum's signatures are checked. ProtocolError if there is none, or a signature is bad."""
    config = world.network.config
    with closing(History.read(world.nodes[0].operator.folder / "history.sqlite")) as history:
        found = next(history.between(FEED.feed_id, due_round, 2**62), None)
    if found is None:
        raise ProtocolError(f"nothing is certified from round {due_round} on")
    decode_certificate(found.certificate).check(config)
    return found.report.round, found.report.price_e8


def _payout(strike_e8: int, price_e8: int) -> int:
    """Of a put in sats, by hand: (K - S) / S of the quantity, down to whole units."""
    gain = QUANTITY * max(strike_e8 - price_e8, 0) // price_e8
    unit = QUANTITY // UNITS
    return min(gain // unit, UNITS) * unit


# Rounds


def _check_rounds(world: World, day: Day, began_ms: int) -> None:
    """Every boundary of the schedule has a certificate before the next one, at every node."""
    schedule_ms = world.network.schedule.schedule_ms
    interval_ms = world.network.config.interval_ms
    first, last = -(-began_ms // schedule_ms), world.market.now_ms() // schedule_ms
    wanted = set(range(first, last))
    day.expected_rounds = len(wanted)
    for node in world.nodes:
        with closing(History.read(node.operator.folder / "history.sqlite")) as history:
            entries = [*history.between(FEED.feed_id, first * schedule_ms // interval_ms, 2**62)]
        found = {entry.report.round * interval_ms // schedule_ms for entry in entries}
        day.missing_rounds += sorted(wanted - found)
        if node is world.nodes[-1]:
            day.rounds = len(entries)
            for entry in entries:
                grade = entry.report.grade.name
                day.grades[grade] = day.grades.get(grade, 0) + 1
