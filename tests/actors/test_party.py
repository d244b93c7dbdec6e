"""Two party programs and a node in one process: what an operator can ask, and when they stop."""

import asyncio
import re
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from actors.clock import SystemClock
from actors.config import CHAIN_SOCKET, ChainServer, Wallet
from actors.contract_setting import FUNDS_HEIGHT, Ending, Setting
from actors.control import call
from actors.keyfile import load_key
from actors.party import PartyProgram
from actors.party_config import load_party
from actors.party_folder import CONTROL
from actors.party_wallet import SIGNED, UNSIGNED
from protocol.bitcoin.address import REGTEST, encode_address
from protocol.bitcoin.psbt import Psbt, parse_psbt
from protocol.bitcoin.tx import hash_hex, witness_stack
from protocol.errors import ConfigError, GuardError, ProtocolError
from protocol.settlement.terms import ContractTerms, Role
from protocol.units import E8, PriceE8
from regtest.kernel import KernelChain

DEADLINE_S = 20.0


class World:
    """A setting with its node, and programs by role."""

    def __init__(self, setting: Setting, chain: KernelChain) -> None:
        self.setting = setting
        self.chain = chain
        self.programs: dict[Role, PartyProgram] = {}
        self._serving: dict[Role, asyncio.Task[None]] = {}

    def edit(self, role: Role, old: str, new: str) -> None:
        file = self.setting.folder / f"{role.value}.toml"
        text, count = re.subn(old, new, file.read_text(), flags=re.MULTILINE)
        assert count
        file.write_text(text)

    def start(self, role: Role) -> asyncio.Task[None]:
        config = load_party(self.setting.folder / f"{role.value}.toml")
        program = self.programs[role] = PartyProgram(config, SystemClock())
        program.policy = replace(program.policy, repeat_ms=300)  # five seconds outside tests
        self._serving[role] = asyncio.create_task(self.programs[role].serve())
        return self._serving[role]

    async def ask(self, role: Role, method: str, **arguments):
        path = self.setting.folder / role.value / CONTROL
        return await call(path, method, DEADLINE_S, **arguments)

    async def status_when(self, role: Role, holds) -> dict:
        async with asyncio.timeout(DEADLINE_S):
            while True:
                if (self.setting.folder / role.value / CONTROL).exists():
                    status = await self.ask(role, "status")
                    if holds(status):
                        return status
                await asyncio.sleep(0.01)

    async def mine(self, count: int = 1) -> None:
        for _ in range(count):
            (block,) = self.chain.mine(1)
            for role in self.programs:
                await self.ask(role, "at", height=block.height)

    async def funded(self) -> ContractTerms:
        """Both are started and FUND is in a block."""
        for role in Role:
            if role not in self.programs:
                self.start(role)
        async with asyncio.timeout(DEADLINE_S):
            while not self.chain.mempool():
                await asyncio.sleep(0.01)
        await self.mine()
        status = await self.ask(Role.WRITER, "status")
        assert status["stage"] == "funded"
        return ContractTerms.decode(bytes.fromhex(status["terms"]))

    def certificate(self, terms: ContractTerms, price: int = 40_000) -> str:
        slot, quorum = terms.expiry_slot(), terms.claim.quorum
        return self.setting.oracles.certify(slot, quorum, PriceE8(price * E8)).encode().hex()

    def names(self) -> list[str]:
        """What waits for a block."""
        return [hash_hex(tx.GetTxid()) for tx in self.chain.mempool()]

    async def stop(self) -> None:
        for task in self._serving.values():
            task.cancel()
        await asyncio.gather(*self._serving.values(), return_exceptions=True)


@asynccontextmanager
async def world(folder: Path, ending: Ending = Ending.COOPERATIVE):
    setting = Setting.create(folder / "demo", ending)
    (setting.folder / "chain").mkdir()
    with (
        KernelChain(setting.folder / "chain" / "node") as chain,
        ChainServer(chain, setting.folder / "chain" / CHAIN_SOCKET),
    ):
        for role in Role:
            key = load_key(setting.folder / role.value / "wallet.key")
            chain.mine(1, to=Wallet(chain, key).script())
        chain.mine(FUNDS_HEIGHT - len(Role))
        made = World(setting, chain)
        try:
            yield made
        finally:
            await made.stop()


async def test_one_loop_from_nothing_to_close(tmp_path: Path) -> None:
    async with world(tmp_path) as made:
        made.start(Role.HOLDER)
        alone = await made.status_when(Role.HOLDER, lambda status: status["height"] >= 0)
        assert (alone["stage"], alone["contract"], alone["connected"]) == ("draft", None, False)
        with pytest.raises(ProtocolError, match="there is no contract yet"):
            await made.ask(Role.HOLDER, "settle", certificate="00")
        with pytest.raises(GuardError, match="in use by another process"):
            PartyProgram(load_party(made.setting.folder / "holder.toml"), SystemClock())

        terms = await made.funded()
        with pytest.raises(ProtocolError, match="certificate: "):
            await made.ask(Role.HOLDER, "settle", certificate="zz")
        forged = made.certificate(terms)
        with pytest.raises(ProtocolError):
            await made.ask(Role.WRITER, "settle", certificate=forged[:-2] + "00")
        with pytest.raises(ProtocolError, match="exercise_round 5"):
            await made.ask(Role.HOLDER, "exercise", round_id=5)
        await made.ask(Role.WRITER, "settle", certificate=made.certificate(terms))
        assert not made.chain.mempool()  # it answers, it does not offer
        await made.ask(Role.WRITER, "close")
        async with asyncio.timeout(DEADLINE_S):
            while not made.chain.mempool():
                await asyncio.sleep(0.01)
        await made.mine()
        for role in Role:
            status = await made.ask(role, "status")
            assert (status["stage"], status["outcome"], status["over"]) == (
                "settled",
                "CLOSE",
                True,
            )
            rows = await made.ask(role, "transactions")
            assert [row["name"] for row in rows] == ["FUND", "CLOSE"]


