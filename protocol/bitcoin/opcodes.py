"""The opcodes of Script as tapscript (BIP342) reads them.

python-bitcoinlib names the legacy set only: it lacks OP_CHECKSIGADD and knows no OP_SUCCESSx.
"""

from enum import IntEnum


class Op(IntEnum):
    """One opcode; ``bytes([op])`` is its encoding. Names are Bitcoin Core's without ``OP_``."""

    FALSE = 0x00
    PUSHDATA1 = 0x4C
    PUSHDATA2 = 0x4D
    PUSHDATA4 = 0x4E
    NEGATE_1 = 0x4F
    RESERVED = 0x50
    TRUE = 0x51
    N2 = 0x52
    N3 = 0x53
    N4 = 0x54
    N5 = 0x55
    N6 = 0x56
    N7 = 0x57
    N8 = 0x58
    N9 = 0x59
    N10 = 0x5A
    N11 = 0x5B
    N12 = 0x5C
    N13 = 0x5D
    N14 = 0x5E
    N15 = 0x5F
    N16 = 0x60
    NOP = 0x61
    IF = 0x63
    NOTIF = 0x64
    ELSE = 0x67
    ENDIF = 0x68
    VERIFY = 0x69
    RETURN = 0x6A
    TOALTSTACK = 0x6B
    FROMALTSTACK = 0x6C
    DROP2 = 0x6D
    DUP2 = 0x6E
    DUP3 = 0x6F
    OVER2 = 0x70
    ROT2 = 0x71
    SWAP2 = 0x72
    IFDUP = 0x73
    DEPTH = 0x74
    DROP = 0x75
    DUP = 0x76
    NIP = 0x77
    OVER = 0x78
    PICK = 0x79
    ROLL = 0x7A
    ROT = 0x7B
    SWAP = 0x7C
    TUCK = 0x7D
    SIZE = 0x82
    EQUAL = 0x87
    EQUALVERIFY = 0x88
    ADD1 = 0x8B
    SUB1 = 0x8C
    NEGATE = 0x8F
    ABS = 0x90
    NOT = 0x91
    NOTEQUAL0 = 0x92
    ADD = 0x93
    SUB = 0x94
    BOOLAND = 0x9A
    BOOLOR = 0x9B
    NUMEQUAL = 0x9C
    NUMEQUALVERIFY = 0x9D
    NUMNOTEQUAL = 0x9E
    LESSTHAN = 0x9F
    GREATERTHAN = 0xA0
    LESSTHANOREQUAL = 0xA1
    GREATERTHANOREQUAL = 0xA2
    MIN = 0xA3
    MAX = 0xA4
    WITHIN = 0xA5
    RIPEMD160 = 0xA6
    SHA1 = 0xA7
    SHA256 = 0xA8
    HASH160 = 0xA9
    HASH256 = 0xAA
    CODESEPARATOR = 0xAB
    CHECKSIG = 0xAC
    CHECKSIGVERIFY = 0xAD
    CHECKMULTISIG = 0xAE
    CHECKMULTISIGVERIFY = 0xAF
    CHECKLOCKTIMEVERIFY = 0xB1
    CHECKSEQUENCEVERIFY = 0xB2
    CHECKSIGADD = 0xBA


def is_op_success(byte: int) -> bool:
    """Whether ``byte`` is an OP_SUCCESSx of BIP342: a tapscript holding one is always true."""
    return (
        byte in (80, 98)
        or 126 <= byte <= 129
        or 131 <= byte <= 134
        or 137 <= byte <= 138
        or 141 <= byte <= 142
        or 149 <= byte <= 153
        or 187 <= byte <= 254
    )
