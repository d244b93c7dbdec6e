"""The contract of a demo, seen from outside: coins are handed out, blocks are mined, and the two
parties do the rest. Any of the actors may die meanwhile: they are started again on their disks, and
every question here may be repeated."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from actors.config import CHAIN_SOCKET, open_chain
from actors.contract_txs import TxRow
from actors.outcomes import eventually, insist
from actors.party_config import load_party
from actors.report import BalanceReport, DisputeReport, ProofReport
from actors.supervisor import CHAIN_FOLDER, Deployment
from protocol.bitcoin.address import REGTEST, decode_address
from protocol.oracle.expiry import ExpiryCertificate
from protocol.settlement.terms import ContractTerms, Role

CALL_S: Final = 120.0
"""What a party may take for an answer; after a crash it builds its contract anew."""
BLOCKS_LIMIT: Final = 300
"""A contract that is open after so many blocks more is stuck."""


class DemoContract:
    """Both parties, the coordinator, and what its chain shows. ``mined`` hears each new height
    before the parties have done what it asks for."""

    def __init__(
        self, deployment: Deployment, folder: Path, mined: Callable[[int], None] = lambda _: None
    ) -> None:
        self._parties = deployment.parties
        self._coordinator = deployment.coordinator
        self._chain = open_chain(folder / CHAIN_FOLDER / CHAIN_SOCKET, "socket")
        self._refund_height = load_party(folder / f"{Role.HOLDER.value}.toml").terms.refund_height
        self._mined = mined
        self._scripts: dict[Role, bytes] = {}
        self._before: dict[Role, int] = {}
        self.terms: ContractTerms
        """Known once the contract is funded."""

    def fund(self) -> None:
        """Coins for both; they agree and sign everything; FUND is mined."""
        for role in Role:
            address = self.ask(role, "status")["address"]
            self._scripts[role] = decode_address(address, REGTEST)
        scripts = list(self._scripts.values())
        insist(lambda: self._coordinator.pay_out.remote(scripts), CALL_S)
        self._before = {role: self._holds(role) for role in Role}
        self._await_transaction("FUND")
        self._mine()
        agreed = self.ask(Role.HOLDER, "status")["terms"]
        self.terms = ContractTerms.decode(bytes.fromhex(agreed))

    def exercise(self, round_id: int) -> str:
        """The holder's notice (hex of EXN1) for a round of the oracles."""
        notice: str = self.ask(Role.HOLDER, "exercise", round_id=round_id)["notice"]
        return notice

    def close(self, certificate: ExpiryCertificate) -> None:
        """The oracles have spoken: both close together, in the next block."""
        self._tell(certificate)
        self._await_transaction("CLOSE")
        self._mine()

    def claim(self, certificate: ExpiryCertificate) -> None:
        """The oracles have spoken: one side claims alone, and the contract runs to its end."""
        self._tell(certificate)
        self._mine_until_over()

    def refund(self) -> None:
        """Nobody claims until REFUND is mined."""
        self._mine_to(self._refund_height)
        self._mine_until_over()

    # What it came to

    def outcome(self) -> str:
        """The transaction that ended it, by the holder."""
        outcome: str = self.ask(Role.HOLDER, "status")["outcome"]
        return outcome

    def transactions(self) -> list[TxRow]:
        """All of them, in the order of the chain."""
        return [TxRow(**row) for row in self.ask(Role.HOLDER, "transactions")]

    def dispute(self) -> DisputeReport | None:
        """How the claim fared, if there was one."""
        found: DisputeReport | None = insist(self._parties[Role.HOLDER].dispute.remote, CALL_S)
        return found

    def proof(self, claimant: Role) -> ProofReport | None:
        """What the claimant's provers did last."""
        found: ProofReport | None = insist(self._parties[claimant].proof.remote, CALL_S)
        return found

    def balances(self) -> dict[str, BalanceReport]:
        """Of both wallets, by the parties' names."""
        held = {role: (self._before[role], self._holds(role)) for role in Role}
        return {
            role.value: BalanceReport(before, after, after - before)
            for role, (before, after) in held.items()
        }

    def ask(self, role: Role, method: str, **arguments: Any) -> Any:
        """What a party's control socket would answer."""
        return insist(lambda: self._parties[role].ask.remote(method, **arguments), CALL_S)

    def leave(self) -> None:
        """Stop watching; the chain is flushed and closed."""
        self._chain.close()
        insist(self._coordinator.close.remote, CALL_S)

    # Blocks

    def _tell(self, certificate: ExpiryCertificate) -> None:
        for role in Role:
            self.ask(role, "settle", certificate=certificate.encode().hex())

    def _await_transaction(self, name: str) -> None:
        """Until the parties have one in the mempool; TimeoutError says what they wait for."""
        try:
            eventually(lambda: bool(self._chain.mempool()), CALL_S)
        except TimeoutError:
            faults = {role.value: self.ask(role, "status")["fault"] for role in Role}
            raise TimeoutError(f"{name} did not come within {CALL_S:g} s: {faults}") from None

    def _mine_until_over(self) -> None:
        for _ in range(BLOCKS_LIMIT):
            if all(status["over"] for status in self._mine().values()):
                return
        raise TimeoutError(f"the contract is still open after {BLOCKS_LIMIT} blocks")

    def _mine(self) -> dict[Role, dict[str, Any]]:
        """One block; where the parties stand when they have done what it asks for."""
        height = self._mine_to(self._chain.height + 1)
        self._mined(height)
        return {role: self.ask(role, "at", height=height) for role in Role}

    def _mine_to(self, height: int) -> int:
        reached: int = insist(lambda: self._coordinator.mine_to.remote(height), CALL_S)
        return reached

    def _holds(self, role: Role) -> int:
        return sum(utxo.sats for utxo in self._chain.unspent(self._scripts[role]))
