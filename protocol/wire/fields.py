"""Fields and records: how a Python value becomes a plain msgpack value and back, checked.

``pack`` trusts its value, which is ours; ``unpack`` trusts nothing and raises EncodingError with
the name of the field.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, Protocol, Self, TypeVar

from protocol.errors import EncodingError
from protocol.wire import strict

T = TypeVar("T")

TEXT_LIMIT: Final = 300
"""Characters of a sentence that one operator shows another."""


class Field(Protocol):
    """One field of a record."""

    def pack(self, value: Any) -> Any:
        """The value as int, str, bytes, None, list or dict."""

    def unpack(self, name: str, plain: Any) -> Any:
        """The reverse; EncodingError names the field."""


class Encodable(Protocol):
    """A message with canonical bytes of its own."""

    def encode(self) -> bytes:
        """The bytes."""

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """The reverse; EncodingError for all other bytes."""


def _require(kind: type[T], name: str, plain: Any) -> T:
    if type(plain) is not kind:
        raise EncodingError(f"{name} must be {kind.__name__}, got {type(plain).__name__}")
    return plain


@dataclass(frozen=True, slots=True)
class Integer:
    """An integer from ``low`` to ``high``."""

    low: int
    high: int

    def pack(self, value: int) -> int:
        """The integer."""
        return value

    def unpack(self, name: str, plain: Any) -> int:
        """The integer; EncodingError out of range."""
        if not self.low <= _require(int, name, plain) <= self.high:
            raise EncodingError(f"{name} must be from {self.low} to {self.high}, got {plain}")
        return int(plain)


def uint(bits: int) -> Integer:
    """An unsigned integer of ``bits`` bits."""
    return Integer(0, 2**bits - 1)


@dataclass(frozen=True, slots=True)
class Raw:
    """From ``least`` to ``most`` bytes."""

    least: int
    most: int

    def pack(self, value: bytes) -> bytes:
        """The bytes."""
        return value

    def unpack(self, name: str, plain: Any) -> bytes:
        """The bytes; EncodingError on another length."""
        data = _require(bytes, name, plain)
        if not self.least <= len(data) <= self.most:
            raise EncodingError(
                f"{name} must be {self.least} to {self.most} bytes, got {len(data)}"
            )
        return data


def raw(size: int) -> Raw:
    """Exactly ``size`` bytes."""
    return Raw(size, size)


@dataclass(frozen=True, slots=True)
class Text:
    """Printable text of at most ``limit`` characters. Ours is cut and cleaned, so that an error
    message can always travel; a foreign one that breaks the rule is refused."""

    limit: int = TEXT_LIMIT

    def pack(self, value: str) -> str:
        """The text, cut, with a question mark for every character that does not print."""
        return "".join(c if c.isprintable() else "?" for c in value[: self.limit])

    def unpack(self, name: str, plain: Any) -> str:
        """The text; EncodingError if it is too long or does not print."""
        text = _require(str, name, plain)
        if len(text) > self.limit or not text.isprintable():
            raise EncodingError(f"{name} must be printable, at most {self.limit} characters")
        return text


@dataclass(frozen=True, slots=True)
class Member:
    """A member of an enumeration, as its value."""

    kind: type[Enum]

    def pack(self, value: Enum) -> Any:
        """The value without its enumeration."""
        return value.value

    def unpack(self, name: str, plain: Any) -> Enum:
        """The member; EncodingError for a value that has none."""
        for member in self.kind:
            if type(plain) is type(member.value) and plain == member.value:
                return member
        raise EncodingError(f"{name} is no {self.kind.__name__} that this program knows")


@dataclass(frozen=True, slots=True)
class Optional:
    """``field`` or null."""

    field: Field

    def pack(self, value: Any) -> Any:
        """None or what the field packs."""
        return None if value is None else self.field.pack(value)

    def unpack(self, name: str, plain: Any) -> Any:
        """None or what the field unpacks."""
        return None if plain is None else self.field.unpack(name, plain)


@dataclass(frozen=True, slots=True)
class Many:
    """A tuple of at most ``limit`` values of ``field``."""

    field: Field
    limit: int

    def pack(self, value: tuple[Any, ...]) -> list[Any]:
        """An array of what the field packs."""
        return [self.field.pack(item) for item in value]

    def unpack(self, name: str, plain: Any) -> tuple[Any, ...]:
        """The tuple; EncodingError if it is too long."""
        items = _require(list, name, plain)
        if len(items) > self.limit:
            raise EncodingError(f"{name}: {len(items)} entries, at most {self.limit} are allowed")
        return tuple([self.field.unpack(f"{name}[{i}]", item) for i, item in enumerate(items)])


class Coded:
    """A message that has canonical bytes of its own."""

    def __init__(self, kind: type[Encodable]) -> None:
        self.kind = kind

    def encode(self, message: Encodable) -> bytes:
        """Its bytes."""
        return message.encode()

    def decode(self, data: bytes) -> Encodable:
        """The message of these bytes; EncodingError if there is none."""
        return self.kind.decode(data)

    pack = encode

    def unpack(self, name: str, plain: Any) -> Encodable:
        """The message of bytes inside another message."""
        data = _require(bytes, name, plain)
        try:
            return self.kind.decode(data)
        except EncodingError as error:
            raise EncodingError(f"{name}: {error}") from None


class Record:
    """A dataclass as a map: every field of ``fields``, in this order, and no other."""

    def __init__(self, kind: type[Any], /, **fields: Field) -> None:
        self.kind = kind
        self._fields = fields
        self._names = tuple(fields)

    def encode(self, message: Any) -> bytes:
        """The bytes of a message of this kind."""
        return strict.pack(self.pack(message))

    def decode(self, data: bytes) -> Any:
        """The message of these bytes; EncodingError if there is none."""
        return self.unpack(self.kind.__name__, strict.unpack(data))

    def pack(self, value: Any) -> dict[str, Any]:
        """The map of a value."""
        return {name: field.pack(getattr(value, name)) for name, field in self._fields.items()}

    def unpack(self, name: str, plain: Any) -> Any:
        """The value of a map; EncodingError names a missing, unknown, misplaced or wrong field."""
        found = _require(dict, name, plain)
        if tuple(found) != self._names:
            raise EncodingError(f"{name} must have the fields {', '.join(self._names)} in order")
        return self.kind(
            **{
                key: field.unpack(f"{name}.{key}", found[key])
                for key, field in self._fields.items()
            }
        )


class OneOf:
    """A value of one of several types: a map with one entry, whose key names the type."""

    def __init__(self, **fields: Coded | Record) -> None:
        self._fields = fields

    def pack(self, value: Any) -> dict[str, Any]:
        """The map; EncodingError for a type that does not travel here."""
        for name, field in self._fields.items():
            if type(value) is field.kind:
                return {name: field.pack(value)}
        raise EncodingError(f"{type(value).__name__} is none of {', '.join(self._fields)}")

    def unpack(self, name: str, plain: Any) -> Any:
        """The value; EncodingError for an unknown key."""
        found = _require(dict, name, plain)
        if len(found) != 1 or not found.keys() <= self._fields.keys():
            raise EncodingError(f"{name} must have one of the fields {', '.join(self._fields)}")
        [(key, value)] = found.items()
        return self._fields[key].unpack(f"{name}.{key}", value)
