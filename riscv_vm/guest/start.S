# Entry. The machine has set sp to the top of its stack; main's result is the exit code (0 gives
# HALT, anything else TRAP). The jump is never reached: text must not end in what can fall through.
    .section .text.start, "ax"
    .globl _start
_start:
    call main
    li a7, 93
    ecall
1:  j 1b
