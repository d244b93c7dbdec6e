"""``oracle-vm dispute cost``: what a dispute costs each side, the least bonds, and the clock."""

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.table import Table

from actors.chain_contracts import read_contract
from actors.contract_setting import Ending, Setting
from actors.contract_terms import stand_in
from actors.party_config import load_party
from actors.terminal import new_folder
from protocol.bitcoin.tx import MAX_MONEY_SATS
from protocol.errors import ConfigError
from protocol.settlement.contract import Contract
from protocol.settlement.dispute.costs import Cost, DisputeCosts, least_bond_sats
from protocol.settlement.terms import ChainTerms, ClaimTerms, Role

_ANY_BOND: Final = MAX_MONEY_SATS // 8
"""Covers every dispute: what it costs does not depend on it."""
_COUNTED: Final = 3
"""Confirmations after which a party answers."""
_BLOCK_MINUTES: Final = 10
_WIDTH: Final = 110
"""Columns where there is no terminal."""


@dataclass(frozen=True, slots=True)
class CostReport:
    """What disputes under some terms cost, by the side that proves."""

    contract: Contract
    bond_sats: int
    """Of the terms, which may be too small."""
    feerate_sat_vb: int

    @property
    def least_bond_sats(self) -> int:
        """That covers a dispute in both directions."""
        terms = self.contract.terms
        return max(least_bond_sats(terms, self.contract.costs(prover)) for prover in Role)

    @property
    def clock_blocks(self) -> int:
        """From KICKOFF to the last block of the last window."""
        return max(course.clock_blocks for course in self.contract.courses.values())

    def to_json(self) -> dict[str, Any]:
        """As plain values: sizes in virtual bytes, money in sats, times in blocks."""
        chain = self.contract.terms.chain
        return {
            "feerate_sat_vb": self.feerate_sat_vb,
            "max_feerate_sat_vb": chain.max_feerate_sat_vb,
            "log4_steps": chain.log4_steps,
            "width": chain.width,
            "costs": {role.value: self._costs(self.contract.costs(role)) for role in Role},
            "bond_sats": self.bond_sats,
            "least_bond_sats": self.least_bond_sats,
            "covered": self.bond_sats >= self.least_bond_sats,
            "clock_blocks": self.clock_blocks,
            "prompt_blocks": {role.value: _prompt(self.contract.costs(role)) for role in Role},
        }

    def rows(self, prover: Role) -> Iterator[tuple[str, Cost]]:
        """Who pays what in a dispute about ``prover``'s claim."""
        costs, other = self.contract.costs(prover), prover.other.value
        yield f"{prover.value} claims, typical", costs.prover
        yield f"{prover.value} claims, worst", costs.prover_worst
        yield f"{other} challenges, typical", costs.challenger
        yield f"{other} challenges, worst", costs.challenger_worst
        yield "both, typical", costs.prover.plus(costs.challenger)
        yield "both, worst", costs.dearest

    def _costs(self, costs: DisputeCosts) -> dict[str, dict[str, int]]:
        named = {
            "prover_typical": costs.prover,
            "prover_worst": costs.prover_worst,
            "challenger_typical": costs.challenger,
            "challenger_worst": costs.challenger_worst,
            "both_typical": costs.prover.plus(costs.challenger),
            "both_worst": costs.dearest,
        }
        return {
            name: {
                "transactions": cost.transactions,
                "vbytes": cost.vbytes,
                "sats": cost.sats(self.feerate_sat_vb),
            }
            for name, cost in named.items()
        }


