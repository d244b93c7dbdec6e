"""Facts are exactly what was kept, and nothing else is a record."""

import pytest

from protocol.errors import EncodingError
from protocol.settlement import record
from protocol.settlement.record import Facts
from tests.protocol.settlement.test_party import HOLDER_CLAIMS, World

FULL = World(policies=HOLDER_CLAIMS).begin().run()


@pytest.mark.parametrize("side", FULL.sides.values(), ids=lambda side: side.role.value)
def test_facts_and_records_are_each_others_inverse(side):
    facts = Facts.of(side.records)
    assert facts == side.party.facts
    assert Facts.of(facts.records()) == facts
    assert len(facts.records()) <= len(side.records)


def test_every_kind_of_record_is_used():
    closed = World().begin().run()
    sides = [*FULL.sides.values(), *closed.sides.values()]
    kinds = {kept[1 : 1 + kept[0]].decode() for side in sides for kept in side.records}
    assert kinds == set(record._READERS) - {"declined", "reclaim"}


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"", "a newer program"),
        (b"\x05query", "a newer program"),
        (b"\x02\xff\xff", "no text"),
        (b"\x05stage", "0 parts"),
        (b"\x05stage" + record.pack_parts([b"lost"]), "stage b'lost'"),
        (b"\x05stage" + record.pack_parts([b"draft", b""]), "2 parts"),
        (b"\x05stage\0\0\0\x09draft", "too few"),
        (b"\x05coins" + record.pack_parts([b"judge", b"\0\0\0\0"]), "holder or writer"),
        (b"\x08declined" + record.pack_parts([b"\xff"]), "no text"),
        (b"\x04seen" + record.pack_parts([b"\xff", b""]), "no text"),
        (b"\x04fund" + record.pack_parts([b"\0"]), "not a Bitcoin transaction"),
    ],
)
def test_what_is_no_record_is_refused(data, complaint):
    with pytest.raises(EncodingError, match=complaint):
        Facts.of([data])


def test_contributions_are_encoded_one_way():
    facts = FULL.holder.party.facts
    for given in facts.coins.values():
        data = record.encode_contribution(given)
        assert record.decode_contribution(data) == given
        for wrong in (data[:-1], data + b"\0"):
            with pytest.raises(EncodingError):
                record.decode_contribution(wrong)
