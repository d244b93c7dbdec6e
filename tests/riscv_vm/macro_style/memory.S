#include "riscv_test.h"
#include "checks.h"

RVTEST_RV32U
RVTEST_CODE_BEGIN
    CHECK(2, a4, 0xffffff80, la a1, bytes; lb a4, 3(a1))
    CHECK(3, a4, 0x00008001, la a1, bytes; lhu a4, 2(a1))
    CHECK(4, a4, 0xcafe1234, la a1, bytes; li a2, 0xcafe; sh a2, 2(a1); lw a4, 0(a1))
    CHECK(5, a4, 0xca551234, la a1, bytes; li a2, 0xaa55; sb a2, 2(a1); lw a4, 0(a1))
    CHECK(6, a4, 0x00000011, la a1, constant; lw a4, 0(a1))
    CHECK(7, a4, 0, la a1, blank; lw a4, 12(a1))
    PASS_OR_FAIL
RVTEST_CODE_END

    .section .rodata
    .align 2
constant: .word 17
    .bss
    .align 2
blank: .space 16
    .data
RVTEST_DATA_BEGIN
bytes: .word 0x80011234
RVTEST_DATA_END
