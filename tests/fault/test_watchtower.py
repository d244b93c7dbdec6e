"""A watchtower that dies now and then guards two contracts whose owners' machines are gone: a false
claim is convicted, a true one is left alone and what it gives away is swept."""

from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from actors.cli import app
from actors.config import Chain, open_chain
from actors.contract_accounts import Accounts
from actors.contract_process import Processes, Program
from actors.contract_setting import FUNDS_HEIGHT, Ending, Setting
from actors.contract_txs import contract_txs
from actors.keyfile import create_key
from actors.party_folder import CONTROL, PartyFolder
from protocol.bitcoin.address import REGTEST, decode_address
from protocol.crypto.winternitz import Digits, Label
from protocol.settlement.contract_file import ContractFile, revealed_on_chain
from protocol.settlement.terms import ContractTerms, Role, contract_id
from protocol.units import E8, PriceE8
from tests.builders.parties import Forked, run_party, run_watchtower, serve_chain

pytestmark = pytest.mark.timeout(400)

LIED, TRUE = "lied", "true"
ENDINGS = {LIED: Ending.LIE_HOLDER, TRUE: Ending.CLAIM_HOLDER}
MOMENTS = r"(before|after) Broadcast holder:(CHALLENGE|PICK_2|PICK_10)$|guard of digit 5|Retrace"
PRICE_E8 = PriceE8(40_000 * E8)
UNITS = 16_385
"""What the contract pays at this price."""
MOST_BLOCKS = 80


