"""The files of a demo's contract: oracles, and for each party its keys and its configuration."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, Self

from actors.config import CHAIN_SOCKET
from actors.contract_oracles import DemoOracles
from actors.contract_process import Program
from actors.keyfile import create_key
from actors.party_config import load_party
from actors.party_folder import CONTROL
from actors.ports import free_ports
from protocol.settlement.terms import ClaimTerms, Role


class Ending(StrEnum):
    """How the contract ends."""

    COOPERATIVE = "cooperative"
    CLAIM_HOLDER = "claim-holder"
    CLAIM_WRITER = "claim-writer"
    REFUND = "refund"
    AMERICAN = "american"
    LIE_HOLDER = "lie-holder"
    LIE_WRITER = "lie-writer"
    LIE_CHALLENGE = "lie-challenge"

    @property
    def prover(self) -> Role | None:
        """Who claims because the other side does not close with it."""
        if self in (Ending.CLAIM_WRITER, Ending.LIE_WRITER):
            return Role.WRITER
        return None if self in (Ending.COOPERATIVE, Ending.REFUND) else Role.HOLDER

    @property
    def liar(self) -> Role | None:
        """Who lies: the prover about its claim, or the other side against a true one."""
        if self is Ending.LIE_CHALLENGE:
            return Role.WRITER
        return self.prover if self in (Ending.LIE_HOLDER, Ending.LIE_WRITER) else None


FUNDS_HEIGHT: Final = 102
"""One coinbase for each party, and 100 blocks until they may spend it."""

DAY_ROUNDS: Final = 86_400

TERMS: Final[Mapping[str, Any]] = {
    "quantity_sats": 4 * 10**8,
    "collateral_sats": 4 * 10**8,
    "premium_sats": 5_000_000,
    "bond_sats": 2_500_000,
    "claim_fee_sats": 50_000,
    "expiry_height": FUNDS_HEIGHT + 10,
    "refund_height": FUNDS_HEIGHT + 40,
}
"""A put on as much as it is covered by: half the strike pays all of it, so that a price exists for
every number of units; and a unit is worth its sweep. A bond pays for a dispute at ten times the
rate."""

LIES: Final[Mapping[Ending, str]] = {
    Ending.LIE_HOLDER: "step",
    Ending.LIE_WRITER: "wrong-opcode",
    Ending.LIE_CHALLENGE: "challenge",
}
"""What is told on each path that ends in a lie (protocol.dispute.lies), unless another is named."""

INSTRUMENT: Final = "BTC-27DEC26-50000-P"


@dataclass(frozen=True, slots=True)
class Setting:
    """A folder with everything that the processes of a demo read."""

    folder: Path
    oracles: DemoOracles
    instrument: str
    claim: ClaimTerms
    lies: Mapping[Role, str]
    """What each party that lies tells."""

    @classmethod
    def create(cls, folder: Path, ending: Ending, lie: str | None = None, **terms: Any) -> Self:
        """New files in ``folder``; ``terms`` replace some of ``TERMS``, ``lie`` the path's own."""
        is_american = ending is Ending.AMERICAN
        settings = {"quorum": 3 if is_american else 2, "faults": 1}
        oracles = DemoOracles.create(folder / "oracles", settings)
        publics = {}
        for role in Role:
            for name in ("identity", "wallet"):
                key = create_key(folder / role.value / f"{name}.key")
                publics[role, name] = key.public
        (port,) = free_ports(1)
        offer = dict(TERMS)
        offer["instrument"] = INSTRUMENT + ("-A" if is_american else "")
        offer["rounds"] = DAY_ROUNDS if is_american else 1
        for role in Role:
            tables = _tables(role, ending, port, publics[role.other, "identity"])
            tables["terms"] = offer | terms
            text = "\n".join(_table(name, fields) for name, fields in tables.items())
            (folder / f"{role.value}.toml").write_text(text)
        claim = load_party(folder / "holder.toml").claim
        lies = {} if ending.liar is None else {ending.liar: lie or LIES[ending]}
        return cls(folder, oracles, offer["instrument"], claim, lies)

    @property
    def socket(self) -> Path:
        """Of the Bitcoin node."""
        return self.folder / "chain" / CHAIN_SOCKET

    def programs(self, backend: str) -> list[Program]:
        """The node, the holder, the writer: three processes."""
        chain = self.folder / "chain"
        serve = ("chain", "serve", "--dir", str(chain), "--backend", backend)
        return [
            Program("chain", serve, self.folder / "chain.log"),
            *map(self._party, Role),
        ]

    def _party(self, role: Role) -> Program:
        name = role.value
        file = self.folder / f"{name}.toml"
        lie = ("--lie", self.lies[role]) if role in self.lies else ()
        command = ("party", "run", "--role", name, "--config", str(file), *lie)
        return Program(name, command, self.folder / f"{name}.log", self.folder / name / CONTROL)


def _tables(role: Role, ending: Ending, port: int, peer: bytes) -> dict[str, dict[str, Any]]:
    name, is_holder = role.value, role is Role.HOLDER
    address = f"127.0.0.1:{port}"
    link = {"listen": address} if is_holder else {}
    dial = {} if is_holder else {"url": f"ws://{address}"}
    return {
        "party": {
            "role": name,
            "folder": name,
            "chain": f"chain/{CHAIN_SOCKET}",
            "depth": 1,
            **link,
        },
        "keys": {"identity": f"{name}/identity.key", "wallet": f"{name}/wallet.key"},
        "peer": {"identity_key": peer.hex(), **dial},
        "oracles": {"network": "oracles/network.toml"},
        "close": _closing(role, ending),
    }


def _closing(role: Role, ending: Ending) -> dict[str, Any]:
    if ending is Ending.COOPERATIVE:
        return {"cooperate": "offer" if role is Role.HOLDER else "answer"}
    if role is ending.prover:
        return {"cooperate": "never", "claim_after_s": 0, "claim_after_blocks": 0}
    return {"cooperate": "never", "claims": False}


def _table(name: str, fields: Mapping[str, Any]) -> str:
    """JSON's numbers, texts and truths are TOML's."""
    return "\n".join([f"[{name}]", *(f"{k} = {json.dumps(v)}" for k, v in fields.items()), ""])
