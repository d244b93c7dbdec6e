"""A served chain: the same answers and errors as the chain itself, whatever comes on the socket."""

import pickle
import socket
import stat
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol import errors
from protocol.bitcoin.tx import outpoint, transaction, txid, txin, txout
from protocol.crypto.keys import SecretKey
from protocol.errors import ChainError, ConsensusError, EncodingError, PolicyError
from regtest import served
from regtest.chain import Chain
from regtest.frames import REQUEST_LIMIT, HungUpError, connect, listen, read_frame
from regtest.kernel import KernelChain
from regtest.remote import LostAnswerError, RemoteChain, serves
from regtest.served import ChainServer
from regtest.wallet import Wallet
from regtest.wire import CALLS, GREETING, Greeting, refusal

AUX = bytes(32)
ALICE = SecretKey(b"\xa1" * 32)


@pytest.fixture
def server(chain: KernelChain, tmp_path: Path) -> Iterator[ChainServer]:
    with ChainServer(chain, tmp_path / "chain.sock") as made:
        yield made


@pytest.fixture
def remote(server: ChainServer) -> Iterator[RemoteChain]:
    with RemoteChain(server.path) as made:
        yield made


# The same chain


def test_every_call_of_the_protocol_is_there() -> None:
    named = {name for name in vars(Chain) if not name.startswith("_")}
    assert set(CALLS) | {"height", "wait", "close"} == named | {"changed"}
    assert set(served._DO) == set(CALLS)


def test_same_answers(chain: KernelChain, remote: RemoteChain) -> None:
    alice = Wallet(remote, ALICE)
    assert remote.mine(2, to=alice.script()) == (chain.header(1).ref, chain.header(2).ref)
    remote.mine(100)
    payment = alice.pay([txout(70_000, alice.script(1))], AUX)
    assert remote.check(payment) == chain.check(payment)
    assert remote.broadcast(payment) == txid(payment)
    point, gone = outpoint(txid(payment), 0), payment.vin[0].prevout
    for one in (remote, chain):
        assert one.mempool() == (payment,)
        assert one.utxo(point, mempool=False) is None
        assert one.utxo(gone) is None
    assert remote.utxo(point) == chain.utxo(point)
    assert remote.tx(txid(payment)) == chain.tx(txid(payment))
    assert remote.spender(gone) == chain.spender(gone)
    assert remote.reorg(1, txs=[payment]) == chain.tip == remote.tip
    assert remote.caps == chain.caps
    assert (remote.height, remote.header(remote.height)) == (103, chain.header(103))
    assert remote.block(102) == chain.block(102) == remote.block(chain.header(102).ref.hash)
    assert remote.unspent(alice.script()) == chain.unspent(alice.script())
    remote.set_time(1_500_000_000)
    assert remote.mine()[0].time == 1_500_000_000
    remote.checkpoint()
    assert remote.tip == chain.tip


def test_errors_keep_their_class_and_their_words(chain, remote, alice) -> None:
    coin = alice.utxos()[0].coin
    rich = transaction([txin(coin.outpoint)], [txout(coin.sats + 1, alice.script())])
    cheap = transaction([txin(coin.outpoint)], [txout(coin.sats, alice.script())])
    for tx, kind in ((rich, ConsensusError), (cheap, PolicyError)):
        signed = alice.sign(tx, [coin.output], AUX)
        with pytest.raises(kind) as ours:
            chain.broadcast(signed)
        with pytest.raises(kind) as told:
            remote.broadcast(signed)
        assert (type(told.value), str(told.value)) == (type(ours.value), str(ours.value))
    for ask in (lambda: remote.header(999), lambda: remote.broadcast_package([cheap])):
        with pytest.raises(ChainError):
            ask()
    with pytest.raises(EncodingError, match="a block holds a coinbase"):
        remote.submit_block(bytes(81))
    with pytest.raises(EncodingError, match="count must be from 0 to"):
        remote.mine(10**6)


@pytest.mark.parametrize("kind", [k for k in vars(errors).values() if isinstance(k, type)])
def test_every_error_of_the_project_travels(kind) -> None:
    with pytest.raises(kind) as told:
        CALLS["tip"].result_of(refusal(kind("why\nand how")))
    assert type(told.value) is kind
    assert str(told.value) == "why?and how"


def test_a_subclass_travels_as_what_the_project_knows() -> None:
    assert refusal(LostAnswerError("gone")) == {"error": "ChainError", "text": "gone"}


