"""The files of both parties of a demo: keys, and what each wants, like people write them for
``oracle-vm party run``. The demo makes the keys of both and hands out the paths."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from actors.config import CHAIN_SOCKET
from actors.demo_config import Config
from actors.keyfile import create_key
from actors.network_files import table
from actors.party_config import load_party
from actors.ports import free_ports
from protocol.settlement.terms import Role


def write_parties(
    folder: Path, config: Config, chain: Path, network: Path, liar: Role | None
) -> None:
    """``holder.toml`` and ``writer.toml`` in ``folder``, and a folder of each with its keys.

    ``chain`` is the coordinator's folder, ``network`` the oracles' network file. A ``liar`` claims
    alone, at once; without one both close together. ConfigError names a field that makes no sense.
    """
    publics = {
        (role, name): create_key(folder / role.value / f"{name}.key").public
        for role in Role
        for name in ("identity", "wallet")
    }
    (port,) = free_ports(1)
    for role in Role:
        name, is_holder = role.value, role is Role.HOLDER
        party: dict[str, Any] = {
            "role": name,
            "folder": name,
            "chain": str(chain / CHAIN_SOCKET),
            "depth": config.dispute.confirmations,
        }
        peer = {"identity_key": publics[role.other, "identity"].hex()}
        if is_holder:
            party["listen"] = f"127.0.0.1:{port}"
        else:
            peer["url"] = f"ws://127.0.0.1:{port}"
        tables: dict[str, Mapping[str, Any]] = {
            "party": party,
            "keys": {"identity": f"{name}/identity.key", "wallet": f"{name}/wallet.key"},
            "peer": peer,
            "oracles": {"network": str(network)},
            "close": _closing(role, liar),
            "terms": msgspec.to_builtins(config.offer),
        }
        file = folder / f"{name}.toml"
        file.write_text("\n".join(table(f"[{head}]", fields) for head, fields in tables.items()))
        load_party(file)


def _closing(role: Role, liar: Role | None) -> dict[str, Any]:
    if role is liar:
        return {"cooperate": "never", "claim_after_s": 0, "claim_after_blocks": 0}
    if liar is None and role is Role.HOLDER:
        return {"cooperate": "offer"}
    return {"cooperate": "answer"}
