"""DLC messages: what is refused, digits, nonces, the ledger, evidence, certified prices."""

from dataclasses import replace
from hashlib import sha256

import pytest
from coincurve import PublicKey
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.crypto.keys import CURVE_ORDER, SecretKey, challenge, verify
from protocol.errors import EncodingError, GuardError, ProtocolError, QuorumError, SignatureError
from protocol.oracle.certificate import Certificate
from protocol.oracle.dlc import tlv
from protocol.oracle.dlc.announcement import Announcement
from protocol.oracle.dlc.attestation import Attestation, attest, outcome_digest
from protocol.oracle.dlc.descriptor import DigitDescriptor, EnumDescriptor
from protocol.oracle.dlc.event import EVENT, Event
from protocol.oracle.dlc.evidence import DoubleSignature, of_attestations
from protocol.oracle.dlc.ledger import Ledger
from protocol.oracle.dlc.nonce import make_event, nonce_scalar
from protocol.oracle.dlc.price import SCALES, answer_of, maturity_round
from protocol.oracle.expiry import ExpiryCertificate, ExpirySlot, Rule, expiry_of
from protocol.oracle.feed import Feed
from protocol.oracle.report import Grade
from tests.builders.batches import FEEDS, BatchNetwork, flat
from tests.builders.epochs import certificate
from tests.builders.histories import chain
from tests.builders.oracles import AUX, CONFIG, FEED_ID, KEYS, PRICE, ROUND, certify, make_config

KEY = SecretKey(sha256(b"dlc key").digest())
SEED = sha256(b"dlc seed").digest()
DIGITS = DigitDescriptor(4)
WEATHER = EnumDescriptor(("rain", "sun", "snöw"))
MATURITY = 1_790_359_200


def announced(event_id="rain-tomorrow", descriptor=WEATHER, seed=SEED, key=KEY):
    return Announcement.sign(key, make_event(seed, event_id, MATURITY, descriptor), AUX)


def attested(announcement, outcomes):
    return attest(KEY, SEED, announcement, outcomes)


# Encoding


@given(st.integers(0, 2**64 - 1))
@settings(max_examples=50)
def test_bigsize_is_read_back(value):
    fields = tlv.Reader("number", tlv.bigsize(value))
    assert fields.bigsize("n") == value
    fields.end()


@pytest.mark.parametrize(
    ("value", "encoded"),
    [
        (0xFC, "fc"),
        (0xFD, "fd00fd"),
        (0xFFFF, "fdffff"),
        (0x10000, "fe00010000"),
        (0x1_0000_0000, "ff0000000100000000"),
    ],
)
def test_bigsize_at_its_edges(value, encoded):
    assert tlv.bigsize(value).hex() == encoded


@pytest.mark.parametrize(
    "encoded", ["fd00fc", "fe0000ffff", "ff00000000ffffffff", "fd00", "", "fe"]
)
def test_longer_forms_and_halves_of_bigsize_are_refused(encoded):
    with pytest.raises(EncodingError, match=r"shortest|cut short"):
        tlv.Reader("number", bytes.fromhex(encoded)).bigsize("n")


@pytest.mark.parametrize("message", [announced(), attested(announced(), ("sun",))], ids=type)
def test_every_cut_and_every_addition_is_refused(message):
    data = message.encode()
    assert type(message).decode(data) == message
    for end in range(len(data)):
        with pytest.raises(EncodingError):
            type(message).decode(data[:end])
    with pytest.raises(EncodingError, match="too many"):
        type(message).decode(data + b"\0")
    with pytest.raises(EncodingError, match="at most 65535"):
        type(message).decode(data + bytes(65_535))


def test_another_type_is_refused():
    data = announced().encode()
    with pytest.raises(EncodingError, match="type 55332, expected 55400"):
        Attestation.decode(data)
    with pytest.raises(EncodingError, match="type 55332, expected 55330"):
        Event.decode(data)