def test_waiting_sees_the_changes_of_others(chain: KernelChain, remote: RemoteChain) -> None:
    threading.Thread(target=chain.mine, args=(3,)).start()
    remote.wait(lambda: remote.height == 3, timeout_s=20)
    with pytest.raises(ChainError, match=r"did not happen in 0\.05 s"):
        remote.wait(lambda: remote.height == 4, timeout_s=0.05)


def test_several_clients_at_once(server: ChainServer) -> None:
    def work() -> None:
        with RemoteChain(server.path) as one:
            for _ in range(20):
                one.mine()
                done.append(one.tip)

    done: list[object] = []
    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(done) == 120
    with RemoteChain(server.path) as remote:
        assert remote.height == 120


def test_one_client_in_several_threads(remote: RemoteChain) -> None:
    threads = [threading.Thread(target=remote.mine, args=(10,)) for _ in range(6)]
    for thread in threads:
        thread.start()
    remote.wait(lambda: remote.height == 60, timeout_s=20)
    for thread in threads:
        thread.join()


def test_its_path_travels(remote: RemoteChain) -> None:
    remote.mine(2)
    with pickle.loads(pickle.dumps(remote)) as again:
        assert again.tip == remote.tip


def test_a_closed_one_says_so(remote: RemoteChain) -> None:
    remote.mine()
    remote.close()
    remote.close()
    with pytest.raises(ChainError, match="closed: open it again"):
        _ = remote.tip


# The socket


def test_it_is_its_owners_alone(server: ChainServer) -> None:
    assert stat.S_IMODE(server.path.stat().st_mode) == 0o600


def test_a_second_server_does_not_push_the_first_away(chain, server, remote) -> None:
    with pytest.raises(ChainError, match="another process serves here"):
        ChainServer(chain, server.path)
    assert remote.height == 0


def test_what_a_dead_process_left_is_replaced(chain: KernelChain, tmp_path: Path) -> None:
    path = tmp_path / "chain.sock"
    listen(path).close()
    assert path.exists() and not serves(path)
    with ChainServer(chain, path), RemoteChain(path) as remote:
        assert remote.height == 0
    assert not path.exists()


def test_a_long_path(chain: KernelChain, tmp_path: Path) -> None:
    folder = tmp_path / ("x" * 120)
    folder.mkdir()
    with ChainServer(chain, folder / "s"), RemoteChain(folder / "s") as remote:
        assert remote.height == 0


def test_a_place_where_no_socket_can_be(chain: KernelChain, tmp_path: Path) -> None:
    with pytest.raises(ChainError, match="no socket can be made"):
        ChainServer(chain, tmp_path / "none" / "s")


def test_nobody_there(tmp_path: Path) -> None:
    with (
        RemoteChain(tmp_path / "none", timeout_s=0.2) as remote,
        pytest.raises(ChainError, match=r"no node serves there .*chain serve"),
    ):
        _ = remote.tip


def test_another_network(server: ChainServer) -> None:
    with (
        RemoteChain(server.path, network="signet") as remote,
        pytest.raises(ChainError, match="is on regtest, not on signet"),
    ):
        _ = remote.tip


def test_too_many_clients(server: ChainServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(served, "MAX_CLIENTS", 1)
    with RemoteChain(server.path) as first, RemoteChain(server.path) as second:
        assert first.height == 0
        with pytest.raises(ChainError, match="serves 1 clients already"):
            _ = second.tip
        assert first.height == 0


# Hostile bytes


def framed(value: object) -> bytes:
    packed = msgpack.packb(value)
    return struct.pack(">I", len(packed)) + packed


def told(path: Path, data: bytes) -> object:
    """What the node answers to these bytes, None if it only hangs up."""
    with closing(connect(path, 5)) as link:
        read_frame(link, 1 << 16, time.monotonic() + 5)
        link.sendall(data)
        link.shutdown(socket.SHUT_WR)
        try:
            return read_frame(link, 1 << 20, time.monotonic() + 5)
        except HungUpError:
            return None


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (struct.pack(">I", REQUEST_LIMIT + 1), "are the limit here"),
        (struct.pack(">I", 2) + b"\xc1\xc1", "no msgpack"),
        (struct.pack(">I", 3) + b"\x01\x01\x01", "no msgpack"),
        (struct.pack(">I", 1000) + b"\x91" * 1000, "no msgpack"),
        (framed(7), "a request has the fields"),
        (framed({"call": "tip"}), "a request has the fields"),
        (framed({"call": 1, "arguments": {}}), "call must be one of caps, tip"),
        (framed({"call": "__class__", "arguments": {}}), "call must be one of"),
        (framed({"call": "tip", "arguments": []}), "the arguments must be none"),
        (framed({"call": "mine", "arguments": {"count": 1}}), "the arguments must be count, to"),
        (framed({"call": "mine", "arguments": {"count": True, "to": b"", "txs": None}}),
         "count must be int"),
        (framed({"call": "tx", "arguments": {"txid": bytes(31)}}), "txid must be 32 to 32 bytes"),
        (framed({"call": "check", "arguments": {"tx": b"\0" * 70}}), "tx: not a"),
        (framed({"call": "header", "arguments": {"block": "1"}}), "block must be int"),
    ],
)  # fmt: skip
def test_a_wrong_request_is_explained(server, remote, data, why) -> None:
    answer = told(server.path, data)
    assert answer["error"] == "EncodingError"
    assert why in answer["text"]
    assert remote.height == 0


