"""Oracles with known keys and a network of pure nodes, for tests of rounds and certificates."""

from dataclasses import replace
from hashlib import sha256
from typing import Any

from protocol.crypto.keys import SecretKey
from protocol.errors import GuardError
from protocol.oracle.certificate import Certificate
from protocol.oracle.config import OracleConfig
from protocol.oracle.feed import Feed
from protocol.oracle.observation import Observation, SignedObservation
from protocol.oracle.price import OraclePrice
from protocol.oracle.proposal import Proposal, Reason, Refusal, View, Vote, propose
from protocol.oracle.report import Report
from protocol.oracle.round import AggregatorNode, OracleNode

AUX = bytes(32)
KEYS = tuple(SecretKey(sha256(b"test oracle %d" % i).digest()) for i in range(8))
FEED_ID = Feed("BTC/USD").feed_id
ROUND = 1_790_359_200
T0 = ROUND * 1000
PRICE = 8_374_400_000_000


def make_config(n: int = 3, **changes: Any) -> OracleConfig:
    fields: dict[str, Any] = {
        "genesis_hash": sha256(b"regtest").digest(),
        "epoch": 1,
        "oracles": tuple(key.public for key in KEYS[:n]),
        "quorum": (n - 1) // 2 + 1,
        "faults": (n - 1) // 2,
        "interval_ms": 1000,
        "delta_ppm": 5_000,
        "max_move_ppm": 100_000,
        "max_age_ms": 5_000,
        "future_ms": 1_000,
        "min_venues": 2,
    }
    return OracleConfig(**(fields | changes))


CONFIG = make_config()


def observation(config: OracleConfig = CONFIG, price: int = PRICE, **changes: Any) -> Observation:
    fields: dict[str, Any] = {
        "config_digest": config.digest,
        "feed_id": FEED_ID,
        "round": ROUND,
        "seq": 1,
        "price_e8": price,
        "conf_e8": 1_000_000,
        "venues": 7,
        "flags": 0,
        "obs_time": T0 + 10,
        "venue_time": T0 - 20,
        "evidence_root": sha256(b"frames").digest(),
    }
    return Observation(**(fields | changes))


def sign(oracle: int, message: Observation) -> SignedObservation:
    return SignedObservation(oracle, message, KEYS[oracle].sign(message.message, AUX))


def observed(
    oracle: int, price: int = PRICE, config: OracleConfig = CONFIG, **changes: Any
) -> SignedObservation:
    return sign(oracle, observation(config, price, **changes))


def certify(report: Report, signers: tuple[int, ...] = (0, 1), aux: bytes = AUX) -> Certificate:
    return Certificate(report, tuple((i, KEYS[i].sign(report.hash, aux)) for i in signers))


def proposal_of(
    *observations: SignedObservation,
    config: OracleConfig = CONFIG,
    previous: Certificate | None = None,
    **changes: Any,
) -> Proposal:
    """The honest proposal of these observations, its report then altered by ``changes``."""
    report = propose(
        config,
        FEED_ID,
        observations[0].observation.round,
        observations,
        bytes(32) if previous is None else previous.report.hash,
        max(s.observation.obs_time for s in observations) + 5,
    )
    return Proposal(replace(report, **changes), observations, previous)


def view_of(own: SignedObservation | None, *held: SignedObservation, **changes: Any) -> View:
    """What the oracle of ``own`` knows when ``held`` reached it from its peers."""
    known = [s for s in (own, *held) if s is not None]
    fields: dict[str, Any] = {
        "own": None if own is None else own.observation,
        "held": {s.oracle: s for s in known},
        "fresh": {s.oracle: s for s in known},
        "last": None,
        "jump": None,
        "excluded": frozenset(),
    }
    return View(**(fields | changes))


def price_of(price: int = PRICE, conf: int = 1_000_000) -> OraclePrice:
    return OraclePrice(
        price_e8=price,
        conf_e8=conf,
        venues=7,
        flags=0,
        venue_time=T0 - 20,
        samples=(),
        rates=(),
    )


