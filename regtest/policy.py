"""A MODEL of what Bitcoin Core 31 relays by default. No node judged anything said here.

It covers versions, sizes, output and input shapes, dust, fees, replacement, TRUC and cluster
limits. It leaves out what only a script interpreter can see: in legacy and version 0 spends low S,
strict encodings, minimal IF and clean stack (for Taproot those are consensus anyway), in all of
them minimal pushes, upgradable NOPs and keys of unknown type. Reasons use Core's words.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from bitcoin.core import CTransaction, CTxOut

from protocol.bitcoin.address import witness_program
from protocol.bitcoin.fees import dust_limit_sats
from protocol.bitcoin.opcodes import Op, is_op_success
from protocol.bitcoin.script import PAY_TO_ANCHOR, operations
from protocol.bitcoin.taproot import TAPSCRIPT
from protocol.bitcoin.tx import serialize, vsize_of_weight, weight, without_witness, witness_stack
from protocol.errors import PolicyError, ScriptError

MIN_RELAY_SAT_PER_KVB = 100
INCREMENTAL_RELAY_SAT_PER_KVB = 100
MAX_STANDARD_WEIGHT = 400_000
MIN_STANDARD_BASE_BYTES = 65
MAX_SCRIPT_SIG_BYTES = 1_650
MAX_DATA_CARRIER_BYTES = 100_000
MAX_TAPSCRIPT_ITEM_BYTES = 80
MAX_P2WSH_ITEMS = 100
MAX_P2WSH_ITEM_BYTES = 80
MAX_P2WSH_SCRIPT_BYTES = 3_600
TRUC_VERSION = 3
TRUC_MAX_VSIZE = 10_000
TRUC_CHILD_MAX_VSIZE = 1_000
MAX_CLUSTER_COUNT = 64
MAX_CLUSTER_VSIZE = 101_000


@dataclass(frozen=True, slots=True)
class Candidate:
    """A transaction with what policy must know of it."""

    tx: CTransaction
    spent: Sequence[CTxOut]
    fee_sats: int


@dataclass(frozen=True, slots=True)
class Relative:
    """An entry of the mempool that a candidate depends on or would evict."""

    version: int
    vsize: int
    fee_sats: int


def check_standard(candidate: Candidate) -> None:
    """PolicyError unless the transaction by itself is one that Core relays."""
    tx = candidate.tx
    if not 1 <= tx.nVersion <= 3:
        raise PolicyError("version")
    if weight(tx) > MAX_STANDARD_WEIGHT:
        raise PolicyError("tx-size")
    if len(serialize(without_witness(tx))) < MIN_STANDARD_BASE_BYTES:
        raise PolicyError("tx-size-small")
    for txin in tx.vin:
        if len(txin.scriptSig) > MAX_SCRIPT_SIG_BYTES:
            raise PolicyError("scriptsig-size")
        if not _push_only(bytes(txin.scriptSig)):
            raise PolicyError("scriptsig-not-pushonly")
    _check_outputs(candidate)
    for index, coin in enumerate(candidate.spent):
        _check_input(tx, index, bytes(coin.scriptPubKey))


def check_fee(candidate: Candidate) -> None:
    """PolicyError below the minimum relay fee rate."""
    size = vsize_of_weight(weight(candidate.tx))
    needed = -(-MIN_RELAY_SAT_PER_KVB * size // 1000)
    if candidate.fee_sats < needed:
        raise PolicyError(f"min relay fee not met, {candidate.fee_sats} < {needed}")


def check_family(candidate: Candidate, parents: Sequence[Relative], siblings: int) -> None:
    """PolicyError if the unconfirmed ``parents`` break the TRUC rules (BIP431).

    ``parents`` are all unconfirmed ancestors; ``siblings`` counts other children of theirs.
    """
    version = candidate.tx.nVersion
    size = vsize_of_weight(weight(candidate.tx))
    if version == TRUC_VERSION and size > TRUC_MAX_VSIZE:
        raise PolicyError("TRUC-violation, version=3 tx is too big")
    for parent in parents:
        if (parent.version == TRUC_VERSION) != (version == TRUC_VERSION):
            raise PolicyError(f"TRUC-violation, version={version} tx with a parent of another kind")
    if version == TRUC_VERSION and parents:
        if len(parents) > 1:
            raise PolicyError("TRUC-violation, tx would have too many ancestors")
        if size > TRUC_CHILD_MAX_VSIZE:
            raise PolicyError("TRUC-violation, version=3 child tx is too big")
        if siblings:
            raise PolicyError("TRUC-violation, tx would exceed descendant count limit")


def evicts_sibling(candidate: Candidate, ancestors: int, siblings: int) -> bool:
    """Whether the only other child of a TRUC parent counts as a conflict, to be replaced."""
    return candidate.tx.nVersion == TRUC_VERSION and ancestors == siblings == 1


def check_cluster(count: int, total_vsize: int) -> None:
    """PolicyError if a connected set of the mempool grew beyond Core 31's limits."""
    if count > MAX_CLUSTER_COUNT or total_vsize > MAX_CLUSTER_VSIZE:
        raise PolicyError("too-large-cluster")


