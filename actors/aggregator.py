"""The aggregator: collects observations and votes, keeps and publishes certificates.

Trusted with nothing: every oracle recomputes what it proposes, and takes over when it is silent.
Durable: a certificate is on disk before anybody is told; a restart goes on from the last one.
"""

import asyncio
import os
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from actors.clock import Clock
from actors.control import from_hex
from actors.network import Network
from actors.node import Stored
from actors.operator import Operator, load_operator
from actors.program import Program, Running
from actors.signer_client import Signer
from protocol.errors import EncodingError, QuorumError
from protocol.oracle.batch_round import BatchAggregatorNode
from protocol.oracle.config import OracleConfig
from protocol.oracle.exercise import American, ExerciseNotice
from protocol.oracle.expiry import ExpiryCertificate, ExpirySlot, Rule, assemble
from protocol.oracle.layout import ZERO32
from protocol.oracle.member import AggregatorMember
from protocol.oracle.messages import Effect, ExpiryAnswer, ExpiryRefused, ExpiryRequest
from protocol.oracle.round import AggregatorNode

EXPIRE_S: Final = 5.0
"""How long oracles may take to sign an expiry."""
LAST_WORD_S: Final = 0.5
"""How long they have once so many refused or differ that no quorum is left: to say why, too."""
POLL_S: Final = 0.01

Answers = dict[int, ExpiryAnswer | ExpiryRefused]
"""By oracle."""


class AggregatorProgram(Program):
    """The dedicated aggregator of a network."""

    def __init__(self, operator: Operator, clock: Clock, keys: Signer | None = None) -> None:
        super().__init__(operator, clock, keys)
        self._held: dict[int, list[tuple[int, Any]]] = {}
        self._asked: list[tuple[ExpirySlot, Answers]] = []
        self._begin()

    def _member(self) -> AggregatorMember:
        network, epochs = self.operator.network, self.operator.networks.epochs
        last: Any = self.history.last()
        config, wait_ms = network.config, network.schedule.collect_ms
        feed_ids = [feed.feed_id for feed in network.feeds]
        node: Any = (
            AggregatorNode(config, feed_ids[0], last, wait_ms, epochs)
            if len(feed_ids) == 1
            else BatchAggregatorNode(config, feed_ids, last, wait_ms, self.batches(), epochs)
        )
        for proof in self.convicted:
            node.receive_evidence(proof)
        return AggregatorMember(node, network.schedule, history=self.history.after)

    async def expire(
        self, slot: ExpirySlot, grace_rounds: int, contract: bytes = b"", quorum: int | None = None
    ) -> ExpiryCertificate:
        """What ``quorum`` oracles computed alike and signed, by default the configuration's;
        ``contract`` as in ExpiryRequest. The oracles are those of the slot's epoch, by name, as far
        as they have not left.

        QuorumError says which oracle did not sign, and why.
        """
        network = self.operator.networks.of(slot.config_digest)
        config = network.config
        oracles, needed = range(len(config.oracles)), quorum or config.quorum
        answers: Answers = self._left(network, slot)
        asked = slot, answers
        self._asked.append(asked)
        there = [a for name in network.names if (a := self._address(name)) is not None]
        self.transport.send(tuple(there), ExpiryRequest(slot, grace_rounds, contract))
        began_s, patience_s = time.monotonic(), EXPIRE_S
        try:
            while (certificate := self._assembled(slot, answers, needed)) is None:
                if not self._can_agree(config, answers, needed):
                    patience_s = LAST_WORD_S
                if len(answers) == len(oracles) or time.monotonic() - began_s > patience_s:
                    break
                await asyncio.sleep(POLL_S)
        finally:
            self._asked = [other for other in self._asked if other is not asked]
        if certificate is not None:
            return certificate
        fates = "; ".join(f"oracle {i} {_fate(answers.get(i), patience_s)}" for i in oracles)
        raise QuorumError(f"no expiry certificate, {needed} signatures needed: {fates}")

    async def certified(self, round_id: int, deadline_s: float) -> Stored:
        """A round's certificate, once it is published. QuorumError says why there is none."""
        return await self.node.certificate(round_id, deadline_s)

    async def hold(self, round_id: int) -> None:
        """Look at nobody's observation of this round until ``release``: an aggregator can delay."""
        await self.node.do(lambda: self._held.setdefault(round_id, []))

    async def release(self, round_id: int) -> None:
        """Go on with a round that was held."""
        for sender, message in await self.node.do(lambda: self._held.pop(round_id, [])):
            self.node.hear(sender, message)

    async def notice(self, notice: str) -> None:
        """Pass a holder's exercise notice (hex of EXN1) on to all oracles."""
        decoded = ExerciseNotice.decode(from_hex("notice", notice))
        self.transport.send(tuple(range(len(self.operator.network.config.oracles))), decoded)

    def _methods(self) -> dict[str, Any]:
        return super()._methods() | {"expire": self._expire, "notice": self.notice}

    async def _expire(
        self,
        feed: str,
        start: int,
        target: int,
        grace: int,
        window: int = 0,
        exercise: int | None = None,
        contract: str = "",
        quorum: int | None = None,
        config: str = "",
    ) -> dict[str, str]:
        """``config`` is the digest of the contract's epoch, by default this one's."""
        digest, preimage = from_hex("config", config), from_hex("contract", contract)
        network = self.operator.networks.of(digest) if digest else self.operator.network
        oracles = network.config
        if quorum is not None and not oracles.quorum <= quorum <= len(oracles.oracles):
            raise EncodingError(
                f"quorum {quorum}: it must lie between {oracles.quorum} and {len(oracles.oracles)}"
            )
        slot = ExpirySlot(
            config_digest=oracles.digest,
            feed_id=network.feed(feed).feed_id,
            start_round=start,
            target_round=target,
            subject=ZERO32 if exercise is None else American(preimage).subject(exercise),
            rule=Rule.TWAP if window else Rule.SPOT,
            window=window,
        )
        certificate = await self.expire(slot, grace, preimage, quorum)
        return {"config": oracles.encode().hex(), "expiry": certificate.encode().hex()}

    def _also(self, sender: int, message: Any, now_ms: int) -> Sequence[Effect] | None:
        if isinstance(message, ExpiryAnswer | ExpiryRefused):
            self._take_answer(sender, message)
            return []
        held = self._held.get(getattr(message, "round", -1))
        if held is not None and isinstance(message, self.member.node.observation):
            held.append((sender, message))
            return []
        return None

    def _take_answer(self, sender: int, message: ExpiryAnswer | ExpiryRefused) -> None:
        slot = message.expiry.slot if isinstance(message, ExpiryAnswer) else message.slot
        name = self.operator.network.names[sender]
        for asked, answers in tuple(self._asked):
            names = self.operator.networks.of(asked.config_digest).names
            index = names.index(name) if name in names else -1
            # Who signs does so as the oracle that it was; who refuses may not know that one.
            is_own = index == message.oracle or isinstance(message, ExpiryRefused)
            if asked == slot and index >= 0 and is_own:
                answers[index] = message

    def _assembled(
        self, slot: ExpirySlot, answers: Answers, needed: int
    ) -> ExpiryCertificate | None:
        signed = {
            index: (answer.expiry.encode(), answer.signature)
            for index, answer in answers.copy().items()
            if isinstance(answer, ExpiryAnswer)
        }
        if len(signed) < needed:
            return None
        try:
            config = self.operator.networks.of(slot.config_digest).config
            return assemble(config, slot, signed, needed)
        except QuorumError:
            return None

    def _address(self, name: str) -> int | None:
        """Where an operator is in this epoch, None if it has left."""
        names = self.operator.network.names
        return names.index(name) if name in names else None

    def _left(self, network: Network, slot: ExpirySlot) -> Answers:
        """In the place of an answer, for the oracles of an epoch that have left."""
        gone = [i for i, name in enumerate(network.names) if self._address(name) is None]
        return {i: ExpiryRefused(i, slot, "it has left the network") for i in gone}

    def _can_agree(self, config: OracleConfig, answers: Answers, needed: int) -> bool:
        """Whether the oracles that have not answered can still make a quorum with those that
        signed alike."""
        given = answers.copy().values()
        alike = Counter(answer.expiry for answer in given if isinstance(answer, ExpiryAnswer))
        waiting = len(config.oracles) - len(given)
        return max(alike.values(), default=0) + waiting >= needed

    def _stored(self, stored: Stored) -> None:
        pass


