"""``oracle-vm contract ...``: an option contract of two parties on Bitcoin."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from actors.chain_contracts import read_contract
from actors.config import open_chain
from actors.contract_demo import WATCHED, ContractDemo
from actors.contract_report import show
from actors.contract_setting import Ending, Setting
from actors.contract_terms import show_terms, stand_in
from actors.contract_transfer import export_contract, export_for_tower, import_contract
from actors.party_config import load_party
from actors.sealed_seed import read_passphrase
from actors.terminal import Announcer, new_folder
from protocol.errors import ConfigError, ProtocolError
from protocol.settlement.terms import contract_id

contract = typer.Typer(no_args_is_help=True, help="An option contract of two parties on Bitcoin.")

PassphraseOption = Annotated[
    Path | None, typer.Option(help="Holds the passphrase; without it you are asked.")
]

WIDTH = 110
"""Columns where there is no terminal."""


@contract.command()
def demo(
    path: Annotated[Ending, typer.Option(help="How it ends.")] = Ending.COOPERATIVE,
    payout: Annotated[int | None, typer.Option(help="Units that the holder is paid.")] = None,
    lie: Annotated[
        str | None, typer.Option(help="What a liar's path tells; `dispute list` names all.")
    ] = None,
    backend: Annotated[str, typer.Option(help="kernel or bitcoind.")] = "kernel",
    folder: Annotated[
        Path | None,
        typer.Option("--dir", help="Keep all files here, not in a temporary folder."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """One contract from terms to the last satoshi: two party processes on one Bitcoin node."""
    with new_folder(folder) as place, Announcer() as announce:
        run = ContractDemo(path, payout, backend, place, announce, lie)
        try:
            run.run()
        except (ProtocolError, TimeoutError) as error:
            if not as_json:
                raise
            run.report.outcome = str(error)
    if as_json:
        print(json.dumps(run.report.to_json()))
    else:
        show(run.report, _console())
        if folder is not None and run.report.ok:
            chain = place / "chain"
            print(f"Look again: oracle-vm chain --dir {chain}")
            print(f"            oracle-vm chain graph {chain / WATCHED} --dir {chain}")
    if not run.report.ok:
        raise typer.Exit(1)


@contract.command()
def terms(
    config: Annotated[Path | None, typer.Option(help="A party's TOML file.")] = None,
    file: Annotated[
        Path | None, typer.Option("--contract", help="A contract file, as `export` writes it.")
    ] = None,
) -> None:
    """A contract in words: amounts, fees, and the whole clock. Without a file, that of `demo`."""
    if config is not None and file is not None:
        raise ConfigError("--config FILE or --contract FILE: name one of them")
    if config is None and file is None:
        with new_folder(None) as place:
            Setting.create(place, Ending.COOPERATIVE)
            party = load_party(place / "holder.toml")
        print("The contract of `oracle-vm contract demo`; for another give --config or --contract.")
        show_terms(stand_in(party.claim, party.terms), party.instrument, _console())
    if config is not None:
        party = load_party(config)
        show_terms(stand_in(party.claim, party.terms), party.instrument, _console())
    if file is not None:
        agreed = read_contract(file).graph().contract
        show_terms(agreed, f"Contract {agreed.id.hex()}", _console())


@contract.command()
def export(
    party: Annotated[Path, typer.Option(help="The party's folder; no process may have it open.")],
    out: Annotated[Path, typer.Option(help="The new file.")],
    watch: Annotated[
        bool, typer.Option("--watch", help="Without any secret: for `chain` and watchers.")
    ] = False,
    tower: Annotated[
        bool, typer.Option("--tower", help="With the keys of answers only: for a watchtower.")
    ] = False,
    passphrase_file: PassphraseOption = None,
) -> None:
    """One file with terms, pre-signed transactions and encrypted keys: whoever loses the machine
    goes on with it."""
    if watch and tower:
        raise ConfigError("--watch or --tower: name one of them")
    if watch:
        data = export_contract(party, None)
    else:
        passphrase = _passphrase(passphrase_file, confirm=True)
        data = (export_for_tower if tower else export_contract)(party, passphrase)
    try:
        with out.open("xb") as file:
            file.write(data)
    except OSError as error:
        raise ConfigError(f"--out {out}: not written ({error.strerror})") from None
    print(f"{out}: {len(data):,} bytes. Export again when the contract goes on.")


@contract.command("import")
def import_(
    file: Annotated[Path, typer.Option(help="A contract file, as `export` writes it.")],
    party: Annotated[Path, typer.Option(help="The new folder of the party.")],
    chain: Annotated[Path, typer.Option(help="The socket of `oracle-vm chain serve`.")],
    network: Annotated[str, typer.Option(help="regtest or signet.")] = "regtest",
    passphrase_file: PassphraseOption = None,
) -> None:
    """Go on with an exported contract on this machine. The chain is read first: what was revealed
    is not signed again. The old machine must never run again."""
    passphrase = _passphrase(passphrase_file)
    with open_chain(chain, "socket", network=network) as node:
        found = import_contract(file, party, passphrase, node)
    print(f"{party}: the {found.role.value}'s side of {contract_id(found.terms).hex()}")
    print(f'Write folder = "{party}" into [party] of its file, and `oracle-vm party run`.')


def _passphrase(file: Path | None, *, confirm: bool = False) -> str:
    """From the first line of a file, or typed by a person."""
    if file is None:
        return str(typer.prompt("Passphrase", hide_input=True, confirmation_prompt=confirm))
    return read_passphrase(file)


def _console() -> Console:
    return Console(width=None if sys.stdout.isatty() else WIDTH)
