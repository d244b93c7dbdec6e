"""The pool guest: it halts with 0 on what Python did, and on nothing else."""

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from hashlib import sha256
from random import Random
from typing import Any

import pytest

from protocol.errors import EncodingError, TermsError
from protocol.oracle.batch_certificate import BatchCertificate
from protocol.oracle.report import Grade
from protocol.oracle.rows import ReportRows
from protocol.pool.batch import Deposit
from protocol.pool.image import Check, PoolTerms, image_of, pool_template
from protocol.pool.operation import AddLiquidity, Increase, SignedOperation
from protocol.pool.prices import BatchPrices
from protocol.pool.state import VaultDatum
from protocol.pool.witness import OpenedTree, Witness, sibling_places
from riscv_vm import fast
from riscv_vm.image import with_terms
from riscv_vm.isa import A0, TRAP
from tests.builders.oracles import KEYS, make_config
from tests.builders.pool import ALICE, BOB, BTC, ETH, LONG, LP, SHORT, USDC, owner_of, sign
from tests.builders.pool_guest import (
    LIMIT,
    GuestPool,
    batch_certificate,
    exit_code,
    report_rows,
)

FAR = 2**63
Lie = Callable[[Witness], Witness]


def increase(guest: GuestPool, user: int, ahead: int = 0, **changes: Any) -> SignedOperation:
    fields: dict[str, Any] = {
        "token": BTC,
        "side": LONG,
        "deposit": 1_030 * USDC,
        "size": 10_000 * USDC,
        "acceptable_price": FAR,
    }
    return guest.signed(Increase(**guest.head(user, ahead), **(fields | changes)), user)


def funded(**pool: Any) -> GuestPool:
    guest = GuestPool(pool=pool)
    first = AddLiquidity(**guest.head(LP), amount=100_000 * USDC)
    deposits = deposit(LP, 3 * 10**8) if pool else ()
    guest.witness([guest.signed(first, LP)], deposits=deposits)
    return guest


def deposit(user: int, sats: int, index: int = 0) -> tuple[Deposit, ...]:
    return (Deposit(bytes([index]) * 32 + bytes(4), owner_of(user), sats),)


@lru_cache(maxsize=1)
def honest() -> tuple[PoolTerms, Witness]:
    """Three operations that are accepted, and one that is not."""
    guest = funded()
    operations = [
        guest.signed(AddLiquidity(**guest.head(LP), amount=10 * USDC), LP),
        increase(guest, ALICE),
        increase(guest, ALICE, 1, token=ETH, side=SHORT, acceptable_price=0),
        increase(guest, BOB, deposit=9 * USDC),
    ]
    return guest.terms, guest.witness(operations, 60)[1]


@lru_cache(maxsize=1)
def backed() -> tuple[PoolTerms, Witness]:
    """A backed pool, with deposits of two owners."""
    guest = funded(backed=True, btc_token=BTC)
    deposits = deposit(ALICE, 10**7, 1) + deposit(BOB, 5_000, 2)
    return guest.terms, guest.witness([increase(guest, ALICE)], 60, deposits)[1]


def code_of(witness: Witness, terms: PoolTerms | None = None) -> int:
    return exit_code(terms or honest()[0], witness.encode())[0]


def lied(**changes: Any) -> Lie:
    return lambda witness: replace(witness, **changes)


def claimed(**changes: Any) -> Lie:
    return lambda witness: replace(witness, journal=replace(witness.journal, **changes))


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def at(field: str, place: int) -> Lie:
    return lambda witness: replace(witness, **{field: flipped(getattr(witness, field), place)})


def in_bucket(field: str, place: int) -> Lie:
    def lie(witness: Witness) -> Witness:
        tree = getattr(witness, field)
        for index, (number, bucket) in enumerate(tree.buckets):
            if bucket:
                changed = ((number, flipped(bucket, place)),)
                buckets = tree.buckets[:index] + changed + tree.buckets[index + 1 :]
                return replace(witness, **{field: replace(tree, buckets=buckets)})
        raise AssertionError("no bucket has a datum")

    return lie