class World:
    """Two contracts on one chain; a watchtower guards the writer's side of both."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.settings = {
            name: Setting.create(folder / name, ending) for name, ending in ENDINGS.items()
        }
        (folder / TRUE / "chain").symlink_to(folder / LIED / "chain")
        programs = [
            self._forked(name, like)
            for name, setting in self.settings.items()
            for like in setting.programs("kernel")
            if (name, like.name) != (TRUE, "chain")
        ]
        self.processes = Processes(programs)
        self.chain: Chain = open_chain(self.settings[LIED].socket, "socket")
        self.gone = ExitStack()
        self.away: set[str] = set()
        self.terms: dict[str, ContractTerms] = {}
        self.shown: dict[str, dict[Label, Digits]] = {}
        """What each writer has signed with its one-time keys, on whatever machine."""

    def _forked(self, name: str, like: Program) -> Forked:
        setting = self.settings[name]
        if like.name == "chain":
            return Forked(like, serve_chain, setting.folder / "chain", None)
        file, lie = setting.folder / f"{like.name}.toml", setting.lies.get(Role(like.name))
        like.name = f"{name} {like.name}"
        return Forked(like, run_party, file, lie, None, "", 0)

    def party(self, name: str, role: Role) -> str:
        return f"{name} {role.value}"

    def ask(self, program: str, method: str, **arguments: Any) -> Any:
        return self.processes[program].ask(method, **arguments)

    def mine(self, count: int = 1) -> None:
        """Blocks, each once everybody who is there has done what the last one asks for."""
        for _ in range(count):
            (block,) = self.chain.mine(1)
            for program in self.processes.programs.values():
                if program.control is not None and program.name not in self.away:
                    program.ask("at", height=block.height)

    def fund(self) -> dict[str, Accounts]:
        """Both contracts, in one block."""
        scripts = {
            name: {
                role: decode_address(self.ask(self.party(name, role), "status")["address"], REGTEST)
                for role in Role
            }
            for name in ENDINGS
        }
        for each in scripts.values():
            for script in each.values():
                self.chain.mine(1, to=script)
        self.chain.mine(FUNDS_HEIGHT - 2)
        accounts = {name: Accounts(self.chain, each) for name, each in scripts.items()}
        self.processes.until(lambda: len(self.chain.mempool()) == len(ENDINGS), "FUND")
        self.mine()
        for name in ENDINGS:
            agreed = self.ask(self.party(name, Role.HOLDER), "status")["terms"]
            self.terms[name] = ContractTerms.decode(bytes.fromhex(agreed))
        return accounts

    def lose_writers(self) -> None:
        """Their files for the watchtower are all that is left, and it starts."""
        secret = self.folder / "passphrase"
        secret.write_text("correct horse battery staple\n")
        create_key(self.folder / "fees.key")
        tower = {"folder": "tower", "chain": f"{LIED}/chain/chain.sock", "wallet": "fees.key"}
        fields = [f'{name} = "{value}"' for name, value in tower.items()]
        tables = ["\n".join(["[watchtower]", *fields, "depth = 1\n"])]
        for name, setting in self.settings.items():
            writer = self.processes[self.party(name, Role.WRITER)]
            assert isinstance(writer, Forked)
            self.gone.enter_context(writer.stopped())
            self.away.add(writer.name)
            out = self.folder / f"{name}.tower"
            command = ["contract", "export", "--tower", "--party", setting.folder / "writer"]
            command += ["--out", out, "--passphrase-file", secret]
            done = CliRunner().invoke(app, list(map(str, command)))
            assert done.exit_code == 0, done.output + str(done.exception)
            tables.append(f'[[contract]]\nfile = "{out.name}"\npassphrase_file = "passphrase"\n')
        file = self.folder / "tower.toml"
        file.write_text("\n".join(tables))
        like = Program("tower", (), self.folder / "tower.log", self.folder / "tower" / CONTROL)
        deaths = self.folder / "tower.deaths"
        self.processes.programs["tower"] = Forked(like, run_watchtower, file, deaths, MOMENTS)
        self.processes["tower"].start()

    def claim(self) -> None:
        """Both holders are told what the oracles sign."""
        self.mine(self.terms[LIED].chain.expiry_height - self.chain.height)
        for name, setting in self.settings.items():
            slot, quorum = self.terms[name].expiry_slot(), self.terms[name].claim.quorum
            signed = setting.oracles.certify(slot, quorum, PRICE_E8).encode().hex()
            self.ask(self.party(name, Role.HOLDER), "settle", certificate=signed)

    def tower(self) -> dict[str, dict[str, Any]]:
        """What the watchtower says of each contract."""
        found = {each["contract"]: each for each in self.ask("tower", "status")["contracts"]}
        return {name: found[contract_id(terms).hex()] for name, terms in self.terms.items()}

    def disk(self, name: str, *, tower: bool) -> PartyFolder:
        writer = self.settings[name].folder / "writer"
        own = self.folder / "tower" / contract_id(self.terms[name]).hex() / "writer"
        return PartyFolder.open(own if tower else writer)


def test_absent_owners_lose_nothing(tmp_path: Path) -> None:
    world = World(tmp_path)
    with world.processes, world.chain:
        accounts = world.fund()
        world.lose_writers()
        world.claim()
        for _ in range(MOST_BLOCKS):
            world.mine()
            dispute = world.tower()[LIED]["dispute"]
            if dispute is not None and dispute["wait"] == "RECORDS" and world.away:
                world.gone.close()  # the owners are back: both answer from here on
                world.away.clear()
            holders = (world.ask(world.party(name, Role.HOLDER), "status") for name in ENDINGS)
            if all(status["over"] for status in holders):
                break
        assert not world.away
        check_ends(world, accounts)
    check_guards(world, tmp_path)


def check_ends(world: World, accounts: dict[str, Accounts]) -> None:
    """Every satoshi is where it belongs."""
    said = world.tower()
    assert said[LIED]["outcome"].startswith("holder:VERDICT_")
    assert said[LIED]["dispute"]["winner"] == "writer"
    assert said[TRUE]["outcome"] == "holder:SETTLE"
    assert all(each["over"] and each["fault"] is None for each in said.values())
    for name in ENDINGS:
        file = ContractFile.decode((world.folder / f"{name}.tower").read_bytes())
        txs = contract_txs(file.graph(), world.chain)
        books = accounts[name].close(world.terms[name], txs, UNITS)
        assert books.add_up, books
        world.shown[name] = revealed_on_chain(file.graph(), Role.WRITER, world.chain)


def check_guards(world: World, folder: Path) -> None:
    """Owner and watchtower know of the same messages, however many of each signed them, and the
    watchtower died of what it did."""
    deaths = (folder / "tower.deaths").read_text().splitlines()
    assert "after the guard of digit 5" in deaths
    assert {f"{when} Broadcast holder:PICK_10" for when in ("before", "after")} <= set(deaths)
    shown = world.shown[LIED]
    assert len(shown) == 12
    for tower in (False, True):
        with closing(world.disk(LIED, tower=tower)) as disk:
            assert {label: disk.guard.get(label) for label in shown} == shown
    assert not world.shown[TRUE]
