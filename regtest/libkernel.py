"""libbitcoinkernel (Bitcoin Core's validation) in process: the only file that touches ``pbk``.

Plain bytes and ints go in and out. Calls that would abort the process on a wrong argument are
guarded here; the library's log, which is global, is where the reason of a refusal comes from.
"""

import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pbk
from bitcoin.core import CTransaction, CTxOut
from pbk.capi import bindings
from pbk.script import PrecomputedTransactionData

from protocol.bitcoin.tx import hash_hex, serialize
from protocol.errors import ChainError, ConsensusError, EncodingError

ALL_FLAGS: Final = int(pbk.ScriptVerificationFlags.ALL)

_ACCEPT_FAILED = re.compile(r"AcceptBlock FAILED \((?P<reason>.*)\)\s*$")
_CONNECT_FAILED = re.compile(
    r"ConnectBlock (?P<hash>[0-9a-f]{64}) failed, (?P<reason>.*)\s*$", re.DOTALL
)


class _Log:
    """The library's log, handed to whoever listens in the thread that caused the line."""

    def __init__(self) -> None:
        self._local = threading.local()
        self._connection: Any = None
        self._lock = threading.Lock()

    def _write(self, line: str) -> None:
        for lines in getattr(self._local, "listeners", ()):
            lines.append(line)

    @contextmanager
    def listen(self) -> Iterator[list[str]]:
        """The lines that calls of this thread cause inside the block."""
        with self._lock:
            if self._connection is None:
                self._connection = pbk.LoggingConnection(self._write)
        if not hasattr(self._local, "listeners"):
            self._local.listeners = []
        lines: list[str] = []
        self._local.listeners.append(lines)
        try:
            yield lines
        finally:
            self._local.listeners.remove(lines)


_log = _Log()


class _Judgements:
    """What ``block_checked`` reported, by block hash: True if valid, else the coarse reason."""

    def __init__(self) -> None:
        self.states: dict[bytes, bool] = {}
        self.failure: Exception | None = None

    def block_checked(self, *arguments: Any) -> None:
        # The wheel passes user_data first, other builds do not; an exception would be dropped.
        block, state = arguments[-2:]
        try:
            valid = state.validation_mode == pbk.ValidationMode.VALID
            self.states[bytes(block.block_hash)] = valid
        except Exception as error:  # noqa: BLE001 - kept for the caller of process_block
            self.failure = error


class Kernel:
    """One open chainstate. Not thread-safe by itself; the owner serialises the calls."""

    def __init__(self, datadir: Path, *, reindex: bool) -> None:
        """Open ``datadir``, rebuilding both databases from the block files if ``reindex``.

        ChainError if libbitcoinkernel cannot, with the reason from its log.
        """
        self._judgements = _Judgements()
        options = pbk.ContextOptions()
        options.set_chainparams(pbk.ChainParameters(pbk.ChainType.REGTEST))
        self._callbacks = pbk.ValidationInterfaceCallbacks(
            block_checked=self._judgements.block_checked
        )
        options.set_validation_interface(self._callbacks)
        context = pbk.Context(options)
        with _log.listen() as lines:
            try:
                manager_options = pbk.ChainstateManagerOptions(
                    context, str(datadir), str(datadir / "blocks")
                )
                # Script checks inline: a refused block then names its first failing input.
                manager_options.set_worker_threads_num(0)
                manager_options.set_wipe_dbs(reindex, reindex)
                self._manager: Any = pbk.ChainstateManager(manager_options)
            except RuntimeError as error:
                raise ChainError(_why_not_open(datadir, lines)) from error
            if self._manager.import_blocks([]) != 0:
                raise ChainError(f"cannot read the block files of {datadir}")
        self._chain: Any = self._manager.get_active_chain()

    def close(self) -> None:
        """Flush to disk and let go of the databases; ChainError if the log reports an error."""
        manager, self._manager, self._chain = self._manager, None, None
        with _log.listen() as lines:
            manager.__exit__(None, None, None)
        errors = [line.strip() for line in lines if "[error]" in line]
        if errors:
            raise ChainError(f"the chain was not flushed ({errors[-1]}): it is rebuilt when opened")

    def disown(self) -> None:
        """In a forked child: forget the handle without flushing the parent's files."""
        if self._manager is not None:
            self._manager._owns_ptr = False
            self._manager._as_parameter_ = None
        self._chain = self._manager = None

    @property
    def height(self) -> int:
        return int(self._chain.height)

    def hash_at(self, height: int) -> bytes | None:
        """The active chain's block hash at ``height``."""
        if not 0 <= height <= self.height:
            return None
        return bytes(self._chain.block_tree_entries[height].block_hash)

    def blocks_from(self, height: int) -> Iterator[bytes]:
        """The active chain's serialized blocks from ``height`` to its tip."""
        for at in range(height, self.height + 1):
            block_hash = self.hash_at(at)
            assert block_hash is not None
            yield self.read_block(block_hash)

    def knows(self, block_hash: bytes) -> bool:
        """Whether the block tree has it: valid, on a side branch, or marked invalid."""
        return pbk.BlockHash(block_hash) in self._manager.block_tree_entries

    def height_of(self, block_hash: bytes) -> int | None:
        """Its height on whatever branch, None if unknown."""
        try:
            return int(self._manager.block_tree_entries[pbk.BlockHash(block_hash)].height)
        except KeyError:
            return None

    def read_block(self, block_hash: bytes) -> bytes:
        """The serialized block; ChainError if it is unknown or not on disk."""
        try:
            entry = self._manager.block_tree_entries[pbk.BlockHash(block_hash)]
            return bytes(self._manager.blocks[entry])
        except (KeyError, RuntimeError) as error:
            raise ChainError(f"no block {hash_hex(block_hash)} on disk") from error

    def process_block(self, raw: bytes, block_hash: bytes) -> None:
        """Validate a block and connect it if it leads; ConsensusError with the node's reason.

        The return value of the library says nothing: a block that fails to connect is stored and
        reported as new. Only ``block_checked`` and the tip decide.
        """
        block = fast_block(raw)
        self._judgements.states.clear()
        with _log.listen() as lines:
            try:
                self._manager.process_block(block)
            except pbk.ProcessBlockException as error:
                raise ConsensusError(_accept_reason(lines)) from error
        if self._judgements.failure is not None:
            raise ChainError("a validation callback failed") from self._judgements.failure
        invalid = [known for known, valid in self._judgements.states.items() if not valid]
        if invalid:
            culprit = block_hash if block_hash in invalid else invalid[0]
            reason = _connect_reason(lines, culprit)
            if culprit != block_hash:
                reason = f"its ancestor {hash_hex(culprit)} is invalid: {reason}"
            raise ConsensusError(reason)


