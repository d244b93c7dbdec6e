"""Writes tests/vectors/expiry.json: ``python -m tests.builders.expiry_vectors``.

An independent reading of options.md 2: hashlib, struct and coincurve, nothing of ours.
"""

import json
from hashlib import sha256
from pathlib import Path
from struct import pack
from typing import Any

from coincurve import PrivateKey

VECTORS = Path(__file__).parents[1] / "vectors"
TARGET = VECTORS / "expiry.json"
KAT = json.loads((VECTORS / "oracle_dlc.json").read_text(encoding="utf-8"))["native_kat"]
PROVENANCE = (
    "Written by tests/builders/expiry_vectors.py from options.md 2 with hashlib, struct and"
    " coincurve (libsecp256k1). Configuration, feed, keys and the first report are native_kat of"
    " oracle_dlc.json. Big-endian; BIP340 aux_rand = 32 zero bytes. TEST KEYS ONLY."
)

FIRST = KAT["round_id"]
SPOT, TWAP = 1, 2
ROUNDS = {  # after the published one; a missing number is a round without a certificate
    1: 8_380_000_000_001,
    2: 8_391_234_567_890,
    4: 8_350_000_000_000,
    5: 8_349_999_999_999,
    8: 8_372_500_000_007,
    11: 8_401_000_000_010,
    12: 8_555_555_555_555,
    40: 8_600_000_000_000,
}


def tagged(tag: str, message: bytes) -> bytes:
    digest = sha256(tag.encode()).digest()
    return sha256(digest + digest + message).digest()


def report(round_id: int, price: int, previous: bytes) -> bytes:
    return b"RPT1" + b"".join(
        [
            bytes.fromhex(KAT["config_digest"]),
            bytes.fromhex(KAT["feed_id"]),
            pack(">QQQbBBB", round_id, price, 1_000_000, -8, 1, 3, 7),
            pack(">Q", round_id * 30_000 + 40),
            sha256(b"observations %d" % round_id).digest(),
            previous,
        ]
    )


def chain() -> list[bytes]:
    reports = [bytes.fromhex(KAT["report_full"]["bytes"])]
    for offset, price in ROUNDS.items():
        previous = tagged("btcfi/oracle/report/v1", reports[-1])
        reports.append(report(FIRST + offset, price, previous))
    return reports


REPORTS = chain()
PRICES = {0: KAT["report_full"]["price_e8"], **ROUNDS}
HASHES = {
    offset: tagged("btcfi/oracle/report/v1", data)
    for offset, data in zip(PRICES, REPORTS, strict=True)
}


def expiry(
    start: int, target: int, rule: int = SPOT, window: int = 0, subject: bytes = bytes(32)
) -> dict[str, Any]:
    """The EXP fields of a slot, its rounds counted from the published one."""
    end = min(offset for offset in PRICES if offset >= target)
    seen = [price for offset, price in PRICES.items() if start <= offset <= end]
    mean = [price for offset, price in PRICES.items() if end - window < offset <= end]
    return {
        "subject": subject.hex(),
        "start_round": FIRST + start,
        "target_round": FIRST + target,
        "end_round": FIRST + end,
        "price_e8": PRICES[end] if rule == SPOT else sum(mean) // len(mean),
        "high_e8": max(seen),
        "low_e8": min(seen),
        "rounds": len(seen),
        "expo": -8,
        "rule": rule,
        "window": window,
        "report_hash": HASHES[end].hex(),
    }


def encode(
    fields: dict[str, Any], magic: bytes = b"EXP1", digest: str = "", feed: str = ""
) -> bytes:
    names = ("start_round", "target_round", "end_round", "price_e8", "high_e8", "low_e8")
    return b"".join(
        [
            magic,
            bytes.fromhex(digest or KAT["config_digest"]),
            bytes.fromhex(feed or KAT["feed_id"]),
            bytes.fromhex(fields["subject"]),
            pack(">6Q", *(fields[name] for name in names)),
            pack(">IbBI", *(fields[name] for name in ("rounds", "expo", "rule", "window"))),
            bytes.fromhex(fields["report_hash"]),
        ]
    )


def sign(oracle: int, data: bytes, tag: str = "btcfi/oracle/expiry/v1") -> bytes:
    key = PrivateKey(bytes.fromhex(KAT["seckeys"][oracle]))
    return key.sign_schnorr(tagged(tag, data), bytes(32))


def certificate(data: bytes, *signers: int) -> bytes:
    return data + b"".join(bytes([i]) + sign(i, data) for i in signers)


def positive(name: str, fields: dict[str, Any], grace: int, *signers: int) -> dict[str, Any]:
    data = encode(fields)
    return {
        "name": name,
        "grace_rounds": grace,
        "expiry": fields,
        "bytes": data.hex(),
        "msg": tagged("btcfi/oracle/expiry/v1", data).hex(),
        "sigs": [[i, sign(i, data).hex()] for i in signers],
        "certificate": certificate(data, *signers).hex(),
    }


