"""Winternitz one-time signatures: hash chains that Bitcoin Script can verify (dispute.md 5).

A message is a row of base-16 digits, one chain of 15 HASH160 steps each. The public key is the end
of every chain; the signature of digit d is the element d steps from its secret start, which the
verifier hashes 15 - d times. Anyone can move forwards, to a larger digit; checksum chains sign the
sum of all 15 - d, which that would have to make smaller.

    n digits, c = checksum_size(n)     4 bytes   20 bytes   32 bytes
    chains  n + c                         10         43         67
    public key, signature  20(n + c)     200        860      1,340 bytes

One key signs one message, for ever: two of them together are elements for many more.
Merkle, "A Certified Digital Signature" (1989), section 5, on a suggestion of Winternitz.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, NoReturn, Protocol, Self

from protocol.crypto.hashes import hash160
from protocol.crypto.tagged import tagged_hash
from protocol.errors import EncodingError, GuardError, SignatureError

BASE: Final = 16
TOP: Final = BASE - 1
"""The largest digit, and the steps of a chain."""

ELEMENT_BYTES: Final = 20
MAX_DIGITS: Final = 0xFFFF // TOP
"""Keeps every sum within what Script adds and the encoding's u16 holds."""

Digits = tuple[int, ...]
"""Base-16 digits, most significant first."""

_LABEL_TAG: Final = "btcfi/winternitz/label/v1"
_CHAIN_TAG: Final = "btcfi/winternitz/chain/v1"


def digits_of(message: bytes) -> Digits:
    """Two digits a byte, the high nibble first."""
    return tuple(nibble for byte in message for nibble in divmod(byte, BASE))


def message_of(digits: Sequence[int]) -> bytes:
    """The inverse of :func:`digits_of`; EncodingError for an odd number of digits."""
    if len(digits) % 2:
        raise EncodingError(f"{len(digits)} digits are no whole number of bytes")
    high, low = digits[::2], digits[1::2]
    return bytes(BASE * a + b for a, b in zip(high, low, strict=True))


def number_digits(number: int, count: int) -> Digits:
    """``number`` in ``count`` digits; EncodingError if it does not fit."""
    if not 0 <= number < BASE**count:
        raise EncodingError(f"{number} does not fit {count} base-16 digits")
    return tuple(number >> (4 * place) & TOP for place in reversed(range(count)))


def digits_number(digits: Iterable[int]) -> int:
    """The inverse of :func:`number_digits`."""
    number = 0
    for digit in digits:
        number = BASE * number + digit
    return number


def checksum_size(digits: int) -> int:
    """The digits that the checksum of ``digits`` digits takes: enough for 15 * ``digits``."""
    return ((TOP * digits).bit_length() + 3) // 4


def with_checksum(digits: Sequence[int]) -> Digits:
    """``digits`` and their checksum: what the chains sign. EncodingError for a digit over 15."""
    if not 0 < len(digits) <= MAX_DIGITS or any(not 0 <= digit <= TOP for digit in digits):
        raise EncodingError(f"a message is 1 to {MAX_DIGITS} digits between 0 and {TOP}")
    missing = sum(TOP - digit for digit in digits)
    return (*digits, *number_digits(missing, checksum_size(len(digits))))


@dataclass(frozen=True, slots=True)
class Label:
    """What one key is for. No two fields of any game of any contract share a label.

    ``direction`` names the side that proves in this game, ``role`` the one that signs here;
    ``digits`` is the length of the message, which is part of the key.
    """

    contract_id: bytes
    direction: str
    role: str
    round: int
    field: str
    digits: int

    def __post_init__(self) -> None:
        if len(self.contract_id) != 32 or not 0 <= self.round <= 0xFFFF:
            raise EncodingError("a label has a 32-byte contract id and a round below 65536")
        if not 0 < self.digits <= MAX_DIGITS:
            raise EncodingError(f"a label is for 1 to {MAX_DIGITS} digits, not {self.digits}")
        for name in (self.direction, self.role, self.field):
            if not name.isascii() or not 0 < len(name) <= 64:
                raise EncodingError(f"a name in a label is 1 to 64 ASCII characters: {name!r}")

    def encode(self) -> bytes:
        """One string of bytes per label: id32 | (length u8 | name) x 3 | round u16 | digits u16."""
        names = (self.direction, self.role, self.field)
        named = b"".join(bytes([len(name)]) + name.encode() for name in names)
        return self.contract_id + named + self.round.to_bytes(2) + self.digits.to_bytes(2)


