"""ROM, ENTRY, NOT-HALT: what the program itself says (dispute.md 3, step 8)."""

from collections.abc import Iterator
from functools import lru_cache

from protocol.dispute.gadgets.lookup import Page, pages_of, require_not_at
from protocol.dispute.gadgets.word import constant, require_equal
from protocol.dispute.leaves.evidence import Evidence, head, write
from protocol.dispute.leaves.template import Template
from riscv_vm.image import ProgramImage
from riscv_vm.isa import HALT


@lru_cache(maxsize=512)
def rom(log4_steps: int, page: Page) -> Template:
    """ROM: pc lies in ``page`` of the text, and the opcode is not the word there."""
    evidence = Evidence.begin(log4_steps, (head(log4_steps),))
    require_not_at(evidence.asm, page, evidence.pc, evidence.opcode)
    return evidence.finish(f"ROM {page.name}")


@lru_cache(maxsize=8)
def entry(log4_steps: int, entry_pc: int) -> Template:
    """ENTRY: i is 0, and pc is not the entry point."""
    evidence = Evidence.begin(log4_steps, (head(log4_steps),))
    require_equal(evidence.asm, evidence.index, constant(0, len(evidence.index)))
    evidence.require_different(evidence.pc, constant(entry_pc))
    return evidence.finish("ENTRY")


@lru_cache(maxsize=8)
def not_halt(log4_steps: int) -> Template:
    """NOT-HALT: i is N - 1, and w_i does not go on at HALT."""
    evidence = Evidence.begin(log4_steps, (write(log4_steps), head(log4_steps)))
    index, last = evidence.index, (1 << 2 * log4_steps) - 1
    require_equal(evidence.asm, index, constant(last, len(index)))
    _, _, next_pc = evidence.record
    evidence.require_different(next_pc, constant(HALT))
    return evidence.finish("NOT-HALT")


def text_pages(image: ProgramImage) -> tuple[Page, ...]:
    """The text as pages."""
    text, base = image.text, image.text_base
    words = (int.from_bytes(text[at : at + 4], "little") for at in range(0, len(text), 4))
    return pages_of((base + 4 * n, word) for n, word in enumerate(words))


def program_leaves(log4_steps: int, image: ProgramImage) -> Iterator[Template]:
    """All leaves of this file for a program."""
    for page in text_pages(image):
        yield rom(log4_steps, page)
    yield entry(log4_steps, image.entry)
    yield not_halt(log4_steps)