async def test_an_operator_who_does_not_want_to_wait_claims(tmp_path: Path) -> None:
    async with world(tmp_path, Ending.REFUND) as made:
        terms = await made.funded()
        await made.mine(terms.chain.expiry_height - made.chain.height)
        await made.ask(Role.HOLDER, "settle", certificate=made.certificate(terms))
        await made.mine()
        assert not made.chain.mempool()  # its file says that it neither closes nor claims
        await made.ask(Role.HOLDER, "claim")
        async with asyncio.timeout(DEADLINE_S):
            while not made.chain.mempool():
                await asyncio.sleep(0.01)
        await made.mine(2)
        rows = await made.ask(Role.WRITER, "transactions")
        assert [row["name"] for row in rows] == ["FUND", "holder:INPUT_1", "holder:KICKOFF"]


async def test_a_person_signs_the_writers_coins_elsewhere(tmp_path: Path) -> None:
    async with world(tmp_path) as made:
        folder = made.setting.folder / "psbt"
        wallet = Wallet(made.chain, load_key(made.setting.folder / "writer" / "wallet.key"))
        (coin,) = wallet.utxos()
        made.edit(Role.WRITER, r"^wallet = .*$", "")
        file = made.setting.folder / "writer.toml"
        point = f"{hash_hex(coin.txid)}:{coin.index}"
        address = encode_address(wallet.script(), REGTEST)
        table = f'[psbt]\nfolder = "psbt"\ncoins = ["{point}"]\nchange = "{address}"\n'
        file.write_text(file.read_text() + table)
        for role in Role:
            made.start(role)
        async with asyncio.timeout(DEADLINE_S):
            while not (folder / UNSIGNED).exists():
                await asyncio.sleep(0.01)
        psbt: Psbt = parse_psbt((folder / UNSIGNED).read_bytes())
        spent = [psbt.spent(n) for n in range(len(psbt.tx.vin))]
        signed = wallet.sign(psbt.tx, spent, bytes(32))
        (signature,) = witness_stack(signed, 1)
        (folder / SIGNED).write_bytes(psbt.with_key_path_signature(1, signature).encode())
        await made.funded()


async def test_a_party_that_cannot_remember_stops(tmp_path: Path) -> None:
    async with world(tmp_path) as made:
        await made.funded()
        program = made.programs[Role.HOLDER]
        program.folder.journal.close()
        await made.ask(Role.HOLDER, "claim")
        made.chain.mine(1)
        terms = program.party.terms
        with pytest.raises((ProtocolError, ConfigError)):
            await made.ask(Role.HOLDER, "settle", certificate=made.certificate(terms))
        with pytest.raises(GuardError, match=r"nothing more is recorded|closed, or a write failed"):
            await made._serving[Role.HOLDER]


def test_the_role_of_the_command_is_the_files(tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from actors.cli import app

    setting = Setting.create(tmp_path / "demo", Ending.REFUND)
    file = setting.folder / "holder.toml"
    done = CliRunner().invoke(app, ["party", "run", "--role", "writer", "--config", str(file)])
    assert "[party] role is holder, not writer" in str(done.exception)
    made = CliRunner().invoke(app, ["party", "keys", str(tmp_path / "keys")])
    public = load_key(tmp_path / "keys" / "identity.key").public.hex()
    assert made.output == f'[peer]\nidentity_key = "{public}"\n'
    done = CliRunner().invoke(app, ["party", "status", "--config", str(file)])
    assert "no running node answers" in str(done.exception)


def test_a_person_reads_where_a_dispute_stands() -> None:
    from actors.party_commands import status_lines
    from actors.party_control import dispute_fields
    from protocol.dispute.claim import Fault
    from protocol.dispute.play import Wait
    from protocol.settlement.disputing import Dispute

    def lines(dispute: Dispute, stage: str, outcome: str) -> list[str]:
        found = {"role": "writer", "contract": "ab" * 32, "stage": stage, "outcome": outcome}
        found |= {"height": 1_150, "fault": None, "dispute": dispute_fields(dispute)}
        return list(status_lines(found))

    open_ = Dispute(Role.HOLDER, Wait.DIGIT, Role.WRITER, 1_155)
    assert lines(open_, "disputed", "") == [
        f"writer of {'ab' * 32}",
        "disputed, at block 1,150",
        "the holder's claim waits for DIGIT of the writer until block 1,155",
    ]
    over = replace(
        open_,
        wait=Wait.OVER,
        turn=None,
        until_height=None,
        step=3_371_660,
        fault=Fault.RECORD,
        leaf="holder:VERDICT_RECORD_0",
        winner=Role.WRITER,
    )
    assert lines(over, "settled", "holder:VERDICT_RECORD_0")[1:] == [
        "settled holder:VERDICT_RECORD_0, at block 1,150",
        "the holder's claim ended in holder:VERDICT_RECORD_0: writer won",
        "disputed step 3,371,660",
    ]
    assert dispute_fields(over)["fault"] == "RECORD"