@dataclass(frozen=True, slots=True)
class OneTimePublicKey:
    """The ends of a key's chains: ``digits`` of the message, then its checksum's."""

    digits: int
    ends: tuple[bytes, ...]

    def __post_init__(self) -> None:
        if not 0 < self.digits <= MAX_DIGITS:
            raise EncodingError(f"a one-time key is for 1 to {MAX_DIGITS} digits")
        chains = self.digits + checksum_size(self.digits)
        if len(self.ends) != chains or any(len(end) != ELEMENT_BYTES for end in self.ends):
            raise EncodingError(
                f"a one-time key of {self.digits} digits is {chains} times {ELEMENT_BYTES} bytes"
            )

    def encode(self) -> bytes:
        """The ends one after the other."""
        return b"".join(self.ends)

    @classmethod
    def decode(cls, digits: int, data: bytes) -> Self:
        """The inverse of ``encode`` for a key of ``digits`` digits; EncodingError otherwise."""
        return cls(digits, split(data))

    def recover(self, signature: Sequence[bytes]) -> Digits:
        """The digits that ``signature`` signs; SignatureError if it is not one of this key."""
        if len(signature) != len(self.ends):
            raise SignatureError(f"{len(self.ends)} chains have no {len(signature)} elements")
        chains = zip(self.ends, signature, strict=True)
        signed = tuple(_digit(n, end, element) for n, (end, element) in enumerate(chains))
        message = signed[: self.digits]
        if signed != with_checksum(message):
            raise SignatureError("the checksum of the one-time signature is not its message's")
        return message

    def verify(self, digits: Sequence[int], signature: Sequence[bytes]) -> bool:
        """Whether ``signature`` signs exactly ``digits``."""
        try:
            return self.recover(signature) == tuple(digits)
        except SignatureError:
            return False


class OneTimeGuard(Protocol):
    """What has been signed, for ever: ``dict.setdefault``, atomic and on disk before it returns."""

    def setdefault(self, label: Label, digits: Digits, /) -> Digits:
        """Remember ``digits`` for ``label`` unless it has some; return those it has now."""
        ...


class OneTimeKey:
    """The starts of one label's chains. Never printed, pickled or compared."""

    __slots__ = ("_secret", "label", "public")

    def __init__(self, seed: bytes, label: Label) -> None:
        """Derive the key of ``label`` from 32 secret random bytes that one contract uses."""
        if len(seed) != 32:
            raise SignatureError("the seed of one-time keys is 32 bytes")
        self._secret = tagged_hash(_LABEL_TAG, seed + label.encode())
        self.label = label
        chains = label.digits + checksum_size(label.digits)
        ends = tuple(_walk(self._start(n), TOP) for n in range(chains))
        self.public = OneTimePublicKey(label.digits, ends)

    def __repr__(self) -> str:
        return f"OneTimeKey({self.label})"

    def __reduce__(self) -> NoReturn:
        raise SignatureError("a one-time key does not travel: derive it from its seed again")

    def sign(self, digits: Sequence[int], guard: OneTimeGuard) -> tuple[bytes, ...]:
        """The signature of ``digits``: one element a chain.

        GuardError if ``guard`` holds another message of this label; the same one is signed again,
        to the same bytes. EncodingError for another number of digits, or one over 15.
        """
        message = tuple(digits)
        if len(message) != self.label.digits:
            raise EncodingError(f"this key signs {self.label.digits} digits, not {len(message)}")
        signed = with_checksum(message)
        if guard.setdefault(self.label, message) != message:
            raise GuardError(
                f"the one-time key of {self.label.field} in round {self.label.round} has signed"
                " another message: send that one again, a second one would give the key away"
            )
        return tuple(_walk(self._start(n), digit) for n, digit in enumerate(signed))

    def _start(self, chain: int) -> bytes:
        return tagged_hash(_CHAIN_TAG, self._secret + chain.to_bytes(2))[:ELEMENT_BYTES]


def split(data: bytes) -> tuple[bytes, ...]:
    """Elements that were joined; EncodingError unless they are 20 bytes each."""
    if len(data) % ELEMENT_BYTES:
        raise EncodingError(f"{len(data)} bytes are no elements of {ELEMENT_BYTES} bytes each")
    return tuple(data[at : at + ELEMENT_BYTES] for at in range(0, len(data), ELEMENT_BYTES))


def require_distinct(keys: Iterable[OneTimePublicKey]) -> None:
    """SignatureError if two chains of ``keys`` end alike.

    Check all keys of a contract, of both sides: who copies an end of the other side's key could
    present what the other side signs as its own message.
    """
    seen: set[bytes] = set()
    for key in keys:
        for end in key.ends:
            if end in seen:
                raise SignatureError("two chains of the one-time keys end alike: refuse these keys")
            seen.add(end)


def _walk(element: bytes, steps: int) -> bytes:
    for _ in range(steps):
        element = hash160(element)
    return element


def _digit(chain: int, end: bytes, element: bytes) -> int:
    if len(element) != ELEMENT_BYTES:
        raise SignatureError(f"element {chain} has {len(element)} bytes, not {ELEMENT_BYTES}")
    for digit in range(TOP, -1, -1):
        if element == end:
            return digit
        element = hash160(element)
    raise SignatureError(f"element {chain} does not lie on its chain")
