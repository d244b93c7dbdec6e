import pytest

from protocol.dispute.judge import describe
from riscv_vm.isa import HALT, NOWRITE, TRAP
from riscv_vm.record import Record


@pytest.mark.parametrize(
    ("record", "text"),
    [
        (Record(0xF000_0028, 0, 0x1_02EC), "a0 = 0x0, then pc 0x102ec"),
        (Record(0xF000_007C, 7, 0x1_0000), "t6 = 0x7, then pc 0x10000"),
        (Record(0x10_0004, 0xFF, 0x1_0000), "[0x100004] = 0xff, then pc 0x10000"),
        (Record(0xEFFF_FFFC, 1, 0x1_0000), "[0xeffffffc] = 0x1, then pc 0x10000"),
        (Record(NOWRITE, 0, HALT), "no write, then HALT"),
        (Record(NOWRITE, 0, TRAP), "no write, then TRAP"),
    ],
)
def test_a_record_reads_like_a_sentence(record, text):
    assert describe(record) == text
