"""MuSig2: who is blamed, what a nonce refuses, that nothing aborts, and a spend in a real block."""

import copy
import json
import pickle
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Barrier, Thread

import pytest
from coincurve import PublicKey
from coincurve._libsecp256k1 import lib

from protocol.bitcoin.script import two_of_two
from protocol.bitcoin.sighash import LeafSpend, sign_input, taproot_sighash
from protocol.bitcoin.taproot import TapLeaf, key_path_script, tap_tweak, taproot_output
from protocol.bitcoin.tx import Coin, outpoint, transaction, txid, txin, txout, vsize, with_witness
from protocol.crypto import keys, musig2
from protocol.crypto.keys import CURVE_ORDER, SecretKey, verify
from protocol.crypto.musig2 import (
    LIBRARY_NAMES,
    AggregateKey,
    SecretNonce,
    Session,
    key_sort,
    nonce_agg,
)
from protocol.errors import ConsensusError, SignatureError
from regtest.kernel import KernelChain
from regtest.wallet import Wallet

CHILD = Path(__file__).with_name("musig2_child.py")
AUX = bytes(32)
KEYS = ALICE, BOB, CAROL = [SecretKey(bytes([n]) * 32) for n in (1, 2, 3)]
POINTS = [key.point for key in KEYS]
MESSAGE = b"\x4d" * 32