@given(st.data())
@settings(max_examples=50)
def test_no_changed_byte_is_believed(data):
    announcement = announced("digits", DIGITS)
    attestation = attested(announcement, DIGITS.outcomes_of(9))
    for message in (announcement, attestation):
        encoded = bytearray(message.encode())
        at = data.draw(st.integers(0, len(encoded) - 1))
        encoded[at] ^= data.draw(st.integers(1, 255))
        with pytest.raises((EncodingError, SignatureError)):
            changed = type(message).decode(bytes(encoded))
            changed.check() if isinstance(changed, Announcement) else changed.check(announcement)


@pytest.mark.parametrize("name", ["e\u0301clair", "\ud800", ""])
def test_an_event_id_has_one_encoding(name):
    with pytest.raises(EncodingError, match="event_id"):
        replace(announced().event, event_id=name)


@pytest.mark.parametrize(("bad", "names"), [(b"\xff\xff", "no UTF-8"), (b"\xcd\x80", "NFC")])
def test_bytes_that_are_no_utf8_or_not_composed_are_refused(bad, names):
    data = announced("snöw-day").encode()
    with pytest.raises(EncodingError, match=names):
        Announcement.decode(data.replace("öw-day".encode(), bad + b"w-day"))


@pytest.mark.parametrize(
    ("make", "names"),
    [
        (lambda: EnumDescriptor(()), "at least one"),
        (lambda: EnumDescriptor(("a", "a")), "each once"),
        (lambda: DigitDescriptor(0), "at least 2 and 1"),
        (lambda: DigitDescriptor(4, base=1), "at least 2 and 1"),
        (lambda: DigitDescriptor(4, base=65_536), "base"),
        (lambda: DigitDescriptor(65_536), "nb_digits"),
        (lambda: DigitDescriptor(4, precision=2**31), "precision"),
        (lambda: replace(announced().event, maturity_s=2**32), "maturity"),
        (lambda: replace(announced().event, nonces=(bytes(32),)), "no point"),
        (lambda: replace(announced().event, nonces=()), "descriptor has 1"),
        (lambda: Attestation("e", KEY.public, (), ()), "0 signatures"),
        (lambda: Attestation("e", KEY.public, (bytes(64),), ("a", "b")), "1 signatures of 2"),
        (lambda: announced("x", EnumDescriptor(("a" * 70_000,))), "take fewer outcomes"),
        (lambda: make_event(SEED[:31], "e", MATURITY, WEATHER), "nonce seed"),
        (lambda: make_event(SEED, "e" * 65_536, MATURITY, WEATHER), "event id length"),
    ],
)
def test_fields_out_of_range_are_named(make, names):
    with pytest.raises(EncodingError, match=names):
        make()


def test_unknown_descriptors_are_refused():
    event = announced().event.encode()
    other = event.replace(tlv.bigsize(55302), tlv.bigsize(55304))
    with pytest.raises(EncodingError, match="type 55304, known are 55302 and 55306"):
        Event.decode(other)


# Digits


@given(
    st.integers(2, 17), st.integers(1, 12), st.booleans(), st.integers(-(10**9), 10**9), st.data()
)
@settings(max_examples=50)
def test_digits_are_the_number_or_the_nearest_end(base, count, is_signed, value, data):
    digits = DigitDescriptor(count, base, is_signed)
    outcomes = digits.outcomes_of(value)
    low = -digits.most if is_signed else 0
    assert digits.value_of(outcomes) == max(low, min(value, digits.most))
    assert len(outcomes) == digits.signatures
    at = data.draw(st.integers(int(is_signed), len(outcomes) - 1))
    for bad in (str(base), "01", "-1", "", "²", "a"):
        with pytest.raises(EncodingError, match="digit"):
            digits.value_of((*outcomes[:at], bad, *outcomes[at + 1 :]))


@pytest.mark.parametrize(
    ("value", "attested_value"),
    [(2**20 - 1, 2**20 - 1), (2**20, 2**20 - 1), (-1, 0), (10**30, 2**20 - 1)],
)
def test_a_price_that_does_not_fit_saturates(value, attested_value):
    digits = SCALES["usd"].descriptor
    assert digits.value_of(digits.outcomes_of(value)) == attested_value


