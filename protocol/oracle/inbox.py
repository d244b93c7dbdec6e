"""The observations that reached a node, checked and counted: what oracle and aggregator share."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping, MutableMapping
from typing import Any, Generic, Protocol, TypeVar

from protocol.errors import ProtocolError
from protocol.oracle.config import OracleConfig
from protocol.oracle.evidence import Evidence
from protocol.oracle.observation import SignedObservation
from protocol.oracle.proposal import Reason, Refusal, check_observation, is_fresh


class Statement(Protocol):
    """What an oracle signs when it observes."""

    @property
    def round(self) -> int: ...

    @property
    def seq(self) -> int: ...

    def encode(self) -> bytes: ...


class Signed(Protocol):
    """An oracle's observation of one feed or of many."""

    @property
    def oracle(self) -> int: ...

    @property
    def observation(self) -> Any: ...

    @property
    def signature(self) -> bytes: ...


S = TypeVar("S", bound=Signed)


class AnyInbox(ABC, Generic[S]):
    """Valid observations of the recent rounds, at most one an oracle and round.

    ``refused`` counts by reason; ``convicted`` maps an excluded oracle to the evidence against it.
    Memory is bounded: an observation outside the age limits is refused, old rounds are dropped.
    """

    def __init__(self, config: OracleConfig) -> None:
        self.config = config
        self.refused: Counter[Reason] = Counter()
        self.convicted: dict[int, Evidence] = {}
        self._rounds: dict[int, dict[int, S]] = {}
        self._newest: dict[int, S] = {}

    @abstractmethod
    def check(self, signed: S, now_ms: int) -> Refusal | None:
        """Why it is no valid observation of its round at ``now_ms``, or None."""

    def held(self, round_id: int) -> Mapping[int, S]:
        """The valid observations of a round by oracle index, without those of convicted oracles."""
        observations = self._rounds.get(round_id, {})
        return {i: s for i, s in sorted(observations.items()) if i not in self.convicted}

    def newest(self, oracle: int) -> S | None:
        """The valid observation of the newest round of an oracle, however old it is."""
        return self._newest.get(oracle)

    def receive(self, signed: S, now_ms: int) -> Refusal | None:
        """Keeps a valid observation; a repeated one is no news and no fault. EQUIVOCATION carries
        the evidence and excludes the oracle from now on."""
        round_id = signed.observation.round
        held = self._rounds.get(round_id, {}).get(signed.oracle)
        if held is not None and held.observation == signed.observation:
            return None
        refusal = self.check(signed, now_ms) or self._check_history(held, signed)
        if refusal is not None:
            return self.refuse(refusal)
        self._keep(signed)
        self._forget(now_ms)
        return None

    @abstractmethod
    def fresh(self, round_id: int, now_ms: int) -> Mapping[int, S]:
        """The held observations that others will still find valid when they judge a proposal."""

    def convict(self, proof: Evidence) -> Refusal | None:
        """Excludes the oracle that the evidence convicts; a Refusal if it convicts nobody here."""
        try:
            oracle = proof.check(self.config)
        except ProtocolError as error:
            return self.refuse(Refusal(Reason.SIGNATURE, str(error)))
        self.convicted.setdefault(oracle, proof)
        return None

    def refuse(self, refusal: Refusal) -> Refusal:
        """Counts and returns the refusal."""
        self.refused[refusal.reason] += 1
        return refusal

    def _check_history(self, held: S | None, signed: S) -> Refusal | None:
        who = signed.oracle
        seen: Statement = signed.observation
        if held is not None:
            first, second = held.observation.encode(), seen.encode()
            public = self.config.oracles[who]
            proof = Evidence(public, first, held.signature, second, signed.signature)
            self.convicted[who] = proof
            return Refusal(
                Reason.EQUIVOCATION,
                f"oracle {who} has signed two observations of {seen.round}",
                proof,
            )
        newest = self.newest(who)
        if newest is None:
            return None
        before: Statement = newest.observation
        if seen.round > before.round and seen.seq <= before.seq:
            return Refusal(
                Reason.SEQUENCE,
                f"oracle {who} went back from seq {before.seq} to {seen.seq}: its sign guard was"
                " rolled back",
            )
        return None

    def _keep(self, signed: S) -> None:
        seen, who = signed.observation, signed.oracle
        self._rounds.setdefault(seen.round, {})[who] = signed
        newest = self.newest(who)
        if newest is None or seen.round > newest.observation.round:
            self._newest[who] = signed

    def _forget(self, now_ms: int) -> None:
        forget(self._rounds, oldest_round(self.config, now_ms))


class Inbox(AnyInbox[SignedObservation]):
    """The inbox of one feed."""

    def __init__(self, config: OracleConfig, feed_id: bytes) -> None:
        super().__init__(config)
        self.feed_id = feed_id

    def check(self, signed: SignedObservation, now_ms: int) -> Refusal | None:
        """``proposal.check_observation``."""
        round_id = signed.observation.round
        return check_observation(
            self.config, self.feed_id, round_id, signed, now_ms, self.convicted
        )

    def fresh(self, round_id: int, now_ms: int) -> dict[int, SignedObservation]:
        held = self.held(round_id)
        return {i: s for i, s in held.items() if is_fresh(self.config, s.observation, now_ms)}


def oldest_round(config: OracleConfig, now_ms: int) -> int:
    """No message of an earlier round is acceptable any more."""
    return config.round_at(max(0, now_ms - 2 * config.max_age_ms))


def forget(rounds: MutableMapping[int, Any], before: int) -> None:
    """Removes the rounds before this one."""
    for round_id in [r for r in rounds if r < before]:
        del rounds[round_id]