def positives() -> list[dict[str, Any]]:
    exercise = tagged("btcfi/exercise/v1", bytes(range(32)) + pack(">Q", FIRST + 8))
    return [
        positive("spot at the target round", expiry(1, 8), 20, 0, 1),
        positive("spot of the first round after a missing target", expiry(2, 9), 20, 0, 2),
        positive("spot in the last round of the grace", expiry(0, 9), 2, 1, 2),
        positive("one round", expiry(4, 4), 0, 0, 1),
        positive("twap with missing rounds, floor of the mean", expiry(0, 8, TWAP, 7), 20, 0, 1),
        positive("twap of one round is the spot", expiry(1, 12, TWAP, 1), 20, 1, 2),
        positive("twap whose end is late", expiry(1, 9, TWAP, 4), 20, 0, 2),
        positive("american exercise, 3 of 3", expiry(1, 8, SPOT, 0, exercise), 0, 0, 1, 2),
    ]


def negatives() -> list[dict[str, str]]:
    fields = expiry(1, 8)
    honest = encode(fields)
    rows: list[dict[str, str]] = []

    def refused(name: str, error: str, data: bytes, match: str) -> None:
        rows.append({"name": name, "error": error, "match": match, "certificate": data.hex()})

    def altered(name: str, match: str, **changes: Any) -> None:
        refused(name, "EncodingError", certificate(encode(fields | changes), 0, 1), match)

    first, second = (bytes([i]) + sign(i, honest) for i in (0, 1))
    bad = bytearray(second)
    bad[-1] ^= 1
    zero = "00" * 32
    refused("no signature", "EncodingError", honest, "length 190")
    refused("trailing byte", "EncodingError", honest + first + second + b"\0", "length 321")
    refused("cut short", "EncodingError", (honest + first + second)[:-1], "length 319")
    refused("same signer twice", "EncodingError", honest + first + first, "strictly ascend")
    refused("wrong order", "EncodingError", honest + second + first, "strictly ascend")
    refused("one signature", "QuorumError", honest + first, "has 1 signatures, needed are 2")
    refused("three signatures", "QuorumError", certificate(honest, 0, 1, 2), "has 3 signatures")
    refused(
        "index 3 of 3", "QuorumError", honest + first + b"\3" + second[1:], "index 3 is not one"
    )
    refused("one bit of a signature", "SignatureError", honest + first + bytes(bad), "oracle 1")
    refused(
        "swapped signatures",
        "SignatureError",
        honest + b"\0" + second[1:] + b"\1" + first[1:],
        "oracle 0",
    )
    refused(
        "signed untagged",
        "SignatureError",
        honest
        + first
        + b"\1"
        + PrivateKey(bytes.fromhex(KAT["seckeys"][1])).sign_schnorr(
            sha256(honest).digest(), bytes(32)
        ),
        "oracle 1",
    )
    refused(
        "signed as a report",
        "SignatureError",
        honest + first + b"\1" + sign(1, honest, "btcfi/oracle/report/v1"),
        "oracle 1",
    )
    refused(
        "another price",
        "SignatureError",
        encode(fields | {"price_e8": fields["price_e8"] + 1}) + first + second,
        "oracle 0",
    )
    refused(
        "other configuration",
        "QuorumError",
        certificate(encode(fields, digest=zero), 0, 1),
        "another configuration",
    )
    refused(
        "other version", "EncodingError", certificate(encode(fields, magic=b"EXP2"), 0, 1), "EXP2"
    )
    altered("rule 0", "rule 0", rule=0)
    altered("rule 3", "rule 3", rule=3)
    altered("expo -7", "expo must be -8", expo=-7)
    altered("spot with a window", "window 1", window=1)
    altered("twap without a window", "window 0", rule=TWAP)
    altered("twap before the start", "window 9", rule=TWAP, window=9)
    altered("start after target", "start_round", start_round=FIRST + 9)
    altered("end before target", "end_round", end_round=FIRST + 7)
    altered("price above high", "price", high_e8=fields["price_e8"] - 1)
    altered("price below low", "price", low_e8=fields["price_e8"] + 1)
    altered("price 0", "price 0", price_e8=0, low_e8=0)
    altered("low 0", "price", low_e8=0)
    altered("no rounds", "rounds 0", rounds=0)
    altered("more rounds than there are", "rounds 9", rounds=9)
    return rows


def source() -> str:
    """The file."""
    vectors = {
        "provenance": PROVENANCE,
        "config_bytes": KAT["config_bytes"],
        "feed_id": KAT["feed_id"],
        "chain": [data.hex() for data in REPORTS],
        "positive": positives(),
        "negative": negatives(),
    }
    return json.dumps(vectors, indent=1) + "\n"


if __name__ == "__main__":
    TARGET.write_text(source(), encoding="utf-8")
