"""How a chain is asked over a socket (``regtest.frames``): one answer to each request.

    greeting  version, network, error     from the node, as soon as a client has connected
    request   call, arguments
    answer    result | error, text        a class of ``protocol.errors`` and its sentence

``CALLS`` types every argument and result, so that both ends refuse what the other must not send.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from bitcoin.core import COutPoint, CTransaction

from protocol import errors
from protocol.bitcoin.tx import outpoint, outpoint_key, parse_tx, serialize
from protocol.errors import ChainError, EncodingError, ProtocolError
from protocol.wire.fields import Field, Integer, Many, Optional, Raw, Record, Text, raw, uint
from regtest.chain import BlockRef, Caps, Header, TxRef, Utxo, Verdict
from regtest.frames import MAX_ITEMS

T = TypeVar("T")

VERSION: Final = 1
MAX_BLOCK_BYTES: Final = 4_000_000
MAX_BLOCKS: Final = 10_000
"""Blocks that one call may mine or drop."""
MAX_TEXT: Final = 2_000

# Fields


@dataclass(frozen=True, slots=True)
class _Converted:
    """A value that travels as another: ``field`` checks that one, ``build`` makes ours of it."""

    field: Field
    plain: Callable[[Any], Any]
    build: Callable[[Any], Any]

    def pack(self, value: Any) -> Any:
        return self.field.pack(self.plain(value))

    def unpack(self, name: str, plain: Any) -> Any:
        found = self.field.unpack(name, plain)
        try:
            return self.build(found)
        except ProtocolError as error:
            raise EncodingError(f"{name}: {error}") from None


class _HeightOrHash:
    """What names a block."""

    def pack(self, value: int | bytes) -> int | bytes:
        return value

    def unpack(self, name: str, plain: Any) -> int | bytes:
        field: Field = raw(32) if type(plain) is bytes else Integer(-1, 2**31 - 1)
        found: int | bytes = field.unpack(name, plain)
        return found


def _outpoint(key: bytes) -> COutPoint:
    return outpoint(key[:32], int.from_bytes(key[32:], "little"))


HASH: Final = raw(32)
HEIGHT: Final = uint(31)
FLAG: Final = _Converted(Integer(0, 1), int, bool)
SCRIPT: Final = Raw(0, 10_000)
TX: Final = _Converted(Raw(1, MAX_BLOCK_BYTES), serialize, parse_tx)
TXS: Final = Many(TX, MAX_ITEMS)
POINT: Final = _Converted(raw(36), outpoint_key, _outpoint)
BLOCK: Final = Record(BlockRef, height=HEIGHT, hash=HASH, time=uint(32))
HEADER: Final = Record(
    Header,
    ref=BLOCK,
    parent=HASH,
    merkle_root=HASH,
    version=Integer(-(2**31), 2**31 - 1),
    bits=uint(32),
    nonce=uint(32),
    median_time=uint(32),
)
TX_REF: Final = Record(TxRef, txid=HASH, tx=TX, block=Optional(BLOCK), position=uint(31))
UTXO: Final = Record(
    Utxo,
    txid=HASH,
    index=uint(32),
    sats=uint(63),
    script=SCRIPT,
    height=Optional(HEIGHT),
    coinbase=FLAG,
)
VERDICT: Final = Record(
    Verdict,
    consensus=FLAG,
    consensus_reason=Text(MAX_TEXT),
    policy=Optional(FLAG),
    policy_reason=Text(MAX_TEXT),
    policy_by=Text(),
)
CAPS: Final = Record(
    Caps,
    engine=Text(),
    consensus=Text(),
    policy=Text(),
    wallet=FLAG,
    package=FLAG,
    clock=FLAG,
    cheap_reorg=FLAG,
    network=Text(),
)


class _Nothing:
    """The result of a call that has none."""

    def pack(self, value: None) -> None:
        return value

    def unpack(self, name: str, plain: Any) -> None:
        if plain is not None:
            raise EncodingError(f"{name} must be null")


# Calls


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """A call by its name, its arguments and its result."""

    name: str
    arguments: Mapping[str, Field]
    result: Field
    changes: bool = False
    """Whether it changes chain or mempool: it is not repeated where it may have happened."""

    def pack_arguments(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The values of all arguments as plain ones."""
        return {name: field.pack(values[name]) for name, field in self.arguments.items()}

    def unpack_arguments(self, plain: Any) -> dict[str, Any]:
        """The reverse; EncodingError names the argument."""
        if type(plain) is not dict or plain.keys() != self.arguments.keys():
            raise EncodingError(f"the arguments must be {', '.join(self.arguments) or 'none'}")
        return {name: field.unpack(name, plain[name]) for name, field in self.arguments.items()}

    def result_of(self, answer: Any) -> T:
        """The result in an answer. The error in it is raised; EncodingError if it is neither."""
        if type(answer) is dict and answer.keys() == {"result"}:
            found: T = self.result.unpack(self.name, answer["result"])
            return found
        if type(answer) is dict and answer.keys() == {"error", "text"}:
            raise _ERRORS.get(str(answer["error"]), ChainError)(str(answer["text"]))
        raise EncodingError(f"{self.name}: an answer holds a result, or an error and its text")