def check_replacement(
    candidate: Candidate, direct: Sequence[Relative], evicted: Sequence[Relative]
) -> None:
    """PolicyError unless the candidate pays for what it evicts (full replace-by-fee)."""
    size = vsize_of_weight(weight(candidate.tx))
    for old in direct:
        if candidate.fee_sats * old.vsize <= old.fee_sats * size:
            raise PolicyError("insufficient fee, rejecting replacement: its fee rate is not higher")
    owed = sum(old.fee_sats for old in evicted)
    owed += -(-INCREMENTAL_RELAY_SAT_PER_KVB * size // 1000)
    if candidate.fee_sats < owed:
        raise PolicyError(
            f"insufficient fee, rejecting replacement: {candidate.fee_sats} < {owed} sats"
        )


def _check_outputs(candidate: Candidate) -> None:
    dust, carried = 0, 0
    for out in candidate.tx.vout:
        script = bytes(out.scriptPubKey)
        if script[:1] == bytes([Op.RETURN]):
            carried += len(script)
            if not _push_only(script[1:]):
                raise PolicyError("scriptpubkey")
        elif not _standard_output(script):
            raise PolicyError("scriptpubkey")
        dust += out.nValue < dust_limit_sats(script)
    if carried > MAX_DATA_CARRIER_BYTES:
        raise PolicyError("datacarrier")
    if dust > 1 or (dust and candidate.fee_sats):
        raise PolicyError("dust")


def _standard_output(script: bytes) -> bool:
    program = witness_program(script)
    if program is not None:
        version, data = program
        return version > 0 or len(data) in (20, 32)
    if len(script) == 25:
        return script[:3] == bytes([Op.DUP, Op.HASH160, 20]) and script[23:] == b"\x88\xac"
    if len(script) == 23:
        return script[:2] == bytes([Op.HASH160, 20]) and script[22] == Op.EQUAL
    if len(script) in (35, 67):  # a bare public key
        return script[0] == len(script) - 2 and script[-1] == Op.CHECKSIG
    return _bare_multisig(script)


def _bare_multisig(script: bytes) -> bool:
    if len(script) < 37 or script[-1] != Op.CHECKMULTISIG:
        return False
    total, at, keys = script[-2] - Op.TRUE + 1, 1, 0
    while at < len(script) - 2 and script[at] in (33, 65):
        at, keys = at + 1 + script[at], keys + 1
    required = script[0] - Op.TRUE + 1
    return at == len(script) - 2 and keys == total and 1 <= required <= total <= 3


def _check_input(tx: CTransaction, index: int, script: bytes) -> None:
    stack = witness_stack(tx, index)
    program = witness_program(script)
    if program is None:
        if not _standard_output(script):
            raise PolicyError("bad-txns-nonstandard-inputs")
        return
    version, data = program
    if version == 0 and len(data) == 32:
        _check_p2wsh(stack)
    elif script == PAY_TO_ANCHOR:
        if stack:
            raise PolicyError("bad-witness-nonstandard")
    elif version == 1 and len(data) == 32:
        _check_taproot(stack)
    elif version > 0:
        raise PolicyError("bad-txns-nonstandard-inputs")


def _check_p2wsh(stack: tuple[bytes, ...]) -> None:
    *items, code = stack or (b"",)
    if (
        len(code) > MAX_P2WSH_SCRIPT_BYTES
        or len(items) > MAX_P2WSH_ITEMS
        or any(len(item) > MAX_P2WSH_ITEM_BYTES for item in items)
    ):
        raise PolicyError("bad-witness-nonstandard")


def _check_taproot(stack: tuple[bytes, ...]) -> None:
    if len(stack) >= 2 and stack[-1][:1] == b"\x50":
        raise PolicyError("bad-witness-nonstandard")  # annex
    if len(stack) < 2:
        return
    *items, code, control = stack
    if not control or control[0] & 0xFE != TAPSCRIPT:
        raise PolicyError("mempool-script-verify-flag-failed (Taproot version reserved)")
    if any(len(item) > MAX_TAPSCRIPT_ITEM_BYTES for item in items):
        raise PolicyError("bad-witness-nonstandard")
    try:
        reserved = any(is_op_success(opcode) for opcode, _ in operations(code))
    except ScriptError:
        reserved = False
    if reserved:
        raise PolicyError("mempool-script-verify-flag-failed (OP_SUCCESSx reserved)")


def _push_only(code: bytes) -> bool:
    try:
        return all(opcode <= Op.N16 for opcode, _ in operations(code))
    except ScriptError:
        return False