@pytest.mark.parametrize("outcomes", [("-", "0", "0"), (" ", "0", "1"), ("0", "1"), ("+", "0")])
def test_signs_are_plus_or_minus_and_zero_is_plus(outcomes):
    with pytest.raises(EncodingError):
        DigitDescriptor(2, 10, is_signed=True).value_of(outcomes)


# Signing


@given(st.binary(min_size=32, max_size=32), st.binary(min_size=32, max_size=32), st.text())
@settings(max_examples=25)
def test_a_signature_with_a_given_nonce_is_a_bip340_signature(secret, nonce, outcome):
    try:
        key, k = SecretKey(secret), SecretKey(nonce)
        message = outcome_digest(outcome)
    except (SignatureError, UnicodeEncodeError):
        return
    signature = key.sign_with(k, message)
    assert verify(key.public, message, signature)
    assert signature[:32] == k.public


def test_a_wallet_can_lock_a_transaction_to_an_outcome():
    """The anticipation point R + e P is known from the announcement; the attestation's s is its
    secret. That is all that a discreet log contract is made of."""
    announcement = announced("digits", DIGITS)
    outcomes = DIGITS.outcomes_of(11)
    points = [
        PublicKey.combine_keys(
            [
                PublicKey(b"\x02" + nonce),
                PublicKey(b"\x02" + announcement.public).multiply(
                    challenge(nonce, announcement.public, outcome_digest(text)).to_bytes(32)
                ),
            ]
        )
        for nonce, text in zip(announcement.event.nonces, outcomes, strict=True)
    ]
    locked = PublicKey.combine_keys(points).format()
    signatures = attested(announcement, outcomes).signatures
    secret = sum(int.from_bytes(signature[32:]) for signature in signatures) % CURVE_ORDER
    assert SecretKey(secret.to_bytes(32)).point == locked
    other = attested(announcement, DIGITS.outcomes_of(10)).signatures
    wrong = sum(int.from_bytes(signature[32:]) for signature in other) % CURVE_ORDER
    assert SecretKey(wrong.to_bytes(32)).point != locked


def test_nonces_are_never_used_twice():
    """Over many events, ids of one length and of others, and all digits."""
    scalars = {nonce_scalar(SEED, f"e-{i}", j) for i in range(20_000) for j in range(5)}
    assert len(scalars) == 100_000


def test_nonces_follow_from_seed_and_id():
    assert announced().event == announced().event
    assert announced(seed=KEY.public).event.nonces != announced().event.nonces


def test_what_was_announced_otherwise_is_not_attested():
    other = SecretKey(sha256(b"other").digest())
    with pytest.raises(SignatureError, match="another key"):
        attest(other, SEED, announced(), ("sun",))
    with pytest.raises(SignatureError, match="another nonce seed"):
        attest(KEY, KEY.public, announced(), ("sun",))
    with pytest.raises(EncodingError, match="must be one of rain, sun"):
        attested(announced(), ("fog",))


def swapped(texts, i=0, j=1):
    changed = list(texts)
    changed[i], changed[j] = changed[j], changed[i]
    return tuple(changed)


def lies(announcement):
    """What a strict reader must refuse of an attestation of 0b0101, by name."""
    good = attested(announcement, DIGITS.outcomes_of(0b0101))
    fresh = SecretKey(sha256(b"fresh").digest())
    unannounced = KEY.sign_with(fresh, outcome_digest("0"))
    return {
        "swapped pairs": replace(
            good, signatures=swapped(good.signatures), outcomes=swapped(good.outcomes)
        ),
        "swapped signatures": replace(good, signatures=swapped(good.signatures)),
        "missing digit": replace(good, signatures=good.signatures[1:], outcomes=good.outcomes[1:]),
        "digit 2": replace(
            good,
            outcomes=("2", *good.outcomes[1:]),
        ),
        "other digit": replace(good, outcomes=("1", *good.outcomes[1:])),
        "foreign event": replace(good, event_id="other"),
        "foreign key": replace(good, public=KEYS[0].public),
        "unannounced nonce": replace(good, signatures=(unannounced, *good.signatures[1:])),
    }


