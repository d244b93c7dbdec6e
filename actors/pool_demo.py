"""A day of a pool on three tokens: people, oracles and Bitcoin in one process, everything signed.

Each step of the day: people sign operations and bring sats, three oracles certify prices, the
sequencer makes a batch, the guest runs it again, and STATE moves on the chain.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Final

import msgspec

from actors.config import open_chain
from actors.pool_chain import vault_terms
from actors.pool_config import PoolTerms, pool_terms
from actors.pool_demo_cast import PROVIDERS, Person, people, provide, trade
from actors.pool_demo_chain import DemoVault, Proved, needs_of
from actors.pool_demo_market import ASSETS, BEGIN_S, DAY_S, SigningOracles, walk
from actors.pool_demo_plot import DayPoint, TokenPoint, draw
from actors.pool_demo_report import DayReport, OnChain, Share, Trades
from actors.pool_prove import prove_batch
from actors.pool_sequencer import PoolSequencer, Ran
from actors.pool_views import fees_earned, owed, value, won
from protocol.bitcoin.tx import hash_hex, outpoint_key
from protocol.errors import ChainError
from protocol.pool.draft import Accepted
from protocol.pool.image import PoolTerms as Page
from protocol.pool.muldiv import INDEX_ONE, PPM
from protocol.pool.operation import SignedOperation
from protocol.pool.witness import witnessed_batch

STEPS: Final = 24
CUSHION_SATS: Final = 250_000_000
"""In the vault from the beginning: a fall of bitcoin by a fifth leaves everybody covered."""
SYMBOLS: Final = tuple(asset.symbol for asset in ASSETS)


@dataclass(slots=True)
class PoolDemo:
    """One day in ``folder``. ``said`` hears each stage; ``chain`` settles every batch, which the
    guest then runs; ``proves`` has it run in any case; ``lie`` is told about the last batch."""

    folder: Path
    seed: int
    steps: int
    said: Callable[[str], None]
    chain: bool = True
    proves: bool = False
    lie: str = ""
    points: list[DayPoint] = field(default_factory=list)
    _seconds: dict[str, float] = field(default_factory=dict)

    def run(self, picture: Path | None) -> DayReport:
        """The whole day; ``picture`` is where it is drawn, if wanted."""
        oracles = SigningOracles(self.seed)
        cushion = CUSHION_SATS if self.chain else 0
        terms = pool_terms(
            "brief",
            SYMBOLS,
            oracles.config,
            backed=self.chain,
            cushion_sats=cushion,
            domain=vault_terms(self._vault_seed).digest if self.chain else bytes(32),
        )
        report = DayReport(self.seed)
        with (
            closing(PoolSequencer.open(self.folder / "pool.sqlite", terms)) as sequencer,
            self._vault(terms) as vault,
        ):
            self._day(sequencer, oracles, vault, report)
            self._close_books(sequencer, report)
            if vault is not None:
                report.chain = on_chain(vault, cushion)
                report.lie = told(self.lie, vault)
        if picture is not None:
            with self._timed("plot"):
                self._draw(picture, report)
            report.plot = str(picture)
        report.seconds = self._seconds
        return report

    def _day(
        self,
        sequencer: PoolSequencer,
        oracles: SigningOracles,
        vault: DemoVault | None,
        report: DayReport,
    ) -> None:
        providers, traders = people(self.seed)
        prices = walk(self.seed, self.steps + 1)
        for step, row in enumerate(prices):
            self.said(f"batch {step + 1} of {self.steps + 1}")
            signed = [*self._decided(sequencer, providers, traders, step)]
            with self._timed("deposits"):
                needs = needs_of(sequencer.pool, signed) if vault is not None and step else {}
                deposits = vault.deposit(needs) if vault is not None else []
            with self._timed("sequencer"):
                for operation in signed:
                    sequencer.submit(operation.encode())
                certificate = oracles.certify(BEGIN_S + step * DAY_S // self.steps, row)
                certificate.check(oracles.config)
                ran = sequencer.advance(certificate, deposits)
            assert ran is not None, "every step is later than the last"
            with self._timed("chain and guest"):
                self._settle(sequencer, ran, vault, report)
            count(report, ran)
            self.points.append(point_of(ran))

    def _settle(
        self, sequencer: PoolSequencer, ran: Ran, vault: DemoVault | None, report: DayReport
    ) -> None:
        terms, store = sequencer.terms, sequencer.store
        if vault is not None:
            if ran.result.journal.seq == self.steps + 1:
                vault.lie = self.lie
            proved = vault.settle(ran)
            for tx in vault.settled[-1].txs:
                row = {"name": tx.name, "txid": tx.txid, "height": tx.height}
                store.anchor(proved.seq, msgspec.json.encode(row))
        elif self.proves:
            proved = prove(terms, ran)
        else:
            return
        report.proved.append((proved.seq, proved.steps, proved.root.hex()))

    def _decided(
        self, sequencer: PoolSequencer, providers: list[Person], traders: list[Person], step: int
    ) -> Iterator[SignedOperation]:
        """What everybody signs in this step; nobody in the first, which brings the first prices."""
        if step == 0:
            return
        for person in providers:
            yield from provide(sequencer.pool, person, step, self.steps)
        for person in traders:
            yield from trade(sequencer.pool, person)

    def _close_books(self, sequencer: PoolSequencer, report: DayReport) -> None:
        pool, store = sequencer.pool, sequencer.store
        report.root = pool.root().hex()
        report.owed, report.bad_debt = pool.vault.liabilities, pool.vault.bad_debt
        for person in (each for group in people(self.seed) for each in group):
            rows = [row for row in store.results_of(person.owner) if not row.code]
            inflow, outflow = (sum(r.inflow for r in rows), sum(r.outflow for r in rows))
            report.inflow += inflow
            report.outflow += outflow
            if person.name in PROVIDERS:
                supply = pool.vault.glp_supply
                worth = pool.account(person.owner).glp * value(pool) // supply if supply else 0
                provided = [row for row in rows if row.is_liquidity]
                fees = fees_earned(provided, sequencer.fee_index)
                report.providers.append(Share(person.name, inflow, outflow, worth, fees))
            else:
                held = self._held(sequencer, person)
                report.traders.append(Trades(person.name, inflow, outflow, held))

    def _held(self, sequencer: PoolSequencer, person: Person) -> int:
        """What a trader has open: collateral, PnL less what it owes, and deposits in escrow."""
        pool = sequencer.pool
        total = sum(o.deposit for o in pool.open_orders() if o.owner == person.owner)
        for found in pool.open_positions():
            if found.owner == person.owner:
                total += found.collateral + won(pool, found) - sum(owed(pool, found))
        return total

    def _draw(self, path: Path, report: DayReport) -> None:
        done = report.accepted
        subtitle = (
            f"{len(report.traders)} traders, {len(report.providers)} providers of liquidity,"
            f" {done.total()} operations in {report.batches} batches,"
            f" {done['liquidate']} liquidations. Simulated prices, seed {self.seed}."
        )
        draw(path, "One pool, three assets, one day", subtitle, self.points[1:])

    @contextmanager
    def _vault(self, terms: PoolTerms) -> Iterator[DemoVault | None]:
        if not self.chain:
            yield None
            return
        with open_chain(self.folder / "chain") as chain:
            with self._timed("chain and guest"):
                self.said("start a Bitcoin node, open the vault")
                vault = DemoVault.open(chain, self._vault_seed, terms, lambda _: None)
            yield vault

    @property
    def _vault_seed(self) -> bytes:
        return sha256(b"pool demo %d" % self.seed).digest()

    @contextmanager
    def _timed(self, name: str) -> Iterator[None]:
        begin = time.perf_counter()
        yield
        self._seconds[name] = self._seconds.get(name, 0.0) + time.perf_counter() - begin


def count(report: DayReport, ran: Ran) -> None:
    """What a batch adds to the day."""
    report.batches += 1
    report.fees += ran.summary.fees
    for signed, became in zip(ran.batch.operations, ran.result.results, strict=True):
        if isinstance(became, Accepted):
            report.accepted[signed.operation.name] += 1
        else:
            report.refused[became.code.name] += 1


def point_of(ran: Ran) -> DayPoint:
    """A batch in the picture."""
    found = ran.summary
    return DayPoint(
        time_s=found.time_s,
        value_usd6=found.aum,
        glp_price_usd6=found.glp_price or 0,
        tokens={
            SYMBOLS[token - 1]: TokenPoint(
                price_e8=row.price,
                long_usd6=row.oi_long,
                short_usd6=row.oi_short,
                funding_ppm=row.rate_long // (INDEX_ONE // PPM),
                pnl_usd6=row.open_pnl + row.realised,
            )
            for token, row in found.tokens.items()
        },
        liquidations=found.liquidations,
    )


def prove(terms: PoolTerms, ran: Ran) -> Proved:
    """A batch in the guest, without a chain. ChainError if it finds it wrong."""
    _, witness = witnessed_batch(ran.before, ran.batch, ran.certificate)
    proof = prove_batch(Page(terms.params, terms.oracles), witness)
    if not proof.halted:
        raise ChainError(f"batch {ran.result.journal.seq}: the guest stops at check {proof.check}")
    return Proved(ran.result.journal.seq, proof.steps, proof.root)


def told(lie: str, vault: DemoVault) -> str:
    """What became of a lie, in a sentence."""
    found = vault.convicted
    if found is None:
        return ""
    games = f"{len(found.txs)} transactions, {sum(tx.vsize for tx in found.txs):,} vB"
    return (
        f"the sequencer told {lie} about the last batch, and {found.verdict} convicted it: {games}"
    )


def on_chain(vault: DemoVault, cushion_sats: int) -> OnChain:
    """What the chain shows of the day."""
    state = vault.pool_chain.state
    rows = [tx for settled in vault.settled for tx in settled.txs]
    names = [*("DEPOSIT" for _ in vault.deposits), *(tx.name for tx in rows)]
    return OnChain(
        batches=len(vault.settled),
        transactions={name: names.count(name) for name in sorted(set(names))},
        vbytes=sum(tx.vsize for tx in rows),
        blocks=vault.pool_chain.chain.height,
        deposited_sats=sum(deposit.sats for deposit in vault.deposits),
        paid_sats=vault.paid_sats,
        cushion_sats=cushion_sats,
        vault_sats=state.vault_sats,
        root=state.root.hex(),
        txid=hash_hex(outpoint_key(state.outpoint)[:32]),
    )
