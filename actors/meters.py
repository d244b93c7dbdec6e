"""What a node of the network shows to Prometheus: per venue, per oracle, per reason."""

from collections.abc import Mapping
from typing import Any, Final

from actors.feeds.events import Kind
from actors.feeds.events import Reason as FeedReason
from actors.feeds.health import Health, Poll
from actors.metrics import Registry
from actors.network import AGGREGATOR_NAME, Network
from actors.node import Node
from protocol.oracle.batch_observation import SignedObservationBatch
from protocol.oracle.exercise import NoticeBook
from protocol.oracle.heartbeat import Status
from protocol.oracle.messages import AGGREGATOR
from protocol.oracle.price import VENUES
from protocol.oracle.proposal import Reason
from protocol.oracle.report import Grade

MS: Final = 1000
PPM_PER_BP: Final = 100
LATENCY_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Meters:
    """The metrics of one node. Names and labels are those of oracle.md 4.4 as far as it has them;
    every label value is known when the node starts."""

    def __init__(self, network: Network) -> None:
        self.registry = registry = Registry()
        self._names = [*network.names]
        oracles, reasons = network.names, [*Reason]
        self.rounds = registry.counter(
            "rounds_total",
            "Certified reports on disk, one a feed and round.",
            grade=[grade.name for grade in Grade],
        )
        self.given_up = registry.counter("rounds_given_up_total", "Rounds without a certificate.")
        self.refused = registry.counter(
            "messages_refused_total", "Refused messages and proposals.", reason=reasons
        )
        self.notices = registry.counter(
            "notices_refused_total", "Refused exercise notices; oracles only.", reason=reasons
        )
        self.dropped = registry.counter(
            "messages_dropped_total", "Messages that found no room in the queue of the node."
        )
        self.evidence = registry.counter(
            "evidence_total",
            "Equivocations proved, by excluded oracle.",
            oracle=oracles,
        )
        self.latency = registry.histogram(
            "frame_to_certificate_seconds",
            "From the last venue frame behind our observation to the certificate on disk.",
            LATENCY_S,
        )
        self.observed = registry.histogram(
            "obs_latency_seconds",
            "From an observation's own time to its arrival here.",
            LATENCY_S,
            oracle=oracles,
        )
        self.age = registry.gauge("cert_age_seconds", "Age of the newest certificate.")
        self.breaker = registry.gauge(
            "breaker_open", "1 while a price jump waits for proof; oracles only."
        )
        self.deviation = registry.gauge(
            "oracle_deviation_bps", "An oracle's distance from the last median.", oracle=oracles
        )
        self.flagged = registry.gauge(
            "oracle_flagged", "1 if an oracle is beyond delta round after round.", oracle=oracles
        )
        self.heartbeats = registry.gauge(
            "heartbeat",
            "1 if this was an oracle's newest reason not to observe.",
            oracle=oracles,
            status=[status.name for status in Status],
        )
        self.signer_up = registry.gauge(
            "signer_up", "1 if the process that holds the keys answers: without it nothing is said."
        )
        self.epoch_begins = registry.gauge(
            "epoch_begins_seconds", "Until the next epoch that is installed begins; none: no next."
        )
        self.epoch_overdue = registry.gauge(
            "epoch_overdue_seconds", "Since the next epoch was to begin, and did not here."
        )
        self.epoch_ready = registry.gauge(
            "epoch_ready", "0 if this operator lacks a key of the next epoch that is installed."
        )
        self.tls_left = registry.gauge(
            "tls_certificate_seconds", "Until this operator's TLS certificate ends; none: no TLS."
        )
        peers = [*oracles, AGGREGATOR_NAME]
        self.connected = registry.gauge("peer_connected", "1 if connected.", peer=peers)
        self.frames = registry.counter(
            "peer_frames_total",
            "Frames exchanged.",
            peer=peers,
            way=("in", "out", "dropped", "refused"),
        )
        self._venues(registry)

    def _venues(self, registry: Registry) -> None:
        venues = [*VENUES]
        self.offset = registry.gauge("clock_offset_ms", "A venue's clock minus ours.", venue=venues)
        self.clock_alarm = registry.gauge(
            "clock_alarm", "1 if a venue's clock is more than a second from ours.", venue=venues
        )
        self.venue_age = registry.gauge(
            "venue_quote_age_seconds", "Age of a venue's newest quote.", venue=venues
        )
        self.venue_up = registry.gauge("venue_subscribed", "1 if subscribed.", venue=venues)
        self.venue_polling = registry.gauge(
            "venue_polling", "1 while REST stands in for the stream.", venue=venues
        )
        self.venue_connects = registry.counter(
            "venue_connects_total", "Connections opened.", venue=venues
        )
        self.venue_events = registry.counter(
            "venue_events_total", "Events in a venue's frames.", venue=venues, kind=[*Kind]
        )
        self.venue_rejects = registry.counter(
            "venue_rejects_total", "Frames never to be used.", venue=venues, reason=[*FeedReason]
        )
        self.venue_polls = registry.counter(
            "venue_polls_total", "REST requests, by their end.", venue=venues, end=[*Poll]
        )

    def certificate(self, certificate: Any) -> None:
        """A certificate is on disk."""
        grades = certificate.grades
        for grade in Grade:
            self.rounds.inc(grades.count(grade), grade=grade.name)

    def heard(self, signed: Any, now_ms: int) -> None:
        """An oracle's own observation arrived."""
        if isinstance(signed, SignedObservationBatch):
            time = int(signed.observations.column("obs_time").max())
        else:
            time = signed.observation.obs_time
        self.observed.observe(max(now_ms - time, 0) / MS, oracle=self._names[signed.oracle])

    def node(self, node: Node) -> None:
        """Take over the figures of what runs the member."""
        self.given_up.total(node.given_up)
        self.dropped.total(node.dropped)

    def member(self, member: Any, now_ms: int) -> None:
        """Take over the figures of the member."""
        last, inbox = member.node.last, member.node.inbox
        self.age.set(None if last is None else max(now_ms - last.time, 0) / MS)
        if member.address != AGGREGATOR:
            self.breaker.set(int(member.node.awaits_confirmation))
        for reason, count in inbox.refused.copy().items():
            self.refused.total(count, reason=reason)
        for index, distance_ppm in member.outliers.distances.copy().items():
            self.deviation.set(distance_ppm / PPM_PER_BP, oracle=self._names[index])
        for index, name in enumerate(self._names):
            self.evidence.total(int(index in inbox.convicted), oracle=name)
            self.flagged.set(int(index in member.outliers.flagged), oracle=name)
            beat = member.heartbeats.get(index)
            for status in Status:
                is_newest = beat is not None and beat.heartbeat.status is status
                self.heartbeats.set(int(is_newest), oracle=name, status=status.name)

    def next_epoch(self, begins_s: float | None, *, ready: bool) -> None:
        """In how many seconds it begins, negative if it should have; None if there is no next."""
        self.epoch_begins.set(None if begins_s is None else max(begins_s, 0))
        self.epoch_overdue.set(None if begins_s is None else max(-begins_s, 0))
        self.epoch_ready.set(None if begins_s is None else int(ready))

    def exercises(self, notices: NoticeBook) -> None:
        """Take over the figures of the exercise notices."""
        for reason, count in notices.refused.copy().items():
            self.notices.total(count, reason=reason)

    def peers(self, traffic: Mapping[int, Any]) -> None:
        """Take over the figures of the transport."""
        for address, one in traffic.items():
            name = AGGREGATOR_NAME if address == AGGREGATOR else self._names[address]
            self.connected.set(int(one.connected), peer=name)
            self.frames.total(one.frames_in, peer=name, way="in")
            self.frames.total(one.frames_out, peer=name, way="out")
            self.frames.total(one.dropped + one.unsent, peer=name, way="dropped")
            self.frames.total(sum(one.refused.copy().values()), peer=name, way="refused")

    def venues(self, health: Mapping[str, Health], now_ms: int) -> None:
        """Take over the figures of the feeds."""
        for venue, one in health.items():
            age_ms = one.age_ms(now_ms)
            self.offset.set(one.offset_ms, venue=venue)
            self.clock_alarm.set(int(one.clock_alarm), venue=venue)
            self.venue_age.set(None if age_ms is None else age_ms / MS, venue=venue)
            self.venue_up.set(int(one.subscribed), venue=venue)
            self.venue_polling.set(int(one.polling), venue=venue)
            self.venue_connects.total(one.connects, venue=venue)
            for kind, count in one.events.copy().items():
                self.venue_events.total(count, venue=venue, kind=kind)
            for reason, count in one.rejects.copy().items():
                self.venue_rejects.total(count, venue=venue, reason=reason)
            for end, count in one.polls.copy().items():
                self.venue_polls.total(count, venue=venue, end=end)
