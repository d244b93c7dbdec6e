"""TLS between operators, pinned keys, and configurations that are refused."""

import asyncio
import contextlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from ssl import DER_cert_to_PEM_cert

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from websockets.asyncio.client import connect

from actors.transport_options import Tls
from actors.transport_tls import create_certificate, pin_of, read_certificate
from protocol import wire
from protocol.errors import ConfigError
from protocol.oracle.messages import AGGREGATOR, HistoryAnswer
from tests.builders.messages import CERTIFICATE, MESSAGES
from tests.builders.operators import (
    IDENTITIES,
    ROSTER,
    Operator,
    until,
)


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    """Paths of a CA's certificate, and of a certificate and key of 127.0.0.1."""
    folder = tmp_path_factory.mktemp("tls")
    ca, other = trustme.CA(), trustme.CA()
    issued = ca.issue_cert("127.0.0.1")
    ca.cert_pem.write_to_path(folder / "ca.pem")
    other.cert_pem.write_to_path(folder / "other.pem")
    (folder / "cert.pem").write_bytes(b"".join(p.bytes() for p in issued.cert_chain_pems))
    issued.private_key_pem.write_to_path(folder / "key.pem")
    (folder / "key.pem").chmod(0o600)
    return folder


def over_tls(member):
    return member.url.replace("ws://", "wss://")


async def test_tls(authority):
    server = Tls(cert=authority / "cert.pem", key=authority / "key.pem")
    async with Operator(AGGREGATOR, tls=server) as target:
        tls = Tls(ca=authority / "ca.pem")
        async with Operator(0, {AGGREGATOR: over_tls(target)}, tls=tls) as oracle:
            await until(lambda: oracle.transport.connected and target.transport.connected)
            for message in MESSAGES:
                oracle.transport.send((AGGREGATOR,), message)
                target.transport.send((0,), HistoryAnswer((bytes(200_000),)))
            await until(lambda: [m for _, m in target.inbox] == list(MESSAGES))
            await until(lambda: len(oracle.inbox) == len(MESSAGES))
        context = tls.client()
        async with connect(over_tls(target) + "/certificates", ssl=context) as observer:
            target.transport.publish(CERTIFICATE)
            assert wire.Notice.decode(await observer.recv()).kind == "certificate"


@pytest.mark.parametrize(("ca", "name"), [("other.pem", "127.0.0.1"), ("ca.pem", "localhost")])
async def test_tls_with_another_authority_or_name(authority, ca, name):
    server = Tls(cert=authority / "cert.pem", key=authority / "key.pem")
    async with Operator(AGGREGATOR, tls=server) as target:
        url = over_tls(target).replace("127.0.0.1", name)
        tls = Tls(ca=authority / ca)
        async with Operator(0, {AGGREGATOR: url}, tls=tls) as oracle:
            await until(lambda: oracle.transport.traffic[AGGREGATOR].fault)
            assert "CERTIFICATE_VERIFY_FAILED" in oracle.transport.traffic[AGGREGATOR].fault


async def test_without_tls_where_it_is_spoken_and_the_other_way_round(authority):
    server = Tls(cert=authority / "cert.pem", key=authority / "key.pem")
    async with (
        Operator(AGGREGATOR, tls=server) as secure,
        Operator(0, {AGGREGATOR: secure.url}) as plain,
    ):
        await until(lambda: plain.transport.traffic[AGGREGATOR].fault)
        url = over_tls(plain)
        async with Operator(1, {AGGREGATOR: url, 0: url}, tls=Tls(authority / "ca.pem")) as other:
            await until(lambda: other.transport.traffic[0].fault)
            assert not plain.transport.connected | secure.transport.connected


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"listen": ("0.0.0.0", 0)}, "tls.cert, tls.key: both are needed"),
        ({"listen": ("example.org", 0), "tls": Tls(cert=Path("c"))}, "both are needed"),
        ({"listen": ("::", 0), "tls": Tls(cert=Path("c"), key=Path("k"))}, "tls.key: c, k"),
        ({"dials": {AGGREGATOR: "wss://a:1"}, "tls": Tls(ca=Path("missing"))}, "tls.ca: missing"),
        ({"dials": {AGGREGATOR: "ws://example.org:1"}}, "roster.255..url: .* not encrypted"),
        ({"dials": {AGGREGATOR: "ws://10.0.0.1:1"}}, "not encrypted"),
        ({"dials": {AGGREGATOR: "ws://127.0.0.1.evil.org:1"}}, "not encrypted"),
        ({"dials": {AGGREGATOR: "http://127.0.0.1:1"}}, "no WebSocket URL"),
        ({"dials": {AGGREGATOR: "ws://127.0.0.1:99999"}}, "no WebSocket URL"),
        ({"dials": {AGGREGATOR: ""}}, "no WebSocket URL"),
        ({"dials": {AGGREGATOR: "wss://me:hunter2@example.org"}}, "leave the user"),
        ({"key": IDENTITIES[1]}, "own identity key"),
        ({"roster": {}}, "own identity key"),
    ],
    ids=str,
)
def test_wrong_configurations(options, message):
    with pytest.raises(ConfigError, match=message) as caught:
        Operator(0, **options)
    assert "hunter2" not in str(caught.value)


def test_a_tls_key_that_others_can_read(authority, tmp_path):
    key = tmp_path / "key.pem"
    key.write_bytes((authority / "key.pem").read_bytes())
    key.chmod(0o644)
    with pytest.raises(ConfigError, match="mode 644"):
        Operator(AGGREGATOR, tls=Tls(cert=authority / "cert.pem", key=key))