class MemoryGuard:
    """The rules of a sign guard without a disk; ``log`` tells what was recorded, in order."""

    def __init__(self) -> None:
        self.log: list[bytes] = []
        self._newest: dict[bytes, tuple[int, bytes]] = {}
        self._once: dict[bytes, bytes] = {}

    def next_seq(self) -> int:
        return len(self.log) + 1

    def record(
        self, kind: bytes, config_digest: bytes, feed_id: bytes, round_id: int, message: bytes
    ) -> None:
        lane = kind + config_digest + feed_id
        newest = self._newest.get(lane, (-1, b""))
        if newest == (round_id, message):
            return
        if round_id <= newest[0]:
            raise GuardError(f"round {round_id} was signed")
        self._newest[lane] = round_id, message
        self.log.append(message)

    def recall(self, kind: bytes, config_digest: bytes, feed_id: bytes) -> bytes | None:
        newest = self._newest.get(kind + config_digest + feed_id)
        return None if newest is None else newest[1]

    def record_once(self, kind: bytes, slot: bytes, message: bytes) -> None:
        if kind + slot not in self._once:
            self.log.append(message)
        if self._once.setdefault(kind + slot, message) != message:
            raise GuardError(f"{kind.decode()}: another message was signed for this slot")

    def recall_once(self, kind: bytes, slot: bytes) -> bytes | None:
        return self._once.get(kind + slot)


class Network:
    """Oracle nodes and an aggregator in one process; tests decide who hears what."""

    def __init__(self, n: int = 3, **changes: Any) -> None:
        self.config = make_config(n, **changes)
        self.guards = [MemoryGuard() for _ in range(n)]
        self.nodes = [self.node(i) for i in range(n)]
        self.aggregator = AggregatorNode(self.config, FEED_ID)

    def node(self, index: int, last: Certificate | None = None) -> OracleNode:
        """A node on the oracle's own guard: a restart of it, if there was one before."""
        return OracleNode(
            self.config,
            FEED_ID,
            index,
            lambda message: KEYS[index].sign(message, AUX),
            self.guards[index],
            last,
        )

    def observe(
        self, prices: dict[int, int], round_id: int = ROUND, at_ms: int = 10
    ) -> list[SignedObservation]:
        """These oracles observe; everybody hears everything."""
        now = self.config.starts_ms(round_id) + at_ms
        signed = [
            self.nodes[i].observe(round_id, price_of(price), bytes(32), now)
            for i, price in prices.items()
        ]
        for observation_ in signed:
            self.aggregator.receive_observation(observation_, now)
            for node in self.nodes:
                node.receive_observation(observation_, now)
        return signed

    def run(self, prices: dict[int, int], round_id: int = ROUND) -> Certificate | None:
        """One whole round in which these oracles are alive."""
        self.observe(prices, round_id)
        now = self.config.starts_ms(round_id) + 100
        proposal = self.aggregator.propose(round_id, now)
        return None if proposal is None else self.vote(proposal, prices, now)

    def vote(self, proposal: Proposal, voters: Any, now: int) -> Certificate | None:
        certificate = None
        for index in voters:
            answer = self.nodes[index].receive_proposal(proposal, now)
            if hasattr(answer, "signature"):
                result = self.aggregator.receive_vote(answer)
                certificate = result if isinstance(result, Certificate) else certificate
            else:
                self.aggregator.receive_refusal(index, proposal.report.round, answer, now)
        if certificate is not None:
            for node in self.nodes:
                node.receive_certificate(certificate)
        return certificate


def reason(answer: object) -> Reason | None:
    """Why it was refused; None if it is no refusal."""
    return answer.reason if isinstance(answer, Refusal) else None


def proposed(network: Network, now: int = T0 + 100, round_id: int = ROUND) -> Proposal:
    proposal = network.aggregator.propose(round_id, now)
    assert proposal is not None
    return proposal


def voted(node: OracleNode, proposal: Proposal, now: int = T0 + 100) -> Vote:
    vote = node.receive_proposal(proposal, now)
    assert isinstance(vote, Vote), vote
    return vote
