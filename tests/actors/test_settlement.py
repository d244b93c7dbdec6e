import msgpack
import pytest

from actors.settlement import NEXT, Settlement, Stage
from protocol.errors import EncodingError, TermsError


def test_every_transition_is_allowed_or_refused():
    for stage in Stage:
        for target in Stage:
            silence = {"winner": "challenger", "fault": "TIMEOUT"}
            state = Settlement(stage=stage, **(silence if target is Stage.REFUNDED else {}))
            if target in NEXT[stage]:
                assert state.to(target).stage is target
            else:
                with pytest.raises(TermsError, match=f"that is {stage} cannot become {target}"):
                    state.to(target)


@pytest.mark.parametrize(
    ("winner", "fault", "follows"),
    [
        ("challenger", "TIMEOUT", Stage.REFUNDED),
        ("challenger", "EXECUTE", Stage.SETTLED),
        ("prover", "TIMEOUT", Stage.SETTLED),
        ("prover", "NONE", Stage.SETTLED),
    ],
)
def test_what_a_decision_leads_to(winner, fault, follows):
    decided = Settlement(stage=Stage.DECIDED, winner=winner, fault=fault)
    other = {Stage.REFUNDED: Stage.SETTLED, Stage.SETTLED: Stage.REFUNDED}[follows]
    assert decided.to(follows).stage is follows
    with pytest.raises(TermsError, match="does not follow"):
        decided.to(other)


def test_a_contract_ends_once():
    assert not NEXT[Stage.SETTLED]
    assert not NEXT[Stage.REFUNDED]


def test_a_state_survives_its_encoding():
    state = Settlement(Stage.CLAIMED, b"\1", b"\2", b"\3" * 309, b"\4" * 20, 12, 20, 5)
    assert Settlement.decode(state.encode()) == state


@pytest.mark.parametrize(
    "record",
    [
        b"",
        b"\xc1",
        msgpack.packb(7),
        msgpack.packb({}),
        msgpack.packb({"stage": "paid"}),
        msgpack.packb({"stage": "draft", "owner": 1}),
        msgpack.packb({"stage": "draft", "payout_sats": "1"}),
        msgpack.packb({"stage": "draft", "width": True}),
        Settlement().encode()[:-1],
        Settlement().encode() + b"\0",
    ],
)
def test_anything_else_is_refused(record):
    with pytest.raises(EncodingError, match="not a settlement state"):
        Settlement.decode(record)