class Entropy:
    """Different bytes at every call, the same in every run."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, size: int) -> bytes:
        self.calls += 1
        return self.calls.to_bytes(size)


entropy = Entropy()


def nonces_of(aggregate: AggregateKey, message: bytes = MESSAGE) -> list[SecretNonce]:
    by_point = {key.point: key for key in KEYS}
    return [SecretNonce(by_point[point], aggregate, entropy, message) for point in aggregate.points]


def opened(aggregate: AggregateKey) -> tuple[Session, list[SecretNonce]]:
    nonces = nonces_of(aggregate)
    return Session(aggregate, [nonce.public for nonce in nonces], MESSAGE), nonces


@pytest.mark.parametrize("signers", [1, 2, 3])
@pytest.mark.parametrize("tweak", [None, b"\x33" * 32])
def test_all_together_sign(signers: int, tweak: bytes | None) -> None:
    aggregate = AggregateKey(POINTS[:signers])
    if tweak is not None:
        aggregate = aggregate.tweaked(tweak)
    session, nonces = opened(aggregate)
    partials = [session.sign(n, key) for n, key in zip(nonces, KEYS, strict=False)]
    assert all(session.verify(n, partial) for n, partial in enumerate(partials))
    signature = session.aggregate(partials)
    assert verify(aggregate.public, MESSAGE, signature)
    assert not verify(aggregate.public, b"\x4e" * 32, signature)
    assert not verify(AggregateKey([*POINTS[:signers], POINTS[0]]).public, MESSAGE, signature)


def test_a_tweak_is_bip341s() -> None:
    """An aggregate key tweaked here is the output key that Taproot makes of it."""
    internal = AggregateKey(POINTS)
    leaf = TapLeaf(two_of_two(ALICE.public, BOB.public))
    for tree in (None, leaf):
        output = taproot_output(internal.public, tree)
        tweaked = internal.tweaked(tap_tweak(internal.public, output.merkle_root))
        assert tweaked.public == output.output_key
        assert tweaked.point[0] == 2 + output.parity
    assert internal.public == AggregateKey(POINTS).public


def test_a_key_tweaks_itself_as_bip341_says() -> None:
    own = [SecretKey(bytes([n]) * 32) for n in range(1, 9)]
    assert {key.point[0] for key in own} == {2, 3}
    for key in own:
        assert key.tweaked(tap_tweak(key.public, None)).public == key_path_script(key.public)[2:]
        assert key.tweaked(bytes(32)).public == key.public
        for tweak in (CURVE_ORDER.to_bytes(32), b"\xff" * 32, bytes(31), bytes(33)):
            with pytest.raises(SignatureError, match="below the curve order"):
                key.tweaked(tweak)
    even = next(n for n, key in enumerate(own, start=1) if key.point[0] == 2)
    opposite = CURVE_ORDER - int.from_bytes(bytes([even]) * 32)
    with pytest.raises(SignatureError, match="a secret key is"):
        own[even - 1].tweaked(opposite.to_bytes(32))


def test_the_order_of_the_keys_matters_unless_sorted() -> None:
    there, back = AggregateKey(POINTS[:2]), AggregateKey(POINTS[1::-1])
    assert there.public != back.public
    assert key_sort(POINTS) == key_sort(POINTS[::-1]) == tuple(sorted(POINTS))


# Who is blamed


@pytest.mark.parametrize("cheat", [0, 1, 2])
def test_the_cheating_signer_is_named(cheat: int) -> None:
    session, nonces = opened(AggregateKey(POINTS))
    partials = [session.sign(nonce, key) for nonce, key in zip(nonces, KEYS, strict=True)]
    honest = partials[cheat]
    other, others = opened(AggregateKey(POINTS))
    lies = {
        "a bit flipped": (int.from_bytes(honest) ^ 1).to_bytes(32),
        "negated": (CURVE_ORDER - int.from_bytes(honest)).to_bytes(32),
        "another signer's": partials[cheat - 1],
        "of another session": other.sign(others[cheat], KEYS[cheat]),
        "zero": bytes(32),
        "beyond the order": CURVE_ORDER.to_bytes(32),
        "cut": honest[:31],
        "longer": honest + b"\0",
        "empty": b"",
    }
    for name, lie in lies.items():
        given = [*partials[:cheat], lie, *partials[cheat + 1 :]]
        assert [session.verify(n, one) for n, one in enumerate(given)] == [
            n != cheat for n in range(3)
        ], name
        with pytest.raises(SignatureError, match=f"of signer {cheat} is wrong"):
            session.aggregate(given)
    assert verify(session.aggregate_key.public, MESSAGE, session.aggregate(partials))


def test_a_rogue_key_does_not_sign_alone() -> None:
    """Bob announces B - A: without coefficients the sum would be B, which is his alone."""
    minus_alice = PublicKey(bytes([ALICE.point[0] ^ 1]) + ALICE.public)
    rogue = PublicKey.combine_keys([PublicKey(BOB.point), minus_alice])
    plain_sum = PublicKey.combine_keys([PublicKey(ALICE.point), rogue])
    assert plain_sum.format() == BOB.point
    assert AggregateKey([ALICE.point, rogue.format()]).public != BOB.public


# A nonce signs once


def test_a_nonce_signs_once() -> None:
    session, nonces = opened(AggregateKey(POINTS[:2]))
    assert "unused" in repr(nonces[0])
    session.sign(nonces[0], ALICE)
    assert "unused" not in repr(nonces[0])
    for again in (session, Session(session.aggregate_key, session.public_nonces, bytes(32))):
        with pytest.raises(SignatureError, match="this nonce has signed"):
            again.sign(nonces[0], ALICE)


def test_a_refused_attempt_does_not_use_the_nonce_up() -> None:
    session, nonces = opened(AggregateKey(POINTS[:2]))
    strangers, _ = opened(AggregateKey(POINTS[:2]))
    with pytest.raises(SignatureError, match="made for another key"):
        session.sign(nonces[0], BOB)
    with pytest.raises(SignatureError, match="no signer with this key and nonce"):
        strangers.sign(nonces[0], ALICE)
    swapped = Session(session.aggregate_key, session.public_nonces[::-1], MESSAGE)
    with pytest.raises(SignatureError, match="no signer with this key and nonce"):
        swapped.sign(nonces[0], ALICE)
    outsider = SecretNonce(CAROL, session.aggregate_key, entropy, MESSAGE)
    with pytest.raises(SignatureError, match="no signer with this key and nonce"):
        session.sign(outsider, CAROL)
    assert session.verify(0, session.sign(nonces[0], ALICE))


def test_a_nonce_is_neither_copied_nor_pickled_nor_printed() -> None:
    _, (nonce, _) = opened(AggregateKey(POINTS[:2]))
    for travel in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(SignatureError, match="neither copied nor sent"):
            travel(nonce)
    with pytest.raises(SignatureError, match="neither copied nor sent"):
        copy.deepcopy({"open": [nonce]})
    assert not hasattr(nonce, "__dict__")


def test_of_many_threads_one_signs() -> None:
    session, nonces = opened(AggregateKey(POINTS[:2]))
    together, signed, refused = Barrier(8), [], []

    def attempt() -> None:
        together.wait(10)
        try:
            signed.append(session.sign(nonces[0], ALICE))
        except SignatureError:
            refused.append(1)

    threads = [Thread(target=attempt) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert (len(signed), len(refused)) == (1, 7)
    assert session.verify(0, signed[0])


def test_every_input_changes_the_nonce() -> None:
    aggregate, fixed = AggregateKey(POINTS[:2]), lambda n: b"\x09" * n
    made = [
        SecretNonce(ALICE, aggregate, fixed, MESSAGE),
        SecretNonce(ALICE, aggregate, fixed, b"\x4e" * 32),
        SecretNonce(ALICE, aggregate, fixed),
        SecretNonce(BOB, aggregate, fixed, MESSAGE),
        SecretNonce(ALICE, AggregateKey(POINTS), fixed, MESSAGE),
        SecretNonce(ALICE, aggregate, lambda n: b"\x0a" * n, MESSAGE),
    ]
    assert len({nonce.public for nonce in made}) == len(made)


# What would abort is refused


REFUSED: dict[str, Callable[[], object]] = {
    "no signer": lambda: AggregateKey([]),
    "an x-only key": lambda: AggregateKey([ALICE.public]),
    "a key and a byte": lambda: AggregateKey([ALICE.point + b"\0"]),
    "a key short of a byte": lambda: AggregateKey([ALICE.point[:32]]),
    "a nonce and a byte": lambda: nonce_agg([POINTS[0] * 2 + b"\0"]),
    "half a nonce": lambda: nonce_agg([POINTS[0]]),
    "no nonce": lambda: nonce_agg([]),
    "a nonce too few": lambda: Session(AggregateKey(POINTS[:2]), [POINTS[0] * 2], MESSAGE),
    "a short message": lambda: Session(AggregateKey(POINTS[:1]), [POINTS[0] * 2], b""),
    "a nonce for a short message": lambda: SecretNonce(
        ALICE, AggregateKey(POINTS[:1]), entropy, b"x"
    ),
    "entropy of zeros": lambda: SecretNonce(ALICE, AggregateKey(POINTS[:1]), bytes),
    "entropy of 31 bytes": lambda: SecretNonce(
        ALICE, AggregateKey(POINTS[:1]), lambda n: b"\x01" * 31
    ),
    "a short tweak": lambda: AggregateKey(POINTS).tweaked(b"\x01"),
    "no partial signature": lambda: opened(AggregateKey(POINTS[:2]))[0].aggregate([]),
    "signer -1": lambda: opened(AggregateKey(POINTS[:2]))[0].verify(-1, bytes(32)),
    "signer 2 of 2": lambda: opened(AggregateKey(POINTS[:2]))[0].verify(2, bytes(32)),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refusals(name: str) -> None:
    with pytest.raises(SignatureError):
        REFUSED[name]()


UNGUARDED = """
import sys
from coincurve._libsecp256k1 import ffi, lib
from coincurve.context import GLOBAL_CONTEXT
from protocol.crypto.keys import SecretKey
from protocol.crypto.musig2 import AggregateKey, SecretNonce, Session

