import msgpack
import pytest

from protocol.errors import EncodingError, TermsError
from protocol.settlement.lifecycle import NEXT, Settlement, Stage


def test_every_transition_is_allowed_or_refused():
    for stage in Stage:
        for target in Stage:
            state = Settlement(stage=stage)
            if target in NEXT[stage]:
                assert state.to(target).stage is target
            else:
                with pytest.raises(TermsError, match=f"that is {stage} cannot become {target}"):
                    state.to(target)


def test_a_contract_ends_once():
    assert not NEXT[Stage.SETTLED]
    assert not NEXT[Stage.REFUNDED]


def test_a_state_survives_its_encoding():
    state = Settlement(Stage.CLAIMED, 130, b"\1", b"\2", b"\3" * 309, b"\4" * 20, 5, b"", "v")
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
        msgpack.packb({"stage": "draft", "refund_height": True}),
        Settlement().encode()[:-1],
        Settlement().encode() + b"\0",
    ],
)
def test_anything_else_is_refused(record):
    with pytest.raises(EncodingError, match="not a settlement state"):
        Settlement.decode(record)