def verify_input(
    tx: CTransaction, index: int, spent: Sequence[CTxOut], flags: int = ALL_FLAGS
) -> bool:
    """Whether input ``index`` of ``tx`` may spend its output under ``flags`` (default all).

    ``spent`` are the outputs that its inputs spend, in order. ChainError for what would abort the
    process: an index out of range, another count of spent outputs, an unknown flag.
    """
    if not 0 <= index < len(tx.vin):
        raise ChainError(f"the transaction has {len(tx.vin)} inputs, none is number {index}")
    return _verify(tx, spent, (index,), flags) is None


def failing_input(tx: CTransaction, spent: Sequence[CTxOut], flags: int = ALL_FLAGS) -> int | None:
    """The first input that may not spend its output, None if all may; as ``verify_input``."""
    return _verify(tx, spent, range(len(tx.vin)), flags)


def _verify(
    tx: CTransaction, spent: Sequence[CTxOut], indexes: Sequence[int], flags: int
) -> int | None:
    if len(spent) != len(tx.vin):
        raise ChainError(f"{len(tx.vin)} inputs need {len(tx.vin)} spent outputs, not {len(spent)}")
    if flags < 0 or flags & ~ALL_FLAGS:
        raise ChainError(f"unknown script verification flags in 0x{flags:x}")
    scripts = [fast_script(bytes(out.scriptPubKey)) for out in spent]
    values = [int(out.nValue) for out in spent]
    kernel_tx = fast_tx(serialize(tx))
    outputs = [pbk.TransactionOutput(s, v) for s, v in zip(scripts, values, strict=True)]
    data = PrecomputedTransactionData(kernel_tx, outputs)
    try:
        for n in indexes:
            if not scripts[n].verify(values[n], kernel_tx, data, n, flags):
                return n
    except pbk.ScriptVerifyException as error:
        raise ChainError(f"script verification refuses these arguments: {error}") from error
    return None


def fast_block(raw: bytes) -> Any:
    """``pbk.Block(raw)`` without its copy through a Python tuple; EncodingError if malformed."""
    return _parse(pbk.Block, bindings.btck_block_create, raw, "block")


def fast_tx(raw: bytes) -> Any:
    """``pbk.Transaction(raw)`` likewise, refusing what parses as an empty transaction."""
    tx = _parse(pbk.Transaction, bindings.btck_transaction_create, raw, "transaction")
    if not len(tx.inputs) or not len(tx.outputs):
        raise EncodingError("a transaction needs at least one input and one output")
    return tx


def fast_script(raw: bytes) -> Any:
    """``pbk.ScriptPubkey(raw)`` likewise."""
    return _parse(pbk.ScriptPubkey, bindings.btck_script_pubkey_create, raw, "script")


def _parse(kind: Any, create: Any, raw: bytes, name: str) -> Any:
    pointer = create(raw, len(raw))
    if not pointer:
        raise EncodingError(f"not a Bitcoin {name}: {len(raw)} bytes that do not parse")
    return kind._from_handle(pointer)


def _why_not_open(datadir: Path, lines: list[str]) -> str:
    log = "".join(lines)
    if "LOCK" in log:
        return (
            f"{datadir} is in use: another process, perhaps a bitcoind, holds its databases;"
            " stop it or choose another folder"
        )
    reason = next(
        (line.strip() for line in reversed(lines) if "[error]" in line), "no reason given"
    )
    return f"cannot open {datadir} ({reason}); open it with reindex=True to rebuild its databases"


def _accept_reason(lines: list[str]) -> str:
    for line in reversed(lines):
        found = _ACCEPT_FAILED.search(line)
        if found:
            return found["reason"]
    return "refused before validation, without a reason in the log"


def _connect_reason(lines: list[str], block_hash: bytes) -> str:
    shown = hash_hex(block_hash)
    for line in lines:
        found = _CONNECT_FAILED.search(line)
        if found and found["hash"] == shown:
            return found["reason"].strip()
    return "invalid, without a reason in the log"