def cost(
    feerate: Annotated[int, typer.Option(min=1, max=1_000, help="In sat/vB.")],
    terms: Annotated[Path | None, typer.Option(help="A party's TOML file.")] = None,
    contract: Annotated[
        Path | None, typer.Option(help="A contract file, as `contract export` writes it.")
    ] = None,
    width: Annotated[int | None, typer.Option(help="20 or 32 bytes a hash; else theirs.")] = None,
    max_feerate: Annotated[
        int | None, typer.Option(min=1, max=1_000, help="Sizes the bonds; else theirs.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """What a dispute costs each side at FEERATE, the least bonds, and the clock. Without a file,
    under the terms of `contract demo`. Exit code 2: the bonds do not cover it."""
    found = _report(*_named(terms, contract), feerate, width, max_feerate)
    if as_json:
        print(json.dumps(found.to_json()))
    else:
        _show(found, Console(width=None if sys.stdout.isatty() else _WIDTH))
    if found.bond_sats < found.least_bond_sats:
        raise typer.Exit(2)


def _named(terms: Path | None, contract: Path | None) -> tuple[ClaimTerms, ChainTerms]:
    """The terms that the options name; ConfigError for two of them."""
    if terms is not None and contract is not None:
        raise ConfigError("--terms FILE or --contract FILE: name one of them")
    if contract is not None:
        agreed = read_contract(contract).terms
        return agreed.claim, agreed.chain
    if terms is not None:
        party = load_party(terms)
        return party.claim, party.terms
    with new_folder(None) as place:
        Setting.create(place, Ending.COOPERATIVE)
        party = load_party(place / "holder.toml")
        return party.claim, party.terms


def _report(
    claim: ClaimTerms,
    chain: ChainTerms,
    feerate: int,
    width: int | None,
    max_feerate: int | None,
) -> CostReport:
    rate = chain.max_feerate_sat_vb if max_feerate is None else max_feerate
    asked = replace(
        chain,
        bond_sats=_ANY_BOND,
        width=chain.width if width is None else width,
        feerate_sat_vb=min(chain.feerate_sat_vb, rate),
        max_feerate_sat_vb=rate,
    )
    return CostReport(stand_in(claim, asked), chain.bond_sats, feerate)


def _prompt(costs: DisputeCosts) -> int:
    """The blocks of a typical dispute in which each side moves as soon as the other's move counts.

    The first transaction is in the block after it is broadcast, the last one counts.
    """
    typical = costs.prover.plus(costs.challenger)
    return _COUNTED * typical.transactions


def _show(found: CostReport, console: Console) -> None:
    chain = found.contract.terms.chain
    console.print(
        f"A trace of up to 4^{chain.log4_steps} steps, hashes of {chain.width} bytes.",
        highlight=False,
    )
    for prover in Role:
        title = f"A dispute about a claim of the {prover.value}, at {found.feerate_sat_vb} sat/vB"
        table = Table(title=title, title_justify="left", title_style="bold")
        table.add_column("")
        for column in ("transactions", "vB", "sats"):
            table.add_column(column, justify="right")
        for name, spent in found.rows(prover):
            sats = spent.sats(found.feerate_sat_vb)
            table.add_row(name, f"{spent.transactions:,}", f"{spent.vbytes:,}", f"{sats:,}")
        console.print(table)
    for sentence in _sentences(found):
        console.print(sentence, highlight=False)


def _sentences(found: CostReport) -> Iterator[str]:
    chain = found.contract.terms.chain
    least = found.least_bond_sats
    yield (
        "Typical is a lie that is shown without hashing; at worst the challenger shows one about"
        " hashes, or asserts, and the prover refutes."
    )
    yield f"Least bond of each side at up to {chain.max_feerate_sat_vb} sat/vB: {least:,} sats."
    if found.bond_sats < least:
        yield f"bond_sats {found.bond_sats:,} does not cover it: a contract on these is refused."
    else:
        yield f"bond_sats {found.bond_sats:,} covers it."
    prompt = max(_prompt(found.contract.costs(prover)) for prover in Role)
    for what, blocks in (("At most", found.clock_blocks), ("If both are prompt", prompt)):
        days = blocks * _BLOCK_MINUTES / 60 / 24
        yield f"{what} it takes {blocks:,} blocks, about {days:.1f} days."
