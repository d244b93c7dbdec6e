#include "riscv_test.h"
#include "checks.h"

RVTEST_RV32U
RVTEST_CODE_BEGIN
    CHECK(2, a4, 3, li a4, 3)
    CHECK(3, a4, 4, li a4, 3)
    PASS_OR_FAIL
RVTEST_CODE_END
