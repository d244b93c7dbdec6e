"""Links between sockets: order, delay, loss, rate, partitions of both kinds, a flipped bit."""

import asyncio
import socket
import time
from contextlib import contextmanager

import pytest

from actors.chaos.lane import RETRANSMIT_S
from actors.chaos.links import Links, Shape, relink
from actors.feeds.simulated.exchanges import SimulatedExchanges
from actors.network import load_network
from actors.network_files import Layout, write_network
from actors.operator import load_operator
from actors.ports import free_ports
from actors.supervisor import venue_urls
from protocol.errors import ConfigError
from protocol.oracle.messages import AGGREGATOR
from tests.builders.network import until

PATIENCE_S = 20.0
SHORT_S = 0.2
"""Long enough to see that nothing comes where something would come at once."""
FRAME = bytes(range(256))


@pytest.fixture
def links():
    with Links(seed=7) as made:
        yield made


@pytest.fixture
def listener():
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(PATIENCE_S)
        yield server


@contextmanager
def connected(links, listener):
    """Both ends of a connection from alpha to bravo over a link, once bytes pass both ways."""
    port = links.add("alpha", "bravo", listener.getsockname()[1])
    with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as near:
        near.sendall(b"hello")
        far, _ = listener.accept()
        with far:
            far.settimeout(PATIENCE_S)
            assert exactly(far, 5) == b"hello"
            yield near, far


def exactly(end, size):
    data = b""
    while len(data) < size:
        piece = end.recv(size - len(data))
        assert piece, f"the connection ended after {len(data)} of {size} bytes"
        data += piece
    return data


def says_nothing(end):
    end.settimeout(SHORT_S)
    try:
        end.recv(1)
    except TimeoutError:
        return True
    finally:
        end.settimeout(PATIENCE_S)
    return False


def is_reset(end):
    try:
        return end.recv(1) == b""
    except ConnectionResetError:
        return True


def test_bytes_pass_both_ways_in_order_under_delay_jitter_and_loss(links, listener):
    links_shape = Shape(delay_ms=5, jitter_ms=5, loss_ppm=50_000)
    with connected(links, listener) as (near, far):
        links.shape(links_shape)
        sent = b"".join(number.to_bytes(4) for number in range(20_000))
        for end, other in ((near, far), (far, near)):
            for start in range(0, len(sent), 4_000):
                end.sendall(sent[start : start + 4_000])
            assert exactly(other, len(sent)) == sent
    assert links.counts("alpha", "bravo")["bytes"] == len(sent) + 5


def test_a_delay_is_waited_for_one_way(links, listener):
    with connected(links, listener) as (near, far):
        links.shape(Shape(delay_ms=150), "alpha", "bravo")
        began = time.monotonic()
        near.sendall(b"x")
        exactly(far, 1)
        assert time.monotonic() - began >= 0.15


def test_a_lost_piece_comes_after_a_retransmission(links, listener):
    with connected(links, listener) as (near, far):
        links.shape(Shape(loss_ppm=10**6), "alpha", "bravo")
        began = time.monotonic()
        near.sendall(b"x")
        exactly(far, 1)
        assert time.monotonic() - began >= RETRANSMIT_S
        assert links.counts("alpha", "bravo")["lost"] == 1


def test_a_rate_is_kept(links, listener):
    with connected(links, listener) as (near, far):
        links.shape(Shape(bytes_per_s=100_000), "alpha", "bravo")
        began = time.monotonic()
        near.sendall(bytes(30_000))
        exactly(far, 30_000)
        assert time.monotonic() - began >= 0.29


def test_a_stalled_way_keeps_bytes_until_it_heals_and_the_other_way_goes_on(links, listener):
    with connected(links, listener) as (near, far):
        links.shape(Shape(stalled=True), "alpha", "bravo")
        near.sendall(b"late")
        far.sendall(b"in time")
        assert exactly(near, 7) == b"in time"
        assert says_nothing(far)
        links.shape(Shape(), "alpha", "bravo")
        assert exactly(far, 4) == b"late"