def _fate(answer: ExpiryAnswer | ExpiryRefused | None, patience_s: float) -> str:
    if answer is None:
        return f"gave no answer within {patience_s:g} s"
    if isinstance(answer, ExpiryRefused):
        return f"refused ({answer.reason})"
    return f"signed {answer.expiry.price_e8} of round {answer.expiry.end_round}"


@dataclass(frozen=True, slots=True)
class Published:
    """A certificate (bytes) and the real monotonic time at which it was published."""

    certificate: bytes
    at_ns: int


class Aggregator:
    """The Ray actor around an aggregator; it is given a path, never a key."""

    def __init__(self, operator_file: Path, clock: Clock) -> None:
        self._program = AggregatorProgram(load_operator(operator_file), clock)
        operator = self._program.operator
        self._running = Running(self._program, operator.folder, operator.log)

    async def pid(self) -> int:
        """The operating system's process id."""
        return os.getpid()

    async def ready(self) -> int:
        """The number of certificates on disk."""
        return len(self._program.history)

    async def hold(self, round_id: int) -> None:
        """``AggregatorProgram.hold``."""
        await self._running.ask(self._program.hold(round_id))

    async def release(self, round_id: int) -> None:
        """``AggregatorProgram.release``."""
        await self._running.ask(self._program.release(round_id))

    async def certificate(self, round_id: int, deadline_s: float) -> Published:
        """A round's certificate, once it is published. QuorumError says why there is none."""
        stored = await self._running.ask(self._program.certified(round_id, deadline_s))
        return Published(stored.certificate.encode(), stored.at_ns)

    async def expire(
        self, slot: ExpirySlot, grace_rounds: int, contract: bytes = b"", quorum: int | None = None
    ) -> bytes:
        """``AggregatorProgram.expire``: the certificate of an expiry (bytes)."""
        work = self._program.expire(slot, grace_rounds, contract, quorum)
        return (await self._running.ask(work)).encode()

    async def notice(self, notice: str) -> None:
        """``AggregatorProgram.notice``."""
        await self._running.ask(self._program.notice(notice))
