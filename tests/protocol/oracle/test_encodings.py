"""The fixed encodings refuse everything that is not exactly theirs, and name the field."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.errors import ConfigError, EncodingError
from protocol.oracle.certificate import Certificate
from protocol.oracle.config import OracleConfig
from protocol.oracle.evidence import Evidence, of_observations
from protocol.oracle.feed import Feed
from protocol.oracle.observation import Observation, SignedObservation
from protocol.oracle.report import Grade, Report
from tests.builders.oracles import (
    CONFIG,
    KEYS,
    PRICE,
    certify,
    make_config,
    observation,
    observed,
    proposal_of,
)

OBS = observation().encode()
REPORT = proposal_of(observed(0), observed(1), observed(2)).report
RPT = REPORT.encode()
CERT = certify(REPORT).encode()
EVIDENCE = of_observations(KEYS[0].public, observed(0), observed(0, PRICE + 1)).encode()

u64 = st.integers(0, 2**64 - 1)
bytes32 = st.binary(min_size=32, max_size=32)


def patched(data: bytes, at: int, value: bytes) -> bytes:
    return data[:at] + value + data[at + len(value) :]


@settings(max_examples=60)
@given(st.tuples(bytes32, bytes32, bytes32), st.tuples(*[u64] * 6), st.integers(0, 7))
def test_observation_round_trip(
    roots: tuple[bytes, ...], numbers: tuple[int, ...], venues: int
) -> None:
    message = Observation(
        config_digest=roots[0],
        feed_id=roots[1],
        round=numbers[0],
        seq=numbers[1],
        price_e8=numbers[2],
        conf_e8=numbers[3],
        venues=venues,
        flags=venues & 1,
        obs_time=numbers[4],
        venue_time=numbers[5],
        evidence_root=roots[2],
    )
    encoded = message.encode()
    assert len(encoded) == 152
    assert Observation.decode(encoded) == message


@settings(max_examples=60)
@given(
    st.tuples(*[bytes32] * 4), st.tuples(*[u64] * 4), st.integers(0, 255), st.sampled_from(Grade)
)
def test_report_round_trip(
    roots: tuple[bytes, ...], numbers: tuple[int, ...], observers: int, grade: Grade
) -> None:
    report = Report(
        config_digest=roots[0],
        feed_id=roots[1],
        round=numbers[0],
        price_e8=numbers[1],
        conf_e8=numbers[2],
        grade=grade,
        observers=observers,
        time=numbers[3],
        observations_root=roots[2],
        prev_report_hash=roots[3],
    )
    encoded = report.encode()
    assert len(encoded) == 168
    assert Report.decode(encoded) == report


def test_signed_and_certified_round_trips() -> None:
    signed = observed(2)
    assert len(signed.encode()) == 217
    assert SignedObservation.decode(signed.encode()) == signed
    assert Certificate.decode(CERT).encode() == CERT
    assert Evidence.decode(EVIDENCE).encode() == EVIDENCE
    assert OracleConfig.decode(CONFIG.encode()) == CONFIG


DECODERS = {
    "observation": (Observation.decode, OBS),
    "report": (Report.decode, RPT),
    "signed observation": (SignedObservation.decode, observed(0).encode()),
    "certificate": (Certificate.decode, certify(REPORT, (0,)).encode()),
    "evidence": (Evidence.decode, EVIDENCE),
    "config": (OracleConfig.decode, CONFIG.encode()),
    "feed": (Feed.decode, Feed("BTC/USD").encode()),
}


@pytest.mark.parametrize("name", DECODERS)
def test_no_byte_too_few_or_too_many(name: str) -> None:
    decode, data = DECODERS[name]
    decode(data)
    for size in range(len(data)):
        with pytest.raises(EncodingError):
            decode(data[:size])
    for extra in (b"\0", b"\xff", data):
        with pytest.raises(EncodingError):
            decode(data + extra)


BAD_FIELDS = {
    "unknown observation version": (Observation.decode, patched(OBS, 0, b"OBS2"), "version"),
    "a report as observation": (Observation.decode, RPT[:152], "version"),
    "observation expo": (Observation.decode, patched(OBS, 100, b"\xf7"), "observation expo"),
    "observation n_venues": (Observation.decode, patched(OBS, 101, b"\2"), "n_venues"),
    "unknown venue bit": (Observation.decode, patched(OBS, 102, b"\x0f"), "venue_bitmap"),
    "unknown flag bit": (Observation.decode, patched(OBS, 103, b"\2"), "flags"),
    "unknown report version": (Report.decode, patched(RPT, 0, b"RPT2"), "version"),
    "report expo": (Report.decode, patched(RPT, 92, b"\x08"), "report expo"),
    "grade 0": (Report.decode, patched(RPT, 93, b"\0"), "grade 0 is unknown"),
    "grade 3": (Report.decode, patched(RPT, 93, b"\3"), "grade 3 is unknown"),
    "report n_obs": (Report.decode, patched(RPT, 94, b"\2"), "n_obs"),
    "evidence version": (Evidence.decode, patched(EVIDENCE, 0, b"EVI3"), "evidence version"),
    "config version": (OracleConfig.decode, patched(CONFIG.encode(), 0, b"CFG2"), "version"),
    "quorum 0": (OracleConfig.decode, patched(CONFIG.encode(), 137, b"\0"), "config quorum"),
    "feed expo": (Feed.decode, Feed("BTC/USD").encode()[:-1] + b"\xf7", "feed expo"),
    "feed symbol": (Feed.decode, b"\1\xff" + Feed("B").encode()[2:], "feed symbol"),
    "empty feed rule": (Feed.decode, b"\1B\0\xf8", "feed rule"),
    "unsorted signers": (
        Certificate.decode,
        CERT[:168] + CERT[168 + 65 :] + CERT[168 : 168 + 65],
        "strictly ascend",
    ),
    "one signer twice": (Certificate.decode, CERT[: 168 + 65] + CERT[168 : 168 + 65], "ascend"),
}


@pytest.mark.parametrize("name", BAD_FIELDS)
def test_a_wrong_field_is_named(name: str) -> None:
    decode, data, field = BAD_FIELDS[name]
    with pytest.raises(EncodingError, match=field):
        decode(data)


@pytest.mark.parametrize("value", [-1, 2**64, 1.5, True, None])
@pytest.mark.parametrize("field", ["round", "seq", "price_e8", "conf_e8", "obs_time", "venue_time"])
def test_observation_fields_are_u64(field: str, value: object) -> None:
    with pytest.raises(EncodingError, match=f"observation {field} must be an unsigned 64-bit"):
        observation(**{field: value})


@pytest.mark.parametrize("value", [-1, 2**64, float("nan")])
@pytest.mark.parametrize("field", ["round", "price_e8", "conf_e8", "time"])
def test_report_fields_are_u64(field: str, value: object) -> None:
    with pytest.raises(EncodingError, match=f"report {field} must be an unsigned 64-bit"):
        replace(REPORT, **{field: value})


def test_other_field_types() -> None:
    for field in ("config_digest", "feed_id", "evidence_root"):
        with pytest.raises(EncodingError, match=f"observation {field} must be 32 bytes"):
            observation(**{field: bytes(31)})
    for field in ("config_digest", "feed_id", "observations_root", "prev_report_hash"):
        with pytest.raises(EncodingError, match=f"report {field} must be 32 bytes"):
            replace(REPORT, **{field: bytes(33)})
    with pytest.raises(EncodingError, match="obs_bitmap"):
        replace(REPORT, observers=256)
    with pytest.raises(EncodingError, match="grade"):
        replace(REPORT, grade=1)
    with pytest.raises(EncodingError, match="signature must be 64 bytes"):
        replace(observed(0), signature=bytes(63))
    with pytest.raises(EncodingError, match="oracle must be an unsigned 8-bit"):
        replace(observed(0), oracle=256)
    with pytest.raises(EncodingError, match="oracle index must be an unsigned 8-bit"):
        Certificate(REPORT, ((256, bytes(64)),))
    with pytest.raises(EncodingError, match="certificate length 234 is not"):
        Certificate.decode(RPT + bytes(66))
    with pytest.raises(EncodingError, match="there is none"):
        Certificate(REPORT, ())
    with pytest.raises(EncodingError, match="signature of oracle 1 must be 64 bytes"):
        Certificate(REPORT, ((1, bytes(65)),))


@pytest.mark.parametrize("symbol", ["", "x" * 256, "BTC\n", "BTC€"])
def test_feed_texts(symbol: str) -> None:
    with pytest.raises(EncodingError, match="feed symbol must be 1 to 255 printable ASCII"):
        Feed(symbol)
    with pytest.raises(EncodingError, match="feed rule"):
        Feed("BTC/USD", symbol)


CONFIG_FAULTS: dict[str, dict[str, object]] = {
    "genesis_hash must be 32 bytes": {"genesis_hash": bytes(31)},
    "epoch must be an unsigned 32-bit": {"epoch": 2**32},
    r"oracles\[0\] must be 32 bytes": {"oracles": (bytes(33),)},
    "oracles: 1 to 8 public keys": {"oracles": ()},
    "1 to 8 public keys are needed, got 9": {"oracles": tuple(bytes([i]) * 32 for i in range(9))},
    "listed twice": {"oracles": (bytes(32), bytes(32))},
    "faults: a median of 3": {"faults": 2, "quorum": 3},
    "quorum: must be between faults": {"quorum": 1},
    "between faults . 1 = 2 and 3": {"quorum": 4},
    "interval_ms: must be at least 1": {"interval_ms": 0},
    "interval_ms must be an unsigned 32-bit": {"interval_ms": -1},
    "min_venues: must be at least 1": {"min_venues": 0},
    "delta_ppm must be an unsigned": {"delta_ppm": 0.5},
    "max_move_ppm must be": {"max_move_ppm": 2**32},
    "max_age_ms must be": {"max_age_ms": None},
    "future_ms must be": {"future_ms": -1},
}


@pytest.mark.parametrize("message", CONFIG_FAULTS)
def test_config_faults_are_named(message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make_config(**CONFIG_FAULTS[message])


@pytest.mark.parametrize("field", ["epoch", "delta_ppm", "max_move_ppm", "max_age_ms", "future_ms"])
def test_every_field_is_in_the_digest(field: str) -> None:
    assert make_config(**{field: 77}).digest != CONFIG.digest
    assert make_config(4).digest != CONFIG.digest
    assert make_config(genesis_hash=bytes(32)).digest != CONFIG.digest


def test_rounds_and_times() -> None:
    config = make_config(interval_ms=30_000)
    assert config.round_at(59_999) == 1
    assert config.starts_ms(config.round_at(60_000)) == 60_000
    assert config.full_observations == 3
