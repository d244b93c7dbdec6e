"""The command line, ``oracle-vm``: results on stdout, progress on stderr, errors in one line.

A command's module is imported when it is called: an oracle starts without Ray and the machine.
"""

import sys
from importlib import import_module
from typing import Any, Final

import typer
from typer.core import TyperGroup

from protocol.errors import ProtocolError
from riscv_vm.image import ImageError

COMMANDS: Final = {
    "up": "actors.local.commands:up",
    "status": "actors.local.commands:status",
    "logs": "actors.local.commands:logs",
    "down": "actors.local.commands:down",
    "faucet": "actors.local.commands:faucet",
    "mine": "actors.local.commands:mine",
    "demo": "actors.demo_command:demo",
    "oracle": "actors.node_commands:oracle",
    "aggregator": "actors.node_commands:aggregator",
    "signer": "actors.signer_commands:signer",
    "network": "actors.key_commands:network",
    "history": "actors.history_commands:history",
    "verify": "actors.verify_command:verify",
    "chain": "actors.chain_commands:chain",
    "coordinator": "actors.coordinator_commands:coordinator",
    "party": "actors.party_commands:party",
    "prover": "actors.prover_commands:prover",
    "contract": "actors.contract_commands:contract",
    "watchtower": "actors.watchtower_commands:watchtower",
    "challenger": "actors.watchtower_commands:watchtower",
    "dispute": "actors.dispute_commands:dispute",
    "audit": "actors.audit_command:audit_command",
    "quote": "actors.quote_command:quote",
    "pool": "actors.pool_commands:pool",
    "api": "actors.api_command:api",
    "feeds": "actors.feed_commands:feeds",
    "cluster": "actors.cluster_commands:cluster",
    "chaos": "actors.chaos.commands:chaos",
    "doctor": "actors.doctor_command:doctor",
    "backup": "actors.backup_commands:backup",
    "vm": "actors.vm_commands:vm",
    "config": "actors.demo_command:config_app",
    "bench": "actors.bench_command:bench",
}
"""Where each command is: a Typer application or a function."""


class _Commands(TyperGroup):
    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in COMMANDS:
            return None
        module, name = COMMANDS[cmd_name].split(":")
        found = getattr(import_module(module), name)
        parent = typer.Typer(add_completion=False, rich_markup_mode=None)
        if isinstance(found, typer.Typer):
            parent.add_typer(found, name=cmd_name)
        else:
            parent.command(cmd_name)(found)
        return typer.main.get_group(parent).commands[cmd_name]


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.callback()
def _oracle_vm() -> None:
    """Prices signed by oracles, computed on by a RISC-V program, settled on Bitcoin."""


def main() -> None:
    """Run the command line; an error of ours is one line on stderr and exit code 1."""
    try:
        app()
    except (ProtocolError, ImageError, TimeoutError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
