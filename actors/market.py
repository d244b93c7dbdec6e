"""The market: certified prices in, quotes and contracts out.

    a certificate     its signatures are checked here, whoever sent it; then it is the index
    a quote           follows from the newest index and the volatility, in process
    a command         its effect and its answer are on disk together before anybody is told
    a contract        is handed to the desk, and followed there until it is over

Everything but pricing of slow instruments and the disk happens in one event loop, so there is one
order of things. What must survive is in ``MarketStore`` alone: a market made anew goes on.
"""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import date
from enum import StrEnum
from typing import Any, Final, TypeVar

from actors.clock import Clock
from actors.epochs import Installed, alone, installed, load_networks
from actors.history import AnyCertificate
from actors.logs import event
from actors.market_config import MarketConfig
from actors.market_desk import ContractDesk, Dispute
from actors.market_source import NodeState, follow, listen, nodes_of, recall
from actors.market_store import Answer, MarketStore
from actors.network import Network
from protocol.errors import ConfigError, PriceError, ProtocolError, TermsError
from protocol.options.book import (
    Book,
    Contract,
    Order,
    Stage,
    Transaction,
    require_in_time,
)
from protocol.options.chain import chain
from protocol.options.instrument import Instrument
from protocol.options.margin import Margin, margin_of, payoff_of
from protocol.options.running import RunningVolatility
from protocol.options.sheet import UNDERLYING, Columns, Conditions, Flat, Quote, premium_sats, quote
from protocol.options.volatility import Sample
from protocol.oracle.batch_certificate import BatchCertificate
from protocol.oracle.exercise import LEAD_MIN_MS
from protocol.oracle.feed import Feed
from protocol.oracle.quorum import thresholds
from protocol.oracle.report import Report
from protocol.units import PriceE8, Round, Sats, UnixMs

KEPT: Final = 1_024
"""Certificates that are shown again."""
RECALLED: Final = 5_000
"""Certificates of a history that the first volatility is taken from; each is verified."""
LOOK_S: Final = 1.0
"""How often the desk is asked how the contracts stand, and whether a rotation was installed."""
FUNDING_MS: Final = 600_000
"""How long a contract that is not funded keeps the next one waiting."""
NOTICE_MS: Final = 10_000
"""Between two times that a notice of exercise is passed on."""
VOL_RANGE: Final = (0.05, 3.0)
"""Volatility from history is cut to this."""

T = TypeVar("T")

log = logging.getLogger(__name__)


class Change(StrEnum):
    """What a market tells of, and the pool beside it."""

    PRICE = "price"
    CONTRACT = "contract"
    POOL = "pool"


@dataclass(frozen=True, slots=True)
class Index:
    """The newest certified price of a feed, and the certificate that proves it."""

    feed: Feed
    report: Report
    certificate: AnyCertificate