def sibling(field: str, index: int) -> Lie:
    def lie(witness: Witness) -> Witness:
        tree = getattr(witness, field)
        siblings = list(tree.siblings)
        siblings[index] = flipped(siblings[index], 0)
        return replace(witness, **{field: replace(tree, siblings=tuple(siblings))})

    return lie


def certified(**changes: Any) -> Lie:
    """The oracles sign rows, or a header, with other fields."""
    header = {name: changes.pop(name) for name in ("root", "prev_batch_hash") if name in changes}
    signers = changes.pop("signers", (0, 1))
    prices = changes.pop("prices", {})
    time = changes.pop("time_s", None)

    def lie(witness: Witness) -> Witness:
        params, old = honest()[0].params, witness.certificate
        now = old.time // 1000 if time is None else time
        shown = dict(zip(params.tokens, (p for _, p in _prices(old, params.feeds)), strict=True))
        rows = report_rows(params, shown | prices, now, **changes)
        return replace(witness, certificate=batch_certificate(rows, now, signers, **header))

    return lie


def _prices(certificate: BatchCertificate, feeds: Any) -> list[tuple[int, int]]:
    return [(token, certificate.prices[feed]) for token, feed in feeds]


def resigned(change: Callable[[BatchCertificate], BatchCertificate]) -> Lie:
    return lambda witness: replace(witness, certificate=change(witness.certificate))


def entries(*indices: int, key_of_entry: int | None = None) -> Lie:
    """Signatures of these oracles, as their entries say; really by ``key_of_entry``."""

    def change(old: BatchCertificate) -> BatchCertificate:
        signed = tuple(
            (i, KEYS[i if key_of_entry is None else key_of_entry].sign(old.hash, bytes(32)))
            for i in indices
        )
        return replace(old, signatures=signed)

    return resigned(change)


def without_a_feed(witness: Witness) -> Witness:
    rows = ReportRows(witness.certificate.reports.data[168:])
    return replace(witness, certificate=batch_certificate(rows, witness.certificate.round))


def without_a_bucket(witness: Witness) -> Witness:
    """The same tree, less opened: the siblings are right."""
    guest = funded()
    (index, bucket), *_ = [b for b in witness.accounts.buckets if not b[1]]
    assert not bucket
    kept = tuple(b for b in witness.accounts.buckets if b[0] != index)
    places = sibling_places([number for number, _ in kept])
    return replace(
        witness,
        accounts=OpenedTree(kept, tuple(guest.pool.accounts.node(*place) for place in places)),
    )


def operations_changed(change: Callable[[list[SignedOperation]], None]) -> Lie:
    def lie(witness: Witness) -> Witness:
        operations = list(witness.operations)
        change(operations)
        return replace(witness, operations=tuple(operations))

    return lie


def by_another(operations: list[SignedOperation]) -> None:
    operations[0] = sign(operations[0].operation, honest()[0].pool_id, BOB)