@settings(max_examples=50)
@given(st.one_of(st.binary(max_size=200), st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-9, 2**63), st.binary(max_size=40),
              st.sampled_from(sorted(CALLS)), st.sampled_from(["call", "arguments", "txs"])),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=9),
                            inner, max_size=4)), max_leaves=8).map(framed)))  # fmt: skip
def test_no_bytes_harm_the_node(hostile_server: ChainServer, data: bytes) -> None:
    answer = told(hostile_server.path, data)
    assert answer is None or answer.keys() == {"error", "text"}
    with RemoteChain(hostile_server.path, timeout_s=10) as remote:
        assert remote.height == 0


@pytest.fixture(scope="module")
def hostile_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChainServer]:
    folder = tmp_path_factory.mktemp("hostile")
    with KernelChain(folder / "node") as chain, ChainServer(chain, folder / "s") as server:
        yield server


def test_a_client_that_leaves_in_the_middle(server: ChainServer, remote: RemoteChain) -> None:
    for data in (b"", b"\0", struct.pack(">I", 50) + b"\x81"):
        assert told(server.path, data) is None
    assert remote.height == 0


def test_a_fault_inside_the_node_is_an_answer(chain, remote, monkeypatch, caplog) -> None:
    monkeypatch.setitem(served._DO, "tip", lambda chain: 1 // 0)
    with pytest.raises(ChainError, match="failed inside"):
        _ = remote.tip
    assert "ZeroDivisionError" in caplog.text
    assert remote.mempool() == ()


# Answers that do not come


@contextmanager
def fake_node(path: Path, *answers: bytes | None) -> Iterator[list[object]]:
    """Each connection is greeted and asked once; None: no answer, and the connection stays."""

    def serve() -> None:
        for answer in answers:
            link, _ = listener.accept()
            links.append(link)
            link.sendall(framed(GREETING.pack(Greeting("regtest", ""))))
            seen.append(read_frame(link, 1 << 20, time.monotonic() + 10)["call"])
            if answer is not None:
                link.sendall(answer)
                link.close()

    seen: list[object] = []
    links: list[socket.socket] = []
    listener = listen(path)
    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield seen
    finally:
        thread.join()
        for link in (*links, listener):
            link.close()


TIP = framed({"result": {"height": 7, "hash": bytes(32), "time": 0}})


def test_a_question_is_asked_again(tmp_path: Path) -> None:
    with (
        fake_node(tmp_path / "s", b"", b"\0\0", TIP) as seen,
        RemoteChain(tmp_path / "s") as remote,
    ):
        assert remote.height == 7
    assert seen == ["tip"] * 3


def test_a_change_is_not(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with (
        fake_node(path, b"") as seen,
        RemoteChain(path) as remote,
        pytest.raises(LostAnswerError, match=r"mine was sent .*may have happened; look"),
    ):
        remote.mine()
    assert seen == ["mine"]


def test_deadlines(tmp_path: Path) -> None:
    with (
        fake_node(tmp_path / "s", None, None),
        RemoteChain(tmp_path / "s", timeout_s=0.2) as remote,
    ):
        with pytest.raises(ChainError, match=r"tip was not answered in 0\.2 s"):
            _ = remote.tip
        with pytest.raises(LostAnswerError, match=r"in time.*may have happened"):
            remote.broadcast(transaction([txin(outpoint(bytes(32), 0))], [txout(1, b"")]))


@pytest.mark.parametrize(
    "answer",
    [framed({}), framed({"result": {"height": 1}}), framed([1]), struct.pack(">I", 2**31)],
)
def test_a_node_that_talks_nonsense(tmp_path: Path, answer: bytes) -> None:
    with (
        fake_node(tmp_path / "s", answer),
        RemoteChain(tmp_path / "s") as remote,
        pytest.raises(EncodingError),
    ):
        _ = remote.tip
