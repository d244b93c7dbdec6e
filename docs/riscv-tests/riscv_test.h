/* The environment of the official RISC-V instruction tests on this machine: user level only, no
   CSRs, one hart, and exit by ecall 93. A test that passes ends in HALT; one that fails ends in TRAP
   with 2 * number + 1 of the failed case in a0. */
#ifndef RISCV_TEST_H
#define RISCV_TEST_H

#define TESTNUM gp

/* The machine has one privilege level and one word size: nothing to set up. */
#define RVTEST_RV32U
#define RVTEST_RV64U

#define RVTEST_CODE_BEGIN                                                                           \
    .section .text.init, "ax";                                                                      \
    .globl _start;                                                                                  \
    _start:                                                                                         \
    li TESTNUM, 0

/* Never reached: text must not end in an instruction that control can run past. */
#define RVTEST_CODE_END ebreak

#define RVTEST_PASS                                                                                 \
    li a0, 0;                                                                                       \
    li a7, 93;                                                                                      \
    ecall

#define RVTEST_FAIL                                                                                 \
    slli a0, TESTNUM, 1;                                                                            \
    ori a0, a0, 1;                                                                                  \
    li a7, 93;                                                                                      \
    ecall

#define EXTRA_DATA

#define RVTEST_DATA_BEGIN                                                                           \
    EXTRA_DATA                                                                                      \
    .align 4;                                                                                       \
    .globl begin_signature;                                                                         \
    begin_signature:

#define RVTEST_DATA_END                                                                             \
    .align 4;                                                                                       \
    .globl end_signature;                                                                           \
    end_signature:

#endif