def test_a_connection_through_a_stalled_way_is_made_when_it_heals(links, listener):
    port = links.add("alpha", "bravo", listener.getsockname()[1])
    links.shape(Shape(stalled=True))
    with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as near:
        near.sendall(b"hello")
        assert says_nothing(near)
        links.shape(Shape())
        far, _ = listener.accept()
        with far:
            assert exactly(far, 5) == b"hello"


def test_a_reset_partition_ends_connections_and_makes_none(links, listener):
    with connected(links, listener) as (near, far):
        links.shape(Shape(reset=True), "bravo", "alpha")
        assert is_reset(near)
        assert is_reset(far)
        port = links.add("alpha", "bravo", listener.getsockname()[1])
        with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as again:
            assert is_reset(again)
    links.shape(Shape())
    with connected(links, listener):
        pass


def test_a_cut_ends_connections_and_lets_new_ones_be_made(links, listener):
    with connected(links, listener) as (near, far):
        assert links.cut("bravo", "alpha") == 1
        assert is_reset(near)
        assert is_reset(far)
    with connected(links, listener):
        pass


def test_one_bit_of_one_frame_is_flipped_and_none_of_a_short_one(links, listener):
    with connected(links, listener) as (near, far):
        links.corrupt("alpha", "bravo")
        near.sendall(b"ping")
        assert exactly(far, 4) == b"ping"
        near.sendall(FRAME)
        got = exactly(far, len(FRAME))
        assert sum((a ^ b).bit_count() for a, b in zip(got, FRAME, strict=True)) == 1
        near.sendall(FRAME)
        assert exactly(far, len(FRAME)) == FRAME
    assert links.counts("alpha", "bravo")["corrupted"] == 1


def test_a_reader_that_waits_makes_the_sender_wait(links, listener):
    with connected(links, listener) as (near, far):
        near.settimeout(SHORT_S)
        sent = 0
        with pytest.raises(TimeoutError):
            while True:
                sent += near.send(bytes(1 << 16))
        exactly(far, sent)
        near.settimeout(PATIENCE_S)
        near.sendall(b"x")
        exactly(far, 1)


def test_an_end_that_closes_is_heard_of_behind_its_bytes(links, listener):
    with connected(links, listener) as (near, far):
        links.shape(Shape(delay_ms=50))
        near.sendall(b"bye")
        near.shutdown(socket.SHUT_WR)
        assert exactly(far, 3) == b"bye"
        assert far.recv(1) == b""
        far.sendall(b"bye")
        far.close()
        assert exactly(near, 3) == b"bye"
        assert near.recv(1) == b""
    until(lambda: links.cut() == 0, "the connection is forgotten")


def test_a_dialer_of_nobody_is_reset(links):
    port = links.add("alpha", "bravo", free_ports(1)[0])
    with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as near:
        near.sendall(b"hello")
        assert is_reset(near)


def test_a_way_that_is_not_there_is_refused(links):
    with pytest.raises(ConfigError, match="nothing goes from alpha to golf"):
        links.shape(Shape(), "alpha", "golf")


def test_every_node_has_the_addresses_of_its_own_links_and_the_same_configuration(tmp_path, links):
    names, folder = ("alpha", "bravo", "charlie"), tmp_path / "net"
    with SimulatedExchanges(1) as exchanges:
        write_network(folder, Layout(names, free_ports(4), {}, venue_urls(exchanges.endpoints)))
    first = load_network(folder / "network.toml")
    relink(folder, links)
    copies = {
        name: load_operator(folder / f"{name}.toml").network for name in (*names, "aggregator")
    }
    assert {copy.config.digest for copy in copies.values()} == {first.config.digest}
    dialled = {
        "alpha": {AGGREGATOR},
        "bravo": {AGGREGATOR, 0},
        "charlie": {AGGREGATOR, 0, 1},
        "aggregator": set(),
    }
    for name, copy in copies.items():
        own = {peer for peer in copy.peers if copy.peers[peer].url != first.peers[peer].url}
        assert own == dialled[name]
    assert len(links.ways) == 12


def test_links_work_beside_a_loop_that_runs(tmp_path, listener):
    async def use():
        with Links() as links:
            return links.add("alpha", "bravo", listener.getsockname()[1])

    assert asyncio.run(use()) > 0