@pytest.mark.parametrize("name", lies(announced("digits", DIGITS)))
def test_attestations_that_do_not_fit_are_refused(name):
    announcement = announced("digits", DIGITS)
    lie = lies(announcement)[name]
    with pytest.raises((EncodingError, SignatureError)):
        lie.check(announcement)
    with pytest.raises((EncodingError, SignatureError)):
        Attestation.decode(lie.encode()).check(announcement, legacy=True)


def test_equal_nonces_are_refused():
    event = announced("digits", DIGITS).event
    with pytest.raises(EncodingError, match="two are equal"):
        replace(event, nonces=(event.nonces[0],) * 4)
    data = event.encode().replace(event.nonces[1], event.nonces[0])
    assert len(data) == len(event.encode()) and data[:3] == tlv.bigsize(EVENT)
    with pytest.raises(EncodingError, match="two are equal"):
        Event.decode(data)


def test_legacy_attestations_are_read_when_asked_for():
    announcement = announced()
    (nonce,) = announcement.event.nonces
    plain = KEY.sign_with(
        SecretKey(nonce_scalar(SEED, "rain-tomorrow", 0)), sha256(b"sun").digest()
    )
    assert plain[:32] == nonce
    old = Attestation("rain-tomorrow", KEY.public, (plain,), ("sun",))
    old.check(announcement, legacy=True)
    with pytest.raises(SignatureError, match="does not verify"):
        old.check(announcement)


# Ledger


def test_an_event_has_one_announcement_and_one_outcome():
    ledger = Ledger()
    with pytest.raises(GuardError, match="never announced"):
        ledger.bind("digits", ("0",))
    first = announced("digits", DIGITS)
    ledger.announce(first)
    assert not ledger.is_new(replace(first, signature=bytes(64))), "fresh randomness, same event"
    with pytest.raises(GuardError, match="other terms"):
        ledger.announce(announced("digits", DigitDescriptor(5)))
    ledger.bind("digits", DIGITS.outcomes_of(3))
    ledger.bind("digits", DIGITS.outcomes_of(3))
    with pytest.raises(GuardError, match="would reveal the key"):
        ledger.bind("digits", DIGITS.outcomes_of(4))
    with pytest.raises(EncodingError, match="digit"):
        ledger.bind("digits", ("0", "0", "0", "2"))
    assert ledger.bound == {"digits": ("0", "0", "1", "1")}


# Evidence


def test_evidence_names_why_it_convicts_nobody():
    announcement = announced("digits", DIGITS)
    (proof,) = of_attestations(
        attested(announcement, DIGITS.outcomes_of(0)), attested(announcement, DIGITS.outcomes_of(8))
    )
    proof.check()
    assert (proof.outcome_a, proof.outcome_b) == ("0", "1")
    cases = {
        "same outcome": replace(proof, outcome_b="0"),
        "different nonces": replace(proof, signature_b=bytes(64)),
        "signature a": replace(proof, outcome_a="x"),
        "signature b": replace(proof, outcome_b="x"),
    }
    for names, changed in cases.items():
        with pytest.raises(SignatureError, match=names):
            changed.check()
        with pytest.raises(SignatureError, match=names):
            changed.secret_key()


def test_a_nonce_used_in_two_events_is_evidence_too():
    """An oracle that draws a nonce again convicts itself without attesting anything twice."""
    k = SecretKey(nonce_scalar(SEED, "first", 0))
    one, two = (
        Attestation(name, KEY.public, (KEY.sign_with(k, outcome_digest(outcome)),), (outcome,))
        for name, outcome in (("first", "rain"), ("second", "sun"))
    )
    (proof,) = of_attestations(one, two)
    assert proof.secret_key().public == KEY.public
    forged = replace(two, signatures=(two.signatures[0][:32] + bytes(32),))
    assert of_attestations(one, forged) == ()
    assert of_attestations(one, replace(two, public=KEYS[0].public)) == ()


