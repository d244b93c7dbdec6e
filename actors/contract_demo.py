"""One contract of two parties, end to end: a Bitcoin node and two party processes, each with a
folder of its own, and what they wait for.

This process plays the world around them: it hands out coins, mines, and signs as three oracles. Of
the parties it knows what their control sockets say and what is on the chain.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from actors.config import Chain, open_chain
from actors.contract_accounts import Accounts
from actors.contract_oracles import price_for
from actors.contract_process import Processes, Program
from actors.contract_report import ContractReport
from actors.contract_setting import DAY_ROUNDS, FUNDS_HEIGHT, Ending, Setting
from actors.contract_transfer import export_contract
from actors.contract_txs import TxRow
from actors.party_lie import require_lie
from actors.report import DisputeReport
from protocol.bitcoin.address import REGTEST, decode_address
from protocol.dispute.claim import Party
from protocol.errors import ChainError, ConfigError
from protocol.options.payoff import units_max
from protocol.oracle.exercise import LEAD_MIN_MS, ExerciseNotice, check_notice
from protocol.settlement.terms import ClaimTerms, ContractTerms, Role, contract_id
from protocol.units import E8, PriceE8

PRICE_E8: Final = PriceE8(40_000 * E8)
"""What the oracles certify unless other units are asked for."""
BLOCKS_LIMIT: Final = 200
"""A contract that is open after so many blocks more is stuck."""

WATCHED: Final = "demo.contract"
"""A watcher's file of the contract, in the node's folder."""

Status = dict[Role, dict[str, Any]]


class ContractDemo:
    """One run in ``folder``, which must be empty. ``announce`` hears each stage as it begins.

    ``units`` is the payout to arrive at, None for that of a price of 40,000; ``lie`` what the liar
    of ``ending`` tells, None for that of LIES. ConfigError for what this contract cannot pay, or
    nobody can tell on this path.
    """

    def __init__(
        self,
        ending: Ending,
        units: int | None,
        backend: str,
        folder: Path,
        announce: Callable[[str], None],
        lie: str | None = None,
    ) -> None:
        if lie is not None:
            _require_lie(ending, lie)
        self.setting = Setting.create(folder, ending, lie)
        if units is not None:
            _require_payable(self.setting.claim, ending, units)
        self._ending = ending
        self._units = units
        self._backend = backend
        self._announce = announce
        self._chain: Chain
        self._processes: Processes
        self.report = ContractReport(path=ending.value, backend=backend)

    def run(self) -> ContractReport:
        """The whole story."""
        begin = time.perf_counter()
        self._processes = Processes(self._programs())
        with self._processes, open_chain(self.setting.socket, "socket") as self._chain:
            self._story()
        self._leave_for_watchers()
        self.report.seconds = time.perf_counter() - begin
        return self.report

    def _story(self) -> None:
        with self._stage("start a Bitcoin node and two parties"):
            scripts = {
                role: decode_address(self._ask(role, "status")["address"], REGTEST) for role in Role
            }
        with self._stage("mine coins for both"):
            for script in scripts.values():
                self._chain.mine(1, to=script)
            self._chain.mine(FUNDS_HEIGHT - len(scripts))
        accounts = Accounts(self._chain, scripts)
        with self._stage("agree, sign everything, fund"):
            self._until_funded()
        terms = ContractTerms.decode(bytes.fromhex(self._ask(Role.HOLDER, "status")["terms"]))
        self._describe(terms)
        if self._ending is not Ending.REFUND:
            with self._stage("the oracles certify a price"):
                self._settle(terms)
        with self._stage(_LAST_STAGE[self._ending]):
            self._mine_until_over()
        self._close_books(terms, accounts)

    def _programs(self) -> list[Program]:
        """The processes of the run, the node first."""
        return self.setting.programs(self._backend)

    # What the parties wait for

    def _until_funded(self) -> None:
        """Until FUND is in a block that both have seen."""
        self._processes.until(lambda: bool(self._chain.mempool()), "FUND")
        self._mine()

    def _settle(self, terms: ContractTerms) -> None:
        """Both parties are told what the oracles sign at the price that gives the payout."""
        exercised = self._exercise(terms) if terms.claim.is_american else None
        units = self._units
        price_e8 = PRICE_E8 if units is None else price_for(terms.claim, units)
        slot = terms.expiry_slot(exercised)
        certificate = self.setting.oracles.certify(slot, terms.claim.quorum, price_e8)
        self.report.price_e8 = price_e8
        self.report.units = terms.claim.units(certificate.expiry)
        self.report.payout_sats = terms.claim.payout_sats(self.report.units)
        if exercised is None:
            self._mine(terms.chain.expiry_height - self._chain.height)
        first = self._ending.prover or Role.HOLDER
        for role in (first.other, first):
            self._ask(role, "settle", certificate=certificate.encode().hex())

    def _exercise(self, terms: ContractTerms) -> int:
        """The holder names a round half a day ahead of expiry; the oracles check its notice."""
        round_id = terms.expiry_round - DAY_ROUNDS // 2
        signed = self._ask(Role.HOLDER, "exercise", round_id=round_id)["notice"]
        notice = ExerciseNotice.decode(bytes.fromhex(signed))
        config = self.setting.oracles.network.config
        now_ms = round_id * config.interval_ms - 2 * LEAD_MIN_MS
        refusal = check_notice(notice, config, now_ms, LEAD_MIN_MS, relayed=False)
        if refusal is not None or notice.contract.contract_id != contract_id(terms):
            raise ChainError(f"the oracles refuse the holder's notice: {refusal}")
        return round_id

    def _mine_until_over(self) -> None:
        """A block at a time, each after both parties have done what the last one asks for."""
        if self._ending is Ending.COOPERATIVE:
            self._processes.until(lambda: bool(self._chain.mempool()), "CLOSE")
        for _ in range(BLOCKS_LIMIT):
            if all(status["over"] for status in self._mine().values()):
                return
        raise ChainError(f"the contract is still open after {BLOCKS_LIMIT} blocks; see the logs")

    def _mine(self, count: int = 1) -> Status:
        """Blocks with what waits; where the parties stand when they have done what each asks."""
        status: Status = {}
        for _ in range(count):
            height = self._next_block()
            status = {role: self._ask(role, "at", height=height) for role in Role}
        return status

    def _next_block(self) -> int:
        """Its height."""
        (block,) = self._chain.mine(1)
        return block.height

    # Report

    def _describe(self, terms: ContractTerms) -> None:
        self.report.instrument = self.setting.instrument
        self.report.contract = contract_id(terms).hex()
        self.report.unit_sats = terms.claim.unit_sats

    def _close_books(self, terms: ContractTerms, accounts: Accounts) -> None:
        report = self.report
        status = {role: self._ask(role, "status") for role in Role}
        report.end = status[Role.HOLDER]["outcome"]
        report.txs = [TxRow(**row) for row in self._ask(Role.HOLDER, "transactions")]
        report.blocks = self._chain.height
        report.dispute = self._dispute()
        books = accounts.close(terms, report.txs, report.units or 0)
        report.balances = {role.value: books.balances[role] for role in Role}
        report.fees = {"miners": books.miners_sats, "left": books.left_sats}
        agree = status[Role.WRITER]["outcome"] == report.end
        report.ok = agree and books.add_up and self._ended_well()
        report.outcome = self._verdict() if report.ok else _NOT_OK

    def _dispute(self) -> DisputeReport | None:
        """How the claim fared, by the chain alone."""
        found = self._ask(Role.HOLDER, "dispute")
        if found is None:
            return None
        (kind,) = self.setting.lies.values() or ("",)
        return DisputeReport(**(found | {"kind": kind}))

    def _ended_well(self) -> bool:
        """Whether it ended as this path should: who lied has lost."""
        expected, dispute, liar = _END.get(self._ending), self.report.dispute, self._ending.liar
        if liar is None:
            return self.report.end == expected
        return dispute is not None and dispute.challenged and dispute.loser == liar.value

    def _verdict(self) -> str:
        dispute = self.report.dispute
        if self._ending.liar is None or dispute is None:
            return _OUTCOME[self._ending]
        step = "" if dispute.step is None else f" at step {dispute.step:,}: {dispute.instruction}"
        return f"{_OUTCOME[self._ending]} Leaf {dispute.leaf} decided{step}."

    def _leave_for_watchers(self) -> None:
        """What ``oracle-vm chain --dir`` reads to name the contract's transactions."""
        folder = self.setting.folder
        watched = export_contract(folder / Role.HOLDER.value, None)
        (folder / "chain" / WATCHED).write_bytes(watched)

    def _ask(self, role: Role, method: str, **arguments: Any) -> Any:
        return self._processes[role.value].ask(method, **arguments)

    @contextmanager
    def _stage(self, name: str) -> Iterator[None]:
        self._announce(name)
        begin = time.perf_counter()
        yield
        self.report.stages[name] = time.perf_counter() - begin