LIES: dict[str, tuple[Lie, Check]] = {
    "another old root": (claimed(old_root=bytes(32)), Check.STATE),
    "another new root": (claimed(new_root=bytes(32)), Check.NEW_ROOT),
    "another ops root": (claimed(ops_root=bytes(32)), Check.OPERATIONS_ROOT),
    "another prices root": (claimed(prices_root=bytes(32)), Check.PRICES_ROOT),
    "another payments root": (claimed(payments_root=bytes(32)), Check.PAYMENTS_ROOT),
    "another number": (claimed(seq=9), Check.SEQ),
    "another liquidity": (at("vault", 24), Check.STATE),
    "another vault_sats": (at("vault", 240), Check.STATE),
    "another token": (at("tokens", 8), Check.TOKENS),
    "other parameters": (at("token_params", 2), Check.PARAMETERS),
    "another account": (in_bucket("accounts", 40), Check.ACCOUNTS),
    "no kind of datum": (in_bucket("accounts", 0), Check.ACCOUNTS),
    "another sibling of positions": (sibling("positions", 3), Check.POSITIONS),
    "another sibling of accounts": (sibling("accounts", -1), Check.ACCOUNTS),
    "a bucket that is not opened": (without_a_bucket, Check.OPENED),
    "one signature too few": (entries(0), Check.CERTIFICATE),
    "one too many": (entries(0, 1, 2), Check.CERTIFICATE),
    "a signer that there is not": (entries(0, 3), Check.SIGNERS),
    "one signer as two": (entries(0, 1, key_of_entry=0), Check.QUORUM_SIGNATURE),
    "a price that nobody signed": (
        resigned(lambda c: replace(c, reports=_cheaper(c.reports))),
        Check.REPORTS,
    ),
    "another price": (certified(prices={BTC: 39_000 * 10**8}), Check.PRICES_ROOT),
    "another price, and its root": (
        lambda w: _with_prices_root(certified(prices={BTC: 39_000 * 10**8})(w)),
        Check.NEW_ROOT,
    ),
    "no price": (certified(prices={BTC: 0}), Check.PRICES),
    "a price above all bounds": (certified(prices={ETH: 10**15 + 1}), Check.PRICES),
    "a confidence as large as the price": (certified(conf=10**12), Check.PRICES),
    "a root of nothing": (certified(root=bytes(32)), Check.REPORTS),
    "oracles of another network": (
        resigned(
            lambda c: replace(
                c, report=replace(c.report, config_digest=make_config(3, epoch=2).digest)
            )
        ),
        Check.CONFIG,
    ),
    "a report of another round": (certified(round=1), Check.CONFIG),
    "a report of another configuration": (certified(config_digest=bytes(32)), Check.CONFIG),
    "too many observers": (certified(observers=0b1011), Check.OBSERVERS),
    "too few for the grade": (certified(observers=0b11), Check.OBSERVERS),
    "too many for the grade": (certified(grade=Grade.DEGRADED), Check.OBSERVERS),
    "all may be lies": (certified(observers=1, grade=Grade.DEGRADED), Check.OBSERVERS),
    "a feed that is missing": (without_a_feed, Check.PRICES),
    "prices of before": (certified(time_s=1_790_359_201), Check.TIME),
    "an accepted operation called refused": (lied(codes=bytes([40, 0, 0, 20])), Check.RESULT),
    "a refused one called accepted": (lied(codes=bytes(4)), Check.RESULT),
    "another reason": (lied(codes=bytes([0, 0, 0, 41])), Check.RESULT),
    "operations in another order": (operations_changed(list.reverse), Check.OPERATIONS_ROOT),
    "an operation of another owner": (operations_changed(by_another), Check.OPERATIONS_ROOT),
    "deposits without backing": (lied(deposits=deposit(BOB, 1)), Check.DEPOSITS),
}


def _cheaper(rows: ReportRows) -> ReportRows:
    data = bytearray(rows.data)
    data[76 + 7] ^= 1
    return ReportRows(bytes(data))


def _with_prices_root(witness: Witness) -> Witness:
    root = BatchPrices.certified(witness.certificate, honest()[0].params).root
    return claimed(prices_root=root)(witness)


def test_the_honest_claims() -> None:
    for terms, witness in (honest(), backed()):
        assert code_of(witness, terms) == 0
        assert Witness.decode(witness.encode()) == witness
        assert PoolTerms.decode(terms.encode()) == terms
    assert honest()[1].codes == bytes([0, 0, 0, 20])


@pytest.mark.parametrize("name", LIES)
def test_each_lie_exits_with_the_number_of_its_check(name: str) -> None:
    lie, check = LIES[name]
    terms, witness = honest()
    told = lie(witness)
    assert told != witness
    assert code_of(told, terms) == check


