"""MuSig2 as BIP327 writes it, in Python integers: slow, not constant-time, for comparison alone.

It shares no code with ``protocol.crypto.musig2``. Letters and names are the BIP's; a ValueError for
a fault names the signer where the BIP blames one.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import NamedTuple

P = 2**256 - 2**32 - 977
N = 0xFFFFFFFF_FFFFFFFF_FFFFFFFF_FFFFFFFE_BAAEDCE6_AF48A03B_BFD25E8C_D0364141


class Point(NamedTuple):
    x: int
    y: int


G = Point(
    0x79BE667EF9DCBBAC55A06295CE870B07029BFCDB2DCE28D959F2815B16F81798,
    0x483ADA7726A3C4655DA4FBFC0E1108A8FD17B448A68554199C47D08FFB10D4B8,
)


def add(a: Point | None, b: Point | None) -> Point | None:
    if a is None or b is None:
        return a or b
    if a.x == b.x:
        if a.y != b.y:
            return None
        slope = 3 * a.x * a.x * pow(2 * a.y, -1, P) % P
    else:
        slope = (b.y - a.y) * pow(b.x - a.x, -1, P) % P
    x = (slope * slope - a.x - b.x) % P
    return Point(x, (slope * (a.x - x) - a.y) % P)


def mul(a: Point | None, k: int) -> Point | None:
    out = None
    while k:
        if k & 1:
            out = add(out, a)
        a, k = add(a, a), k >> 1
    return out


def negate(a: Point | None) -> Point | None:
    return a and Point(a.x, P - a.y)


def tagged(tag: str, data: bytes) -> bytes:
    prefix = sha256(tag.encode()).digest()
    return sha256(prefix + prefix + data).digest()


def xbytes(a: Point) -> bytes:
    return a.x.to_bytes(32)


def cbytes(a: Point | None) -> bytes:
    """33 bytes; zeros for the point at infinity (cbytes_ext)."""
    return bytes(33) if a is None else bytes([2 + a.y % 2]) + xbytes(a)


def cpoint(data: bytes) -> Point:
    x = int.from_bytes(data[1:])
    y = pow(x**3 + 7, (P + 1) // 4, P)
    if len(data) != 33 or data[0] not in (2, 3) or x >= P or (y * y - x**3 - 7) % P:
        raise ValueError("no curve point")
    return Point(x, y if y % 2 == data[0] % 2 else P - y)


def cpoint_ext(data: bytes) -> Point | None:
    return None if data == bytes(33) else cpoint(data)


def contribution(data: bytes, signer: int | None, kind: str) -> Point:
    try:
        return cpoint(data)
    except ValueError as error:
        raise ValueError(f"invalid {kind} of signer {signer}") from error


class KeyAgg(NamedTuple):
    Q: Point
    gacc: int
    tacc: int


def key_agg_coeff(pubkeys: Sequence[bytes], pk: bytes) -> int:
    second = next((other for other in pubkeys if other != pubkeys[0]), bytes(33))
    if pk == second:
        return 1
    keys = tagged("KeyAgg list", b"".join(pubkeys))
    return int.from_bytes(tagged("KeyAgg coefficient", keys + pk)) % N


def key_agg(
    pubkeys: Sequence[bytes], tweaks: Sequence[bytes] = (), is_xonly: Sequence[bool] = ()
) -> KeyAgg:
    total = None
    for signer, pk in enumerate(pubkeys):
        point = contribution(pk, signer, "pubkey")
        total = add(total, mul(point, key_agg_coeff(pubkeys, pk)))
    assert total is not None
    context = KeyAgg(total, 1, 0)
    for tweak, xonly in zip(tweaks, is_xonly, strict=True):
        context = apply_tweak(context, tweak, xonly)
    return context


def apply_tweak(context: KeyAgg, tweak: bytes, xonly: bool) -> KeyAgg:
    g = N - 1 if xonly and context.Q.y % 2 else 1
    t = int.from_bytes(tweak)
    if t >= N:
        raise ValueError("The tweak must be less than n.")
    point = add(mul(context.Q, g), mul(G, t))
    if point is None:
        raise ValueError("The result of tweaking cannot be infinity.")
    return KeyAgg(point, g * context.gacc % N, (t + g * context.tacc) % N)


def nonce_hash(
    rand: bytes, pk: bytes, aggpk: bytes, i: int, msg_prefixed: bytes, extra_in: bytes
) -> int:
    data = rand + bytes([len(pk)]) + pk + bytes([len(aggpk)]) + aggpk + msg_prefixed
    data += len(extra_in).to_bytes(4) + extra_in + bytes([i])
    return int.from_bytes(tagged("MuSig/nonce", data)) % N


def nonce_gen(
    rand: bytes,
    sk: bytes | None,
    pk: bytes,
    aggpk: bytes | None,
    msg: bytes | None,
    extra_in: bytes | None,
) -> tuple[bytes, bytes]:
    """secnonce (97 bytes) and pubnonce (66)."""
    if sk is not None:
        rand = xor(sk, tagged("MuSig/aux", rand))
    prefixed = b"\0" if msg is None else b"\1" + len(msg).to_bytes(8) + msg
    k = [nonce_hash(rand, pk, aggpk or b"", i, prefixed, extra_in or b"") for i in range(2)]
    return secnonce(k, pk), b"".join(cbytes(mul(G, k_i)) for k_i in k)


def secnonce(k: Sequence[int], pk: bytes) -> bytes:
    return k[0].to_bytes(32) + k[1].to_bytes(32) + pk


def xor(a: bytes, b: bytes) -> bytes:
    return bytes(x ^ y for x, y in zip(a, b, strict=True))


def nonce_agg(pubnonces: Sequence[bytes]) -> bytes:
    halves: list[Point | None] = [None, None]
    for signer, nonce in enumerate(pubnonces):
        for j in range(2):
            point = contribution(nonce[33 * j : 33 * j + 33], signer, "pubnonce")
            halves[j] = add(halves[j], point)
    return b"".join(cbytes(half) for half in halves)


class Session(NamedTuple):
    aggnonce: bytes
    pubkeys: Sequence[bytes]
    tweaks: Sequence[bytes]
    is_xonly: Sequence[bool]
    msg: bytes

    def values(self) -> tuple[KeyAgg, int, Point, int]:
        """GetSessionValues: the key, b, R and e."""
        key = key_agg(self.pubkeys, self.tweaks, self.is_xonly)
        hashed = tagged("MuSig/noncecoef", self.aggnonce + xbytes(key.Q) + self.msg)
        b = int.from_bytes(hashed) % N
        try:
            halves = [cpoint_ext(self.aggnonce[:33]), cpoint_ext(self.aggnonce[33:])]
        except ValueError as error:
            raise ValueError("invalid aggnonce") from error
        big_r = add(halves[0], mul(halves[1], b)) or G
        e = tagged("BIP0340/challenge", xbytes(big_r) + xbytes(key.Q) + self.msg)
        return key, b, big_r, int.from_bytes(e) % N

    def g(self, key: KeyAgg) -> int:
        return N - 1 if key.Q.y % 2 else 1

    def coefficient(self, pk: bytes) -> int:
        if pk not in self.pubkeys:
            raise ValueError("The signer's pubkey must be included in the list of pubkeys.")
        return key_agg_coeff(self.pubkeys, pk)


def sign(nonce: bytes, sk: bytes, session: Session) -> bytes:
    key, b, big_r, e = session.values()
    k = [int.from_bytes(nonce[:32]), int.from_bytes(nonce[32:64])]
    for name, k_i in zip(("first", "second"), k, strict=True):
        if not 0 < k_i < N:
            raise ValueError(f"{name} secnonce value is out of range.")
    if big_r.y % 2:
        k = [N - k_i for k_i in k]
    d = int.from_bytes(sk)
    pk = cbytes(mul(G, d))
    assert nonce[64:] == pk
    d = session.g(key) * key.gacc * d % N
    s = (k[0] + b * k[1] + e * session.coefficient(pk) * d) % N
    return s.to_bytes(32)


def partial_verify(psig: bytes, pubnonces: Sequence[bytes], session: Session, signer: int) -> bool:
    key, b, big_r, e = session.values()
    s, nonce, pk = int.from_bytes(psig), pubnonces[signer], session.pubkeys[signer]
    if s >= N:
        return False
    first, second = (contribution(half, signer, "pubnonce") for half in (nonce[:33], nonce[33:]))
    effective = add(first, mul(second, b))
    if big_r.y % 2:
        effective = negate(effective)
    factor = e * session.coefficient(pk) * session.g(key) * key.gacc % N
    return mul(G, s) == add(effective, mul(contribution(pk, signer, "pubkey"), factor))


def partial_sig_agg(psigs: Sequence[bytes], session: Session) -> bytes:
    key, _, big_r, e = session.values()
    total = e * session.g(key) * key.tacc
    for signer, psig in enumerate(psigs):
        if int.from_bytes(psig) >= N:
            raise ValueError(f"invalid psig of signer {signer}")
        total += int.from_bytes(psig)
    return xbytes(big_r) + (total % N).to_bytes(32)


def det_nonce_hash(sk: bytes, aggothernonce: bytes, aggpk: bytes, msg: bytes, i: int) -> int:
    data = sk + aggothernonce + aggpk + len(msg).to_bytes(8) + msg + bytes([i])
    return int.from_bytes(tagged("MuSig/deterministic/nonce", data)) % N


def deterministic_sign(sk: bytes, rand: bytes | None, session: Session) -> tuple[bytes, bytes]:
    """pubnonce and psig of the last signer; ``session.aggnonce`` is the sum of all the others'."""
    others = session.aggnonce
    masked = sk if rand is None else xor(sk, tagged("MuSig/aux", rand))
    aggpk = xbytes(key_agg(session.pubkeys, session.tweaks, session.is_xonly).Q)
    k = [det_nonce_hash(masked, others, aggpk, session.msg, i) for i in range(2)]
    pubnonce = b"".join(cbytes(mul(G, k_i)) for k_i in k)
    halves = [
        add(
            cpoint(pubnonce[at : at + 33]),
            contribution(others[at : at + 33], None, "aggothernonce"),
        )
        for at in (0, 33)
    ]
    pk = cbytes(mul(G, int.from_bytes(sk)))
    full = session._replace(aggnonce=b"".join(map(cbytes, halves)))
    return pubnonce, sign(secnonce(k, pk), sk, full)
