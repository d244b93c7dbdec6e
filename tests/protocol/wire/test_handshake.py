"""The handshake: replayed, reflected, passed on, or under another configuration, it fails."""

from dataclasses import replace
from hashlib import sha256

import pytest

from protocol import wire
from protocol.errors import EncodingError, SignatureError
from protocol.oracle.messages import AGGREGATOR
from protocol.wire import handshake
from protocol.wire.frame import Frame
from protocol.wire.handshake import HELLO, PROOF, Hello, read_hello, read_proof, session_id
from tests.builders.messages import VOTE
from tests.builders.oracles import AUX, CONFIG, KEYS, T0

ROSTER = {0: KEYS[0], 1: KEYS[1], AGGREGATOR: KEYS[5]}


class Side:
    """One operator's side of the handshake."""

    def __init__(self, me, key=None, config=CONFIG.digest, start=T0 << 20):
        self.me, self.key, self.config, self.counter = me, key or ROSTER[me], config, start

    def seal(self, kind, body, **changes):
        self.counter += 1
        frame = Frame(
            config=self.config,
            sender=self.me,
            counter=self.counter,
            time_ms=T0,
            kind=kind,
            body=body,
        )
        sealed = replace(frame, **changes)
        return wire.seal(sealed, lambda e: self.key.sign(wire.digest(e), AUX))

    def hello(self, to, challenge=b"c"):
        return self.seal(HELLO, Hello(to, sha256(challenge).digest()).encode())

    def read_hello(self, data, callers=(0, 1, AGGREGATOR)):
        return read_hello(
            data,
            self.me,
            self.config,
            lambda address: ROSTER[address].public if address in callers else None,
        )


def test_both_prove_their_keys():
    dialer, listener = Side(1), Side(AGGREGATOR)
    first = dialer.hello(AGGREGATOR)
    heard = listener.read_hello(first)
    second = listener.hello(1)
    answer = dialer.read_hello(second)
    assert (heard.sender, answer.sender) == (1, AGGREGATOR)
    session = session_id(first, second)
    read_proof(listener.seal(PROOF, session), answer, ROSTER[AGGREGATOR].public, session)
    proof = read_proof(dialer.seal(PROOF, session), heard, ROSTER[1].public, session)
    assert proof.counter > heard.counter


def test_session_depends_on_both_hellos_and_their_order():
    a, b = Side(1).hello(AGGREGATOR), Side(AGGREGATOR).hello(1)
    other = Side(1).hello(AGGREGATOR, b"another challenge")
    assert len({session_id(a, b), session_id(b, a), session_id(other, b)}) == 3


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        (Side(7, KEYS[7]).hello(AGGREGATOR), SignatureError, "may not call"),
        (Side(1, KEYS[0]).hello(AGGREGATOR), SignatureError, "not signed"),
        (Side(1).hello(0), SignatureError, "is for address 0"),
        (Side(1, config=bytes(32)).hello(AGGREGATOR), EncodingError, "another network or epoch"),
        (Side(1).seal(HELLO, b""), EncodingError, "msgpack"),
        (Side(1).seal("vote", b""), EncodingError, "where 'hello' belongs"),
        (Side(1).seal(*wire.encode(VOTE)), EncodingError, "where 'hello' belongs"),
        (Side(1).seal(PROOF, bytes(32)), EncodingError, "where 'hello' belongs"),
        (Side(1).seal(HELLO, bytes(500)), EncodingError, "more than 512"),
        (b"", EncodingError, "msgpack"),
        (b"GET / HTTP/1.1", EncodingError, "msgpack"),
        (bytes(2**20), EncodingError, "more than 512"),
    ],
)
def test_hellos_that_are_refused(data, error, message):
    with pytest.raises(error, match=message):
        Side(AGGREGATOR).read_hello(data)


def test_a_dialer_accepts_its_own_peer_alone():
    with pytest.raises(SignatureError, match="may not call"):
        Side(1).read_hello(Side(0).hello(1), callers=(AGGREGATOR,))


def test_another_version_is_named():
    data = Side(1).seal(HELLO, b"", version=9)
    with pytest.raises(EncodingError, match="version 9"):
        Side(AGGREGATOR).read_hello(data)


def test_proofs_that_are_refused():
    dialer, listener = Side(1), Side(AGGREGATOR)
    first, second = dialer.hello(AGGREGATOR), listener.hello(1)
    heard, session = listener.read_hello(first), session_id(first, second)
    earlier = session_id(first, listener.hello(1, b"of an earlier connection"))
    for proof, error, message in (
        (dialer.seal(PROOF, earlier), SignatureError, "replayed"),
        (dialer.seal(PROOF, b""), SignatureError, "replayed"),
        (listener.seal(PROOF, session), SignatureError, "not signed"),  # reflected
        (Side(1, KEYS[0]).seal(PROOF, session), SignatureError, "not signed"),
        (dialer.seal(PROOF, session, sender=0), SignatureError, "names 0"),
        (dialer.seal(PROOF, session, config=bytes(32)), SignatureError, "another configuration"),
        (dialer.seal(PROOF, session, counter=heard.counter), SignatureError, "replayed"),
        (dialer.seal(HELLO, session), EncodingError, "where 'proof' belongs"),
        (first, SignatureError, "replayed"),
        (bytes(handshake.MAX_SIZE + 1), EncodingError, "more than 512"),
    ):
        with pytest.raises(error, match=message):
            read_proof(proof, heard, ROSTER[1].public, session)


def test_a_hello_cannot_be_passed_on():
    """Oracle 1 calls oracle 0, which is dishonest and shows the hello to the aggregator."""
    with pytest.raises(SignatureError, match="is for address 0, this is 255"):
        Side(AGGREGATOR).read_hello(Side(1).hello(0))
