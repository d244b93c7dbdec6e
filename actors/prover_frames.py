"""What a party and a prover's process say to each other over a Unix socket.

    frame    = length u32, big-endian | msgpack map, at most FRAME_MAX bytes
    request  = version, program, terms, data, log4_steps, width      who: a party
    answer   = version, error (empty if there is none), roots        who: the prover

``program`` is the name of a committed guest, ``terms`` what its terms page begins with, ``data``
its input. ``roots`` are those of the trace's chunks (riscv_vm.prove), each ``width`` bytes, behind
each other. A connection's requests are answered one after the other; what is malformed ends it.
"""

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from protocol.errors import EncodingError
from protocol.wire.fields import TEXT_LIMIT, Integer, Raw, Record, Text
from riscv_vm.guest import guest_elf
from riscv_vm.image import load_elf, with_terms

if TYPE_CHECKING:
    from riscv_vm.execution import Execution

VERSION: Final = 1
FRAME_MAX: Final = 2 << 20
TERMS_MAX: Final = 4096
DATA_MAX: Final = 1 << 20
LOG4_STEPS_MAX: Final = 15
WIDTH_MAX: Final = 32
_LENGTH: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """An execution to be proved."""

    program: str
    terms: bytes
    data: bytes
    log4_steps: int
    width: int
    version: int = VERSION

    def execution(self) -> "Execution":
        """ImageError for a program that is not there or a shape that cannot be."""
        from riscv_vm.execution import Execution

        image = with_terms(load_elf(guest_elf(self.program)), self.terms)
        return Execution(image, self.data, self.log4_steps, self.width)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The roots of its chunks, or why there are none."""

    roots: bytes = b""
    error: str = ""
    version: int = VERSION


_VERSION: Final = Integer(VERSION, VERSION)
REQUEST: Final = Record(
    Request,
    version=_VERSION,
    program=Text(32),
    terms=Raw(0, TERMS_MAX),
    data=Raw(0, DATA_MAX),
    log4_steps=Integer(1, LOG4_STEPS_MAX),
    width=Integer(1, WIDTH_MAX),
)
ANSWER: Final = Record(
    Answer, version=_VERSION, error=Text(TEXT_LIMIT), roots=Raw(0, FRAME_MAX - 1024)
)


async def read_frame(reader: asyncio.StreamReader, record: Record) -> Any:
    """The next message. EncodingError if it is none, IncompleteReadError at the end."""
    size = int.from_bytes(await reader.readexactly(_LENGTH))
    if size > FRAME_MAX:
        raise EncodingError(f"frame: {size} bytes are more than {FRAME_MAX}")
    return record.decode(await reader.readexactly(size))


async def send_frame(writer: asyncio.StreamWriter, record: Record, message: Any) -> None:
    """Returns once it is under way."""
    data = record.encode(message)
    writer.write(len(data).to_bytes(_LENGTH) + data)
    await writer.drain()