async def test_an_address_in_use():
    async with Operator(AGGREGATOR) as target:
        other = Operator(AGGREGATOR, listen=("127.0.0.1", target.transport.port))
        with pytest.raises(ConfigError, match=f"listen: 127.0.0.1:{target.transport.port}"):
            await other.transport.start()
        with pytest.raises(ConfigError, match="does not listen"):
            assert other.transport.port


# Pinned keys


@pytest.fixture(scope="module")
def selfmade(tmp_path_factory):
    """Two folders with a self-signed certificate each, and the pins of their keys."""
    folders = [tmp_path_factory.mktemp("selfmade") for _ in range(2)]
    return {folder: create_certificate(folder, "127.0.0.1").pin for folder in folders}


def from_folder(folder):
    return Tls(cert=folder / "tls.pem", key=folder / "tls-key.pem")


def roster(url, pin):
    """Oracle 0's roster: the aggregator at a URL with a pinned TLS key."""
    return ROSTER | {AGGREGATOR: replace(ROSTER[AGGREGATOR], url=url, tls_key=pin)}


def dialler(url, pin):
    peers = {address: peer for address, peer in roster(url, pin).items() if address in (0, 255)}
    return Operator(0, roster=peers)


async def test_a_self_signed_certificate_with_its_pin_is_as_good_as_any(selfmade):
    folder, pin = next(iter(selfmade.items()))
    async with (
        Operator(AGGREGATOR, tls=from_folder(folder)) as target,
        dialler(over_tls(target), pin) as oracle,
    ):
        await until(lambda: oracle.transport.connected and target.transport.connected)
        oracle.transport.send((AGGREGATOR,), MESSAGES[0])
        await until(lambda: target.inbox == [(0, MESSAGES[0])])


async def test_an_authority_does_not_stand_in_for_a_pin(authority, selfmade):
    """The certificate of a trusted authority, for the right name: it is not the pinned key."""
    server = Tls(cert=authority / "cert.pem", key=authority / "key.pem")
    pin = next(iter(selfmade.values()))
    async with Operator(AGGREGATOR, tls=server) as target:
        peers = {a: p for a, p in roster(over_tls(target), pin).items() if a in (0, AGGREGATOR)}
        async with Operator(0, roster=peers, tls=Tls(ca=authority / "ca.pem")) as oracle:
            await until(lambda: oracle.transport.traffic[AGGREGATOR].fault)
            fault = oracle.transport.traffic[AGGREGATOR].fault
            found = read_certificate(authority / "cert.pem").pin.hex()
            assert f"its TLS key is {found}, not the pinned {pin.hex()}" in fault
            assert not target.transport.traffic[0].connects


async def test_nothing_is_said_to_a_wrong_tls_key(selfmade):
    """Not even which address is asked for: the connection ends before the first byte."""
    (wrong, _), (_, pin) = selfmade.items()
    heard = []

    async def serve(reader, writer):
        with contextlib.suppress(OSError):  # the other end hangs up
            while data := await reader.read(1):
                heard.append(data)
        writer.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=from_folder(wrong).server())
    async with server:
        url = f"wss://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with dialler(url, pin) as oracle:
            await until(lambda: oracle.transport.traffic[AGGREGATOR].fault)
            assert "not the pinned" in oracle.transport.traffic[AGGREGATOR].fault
    assert not heard


def test_a_listener_whose_key_its_roster_does_not_pin_does_not_start(selfmade):
    (folder, _), (_, other) = selfmade.items()
    peers = ROSTER | {AGGREGATOR: replace(ROSTER[AGGREGATOR], tls_key=other)}
    with pytest.raises(ConfigError, match=f"the roster pins {other.hex()}: bring back"):
        Operator(AGGREGATOR, roster=peers, tls=from_folder(folder))


def test_a_renewed_certificate_of_the_same_key_has_the_same_pin(tmp_path, selfmade):
    folder, pin = next(iter(selfmade.items()))
    described = read_certificate(folder / "tls.pem")
    assert (described.pin, described.names) == (pin, ("127.0.0.1",))
    assert (folder / "tls-key.pem").stat().st_mode & 0o777 == 0o600
    key = load_pem_private_key((folder / "tls-key.pem").read_bytes(), None)
    renewed = signed_by_itself(key)
    assert renewed.public_bytes(Encoding.PEM) != (folder / "tls.pem").read_bytes()
    assert pin_of(renewed.public_bytes(Encoding.DER)) == pin
    (tmp_path / "ca.pem").write_bytes(trustme.CA().cert_pem.bytes())
    assert read_certificate(tmp_path / "ca.pem").pin != pin
    with pytest.raises(ConfigError, match="holds no certificate"):
        read_certificate(folder / "tls-key.pem")
    with pytest.raises(ConfigError, match="never overwritten"):
        create_certificate(folder, "127.0.0.1")


def signed_by_itself(key):
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "another")])
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=1))
        .sign(key, SHA256())
    )


def odd(der):
    """The certificate with a version that there is not; OpenSSL takes it."""
    assert der.count(b"\xa0\x03\x02\x01\x02") == 1
    return der.replace(b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x01")


def test_a_certificate_that_makes_no_sense_is_an_error_of_ours(tmp_path):
    der = signed_by_itself(ec.generate_private_key(ec.SECP256R1())).public_bytes(Encoding.DER)
    assert len(pin_of(der)) == 32
    for bad in (b"no DER", b"", der[:-1], odd(der)):
        with pytest.raises(ConfigError, match="no certificate"):
            pin_of(bad)
    (tmp_path / "odd.pem").write_text(DER_cert_to_PEM_cert(odd(der)))
    with pytest.raises(ConfigError, match="holds no certificate"):
        read_certificate(tmp_path / "odd.pem")