def replayed(guest: GuestPool, operation: SignedOperation, code: int) -> int:
    """The guest's verdict on a batch of this operation with this code, else all as Python."""
    _, witness = guest.witness([operation])
    return code_of(replace(witness, codes=bytes([code])), guest.terms)


def test_an_operation_cannot_be_replayed_or_forged() -> None:
    guest = funded()
    first = increase(guest, ALICE)
    guest.prove([first])
    assert replayed(guest, first, 2) == 0
    assert replayed(guest, first, 0) == Check.RESULT
    forged = sign(increase(guest, ALICE).operation, guest.pool.pool_id, BOB)
    assert replayed(guest, forged, 1) == 0
    assert replayed(guest, forged, 0) == Check.RESULT
    other = sign(increase(guest, ALICE).operation, bytes(32), ALICE)
    assert replayed(guest, other, 1) == 0


def test_a_batch_is_of_its_pool() -> None:
    terms, witness = honest()
    other = replace(terms, params=replace(terms.params, cooldown_s=1))
    assert code_of(witness, other) == Check.RESULT
    more = replace(terms.params, feeds=(*terms.params.feeds, (9, bytes(32))))
    assert code_of(witness, PoolTerms(more, terms.oracles)) != 0
    swapped = tuple((token, sha256(feed).digest()) for token, feed in terms.params.feeds)
    other = replace(terms, params=replace(terms.params, feeds=swapped))
    assert code_of(witness, other) == Check.PRICES
    with pytest.raises(TermsError, match="the pool's parameters name other oracles"):
        PoolTerms(terms.params, make_config(4))


def test_backing_is_counted_to_the_satoshi() -> None:
    terms, witness = backed()
    vault = VaultDatum.decode(witness.vault)
    assert vault.vault_sats > 0
    vault.vault_sats += 1
    assert code_of(replace(witness, vault=vault.encode()), terms) == Check.STATE
    more = replace(witness.deposits[1], sats=witness.deposits[1].sats + 1)
    changed = replace(witness, deposits=(witness.deposits[0], more))
    assert code_of(changed, terms) == Check.OPERATIONS_ROOT
    descending = replace(witness, deposits=witness.deposits[::-1])
    assert code_of(descending, terms) == Check.DEPOSITS
    for lie, check in (
        (claimed(payments_root=bytes(32)), Check.PAYMENTS_ROOT),
        (claimed(new_root=bytes(32)), Check.NEW_ROOT),
    ):
        assert code_of(lie(witness), terms) == check


def test_no_terms_no_verdict() -> None:
    run = fast.Machine(pool_template(), honest()[1].encode())
    run.run(LIMIT)
    assert (run.pc, run.register(A0)) == (TRAP, Check.TERMS)
    page = bytearray(honest()[0].encode())
    page[1416 + 40] = 9  # oracles
    run = fast.Machine(with_terms(pool_template(), bytes(page)), honest()[1].encode())
    run.run(LIMIT)
    assert (run.pc, run.register(A0)) == (TRAP, Check.TERMS)


def test_input_of_any_other_length() -> None:
    terms, witness = honest()
    data = witness.encode()
    longer = (data + bytes(4), data + b"\x01" + bytes(3), data + b"\0")
    for changed in (b"", b"\0" * 500, data[:168], data[:-4], data[:-3], *longer):
        assert exit_code(terms, changed)[0] != 0
        with pytest.raises(EncodingError):
            Witness.decode(changed)
    assert exit_code(terms, data + bytes(4))[0] == Check.PADDING
    assert exit_code(terms, data[:400])[0] == Check.LENGTH