@given(st.binary(min_size=32, max_size=32), st.binary(min_size=32, max_size=32))
@settings(max_examples=25)
def test_any_key_comes_out(secret, nonce):
    try:
        key, k = SecretKey(secret), SecretKey(nonce)
    except SignatureError:
        return
    sides = [key.sign_with(k, outcome_digest(text)) for text in "01"]
    proof = DoubleSignature(key.public, "0", sides[0], "1", sides[1])
    assert proof.secret_key().public == key.public


# Prices


def test_events_of_prices_have_names_and_digits():
    usd, cents = SCALES["usd"], SCALES["cents"]
    assert usd.event_id(Feed("BTC/USD"), MATURITY) == "btcusd-1790359200"
    assert cents.event_id(Feed("BTC/USD"), MATURITY) == "btcusd-c-1790359200"
    price_e8 = 8_374_421_999_999
    assert usd.descriptor.value_of(usd.outcomes(price_e8)) == 83_744
    assert cents.descriptor.value_of(cents.outcomes(price_e8)) == 8_374_421


def test_what_a_certificate_answers():
    found = answer_of(CONFIG, certificate(price=PRICE))
    assert (found.feed_id, found.maturity_s, found.price_e8) == (FEED_ID, ROUND, PRICE)
    batch = BatchNetwork().run({i: flat(PRICE) for i in range(3)})
    assert batch is not None
    assert answer_of(CONFIG, batch.feed_certificate(FEEDS[1])).feed_id == FEEDS[1]


def expiry(rule=Rule.SPOT, window=0, subject=bytes(32)):
    reports = [c.report for c in chain(3)]
    slot = ExpirySlot(
        config_digest=CONFIG.digest,
        feed_id=FEED_ID,
        start_round=ROUND,
        target_round=ROUND + 2,
        subject=subject,
        rule=rule,
        window=window,
    )
    found = expiry_of(slot, 10, reports)
    return ExpiryCertificate(found, tuple((i, KEYS[i].sign(found.hash, AUX)) for i in (0, 2)))


def test_an_expiry_answers_for_its_target():
    found = answer_of(CONFIG, expiry())
    assert (found.maturity_s, found.price_e8) == (ROUND + 2, expiry().expiry.price_e8)
    for other in (expiry(Rule.TWAP, 2), expiry(subject=b"\x01" * 32)):
        with pytest.raises(QuorumError, match="spot expiry"):
            answer_of(CONFIG, other)


def degraded(config):
    report = replace(
        certificate(price=PRICE).report,
        config_digest=config.digest,
        grade=Grade.DEGRADED,
        observers=0b011,
    )
    return Certificate(report, certify(report, tuple(range(config.quorum))).signatures)


def test_a_degraded_price_settles_nothing_where_quorums_are_not_final():
    with pytest.raises(QuorumError, match="is not final: have the oracles sign an expiry"):
        answer_of(CONFIG, degraded(CONFIG))
    final = make_config(quorum=3)
    assert answer_of(final, degraded(final)).price_e8 == PRICE


def test_a_certificate_that_does_not_hold_answers_nothing():
    alone = replace(certificate(price=PRICE), signatures=certificate(price=PRICE).signatures[:1])
    for config, bad in ((CONFIG, alone), (make_config(epoch=9), certificate(price=PRICE))):
        with pytest.raises(ProtocolError):
            answer_of(config, bad)


def test_maturities_are_rounds():
    assert maturity_round(CONFIG, MATURITY) == MATURITY
    slow = make_config(interval_ms=30_000)
    assert maturity_round(slow, 60) == 2
    with pytest.raises(EncodingError, match="30000 ms apart"):
        maturity_round(slow, 61)