def _require_lie(ending: Ending, lie: str) -> None:
    """ConfigError if nobody tells ``lie`` on this path."""
    if ending.liar is None:
        paths = ", ".join(each.value for each in Ending if each.liar is not None)
        raise ConfigError(f"--lie {lie}: nobody lies on this path; choose --path {paths}")
    require_lie(lie, Party.PROVER if ending.liar is ending.prover else Party.CHALLENGER)


def _require_payable(claim: ClaimTerms, ending: Ending, units: int) -> None:
    """ConfigError if the contract cannot end like this with so many units."""
    most = units_max(claim.payout_bits)
    if not 0 <= units <= most:
        raise ConfigError(f"--payout {units}: this contract pays 0 to {most} units")
    if ending is Ending.REFUND:
        raise ConfigError("--payout: a refund pays nothing, leave it out")
    if ending.prover is not None and units == (0 if ending.prover is Role.HOLDER else most):
        raise ConfigError(
            f"--payout {units}: it gives the {ending.prover.value} nothing, who so has nothing to"
            " claim; choose another number, or --path cooperative"
        )


_LAST_STAGE: Final = {
    Ending.COOPERATIVE: "close together",
    Ending.CLAIM_HOLDER: "the holder claims, the writer sweeps what is its",
    Ending.CLAIM_WRITER: "the writer claims, the holder sweeps what is its",
    Ending.REFUND: "nobody claims: wait for the refund",
    Ending.AMERICAN: "the holder exercises and claims before expiry",
    Ending.LIE_HOLDER: "the holder lies, the writer disputes it",
    Ending.LIE_WRITER: "the writer lies, the holder disputes it",
    Ending.LIE_CHALLENGE: "the holder claims what is true, the writer disputes it all the same",
}
_END: Final = {
    Ending.COOPERATIVE: "CLOSE",
    Ending.CLAIM_HOLDER: "holder:SETTLE",
    Ending.CLAIM_WRITER: "writer:SETTLE",
    Ending.REFUND: "REFUND",
    Ending.AMERICAN: "holder:SETTLE",
}
_OUTCOME: Final = {
    Ending.COOPERATIVE: "Both signed CLOSE: the exact payout in one small transaction.",
    Ending.CLAIM_HOLDER: "The writer did not close, so the holder claimed: it got its payout and"
    " the claim fee, the writer the rest.",
    Ending.CLAIM_WRITER: "The holder did not close, so the writer claimed: the holder got its"
    " payout, the writer the rest and the claim fee.",
    Ending.REFUND: "No certificate, no claim: REFUND returned the collateral and both bonds.",
    Ending.AMERICAN: "The holder exercised half a day before expiry and claimed at once.",
    Ending.LIE_HOLDER: "The holder's claim was false: the writer took the collateral and its bond.",
    Ending.LIE_WRITER: "The writer's claim was false: the holder took the collateral and its bond.",
    Ending.LIE_CHALLENGE: "The holder's claim was true and stood: the writer lost its bond.",
}
_NOT_OK: Final = "The contract did not end as it should have: see the transactions and the logs."