def test_what_fills_a_word_is_zero() -> None:
    guest = GuestPool(config=make_config(5))
    _, witness = guest.witness([guest.signed(AddLiquidity(**guest.head(LP), amount=USDC), LP)])
    certificate, data = witness.certificate.encode(), witness.encode()
    assert len(certificate) % 4 == 1
    assert exit_code(guest.terms, data)[0] == 0
    place = data.index(certificate) + len(certificate)
    assert exit_code(guest.terms, flipped(data, place))[0] == Check.PADDING
    assert exit_code(guest.terms, flipped(data, place + 2))[0] == Check.PADDING
    assert exit_code(guest.terms, flipped(data, len(data) - 1))[0] == Check.PADDING
    terms, witness = honest()
    data = witness.encode()
    (bucket,) = [bucket for _, bucket in witness.accounts.buckets if bucket]
    place = data.index(bucket) + len(bucket)
    assert exit_code(terms, flipped(data, place))[0] == Check.ACCOUNTS


def test_no_other_bytes_are_the_claim() -> None:
    terms, witness = honest()
    data, random = witness.encode(), Random(8)
    for _ in range(80):
        place = random.randrange(len(data))
        changed = data[:place] + bytes([data[place] ^ 1 << random.randrange(8)]) + data[place + 1 :]
        assert exit_code(terms, changed)[0] != 0, place


COUNTS = 168


@pytest.mark.parametrize("field", range(5))
@pytest.mark.parametrize("value", [0, 1, 511, 513, 8_193, 2**16, 2**31, 2**32 - 3, 2**32 - 1])
def test_counts_that_reach_outside(field: int, value: int) -> None:
    terms, witness = honest()
    data = witness.encode()
    place = COUNTS + 4 * field
    changed = data[:place] + value.to_bytes(4, "little") + data[place + 4 :]
    assert exit_code(terms, changed)[0] not in (0, None)
    with pytest.raises(EncodingError):
        Witness.decode(changed)


def test_counts_of_the_batch_that_reach_outside() -> None:
    terms, witness = honest()
    data = witness.encode()
    count = len(witness.operations)
    operations = data.rindex(count.to_bytes(4, "little") + witness.operations[0].encode())
    for place, value in (
        (operations, 2**32 - 1),
        (operations, count + 1),
        (operations, count - 1),
        (operations - 4, 1),
        (operations - 4, 2**32 - 1),
        (operations + 4, 0),
        (operations + 4, 10),
    ):
        changed = data[:place] + value.to_bytes(4, "little") + data[place + 4 :]
        assert exit_code(terms, changed)[0] != 0


def test_noise_behind_a_right_beginning() -> None:
    terms, witness = honest()
    data, random = witness.encode(), Random(9)
    for _ in range(20):
        start = random.randrange(len(data))
        assert exit_code(terms, data[:start] + random.randbytes(len(data) - start))[0] != 0


def test_a_witness_says_what_it_cannot_be() -> None:
    with pytest.raises(EncodingError, match="1 to 512 in one batch"):
        OpenedTree((), ())
    with pytest.raises(EncodingError, match="strictly ascend"):
        OpenedTree(((1, b""), (1, b"")), ())
    with pytest.raises(EncodingError, match="16 siblings"):
        OpenedTree(((1, b""),), ())
    with pytest.raises(EncodingError, match="more than 1808 bytes"):
        OpenedTree(((1, bytes(1809)),), (bytes(32),) * 16)
    with pytest.raises(EncodingError, match="one for every operation"):
        replace(honest()[1], codes=b"")


@pytest.mark.slow
def test_a_full_batch_fits_the_trace() -> None:
    guest = funded()
    guest.pool.vault.total_liquidity = 10**13
    operations = [increase(guest, user) for user in range(1, 257)]
    _, witness = guest.witness(operations)
    assert not any(witness.codes)
    assert witness.steps_max < LIMIT
    code, steps = exit_code(guest.terms, witness.encode())
    assert code == 0
    assert steps < witness.steps_max


def test_the_image_is_the_guest_with_the_terms() -> None:
    terms, _ = honest()
    page = image_of(terms).data[0].content[:4096]
    assert page == terms.encode().ljust(4096, b"\0")
    assert image_of(terms).text == pool_template().text
