"""The votes of one round, as its aggregator counts them."""

from typing import Any, Generic, Protocol, TypeVar

from protocol.crypto import keys
from protocol.errors import QuorumError
from protocol.oracle.config import OracleConfig
from protocol.oracle.evidence import Evidence
from protocol.oracle.proposal import Reason, Refusal, Vote
from protocol.oracle.signatures import Signatures

C_co = TypeVar("C_co", covariant=True)


class Votable(Protocol[C_co]):
    """A proposal, for one feed or for many."""

    @property
    def report(self) -> Any:
        """What is signed: it has ``hash`` and ``encode()``."""

    @property
    def is_full(self) -> bool:
        """Whether no further observation can improve it."""

    def certify(self, signatures: Signatures) -> C_co:
        """The certificate that these signatures make of it."""


P = TypeVar("P", bound=Votable[Any])


class Ballot(Generic[P]):
    """The proposals shown in one round, the votes for each and the refusals.

    Usually there is one proposal. A second one (FULL, after somebody produced the missing
    observation) can still win with oracles that have not voted; nobody votes twice.
    """

    def __init__(self, config: OracleConfig, round_id: int, opened_ms: int = 0) -> None:
        """``opened_ms`` is when the round's first valid observation arrived, unix ms."""
        self.round = round_id
        self.opened_ms = opened_ms
        self.proposals: dict[bytes, P] = {}
        self.refusals: dict[int, Refusal] = {}
        self._config = config
        self._votes: dict[int, Vote] = {}

    @property
    def is_full_shown(self) -> bool:
        return any(proposal.is_full for proposal in self.proposals.values())

    def show(self, proposal: P) -> P:
        """Opens the vote on a proposal."""
        self.proposals[proposal.report.hash] = proposal
        return proposal

    def receive(self, vote: Vote) -> Refusal | None:
        """Counts a valid vote. EQUIVOCATION carries evidence: two reports signed in one round."""
        if vote.oracle >= len(self._config.oracles):
            return Refusal(Reason.SIGNER, f"oracle {vote.oracle} is not one of this configuration")
        proposal = self.proposals.get(vote.report_hash)
        if proposal is None:
            return Refusal(Reason.ROUND, f"oracle {vote.oracle} signed a report not proposed here")
        public = self._config.oracles[vote.oracle]
        if not keys.verify(public, vote.report_hash, vote.signature):
            return Refusal(
                Reason.SIGNATURE, f"oracle {vote.oracle}: the report's signature does not verify"
            )
        first = self._votes.setdefault(vote.oracle, vote)
        if first.report_hash == vote.report_hash:
            return None
        other = self.proposals[first.report_hash].report.encode()
        proof = Evidence(public, other, first.signature, proposal.report.encode(), vote.signature)
        return Refusal(
            Reason.EQUIVOCATION, f"oracle {vote.oracle} has signed two reports of one round", proof
        )

    def certificate(self, excluded: frozenset[int]) -> Any:
        """The certificate or None: made once exactly the quorum of oracles that are not excluded
        has signed one report (of more votes those with the lowest indexes)."""
        for report_hash, proposal in self.proposals.items():
            signatures = [
                (oracle, vote.signature)
                for oracle, vote in sorted(self._votes.items())
                if vote.report_hash == report_hash and oracle not in excluded
            ]
            if len(signatures) >= self._config.quorum:
                return proposal.certify(tuple(signatures[: self._config.quorum]))
        return None

    @property
    def voters(self) -> frozenset[int]:
        """The oracles that have signed a proposal of this round."""
        return frozenset(self._votes)

    def failure(self, observers: frozenset[int], excluded: frozenset[int]) -> QuorumError:
        """Why there is no certificate: what every oracle did or did not do."""
        fates = "; ".join(
            f"oracle {i} {self._fate(i, observers, excluded)}"
            for i in range(len(self._config.oracles))
        )
        return QuorumError(
            f"round {self.round}: no certificate, {self._config.quorum} signatures needed: {fates}"
        )

    def _fate(self, oracle: int, observers: frozenset[int], excluded: frozenset[int]) -> str:
        if oracle in excluded:
            return "is excluded for signing twice"
        if oracle in self._votes:
            return "signed"
        if oracle in self.refusals:
            return f"refused ({self.refusals[oracle]})"
        if not self.proposals:
            return "observed" if oracle in observers else "sent no observation"
        return "sent no signature" if oracle in observers else "sent nothing"
