"""unicorn (QEMU) as the independent judge of instruction semantics."""

from collections.abc import Iterable

import unicorn
from unicorn import riscv_const

from riscv_vm.image import ProgramImage
from riscv_vm.isa import STACK_BASE, STACK_BYTES

_PAGE = 4096
_REGISTERS = [getattr(riscv_const, f"UC_RISCV_REG_X{index}") for index in range(32)]


class Judge:
    """A QEMU machine with the image's text and data and the stack mapped in one space."""

    def __init__(self, image: ProgramImage) -> None:
        self._uc = unicorn.Uc(unicorn.UC_ARCH_RISCV, unicorn.UC_MODE_RISCV32)
        self._map(image.text_base, image.text, len(image.text))
        for segment in image.data:
            self._map(segment.base, segment.content, segment.size)
        self._uc.mem_map(STACK_BASE, STACK_BYTES)
        self._image = image

    def _map(self, base: int, content: bytes, size: int) -> None:
        start = base // _PAGE * _PAGE
        self._uc.mem_map(start, -(-(base + size - start) // _PAGE) * _PAGE)
        self._uc.mem_write(base, content)

    def set_registers(self, values: Iterable[int]) -> None:
        for register, value in zip(_REGISTERS[1:], list(values)[1:], strict=True):
            self._uc.reg_write(register, value)

    def registers(self) -> list[int]:
        return [self._uc.reg_read(register) & 0xFFFF_FFFF for register in _REGISTERS]

    def write(self, address: int, content: bytes) -> None:
        self._uc.mem_write(address, content)

    def read(self, address: int, size: int) -> bytes:
        return bytes(self._uc.mem_read(address, size))

    def execute(self, pc: int, count: int) -> int:
        """Run ``count`` instructions from ``pc``; returns the next pc."""
        self._uc.emu_start(pc, 0xFFFF_FFF0, count=count)
        return int(self._uc.reg_read(riscv_const.UC_RISCV_REG_PC)) & 0xFFFF_FFFF