CAPS_CALL: Final[Call[Caps]] = Call("caps", {}, CAPS)
TIP_CALL: Final[Call[BlockRef]] = Call("tip", {}, BLOCK)
HEADER_CALL: Final[Call[Header]] = Call("header", {"block": _HeightOrHash()}, HEADER)
BLOCK_CALL: Final[Call[tuple[CTransaction, ...]]] = Call("block", {"block": _HeightOrHash()}, TXS)
UTXO_CALL: Final[Call[Utxo | None]] = Call(
    "utxo", {"point": POINT, "mempool": FLAG}, Optional(UTXO)
)
UNSPENT_CALL: Final[Call[tuple[Utxo, ...]]] = Call(
    "unspent", {"script": SCRIPT}, Many(UTXO, MAX_ITEMS)
)
TX_CALL: Final[Call[TxRef | None]] = Call("tx", {"txid": HASH}, Optional(TX_REF))
SPENDER_CALL: Final[Call[TxRef | None]] = Call("spender", {"point": POINT}, Optional(TX_REF))
MEMPOOL_CALL: Final[Call[tuple[CTransaction, ...]]] = Call("mempool", {}, TXS)
CHECK_CALL: Final[Call[Verdict]] = Call("check", {"tx": TX}, VERDICT)
SET_TIME_CALL: Final[Call[None]] = Call("set_time", {"unix_seconds": uint(32)}, _Nothing())
CHECKPOINT_CALL: Final[Call[None]] = Call("checkpoint", {}, _Nothing())
CHANGED_CALL: Final[Call[bytes]] = Call(
    "changed", {"since": Optional(HASH), "wait_ms": Integer(0, 5_000)}, HASH
)
"""How ``wait`` waits: a stamp of tip and mempool, once it differs from ``since`` or after
``wait_ms``."""
SUBMIT_BLOCK_CALL: Final[Call[BlockRef]] = Call(
    "submit_block", {"raw": Raw(0, MAX_BLOCK_BYTES)}, BLOCK, changes=True
)
MINE_CALL: Final[Call[tuple[BlockRef, ...]]] = Call(
    "mine",
    {"count": Integer(0, MAX_BLOCKS), "to": SCRIPT, "txs": Optional(TXS)},
    Many(BLOCK, MAX_BLOCKS),
    changes=True,
)
BROADCAST_CALL: Final[Call[bytes]] = Call("broadcast", {"tx": TX}, HASH, changes=True)
BROADCAST_PACKAGE_CALL: Final[Call[tuple[bytes, ...]]] = Call(
    "broadcast_package", {"txs": TXS}, Many(HASH, MAX_ITEMS), changes=True
)
REORG_CALL: Final[Call[BlockRef]] = Call(
    "reorg", {"depth": Integer(-1, MAX_BLOCKS), "txs": TXS}, BLOCK, changes=True
)

CALLS: Final[Mapping[str, Call[Any]]] = {
    call.name: call for call in tuple(vars().values()) if isinstance(call, Call)
}
"""Every call of ``regtest.chain.Chain`` by its name, and ``changed``."""


# Frames


@dataclass(frozen=True, slots=True)
class Greeting:
    """What a node says first; ``error`` is why it does not serve this client, or empty."""

    network: str
    error: str
    version: int = VERSION


GREETING: Final = Record(
    Greeting, network=Text(), error=Text(MAX_TEXT), version=Integer(VERSION, VERSION)
)


def refusal(error: ProtocolError) -> dict[str, str]:
    """The answer that raises this error at the other end, as the nearest class of
    ``protocol.errors``."""
    kind = next(kind for kind in type(error).__mro__ if _ERRORS.get(kind.__name__) is kind)
    return {"error": kind.__name__, "text": Text(MAX_TEXT).pack(str(error))}


_ERRORS: Final[Mapping[str, type[ProtocolError]]] = {
    name: kind
    for name, kind in vars(errors).items()
    if isinstance(kind, type) and issubclass(kind, ProtocolError)
}
