/* Checks in the style of the official macros. */
#define CHECK(number, register, expected, code...)                                                  \
    li TESTNUM, number;                                                                             \
    code;                                                                                           \
    li t2, expected;                                                                                \
    bne register, t2, fail

#define PASS_OR_FAIL                                                                                \
    bne zero, TESTNUM, pass;                                                                        \
    fail: RVTEST_FAIL;                                                                              \
    pass: RVTEST_PASS
