"""What a day of a pool came to: for a person, and as JSON."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from actors.pool_views import usd


@dataclass(slots=True)
class Share:
    """An LP, micro-USDC: what it added and removed, what its shares are worth, and what fees of all
    tokens have brought them."""

    name: str
    added: int
    removed: int
    worth: int
    fees: int

    @property
    def gain(self) -> int:
        """What the day has brought."""
        return self.removed + self.worth - self.added


@dataclass(slots=True)
class Trades:
    """A trader, micro-USDC: what it paid in, what it was paid, and what its open positions and
    orders are worth, before the fee of closing them."""

    name: str
    paid_in: int
    paid_out: int
    held: int

    @property
    def gain(self) -> int:
        """What the day has brought."""
        return self.paid_out + self.held - self.paid_in


@dataclass(slots=True)
class OnChain:
    """What Bitcoin saw: sats in by deposits and out by payments, and the last STATE."""

    batches: int
    transactions: dict[str, int]
    vbytes: int
    blocks: int
    deposited_sats: int
    paid_sats: int
    cushion_sats: int
    vault_sats: int
    root: str
    txid: str

    @property
    def is_conserved(self) -> bool:
        """Whether every satoshi of it is where the pool says."""
        return self.cushion_sats + self.deposited_sats - self.paid_sats == self.vault_sats


@dataclass(slots=True)
class DayReport:
    """The whole day. ``inflow`` and ``outflow`` are of all accepted operations, ``owed`` what the
    pool owes everybody in the end, micro-USDC."""

    seed: int
    batches: int = 0
    accepted: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    providers: list[Share] = field(default_factory=list)
    traders: list[Trades] = field(default_factory=list)
    inflow: int = 0
    outflow: int = 0
    owed: int = 0
    fees: int = 0
    bad_debt: int = 0
    root: str = ""
    chain: OnChain | None = None
    proved: list[tuple[int, int, str]] = field(default_factory=list)
    """Of every batch that ran in the guest: number, steps, root of the trace."""
    lie: str = ""
    plot: str = ""
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def is_conserved(self) -> bool:
        """Whether what came in is what went out and what is owed, to the unit."""
        return self.inflow - self.outflow == self.owed

    @property
    def ok(self) -> bool:
        """Whether everything adds up, and the chain has the root that was computed."""
        if self.chain is None:
            return self.is_conserved
        return self.is_conserved and self.chain.is_conserved and self.chain.root == self.root

    def to_json(self) -> dict[str, Any]:
        """One plain object, money as decimal strings."""
        return {
            "ok": self.ok,
            "seed": self.seed,
            "batches": self.batches,
            "accepted": dict(self.accepted),
            "refused": dict(self.refused),
            "providers": [
                {
                    "name": each.name,
                    "added_usd": usd(each.added),
                    "removed_usd": usd(each.removed),
                    "worth_usd": usd(each.worth),
                    "fees_earned_usd": usd(each.fees),
                    "gain_usd": usd(each.gain),
                }
                for each in self.providers
            ],
            "traders": [
                {
                    "name": each.name,
                    "paid_in_usd": usd(each.paid_in),
                    "paid_out_usd": usd(each.paid_out),
                    "held_usd": usd(each.held),
                    "gain_usd": usd(each.gain),
                }
                for each in self.traders
            ],
            "inflow_usd": usd(self.inflow),
            "outflow_usd": usd(self.outflow),
            "owed_usd": usd(self.owed),
            "fees_usd": usd(self.fees),
            "bad_debt_usd": usd(self.bad_debt),
            "conserved": self.is_conserved,
            "root": self.root,
            "chain": None if self.chain is None else _chain(self.chain),
            "proved": [
                dict(zip(("seq", "steps", "root"), row, strict=True)) for row in self.proved
            ],
            "lie": self.lie or None,
            "plot": self.plot or None,
            "seconds": {name: round(value, 3) for name, value in self.seconds.items()},
        }

    def story(self, *, proofs: bool = False) -> Iterator[str]:
        """The same in words, a line each; with ``proofs`` a line for every batch in the guest."""
        counts = ", ".join(f"{count} {name}" for name, count in sorted(self.accepted.items()))
        yield f"{self.batches} batches, {self.accepted.total()} operations: {counts}"
        if self.refused:
            refused = ", ".join(f"{count} {code}" for code, count in self.refused.most_common())
            yield f"refused by the rules, and nothing changed: {refused}"
        yield ""
        yield f"{'provider':10}{'added':>14}{'removed':>14}{'worth':>14}{'gain':>12}{'fees':>11}"
        for share in self.providers:
            yield (
                f"{share.name:10}{_money(share.added):>14}{_money(share.removed):>14}"
                f"{_money(share.worth):>14}{_money(share.gain):>12}{_money(share.fees):>11}"
            )
        yield ""
        yield f"{'trader':10}{'paid in':>14}{'paid out':>14}{'open':>14}{'gain':>12}"
        for trades in sorted(self.traders, key=lambda each: -each.gain):
            yield (
                f"{trades.name:10}{_money(trades.paid_in):>14}{_money(trades.paid_out):>14}"
                f"{_money(trades.held):>14}{_money(trades.gain):>12}"
            )
        yield ""
        sign = "=" if self.is_conserved else "IS NOT"
        yield (
            f"in {usd(self.inflow)} - out {usd(self.outflow)} {sign} owed {usd(self.owed)} USDC,"
            " to the unit"
        )
        yield f"fees {_money(self.fees)}, bad debt {_money(self.bad_debt)} USDC"
        yield from self._proof_story(proofs)
        yield from self._chain_story()
        if self.lie:
            yield self.lie
        if self.plot:
            yield f"picture: {self.plot}"

    def _proof_story(self, is_whole: bool) -> Iterator[str]:
        if self.proved:
            steps = sum(steps for _, steps, _ in self.proved)
            yield f"{len(self.proved)} batches ran again in the guest: {steps:,} RISC-V steps"
        for seq, count, root in self.proved if is_whole else ():
            yield f"  batch {seq:3}  {count:13,} steps  trace {root}"

    def _chain_story(self) -> Iterator[str]:
        if self.chain is None:
            yield f"state root {self.root} (kept off the chain)"
            return
        found = self.chain
        names = ", ".join(f"{count} {name}" for name, count in found.transactions.items())
        yield ""
        yield f"on Bitcoin (regtest, in this process): {names}; {found.blocks:,} blocks"
        sign = "=" if found.is_conserved else "ARE NOT"
        yield (
            f"cushion {found.cushion_sats:,} + deposits {found.deposited_sats:,} - payments"
            f" {found.paid_sats:,} {sign} vault {found.vault_sats:,} sat"
        )
        same = "is" if found.root == self.root else "IS NOT"
        yield f"STATE commits to {found.root}"
        yield f"which {same} the root that was computed; it is output 0 of {found.txid}"


def _money(amount: int) -> str:
    """Micro-USDC with two decimals and separators, for columns."""
    return f"{amount / 1_000_000:,.2f}"


def _chain(found: OnChain) -> dict[str, Any]:
    return {
        "batches": found.batches,
        "transactions": found.transactions,
        "vbytes": found.vbytes,
        "blocks": found.blocks,
        "deposited_sats": found.deposited_sats,
        "paid_sats": found.paid_sats,
        "cushion_sats": found.cushion_sats,
        "vault_sats": found.vault_sats,
        "conserved": found.is_conserved,
        "root": found.root,
        "txid": found.txid,
    }
