"""An oracle as an actor: live feeds, a key, a sign guard, and the pure node that decides.

Durable: every message is in the sign guard before it is signed, and the node signs a round once; a
restart on the same folder goes on from there. Calls are never repeated by Ray (max_task_retries 0).
"""

import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from actors.clock import Clock
from actors.feeds.connection import Feeds, Host
from actors.feeds.endpoints import Endpoint
from actors.journal import Journal, SignGuard
from actors.keyfile import load_key
from protocol.errors import QuorumError
from protocol.oracle import expiry as exp
from protocol.oracle.certificate import Certificate
from protocol.oracle.config import OracleConfig
from protocol.oracle.expiry import ExpirySlot, expiry_of
from protocol.oracle.feed import Feed
from protocol.oracle.observation import SignedObservation
from protocol.oracle.price import evidence_root
from protocol.oracle.proposal import Proposal, Refusal, Vote
from protocol.oracle.round import OracleNode

PRODUCT = "BTC-USD"


@dataclass(frozen=True, slots=True)
class OracleSettings:
    """What an oracle needs to start: public values and paths, never a secret."""

    index: int
    config: bytes  # CFG1
    feed: bytes
    key_file: Path
    folder: Path
    endpoints: dict[str, Endpoint]
    clock: Clock


@dataclass(frozen=True, slots=True)
class Sight:
    """A signed observation (bytes), and for display what each venue showed and when.

    ``first_frame_ns`` is the real monotonic time at which the first frame behind the price arrived.
    """

    signed: bytes
    venue_prices_e8: dict[str, int]
    first_frame_ns: int


class Oracle:
    """The actor of one operator's oracle."""

    def __init__(self, settings: OracleSettings) -> None:
        self._clock = settings.clock
        self._key = load_key(settings.key_file)
        settings.folder.mkdir(parents=True, exist_ok=True)
        config = OracleConfig.decode(settings.config)
        self._kept, records = Journal.open(settings.folder / "certificates.journal")
        self._reports = [Certificate.decode(record).report for record in records]
        self._guard = SignGuard.open(settings.folder / "guard.journal", self._key.public)
        self._node = OracleNode(
            config,
            Feed.decode(settings.feed).feed_id,
            settings.index,
            self._sign,
            self._guard,
            last=Certificate.decode(records[-1]) if records else None,
        )
        self._feeds = Feeds([PRODUCT], settings.endpoints, host=Host(settings.clock.now_ms))
        self._started = False

    async def pid(self) -> int:
        """The operating system's process id, once the feeds are starting."""
        await self._start()
        return os.getpid()

    async def venues(self) -> int:
        """How many venues have confirmed the subscription."""
        await self._start()
        return sum(health.subscribed for health in self._feeds.health.values())

    async def observe(self, round_id: int) -> Sight:
        """Sign what the venues show now, for this round; PriceError or GuardError if not."""
        await self._start()
        now_ms = self._clock.now_ms()
        snapshot = self._feeds.board.snapshot(PRODUCT)
        price = snapshot.price(now_ms, self._node.config.min_venues)
        root = evidence_root(snapshot.frames(price))
        signed = self._node.observe(round_id, price, root, now_ms)
        prices = {sample.venue: sample.price_e8 for sample in price.samples}
        return Sight(signed.encode(), prices, snapshot.first_received_ns(price))

    async def hear(self, signed: bytes) -> Refusal | None:
        """A peer's observation."""
        await self._start()
        return self._node.receive_observation(
            SignedObservation.decode(signed), self._clock.now_ms()
        )

    async def certify(self, proposal: Proposal) -> Vote | Refusal:
        """Recompute a proposal and sign its report, once; or say why not."""
        await self._start()
        answer = self._node.receive_proposal(proposal, self._clock.now_ms())
        self._keep()  # a proposal may bring the certificate that it links to
        return answer

    async def adopt(self, certificate: bytes) -> Refusal | None:
        """A published certificate: on disk once it is the newest that this oracle knows."""
        await self._start()
        refusal = self._node.receive_certificate(Certificate.decode(certificate))
        self._keep()
        return refusal

    async def expire(self, slot: ExpirySlot, grace_rounds: int, last: bytes) -> tuple[bytes, bytes]:
        """The expiry of ``slot`` by this oracle's own history, and its signature of it.

        ``last`` is the newest certificate, in case it has not arrived. QuorumError if the history
        has a gap or the slot's round has not been certified; GuardError if this oracle has signed
        another expiry for this target, or for a later one.
        """
        if (slot.config_digest, slot.feed_id) != (self._node.config.digest, self._node.feed_id):
            raise QuorumError("this oracle signs for another configuration or feed")
        await self.adopt(last)
        before = [r for r in self._reports if r.round < slot.start_round][-1:]
        since = [r for r in self._reports if r.round >= slot.start_round]
        expiry = expiry_of(slot, grace_rounds, before + since)
        encoded = expiry.encode()
        self._guard.record(exp.MAGIC, slot.config_digest, slot.feed_id, slot.target_round, encoded)
        return encoded, self._sign(expiry.hash)

    def _keep(self) -> None:
        """Write the newest certificate that the node knows, unless it is written already."""
        last = self._node.last
        if last is not None and self._reports[-1:] != [last.report]:
            self._kept.append(last.encode())
            self._reports.append(last.report)

    def _sign(self, message: bytes) -> bytes:
        return self._key.sign(message, secrets.token_bytes(32))

    async def _start(self) -> None:
        # Only inside a call is there an event loop to run the feeds on.
        if not self._started:
            await self._feeds.start()
            self._started = True