ctx, (alice, bob) = GLOBAL_CONTEXT.ctx, [SecretKey(bytes([n]) * 32) for n in (1, 2)]
aggregate = AggregateKey([alice.point, bob.point])
nonces = [SecretNonce(key, aggregate, lambda n: b"\\x05" * n) for key in (alice, bob)]
session = Session(aggregate, [nonce.public for nonce in nonces], bytes(32))
cache, opened = aggregate._cache, session._session
secret, out = nonces[0]._spend(), ffi.new("secp256k1_musig_partial_sig *")


def sign(key):
    lib.secp256k1_musig_partial_sign(ctx, out, secret, key.keypair(), cache, opened)


match sys.argv[1]:
    case "a nonce used twice":
        sign(alice)
        print("once", flush=True)
        sign(alice)
    case "another key's nonce":
        print("once", flush=True)
        sign(bob)
    case "no signer":
        print("once", flush=True)
        lib.secp256k1_musig_pubkey_agg(ctx, ffi.NULL, cache, ffi.new("secp256k1_pubkey *[]", 0), 0)
    case "no nonce":
        print("once", flush=True)
        aggnonce = ffi.new("secp256k1_musig_aggnonce *")
        lib.secp256k1_musig_nonce_agg(ctx, aggnonce, ffi.new("secp256k1_musig_pubnonce *[]", 0), 0)
