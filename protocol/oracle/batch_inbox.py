"""The observation batches that reached a node."""

from collections.abc import Mapping

from protocol.oracle.batch_observation import SignedObservationBatch, check_batch
from protocol.oracle.breaker import Breaker
from protocol.oracle.config import OracleConfig
from protocol.oracle.inbox import AnyInbox, oldest_round
from protocol.oracle.proposal import Refusal, margin_ms, times
from protocol.oracle.sheet import Sheet


class BatchInbox(AnyInbox[SignedObservationBatch]):
    """Valid observation batches of the recent rounds, and what the rounds that are over showed."""

    def __init__(self, config: OracleConfig, feeds: Mapping[bytes, int]) -> None:
        """``feeds`` maps feed ids to columns, ascending."""
        super().__init__(config)
        self.feeds = feeds
        self.breaker = Breaker(len(feeds))

    def check(self, signed: SignedObservationBatch, now_ms: int) -> Refusal | None:
        """``batch_observation.check_batch``."""
        return check_batch(self.config, self.feeds, signed, now_ms, self.convicted)

    def fresh(
        self, round_id: int, now_ms: int, within_ms: int | None = None
    ) -> dict[int, SignedObservationBatch]:
        """The held batches that remain valid for ``within_ms``, by default ``margin_ms``."""
        margin = margin_ms(self.config) if within_ms is None else within_ms
        earliest, latest = times(self.config, round_id, now_ms, margin)
        found = {}
        for oracle, signed in self.held(round_id).items():
            time = signed.observations.column("obs_time")
            if earliest <= int(time.min()) and int(time.max()) <= latest:
                found[oracle] = signed
        return found

    def close(self, before: int) -> None:
        """The rounds before this one are over: what they showed counts for the breaker."""
        for round_id in sorted(r for r in self._rounds if self.breaker.round < r < before):
            sheet = Sheet.of(self.config, self.feeds, self.held(round_id))
            self.breaker.show(round_id, sheet)

    def _forget(self, now_ms: int) -> None:
        self.close(oldest_round(self.config, now_ms))
        super()._forget(now_ms)
