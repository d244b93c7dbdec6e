"""Constants by address, at every index and both borders of a page (dispute.md 4, rule 7)."""

from random import Random

import pytest

from protocol.dispute.assembler import Assembler
from protocol.dispute.gadgets.lookup import PAGE_BYTES, Page, pages_of, require_not_at
from protocol.dispute.gadgets.word import Word
from tests.builders.scripts import calling, flat, holds

RNG = Random(65)


def leaf(page: Page) -> bytes:
    def gadget(asm: Assembler, address: Word, value: Word) -> None:
        require_not_at(asm, page, address, value)

    return calling(gadget, 2, results=0)


def word() -> int:
    return RNG.choice([0, 0xFFFF_FFFF, 0x8000_0000, 0xFFFF, 0x1_0000, RNG.getrandbits(32)])


@pytest.mark.parametrize(("start", "count"), [(0x1_0000, 64), (0x1_0040, 17), (0x2_00FC, 1)])
def test_every_address_of_a_page_and_around_it(start: int, count: int) -> None:
    page = Page(start, tuple(word() for _ in range(count)))
    code = leaf(page)
    for address in range(start & ~0xFF, (start & ~0xFF) + PAGE_BYTES, 4):
        inside = page.holds(address)
        right = page.words[(address - start) // 4] if inside else word()
        assert not holds(code, flat(address, right))
        for bit in (0, 15, 16, 31, RNG.randrange(32)):
            assert holds(code, flat(address, right ^ 1 << bit)) == inside
        for odd in (1, 2, 3):
            assert not holds(code, flat(address + odd, right ^ 1))
    for outside in (start - PAGE_BYTES, start + PAGE_BYTES, start ^ 1 << 31, start & 0xFF):
        assert not holds(code, flat(outside, word()))


def test_pages_are_whole_runs() -> None:
    addresses = [*range(0x10F8, 0x1210, 4), *range(0x1300, 0x1308, 4), 0x1310]
    pages = pages_of((address, address * 3) for address in addresses)
    assert [(page.start, page.end) for page in pages] == [
        *((0x10F8, 0x1100), (0x1100, 0x1200), (0x1200, 0x1210)),
        *((0x1300, 0x1308), (0x1310, 0x1314)),
    ]
    assert [a for p in pages for a in range(p.start, p.end, 4)] == addresses
    assert all(p.words[(a - p.start) // 4] == 3 * a for p in pages for a in addresses if p.holds(a))
    assert pages[0].name == "0x10f8..0x1100"