"""


@pytest.mark.parametrize(
    "misuse", ["a nonce used twice", "another key's nonce", "no signer", "no nonce"]
)
def test_the_guards_are_needed(misuse: str) -> None:
    """The library itself kills a process that does the same."""
    run = subprocess.run([sys.executable, "-c", UNGUARDED, misuse], capture_output=True)
    assert (run.returncode, run.stdout) == (-6, b"once\n")


@pytest.mark.parametrize("seed", [1, 2])
def test_nothing_that_a_peer_sends_aborts(seed: int) -> None:
    run = subprocess.run(
        [sys.executable, CHILD, str(seed), "400"], capture_output=True, text=True, timeout=100
    )
    assert run.returncode == 0, run.stderr
    outcomes = json.loads(run.stdout)
    kinds = {"key", "tweak", "nonce sum", "nonce", "session", "sign", "verify", "aggregate"}
    assert outcomes["refused"].keys() == outcomes["passed"].keys() == kinds
    for kind in kinds:
        assert min(outcomes["refused"][kind], outcomes["passed"][kind]) >= 20, kind


def test_the_names_of_the_private_module() -> None:
    assert [name for name in LIBRARY_NAMES if not hasattr(lib, name)] == []
    source = Path(musig2.__file__).read_text() + Path(keys.__file__).read_text()
    assert set(re.findall(r"lib\.(secp256k1_\w+)", source)) == set(LIBRARY_NAMES)


# On the chain


@pytest.fixture
def chain(tmp_path: Path) -> Iterator[KernelChain]:
    with KernelChain(tmp_path / "node") as node:
        yield node
    shutil.rmtree(tmp_path)


def test_a_two_of_two_looks_like_any_payment(chain: KernelChain) -> None:
    """The key path in a real block, and the script path that stays if one side will not sign."""
    wallet = Wallet(chain, CAROL)
    chain.mine(1, to=wallet.script())
    chain.mine(100)
    internal = AggregateKey(key_sort(POINTS[:2]))
    leaf = TapLeaf(two_of_two(ALICE.public, BOB.public))
    output = taproot_output(internal.public, leaf)
    pay = wallet.pay([txout(50_000, output.script_pubkey)] * 2, AUX)
    chain.broadcast(pay)
    chain.mine()
    quiet, quarrel = (Coin(outpoint(txid(pay), n), pay.vout[n]) for n in range(2))

    close = transaction([txin(quiet.outpoint)], [txout(49_000, wallet.script())])
    digest = taproot_sighash(close, 0, [quiet.output])

    def signed(key: AggregateKey) -> bytes:
        nonces = nonces_of(key, digest)
        session = Session(key, [nonce.public for nonce in nonces], digest)
        by_point = {one.point: one for one in KEYS}
        return session.aggregate([session.sign(n, by_point[n.point]) for n in nonces])

    tweak = tap_tweak(internal.public, output.merkle_root)
    for wrong in (
        signed(internal),
        signed(internal.tweaked(tap_tweak(internal.public, None))),
        ALICE.tweaked(tweak).sign(digest, AUX),
    ):
        with pytest.raises(ConsensusError, match="Invalid Schnorr signature"):
            chain.mine(txs=[with_witness(close, [[wrong]])])
    spent = with_witness(close, [[signed(internal.tweaked(tweak))]])
    assert chain.check(spent).accepted
    chain.broadcast(spent)
    chain.mine()
    assert chain.utxo(quiet.outpoint) is None
    assert vsize(spent) == 111

    alone = transaction([txin(quarrel.outpoint)], [txout(49_000, wallet.script())])
    by = LeafSpend(leaf.hash)
    stack = [sign_input(alone, 0, [quarrel.output], key, AUX, leaf=by) for key in (BOB, ALICE)]
    chain.mine(txs=[with_witness(alone, [[*stack, leaf.script, output.control_block(leaf)]])])
    assert chain.utxo(quarrel.outpoint) is None
