#include "riscv_test.h"
#include "checks.h"
#undef RVTEST_RV64U
#define RVTEST_RV64U RVTEST_RV32U

RVTEST_RV64U
RVTEST_CODE_BEGIN
    .align 3
    CHECK(2, a4, 4, la a1, 2f; 1: jalr a2, a1, 0; j fail; 2: la a3, 1b; sub a4, a2, a3)
    CHECK(3, a4, 3, li a4, 0; 1: addi a4, a4, 1; li a1, 3; bne a4, a1, 1b)
    CHECK(4, a4, 10000, lla a1, 1f + 10000; jal a2, 1f; 1: sub a4, a1, a2)
    PASS_OR_FAIL
RVTEST_CODE_END
