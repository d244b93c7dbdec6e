"""A bitcoind as a judge and store of blocks, behind the calls of ``regtest.indexed.Engine``."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from protocol.bitcoin.tx import hash_hex, parse_hash
from protocol.errors import ChainError, ConsensusError
from regtest.rpc import DECODE_FAILED, INVALID_PARAMETER, NOT_FOUND, Rpc, RpcError, granted

_BATCH = 200
_CONNECT_FAILED = re.compile(r"ConnectBlock ([0-9a-f]{64}) failed, (.*)$", re.MULTILINE)


class RpcEngine:
    """The node as a judge and store of blocks (``regtest.indexed.Engine``)."""

    def __init__(self, rpc: Rpc, log: Path) -> None:
        self._rpc = rpc
        self._log = log
        self.accepted: tuple[bytes, bytes] = b"", b""
        """Hash and bytes of the last block given to it that it found valid."""

    def look(self) -> tuple[bytes, list[bytes]]:
        """The hash of the tip and the txids of the mempool on top of it."""
        calls: list[tuple[str, list[object]]] = [
            ("getbestblockhash", []),
            ("getrawmempool", []),
            ("getbestblockhash", []),
        ]
        while True:
            before, waiting, after = map(granted, self._rpc.batch(calls))
            if before == after:
                return parse_hash(before), [parse_hash(text) for text in waiting]

    def hash_at(self, height: int) -> bytes | None:
        try:
            return parse_hash(self._rpc.call("getblockhash", height))
        except RpcError as error:
            if error.code != INVALID_PARAMETER:
                raise
            return None

    def blocks_from(self, height: int) -> Iterator[bytes]:
        tip = self._rpc.call("getblockcount")
        for start in range(height, tip + 1, _BATCH):
            heights = range(start, min(start + _BATCH, tip + 1))
            hashes = self._rpc.batch([("getblockhash", [at]) for at in heights])
            for text in self._rpc.batch([("getblock", [granted(name), 0]) for name in hashes]):
                yield bytes.fromhex(granted(text))

    def knows(self, block_hash: bytes) -> bool:
        return self.height_of(block_hash) is not None

    def height_of(self, block_hash: bytes) -> int | None:
        header = self._found("getblockheader", hash_hex(block_hash))
        return None if header is None else int(header["height"])

    def read_block(self, block_hash: bytes) -> bytes:
        raw = self._found("getblock", hash_hex(block_hash), 0)
        if raw is None:
            raise ChainError(f"no block {hash_hex(block_hash)} on disk")
        return bytes.fromhex(raw)

    def process_block(self, raw: bytes, block_hash: bytes) -> None:
        told = self._log.stat().st_size
        answer = self._rpc.call("submitblock", raw.hex())
        if answer in (None, "duplicate"):
            self.accepted = block_hash, raw
        elif answer in ("inconclusive", "duplicate-inconclusive"):
            self._check_branch(block_hash, told)
        else:
            raise ConsensusError(str(answer))

    def refusal(self, raw: bytes) -> str | None:
        """Why a block on the tip would be refused, its proof of work aside; nothing is stored."""
        request = {"mode": "proposal", "data": raw.hex(), "rules": ["segwit"]}
        try:
            answer = self._rpc.call("getblocktemplate", request)
        except RpcError as error:
            if error.code != DECODE_FAILED:
                raise
            answer = error.message
        return None if answer is None else str(answer)

    def _check_branch(self, block_hash: bytes, told: int) -> None:
        """ConsensusError if the branch that ``block_hash`` ends turned out invalid: the node says
        so of the branch only, and why in its log, from byte ``told`` on."""
        shown = hash_hex(block_hash)
        tips = {tip["hash"]: tip["status"] for tip in self._rpc.call("getchaintips")}
        if tips.get(shown) != "invalid":
            return
        with self._log.open("rb") as log:
            log.seek(told)
            failed = _CONNECT_FAILED.search(log.read().decode(errors="replace"))
        reason = failed[2].strip() if failed else "no reason in the log"
        culprit = f"ancestor {failed[1]}" if failed and failed[1] != shown else "branch"
        raise ConsensusError(f"its {culprit} is invalid: {reason}")

    def _found(self, method: str, *params: object) -> Any:
        try:
            return self._rpc.call(method, *params)
        except RpcError as error:
            if error.code != NOT_FOUND:
                raise
            return None