class Market:
    """``desk`` is None where nothing can be ordered. ``clock`` is real time except in tests."""

    def __init__(
        self, config: MarketConfig, store: MarketStore, desk: ContractDesk | None, clock: Clock
    ) -> None:
        self.config = config
        self.desk = desk
        self.book: Book = store.book()
        self.networks = config.networks or alone(config.network)
        self.nodes: list[NodeState] = []
        """That are listened to, of this epoch and of those to come."""
        self.indexes: dict[str, Index] = {}
        self.certificates: deque[AnyCertificate] = deque(maxlen=KEPT)
        self.certified_count = 0
        self.listed: dict[date, tuple[Instrument, ...]] = {}
        self.disputes: dict[int, Dispute] = {}
        """As they stood at the last look."""
        self.changed: list[Callable[[Change], None]] = []
        """Called, in the loop, after something has changed."""
        self.failed: asyncio.Future[None]
        """Of a market that is running; has an exception once it cannot go on."""
        self._store = store
        self._clock = clock
        self._feeds = {feed.feed_id: feed for feed in config.network.feeds}
        self._known: set[bytes] = set()
        self._volatility = RunningVolatility(1000.0 * config.pricing.half_life_s)
        self._conditions: Conditions | None = None
        self._columns: dict[date, Columns] = {}
        self._sheets: dict[date, list[Quote]] = {}
        self._prices: list[tuple[Round, PriceE8]] = []
        self._noticed: dict[int, UnixMs] = {}
        """When each notice of exercise was passed on last."""
        self._settled: set[int] = set()
        self._listening: dict[tuple[Any, ...], asyncio.Task[None]] = {}
        self._commands = asyncio.Lock()
        self._stirred = asyncio.Event()
        self._disk = ThreadPoolExecutor(1, thread_name_prefix="store")
        self._pricing = ThreadPoolExecutor(1, thread_name_prefix="pricing")

    # Running

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Hears certificates and follows contracts inside the block."""
        history = self.config.history
        first = 0
        if history is not None:
            for certificate in recall(history, RECALLED):
                self._hear(certificate)
                first = certificate.round + 1
        self.failed = asyncio.get_running_loop().create_future()
        work = [self._follow_contracts(), self._follow_rotations()]
        if history is not None:
            work.append(follow(history, first, self._hear))
        tasks = [asyncio.create_task(part) for part in work]
        for task in tasks:
            task.add_done_callback(self._ended)
        try:
            yield
        finally:
            tasks += self._listening.values()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            if self.desk is not None:
                await self.desk.close()
            self._disk.shutdown()
            self._pricing.shutdown(cancel_futures=True)
            self._store.close()

    @property
    def network(self) -> Network:
        """The network of the epoch that settles the round of now."""
        return self.networks.at(self.config.network.config.round_at(self.now_ms()))

    async def _follow_rotations(self) -> None:
        """Learn of every rotation that is installed beside the network file."""
        path, known = self.networks.path, Installed()
        while True:
            found = installed(path)
            if found != known:
                known = found
                try:
                    self.networks = load_networks(path)
                except ProtocolError as error:
                    event(log, "rotation refused", logging.ERROR, reason=str(error))
            if self.config.listens:
                self._listen()
            await asyncio.sleep(LOOK_S)

    def _listen(self) -> None:
        """Hear every node of this epoch and of those to come, and nobody else."""
        known = {node.place: node for node in self.nodes}
        coming = self.networks.since(self.network)
        nodes = (node for network in coming for node in nodes_of(network))
        wanted = {node.place: known.get(node.place, node) for node in nodes}
        self.nodes[:] = wanted.values()
        for place in self._listening.keys() - wanted.keys():
            self._listening.pop(place).cancel()
        for place in wanted.keys() - self._listening.keys():
            task = asyncio.create_task(listen(wanted[place], self.config.ca, self.certified))
            self._listening[place] = task
            self.watch(task)

    def watch(self, task: asyncio.Task[None]) -> None:
        """Fail as well when a task ends that others need."""
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        """A part of the market that ends by itself takes all of it along."""
        if not task.cancelled() and not self.failed.done():
            self.failed.set_exception(task.exception() or RuntimeError("a part has ended"))

    @property
    def clock(self) -> Clock:
        """What it reads the time from."""
        return self._clock

    def now_ms(self) -> UnixMs:
        """Of the market's clock."""
        return self._clock.now_ms()

    @property
    def closing_ms(self) -> int:
        """How long before its expiry an option is not sold any more."""
        return 1000 * self.config.pricing.closes_s

    # Prices

    def certified(self, certificate: AnyCertificate) -> None:
        """Take a certificate that anybody may have sent. QuorumError or SignatureError if it is not
        one of the network; one that is known, or older than the index, changes nothing."""
        if certificate.hash in self._known:
            return
        self.networks.epochs.check(certificate)
        self._known.add(certificate.hash)
        if len(self.certificates) == KEPT:
            self._known.discard(self.certificates[0].hash)
        self.certificates.append(certificate)
        self.certified_count += 1
        for report in _reports(certificate):
            feed = self._feeds.get(report.feed_id)
            if feed is not None:
                self._indexed(Index(feed, report, certificate))
        self._tell(Change.PRICE)

    def conditions(self) -> Conditions:
        """Of quotes now. PriceError if there is no certified price, or if it is too old."""
        if self._conditions is None:
            raise PriceError("no certified price has been heard yet; try again in a moment")
        age_ms = self.now_ms() - self._conditions.at_ms
        if age_ms > self.config.max_age_ms:
            raise PriceError(
                f"the newest certified price is {age_ms / 1000:.0f} s old, above"
                f" {self.config.max_age_ms / 1000:.0f} s: it is not quoted; see /v1/nodes"
            )
        return self._conditions

    @property
    def index(self) -> Index:
        """That options are written on. PriceError while there is none."""
        found = self.indexes.get(self.config.feed.symbol)
        if found is None:
            raise PriceError("no certified price has been heard yet; try again in a moment")
        return found

    @property
    def is_vol_assumed(self) -> bool:
        """Whether the volatility is the configured one, for want of prices or of a surface."""
        is_young = self._volatility.moves < self.config.pricing.moves_min
        return self.config.surface is None and is_young

    @property
    def vol(self) -> float | None:
        """That every quote uses; None before the first price, or with a surface."""
        smile = None if self._conditions is None else self._conditions.smile
        return smile.level if isinstance(smile, Flat) else None

    def sheet(self, expiry: date) -> list[Quote]:
        """Quotes of every listed instrument of an expiry; empty if it is not listed. PriceError as
        ``conditions``."""
        conditions = self.conditions()
        instruments = self.listed.get(expiry, ())
        if expiry not in self._sheets:
            columns = self._columns.get(expiry)
            if columns is None or columns.instruments is not instruments:
                columns = self._columns[expiry] = Columns.of(instruments)
            self._sheets[expiry] = columns.quotes(conditions)
        return self._sheets[expiry]

    async def price(self, work: Callable[[], T]) -> T:
        """Slow pricing beside the loop, one after the other."""
        return await asyncio.get_running_loop().run_in_executor(self._pricing, work)

    def _hear(self, certificate: AnyCertificate) -> None:
        with suppress(ProtocolError):  # of another epoch, or a file that somebody has altered
            self.certified(certificate)

    def _indexed(self, index: Index) -> None:
        symbol, report = index.feed.symbol, index.report
        before = self.indexes.get(symbol)
        if before is not None and report.round <= before.report.round:
            return
        self.indexes[symbol] = index
        if index.feed != self.config.feed:
            return
        price_e8, at_ms = PriceE8(report.price_e8), UnixMs(report.time)
        with suppress(PriceError):  # time stood still, or a price of 0 was certified
            self._volatility = self._volatility.after(Sample(at_ms, price_e8))
        pricing, interval_ms = self.config.pricing, self.config.network.config.interval_ms
        self._conditions = Conditions(
            round=Round(report.round),
            index_e8=price_e8,
            at_ms=at_ms,
            smile=self.config.surface or Flat(self._level()),
            round_ms=interval_ms,
            rate=pricing.rate,
            dividend=pricing.dividend,
        )
        self._sheets.clear()
        self.listed = chain(UNDERLYING, price_e8, at_ms)
        self._columns = {day: self._columns[day] for day in self._columns if day in self.listed}
        self._prices.append((Round(report.round), price_e8))
        self._stirred.set()

    def _level(self) -> float:
        if self.is_vol_assumed:
            return self.config.pricing.vol
        low, high = VOL_RANGE
        return min(max(self._volatility.level, low), high)

    # Commands

    async def order(
        self, key: str, digest: bytes, order: Order, render: Callable[[Contract], Answer]
    ) -> Answer:
        """Sell the option at the price of this moment, once a key. EncodingError if the key was
        another command's; ConfigError without a desk; PriceError without a price; TermsError says
        why it is not sold. GuardError if it cannot be kept: nothing was sold then."""
        return await asyncio.shield(asyncio.create_task(self._order(key, digest, order, render)))

    async def _order(
        self, key: str, digest: bytes, order: Order, render: Callable[[Contract], Answer]
    ) -> Answer:
        if self.desk is None:
            raise ConfigError("nothing can be ordered here: the gateway's file has no [desk]")
        async with self._commands:
            known = await self._kept(self._store.answer, key, digest)
            if known is not None:
                return known
            require_in_time(order, self.now_ms(), self.closing_ms)
            self._require_signers(order.instrument)
            conditions = self.conditions()
            quoted = quote(order.instrument, conditions)
            premium = self.premium(quoted, order.quantity_sats, order.collateral_sats, conditions)
            contract = self.book.place(
                order, premium, conditions.round, conditions.index_e8, self.now_ms()
            )
            return await self._execute(key, digest, contract, render)

    def _require_signers(self, instrument: Instrument) -> None:
        """TermsError if too few oracles are there to settle it: an American option takes more of
        them than a price."""
        config, names = self.config.network.config, self.config.network.names
        needed = thresholds(len(names), config.faults).agreement
        heard = {node.name for node in self.nodes if node.connected}
        away = [name for name in names if name not in heard]
        if instrument.is_american and self.nodes and len(names) - len(away) < needed:
            raise TermsError(
                f"{instrument}: an American option takes {needed} of {len(names)} oracles, and"
                f" {', '.join(away)} cannot be heard; try again when they are back, or choose a"
                " European one"
            )

    async def exercise(
        self,
        key: str,
        digest: bytes,
        contract_id: int,
        round_id: int | None,
        render: Callable[[Contract], Answer],
    ) -> Answer:
        """Name the round that settles an American contract, once and for all; None for the first
        that still can be. Errors as ``order``."""
        work = self._exercise(key, digest, contract_id, round_id, render)
        return await asyncio.shield(asyncio.create_task(work))

    async def _exercise(
        self,
        key: str,
        digest: bytes,
        contract_id: int,
        round_id: int | None,
        render: Callable[[Contract], Answer],
    ) -> Answer:
        config = self.config.network.config
        async with self._commands:
            known = await self._kept(self._store.answer, key, digest)
            if known is not None:
                return known
            contract = self.book.contracts[contract_id]
            first = config.round_at(self.now_ms() + 2 * LEAD_MIN_MS) + 1
            chosen = contract.exercised(
                Round(first if round_id is None else round_id),
                Round(first),
                Round(config.round_at(contract.instrument.expiry_ms)),
            )
            return await self._execute(key, digest, chosen, render)

    def premium(
        self, quoted: Quote, quantity_sats: Sats, collateral_sats: Sats, conditions: Conditions
    ) -> Sats:
        """What the writer asks for so much of the option, markup included."""
        markup = self.config.pricing.markup_bps
        return premium_sats(quoted, quantity_sats, collateral_sats, conditions, markup)

    def margin(self, contract: Contract) -> Margin:
        """Of a contract at the newest index. PriceError without one."""
        instrument = contract.instrument
        payoff = payoff_of(instrument, contract.quantity_sats, contract.collateral_sats)
        conditions, mark = self._conditions, Sats(0)
        is_out = contract.knocked_round is not None
        if conditions is None:
            raise PriceError("no certified price has been heard yet; try again in a moment")
        if not is_out and conditions.at_ms < instrument.expiry_ms:
            quoted = quote(instrument, conditions)
            mark = premium_sats(
                quoted, contract.quantity_sats, contract.collateral_sats, conditions
            )
        return margin_of(payoff, conditions.index_e8, mark, is_out=is_out)

    def margin_if_any(self, contract: Contract) -> Margin | None:
        """Its margin; None if it is over, or while there is no price."""
        if contract.stage.is_over or self._conditions is None:
            return None
        return self.margin(contract)

    async def dispute(self, contract: Contract) -> Dispute | None:
        """How the game about its claim stands; None while nobody claims."""
        return None if self.desk is None else await self.desk.dispute(contract)

    async def transactions(self, contract: Contract) -> Sequence[dict[str, Any]]:
        """Its transactions that the node knows, parents first."""
        if contract.stage.is_over:
            return [asdict(row) for row in contract.transactions]
        return () if self.desk is None else await self.desk.transactions(contract)

    async def _execute(
        self, key: str, digest: bytes, contract: Contract, render: Callable[[Contract], Answer]
    ) -> Answer:
        answer = render(contract)
        await self._kept(self._store.execute, key, digest, contract, answer)
        self._adopt(contract)
        return answer

    async def _kept(self, work: Callable[..., T], *arguments: Any) -> T:
        """The disk, beside the loop."""
        return await asyncio.get_running_loop().run_in_executor(self._disk, work, *arguments)

    def _adopt(self, contract: Contract) -> None:
        self.book = self.book.after(contract)
        self._stirred.set()
        self._tell(Change.CONTRACT)

    def _tell(self, change: Change) -> None:
        for hear in self.changed:
            hear(change)

    # Contracts

    async def _follow_contracts(self) -> None:
        """Look at every contract that is not over when something happened, and now and then."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await self._stirred.wait()
            self._stirred.clear()
            prices, self._prices = self._prices, []
            for number in [c.id for c in self._alive()]:
                try:
                    await self._look(number, prices)
                except ProtocolError as error:  # the disk, or a party that talks nonsense
                    event(log, "waiting", logging.WARNING, contract=number, reason=str(error))

    def _alive(self) -> Iterator[Contract]:
        return (c for c in tuple(self.book.contracts.values()) if not c.stage.is_over)

    async def _look(self, number: int, prices: list[tuple[Round, PriceE8]]) -> None:
        before = self.book.contracts[number]
        after = before
        for round_id, price_e8 in prices:
            after = after.seen(round_id, price_e8)
        if self.desk is not None:
            after = await self._advanced(self.desk, after)
            if after.stage.is_over:
                rows = await self.desk.transactions(after)
                if after.stage is Stage.CLOSED and not rows:
                    return  # nobody answered: what ended it is kept with the contract
                after = replace(after, transactions=tuple(Transaction(**row) for row in rows))
                await self.desk.leave(after)
        if after == before:
            return
        async with self._commands:
            now = self.book.contracts[number]
            if now.exercise_round != before.exercise_round:
                after = replace(after, exercise_round=now.exercise_round)
            await self._kept(self._store.keep, after)
            self._adopt(after)

    async def _advanced(self, desk: ContractDesk, contract: Contract) -> Contract:
        """What the parties say of the contract, and what is due done. A contract waits for the one
        before it to be funded, so that no coin is promised twice."""
        try:
            if contract.stage is Stage.ORDERED:
                if any(self._is_being_funded(other) for other in self._alive()):
                    return contract
                await desk.offer(contract)
                return replace(contract, stage=Stage.OFFERED, fault="")
            contract = contract.followed(await desk.sides(contract))
            if contract.stage is Stage.OPEN:
                await self._do_what_is_due(desk, contract)
            await self._see_dispute(desk, contract)
            return contract
        except ProtocolError as error:
            return replace(contract, fault=str(error))

    def _is_being_funded(self, contract: Contract) -> bool:
        age_ms = self.now_ms() - contract.opened_ms
        return contract.stage is Stage.OFFERED and age_ms < FUNDING_MS

    async def _see_dispute(self, desk: ContractDesk, contract: Contract) -> None:
        if contract.stage not in (Stage.SETTLING, Stage.DISPUTED):
            return
        found = await desk.dispute(contract)
        if found is not None and found != self.disputes.get(contract.id):
            self.disputes[contract.id] = found
            self._tell(Change.CONTRACT)

    async def _do_what_is_due(self, desk: ContractDesk, contract: Contract) -> None:
        number, round_id = contract.id, contract.exercise_round
        if round_id is not None:
            await self._notify(desk, contract, round_id)
        expiry = self.config.network.config.round_at(contract.instrument.expiry_ms)
        target = expiry if round_id is None else round_id
        is_due = bool(self.indexes) and self.index.report.round >= target
        if is_due and number not in self._settled:
            await desk.settle(contract)
            self._settled.add(number)

    async def _notify(self, desk: ContractDesk, contract: Contract, round_id: Round) -> None:
        """Pass the notice on, again and again until its round: an oracle that was away hears it
        when it is back."""
        now_ms, last_ms = self.now_ms(), self._noticed.get(contract.id)
        is_late = now_ms >= self.config.network.config.starts_ms(round_id)
        if not is_late and (last_ms is None or now_ms - last_ms >= NOTICE_MS):
            await desk.exercise(contract)
            self._noticed[contract.id] = now_ms


def _reports(certificate: AnyCertificate) -> Iterator[Report]:
    if isinstance(certificate, BatchCertificate):
        yield from certificate.reports
    else:
        yield certificate.report
