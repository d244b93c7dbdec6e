"""The numbers of the fast machine's operations, dense: a chain over them becomes a jump table.

They carry the names of the instructions, except that CONST is lui and auipc, and NOP is fence.
"""

from itertools import count

_number = count()
NOP, CONST, JAL, JALR = (next(_number) for _ in range(4))
BEQ, BNE, BLT, BGE, BLTU, BGEU = (next(_number) for _ in range(6))
LB, LH, LW, LBU, LHU, SB, SH, SW = (next(_number) for _ in range(8))
ADDI, SLTI, SLTIU, XORI, ORI, ANDI, SLLI, SRLI, SRAI = (next(_number) for _ in range(9))
ADD, SUB, SLL, SLT, SLTU, XOR, SRL, SRA, OR, AND = (next(_number) for _ in range(10))
MUL, MULH, MULHSU, MULHU, DIV, DIVU, REM, REMU = (next(_number) for _ in range(8))
ECALL, EBREAK = (next(_number) for _ in range(2))
