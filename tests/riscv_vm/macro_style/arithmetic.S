#include "riscv_test.h"
#include "checks.h"

RVTEST_RV32U
RVTEST_CODE_BEGIN
    CHECK(2, a4, 0x00000000, li a1, 0xffffffff; li a2, 1; add a4, a1, a2)
    CHECK(3, a4, 0x80000000, li a1, 0x80000000; li a2, -1; div a4, a1, a2)
    CHECK(4, a4, 0xffffffff, li a1, 7; div a4, a1, zero)
    CHECK(5, zero, 0, li a1, 5; mul zero, a1, a1)
    CHECK(6, a4, 0xfffffffe, li a1, -1; mulhu a4, a1, a1)
    PASS_OR_FAIL
RVTEST_CODE_END

    .data
RVTEST_DATA_BEGIN
RVTEST_DATA_END
