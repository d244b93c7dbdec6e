"""The encodings of batches: round trips, known lengths, and every byte that must not pass."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.errors import EncodingError, ProtocolError, QuorumError, SignatureError
from protocol.oracle import batch, merkle
from protocol.oracle.batch import BatchObservation, BatchReport
from protocol.oracle.batch_certificate import BatchCertificate, FeedCertificate
from protocol.oracle.batch_chain import BatchChain
from protocol.oracle.batch_observation import SignedObservationBatch
from protocol.oracle.batch_proposal import BatchProposal
from protocol.oracle.evidence import Evidence
from protocol.oracle.observation import Observation
from protocol.oracle.quorum import distance_ppm
from protocol.oracle.report import Grade, Report
from protocol.oracle.rows import ObservationRows, ReportRows
from tests.builders.batches import (
    FEEDS,
    BatchNetwork,
    X,
    Y,
    certify_batch,
    feed_ids,
    flat,
    observed_batch,
    sign_batch,
)
from tests.builders.oracles import CONFIG, KEYS, ROUND, certify, make_config, observation

U64 = st.one_of(st.integers(0, 2**64 - 1), st.sampled_from([0, 1, 2**63, 2**64 - 1]))
HASH = st.binary(min_size=32, max_size=32)


def certified(n: int = 3, feeds: tuple[bytes, ...] = FEEDS) -> BatchCertificate:
    certificate = BatchNetwork(n, feeds).run({i: flat(feeds=feeds) for i in range(n)})
    assert certificate is not None
    return certificate


CERTIFICATE = certified()
PROPOSED = BatchProposal(
    CERTIFICATE.report,
    CERTIFICATE.reports,
    ((0, bytes(32)), (2, b"\1" * 32)),
    (observed_batch(0), observed_batch(1)),
    CERTIFICATE,
    (CERTIFICATE, CERTIFICATE),
)
MESSAGES: dict[str, Any] = {
    "observation header": observed_batch(0).observation,
    "report header": CERTIFICATE.report,
    "observation batch": observed_batch(0),
    "batch certificate": CERTIFICATE,
    "feed certificate": CERTIFICATE.feed_certificate(X),
    "proposal by reference": BatchProposal(CERTIFICATE.report, CERTIFICATE.reports, ()),
    "complete proposal": PROPOSED,
}


# Round trips


@given(digest=HASH, round_id=U64, seq=U64, n=st.integers(1, 65535), root=HASH, prev=HASH)
@settings(max_examples=30)
def test_headers_round_trip(
    digest: bytes, round_id: int, seq: int, n: int, root: bytes, prev: bytes
) -> None:
    seen = BatchObservation(config_digest=digest, round=round_id, seq=seq, n=n, root=root)
    report = BatchReport(config_digest=digest, round=round_id, n=n, root=root, prev_batch_hash=prev)
    assert BatchObservation.decode(seen.encode()) == seen
    assert BatchReport.decode(report.encode()) == report
    assert len(seen.encode()) == batch.OBSERVATION_SIZE == 86
    assert len(report.encode()) == batch.REPORT_SIZE == 110
    assert seen.encode()[: batch.SLOT_SIZE] == b"OBB1" + digest + round_id.to_bytes(8)
    assert report.encode()[: batch.SLOT_SIZE] == b"BAT1" + digest + round_id.to_bytes(8)


@st.composite
def observations(draw: st.DrawFn) -> list[Observation]:
    ids = sorted(draw(st.sets(HASH, min_size=1, max_size=6)))
    return [
        Observation(
            config_digest=draw(HASH),
            feed_id=feed_id,
            round=draw(U64),
            seq=draw(U64),
            price_e8=draw(U64),
            conf_e8=draw(U64),
            venues=draw(st.integers(0, 7)),
            flags=draw(st.integers(0, 1)),
            obs_time=draw(U64),
            venue_time=draw(U64),
            evidence_root=draw(HASH),
        )
        for feed_id in ids
    ]


@given(seen=observations())
@settings(max_examples=30)
def test_rows_are_the_ordinary_encodings(seen: list[Observation]) -> None:
    rows = ObservationRows(b"".join(o.encode() for o in seen))
    assert list(rows) == seen
    assert [rows[i] for i in range(len(rows))] == seen
    assert rows.column("price_e8").tolist() == [o.price_e8 for o in seen]
    assert rows.column("obs_time").tolist() == [o.obs_time for o in seen]
    assert rows.root == merkle.root([merkle.leaf(o.encode()) for o in seen])


@pytest.mark.parametrize("name", MESSAGES)
def test_messages_round_trip(name: str) -> None:
    message = MESSAGES[name]
    again = type(message).decode(message.encode())
    assert again == message
    assert again.encode() == message.encode()


@pytest.mark.parametrize("name", MESSAGES)
def test_no_byte_can_be_missing_or_added(name: str) -> None:
    message = MESSAGES[name]
    data = message.encode()
    for wrong in (data[:-1], data + b"\0", data[1:], b"", data[:4], b"\0" + data, data + data):
        with pytest.raises(EncodingError):
            type(message).decode(wrong)


@pytest.mark.parametrize("name", MESSAGES)
@given(data=st.data())
@settings(max_examples=40)
def test_altered_bytes_are_refused_or_another_message(name: str, data: st.DataObject) -> None:
    """Decoding is total, and no two byte strings are one message."""
    message = MESSAGES[name]
    altered = bytearray(message.encode())
    for _ in range(data.draw(st.integers(1, 3))):
        altered[data.draw(st.integers(0, len(altered) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = type(message).decode(bytes(altered))
    except EncodingError:
        return
    assert found.encode() == bytes(altered)
    assert (found == message) == (bytes(altered) == message.encode())


@given(data=st.binary(max_size=600))
@settings(max_examples=40)
def test_noise_is_refused(data: bytes) -> None:
    for name in ("observation batch", "batch certificate", "feed certificate", "complete proposal"):
        message = MESSAGES[name]
        with pytest.raises(EncodingError):
            type(message).decode(message.encode()[:4] + data)


# What a row must be


ROW_FAULTS: dict[str, tuple[int, bytes]] = {
    "magic": (0, b"OBS2"),
    "expo": (100, b"\xf9"),
    "n_venues": (101, b"\2"),
    "venue_bitmap": (102, b"\xff"),
    "flags": (103, b"\2"),
}


@pytest.mark.parametrize("name", ROW_FAULTS)
def test_a_malformed_observation_is_named(name: str) -> None:
    offset, wrong = ROW_FAULTS[name]
    rows = bytearray(observed_batch(0).observations.data)
    rows[152 + offset : 152 + offset + len(wrong)] = wrong
    with pytest.raises(EncodingError, match=f"feed {FEEDS[1].hex()}: observation"):
        ObservationRows(bytes(rows))


REPORT_ROW_FAULTS: dict[str, tuple[int, bytes]] = {
    "magic": (0, b"RPT2"),
    "expo": (92, b"\xf9"),
    "grade": (93, b"\0"),
    "grade-3": (93, b"\3"),
    "n_obs": (94, b"\1"),
}


@pytest.mark.parametrize("name", REPORT_ROW_FAULTS)
def test_a_malformed_report_is_named(name: str) -> None:
    offset, wrong = REPORT_ROW_FAULTS[name]
    rows = bytearray(CERTIFICATE.reports.data)
    rows[168 + offset : 168 + offset + len(wrong)] = wrong
    with pytest.raises(EncodingError, match=f"feed {FEEDS[1].hex()}: report"):
        ReportRows(bytes(rows))


def test_feeds_ascend_and_are_distinct() -> None:
    parts = observed_batch(0).observations.parts
    for wrong in (parts[::-1], [parts[0], parts[0]], [parts[1], parts[0], *parts[2:]]):
        with pytest.raises(EncodingError, match="feed ids must strictly ascend"):
            ObservationRows(b"".join(wrong))


def test_an_empty_batch_says_nothing() -> None:
    with pytest.raises(EncodingError, match="an empty batch says nothing"):
        replace(CERTIFICATE.report, n=0)
    with pytest.raises(EncodingError, match="not 1 to 65535 rows"):
        ReportRows(b"")


def test_n_is_the_number_of_rows() -> None:
    signed = observed_batch(0)
    for n in (4, 6):
        with pytest.raises(EncodingError, match="disagrees"):
            replace(signed, observation=replace(signed.observation, n=n))
        with pytest.raises(EncodingError, match="disagrees"):
            replace(CERTIFICATE, report=replace(CERTIFICATE.report, n=n))
        with pytest.raises(EncodingError, match="disagrees"):
            replace(PROPOSED, report=replace(CERTIFICATE.report, n=n))


def test_references_ascend() -> None:
    for wrong in (((1, bytes(32)), (0, bytes(32))), ((1, bytes(32)), (1, bytes(32)))):
        with pytest.raises(EncodingError, match="must strictly ascend"):
            replace(PROPOSED, references=wrong)


# Certificates


@pytest.mark.parametrize("count", [1, 2, 3, 5, 8])
@pytest.mark.parametrize("n", [1, 3, 4])
def test_every_feed_has_a_certificate(n: int, count: int) -> None:
    feeds = feed_ids(count)
    certificate = certified(n, feeds)
    config = make_config(n)
    certificate.check(config, feeds)
    for index, feed_id in enumerate(feeds):
        of_feed = certificate.feed_certificate(feed_id)
        of_feed.check(config, feed_id)
        assert of_feed.report == certificate.reports[index]
        assert FeedCertificate.decode(of_feed.encode()) == of_feed


def test_a_feed_that_is_not_in_the_batch_has_no_certificate() -> None:
    with pytest.raises(QuorumError, match="the batch has no report of"):
        CERTIFICATE.feed_certificate(bytes(32))


def with_row(index: int, **changes: Any) -> BatchCertificate:
    """Validly signed by the quorum, but no honest oracle would sign it."""
    reports = [
        replace(r, **changes) if i == index else r for i, r in enumerate(CERTIFICATE.reports)
    ]
    rows = ReportRows(b"".join(r.encode() for r in reports))
    return certify_batch(replace(CERTIFICATE.report, root=rows.root), rows)


BAD_CERTIFICATES: dict[str, tuple[type[ProtocolError], Callable[[], BatchCertificate]]] = {
    "another epoch": (
        QuorumError,
        lambda: certify_batch(replace(CERTIFICATE.report, config_digest=bytes(32)), ROWS),
    ),
    "a report of another epoch": (QuorumError, lambda: with_row(1, config_digest=bytes(32))),
    "a report of another round": (QuorumError, lambda: with_row(1, round=ROUND + 1)),
    "an unknown observer": (QuorumError, lambda: with_row(1, observers=0b1011)),
    "FULL of two": (QuorumError, lambda: with_row(1, observers=0b011)),
    "DEGRADED of three": (QuorumError, lambda: with_row(1, grade=Grade.DEGRADED)),
    "of one": (QuorumError, lambda: with_row(1, observers=1, grade=Grade.DEGRADED)),
    "one signature": (QuorumError, lambda: certify_batch(CERTIFICATE.report, ROWS, (0,))),
    "three signatures": (QuorumError, lambda: certify_batch(CERTIFICATE.report, ROWS, (0, 1, 2))),
    "a stranger": (QuorumError, lambda: certify_batch(CERTIFICATE.report, ROWS, (0, 3))),
    "another root": (
        SignatureError,
        lambda: certify_batch(replace(CERTIFICATE.report, root=bytes(32)), ROWS),
    ),
    "another header than signed": (
        SignatureError,
        lambda: replace(
            CERTIFICATE, report=replace(CERTIFICATE.report, prev_batch_hash=b"\1" * 32)
        ),
    ),
    "signatures of another batch": (
        SignatureError,
        lambda: replace(CERTIFICATE, signatures=with_row(1, price_e8=7).signatures),
    ),
}
ROWS = CERTIFICATE.reports


@pytest.mark.parametrize("name", BAD_CERTIFICATES)
def test_a_bad_batch_certificate_is_refused(name: str) -> None:
    expected, make = BAD_CERTIFICATES[name]
    CERTIFICATE.check(CONFIG, FEEDS)
    with pytest.raises(expected):
        make().check(CONFIG, FEEDS)


@pytest.mark.parametrize("name", BAD_CERTIFICATES)
def test_so_is_the_part_of_the_feed(name: str) -> None:
    expected, make = BAD_CERTIFICATES[name]
    with pytest.raises(expected):
        make().feed_certificate(FEEDS[1]).check(CONFIG, FEEDS[1])


def test_a_certificate_of_an_unknown_feed_is_refused() -> None:
    with pytest.raises(QuorumError, match=f"unknown feed: {FEEDS[-1].hex()}"):
        CERTIFICATE.check(CONFIG, FEEDS[:-1])
    with pytest.raises(QuorumError, match="another feed"):
        CERTIFICATE.feed_certificate(X).check(CONFIG, Y)


def test_the_path_of_another_feed_proves_nothing() -> None:
    mine, theirs = CERTIFICATE.feed_certificate(X), CERTIFICATE.feed_certificate(Y)
    for forged in (
        replace(mine, path=theirs.path),
        replace(mine, index=theirs.index),
        replace(mine, path=theirs.path, index=theirs.index),
        replace(mine, report=theirs.report),
        replace(mine, path=mine.path[:-1]),
        replace(mine, path=(*mine.path, bytes(32))),
        replace(mine, index=5),
        replace(mine, batch=replace(mine.batch, n=6)),
        replace(mine, report=replace(mine.report, price_e8=mine.report.price_e8 + 1)),
    ):
        with pytest.raises(SignatureError):
            forged.check(CONFIG, forged.report.feed_id)


def test_a_node_of_the_tree_is_no_report() -> None:
    """Leaves and nodes have different tags, and a path has the depth that the index asks for."""
    mine = CERTIFICATE.feed_certificate(X)
    with pytest.raises(EncodingError, match="more than 16 siblings"):
        replace(mine, path=(bytes(32),) * 17)
    with pytest.raises(EncodingError, match="sibling must be 32 bytes"):
        replace(mine, path=(bytes(31),))


def test_a_signature_of_a_single_report_is_none_of_a_batch() -> None:
    """Domains are separate: the tags differ."""
    single = certify(CERTIFICATE.reports[0])
    with pytest.raises(SignatureError):
        replace(CERTIFICATE, signatures=single.signatures).check(CONFIG, FEEDS)


# Observations


def test_an_observation_of_a_batch_is_an_ordinary_one_with_its_signature() -> None:
    signed = observed_batch(1)
    of_feed = signed.of_feed(Y)
    assert of_feed is not None
    assert of_feed.observation == observation(feed_id=Y)
    assert signed.observations.signed_leaves(signed.signature)[1].tobytes() == of_feed.leaf
    assert signed.of_feed(bytes(32)) is None
    assert signed.verify(KEYS[1].public) and not signed.verify(KEYS[0].public)
    assert signed.prices == flat()


def test_two_headers_of_one_slot_are_evidence() -> None:
    a, b = observed_batch(2), observed_batch(2, flat() | {Y: 7})
    proof = Evidence(
        KEYS[2].public, a.observation.encode(), a.signature, b.observation.encode(), b.signature
    )
    assert Evidence.decode(proof.encode()).check(CONFIG) == 2
    assert len(proof.encode()) < 400, "however many feeds there are"
    other_round = sign_batch(2, b.observations, round_id=ROUND + 1)
    with pytest.raises(SignatureError, match="differ in kind"):
        replace(
            proof,
            message_b=other_round.observation.encode(),
            signature_b=other_round.signature,
        ).check(CONFIG)


def test_a_report_is_decoded_only_when_it_is_asked_for() -> None:
    rows = ReportRows(CERTIFICATE.reports.data)
    assert isinstance(rows[0], Report)
    assert rows[1:3] == (rows[1], rows[2])
    assert rows == CERTIFICATE.reports and hash(rows) == hash(CERTIFICATE.reports)
    assert [row.tobytes() for row in rows.hashes] == [report.hash for report in rows]


def test_a_decoded_batch_says_what_was_encoded() -> None:
    signed = SignedObservationBatch.decode(observed_batch(1, round=ROUND).encode())
    assert (signed.oracle, signed.round, len(signed.observations)) == (1, ROUND, 5)
    assert BatchCertificate.decode(CERTIFICATE.encode()).prices == flat()


@settings(max_examples=50)
@given(st.data())
def test_the_distance_of_a_batch_is_that_of_its_furthest_feed(data: st.DataObject) -> None:
    feeds = feed_ids(5)
    chain = BatchChain(CONFIG, {feed: i for i, feed in enumerate(sorted(feeds))}, None)
    prices = st.sampled_from([0, 1, 2**63, 2**64 - 1]) | st.integers(10**12, 2 * 10**12)
    some = st.dictionaries(st.sampled_from(feeds), prices, min_size=1)
    signed = observed_batch(0, data.draw(some))
    certified = BatchNetwork(3, feeds).run(dict.fromkeys(range(3), flat(feeds=feeds)))
    assert certified is not None
    of_two = certified.reports.parts[1:3]
    for rows in (certified.reports.parts, of_two):
        header = replace(certified.report, n=len(rows))
        certificate = certify_batch(header, ReportRows(b"".join(rows)))
        distances = [
            distance_ppm(price, certificate.prices[feed])
            for feed, price in signed.prices.items()
            if feed in certificate.prices
        ]
        assert chain.distance_ppm(certificate, signed) == max(distances, default=0)
