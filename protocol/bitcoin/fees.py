"""Fees and dust: what a weight costs, and the least output that nodes relay."""

from protocol.bitcoin.address import witness_program
from protocol.bitcoin.opcodes import Op
from protocol.bitcoin.tx import WITNESS_SCALE

DUST_RELAY_SAT_PER_KVB = 3_000
"""Core's default ``-dustrelayfee``."""

KEY_PATH_INPUT_WEIGHT = 4 * (32 + 4 + 1 + 4) + 1 + 1 + 64
"""Weight of an input that spends Taproot by key path with SIGHASH_DEFAULT."""

OVERHEAD_WEIGHT = 4 * (4 + 1 + 1 + 4) + 2
"""Version, counts below 253, lock time, segwit marker and flag."""


def output_weight(script: bytes) -> int:
    """Weight of an output of ``script`` (shorter than 253 bytes)."""
    return 4 * (8 + 1 + len(script))


def fee_sats(weight_units: int, feerate_sat_vb: int) -> int:
    """The fee of a weight at a whole number of sats per virtual byte, rounded up."""
    return -(-weight_units * feerate_sat_vb // WITNESS_SCALE)


def dust_limit_sats(script: bytes) -> int:
    """The least value of an output of ``script`` that Core relays (330 for Taproot)."""
    if script[:1] == bytes([Op.RETURN]):
        return 0
    spend_bytes = 67 if witness_program(script) is not None else 148
    return (8 + 1 + len(script) + spend_bytes) * DUST_RELAY_SAT_PER_KVB // 1000
