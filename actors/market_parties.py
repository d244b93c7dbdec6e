"""The desk over parties' processes: files out, control sockets in.

Each owner writes a party's file without [terms]: its keys, its peer, when it closes. For an order
the desk copies both into a new folder, adds the terms, a folder for the party and an address:

    CONTRACTS/7/holder.toml      then `oracle-vm party run --role holder --config ...`
    CONTRACTS/7/writer.toml      by its owner, or, with `starts = true`, by the desk

From then on it only asks the two over their control sockets. It reads no key, and a party signs
nothing but the terms in its own file.
"""

import asyncio
import json
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, Final, Self

import msgspec
from msgspec.structs import asdict

from actors.config import open_chain, serves
from actors.contract_process import Program
from actors.control import call
from actors.files import sync_folder
from actors.market_config import DeskConfig
from actors.market_desk import Dispute
from actors.party_config import load_party
from actors.party_folder import CONTROL
from actors.ports import free_ports
from protocol.errors import ConfigError, ProtocolError
from protocol.options.book import Contract, Side, Stage
from protocol.options.payoff import bits_that_fit
from protocol.settlement.lifecycle import Stage as PartyStage
from protocol.settlement.terms import ContractTerms, Role, template_hash
from protocol.units import UnixMs

ASK_S: Final = 10.0
SETTLE_S: Final = 120.0
"""Settling proves the claim first."""

STAGES: Final = {
    PartyStage.DRAFT: Stage.OFFERED,
    PartyStage.SIGNED: Stage.OFFERED,
    PartyStage.FUNDED: Stage.OPEN,
    PartyStage.CLAIMED: Stage.SETTLING,
    PartyStage.DISPUTED: Stage.DISPUTED,
    PartyStage.SETTLED: Stage.SETTLING,
    PartyStage.REFUNDED: Stage.SETTLING,
    PartyStage.CANCELLED: Stage.FAILED,
}
"""What a party's stage is to a market; one that is over is closed."""

Tables = dict[str, dict[str, Any]]


class PartyDesk:
    """A ``ContractDesk``. ``now_ms`` is the market's clock."""

    def __init__(self, config: DeskConfig, now_ms: Callable[[], int]) -> None:
        self.custody = "desk" if config.starts else "owners"
        self._config = config
        self._now_ms = now_ms
        self._programs: dict[Path, Program] = {}

    @classmethod
    def open(cls, config: DeskConfig, now_ms: Callable[[], int]) -> Self:
        """ConfigError names a party's file that cannot be used."""
        config.folder.mkdir(parents=True, exist_ok=True)
        for role, path in _templates(config).items():
            _template(role, path)
        return cls(config, now_ms)

    async def offer(self, contract: Contract) -> None:
        """Write both files, once, and start both parties if that is the desk's to do."""
        folder = self._folder(contract)
        if not folder.exists():
            await asyncio.to_thread(self._write, contract, folder)
        if self._config.starts:
            for role in Role:
                await self._start(folder, role)

    async def sides(self, contract: Contract) -> Sequence[Side]:
        """Of the parties that answer; one that the desk has started, and that died, is started
        again."""
        folder, found = self._folder(contract), []
        for role in Role:
            if self._config.starts:
                await self._start(folder, role)
            with suppress(ConfigError):  # not started yet, or being restarted
                found.append(_side(role, await self._ask(folder, role, "status")))
        if len(found) == len(Role) and all(side.stage.is_over for side in found):
            self._end([folder / f"{role.value}.toml" for role in Role])
        return found

    async def exercise(self, contract: Contract) -> None:
        """The holder signs, the aggregator passes it on."""
        folder, socket = self._folder(contract), self._aggregator()
        named: Any = contract.exercise_round
        signed = await self._ask(folder, Role.HOLDER, "exercise", round_id=named)
        await call(socket, "notice", ASK_S, notice=signed["notice"])

    async def settle(self, contract: Contract) -> None:
        """The oracles sign the expiry that the contract's own terms ask for."""
        folder = self._folder(contract)
        status = await self._ask(folder, Role.HOLDER, "status")
        terms = ContractTerms.decode(bytes.fromhex(status["terms"]))
        claim, exercised = terms.claim, contract.exercise_round
        slot = terms.expiry_slot(exercised) if claim.is_american else claim.slot
        preimage = (terms.encode() + template_hash()).hex() if claim.is_american else ""
        signed = await call(
            self._aggregator(),
            "expire",
            ASK_S,
            feed=self._config.feed.symbol,
            start=slot.start_round,
            target=slot.target_round,
            grace=claim.grace_rounds,
            window=slot.window,
            exercise=slot.target_round if claim.is_american else None,
            contract=preimage,
        )
        for role in (Role.WRITER, Role.HOLDER):
            await self._ask(folder, role, "settle", SETTLE_S, certificate=signed["expiry"])

    async def dispute(self, contract: Contract) -> Dispute | None:
        """As the holder's party shows it, or else the writer's."""
        folder = self._folder(contract)
        for role in Role:
            with suppress(ConfigError):
                status = await self._ask(folder, role, "status")
                if status.get("dispute") is not None:
                    rows = await self._ask(folder, role, "transactions")
                    return _dispute(status, rows)
        return None

    async def transactions(self, contract: Contract) -> Sequence[dict[str, Any]]:
        """As the holder's party finds them on the chain, or else the writer's."""
        for role in Role:
            with suppress(ConfigError):
                return list(await self._ask(self._folder(contract), role, "transactions"))
        return ()

    async def close(self) -> None:
        """End the parties that this desk has started."""
        for program in self._end(list(self._programs)):
            await asyncio.to_thread(program.wait)

    def _end(self, files: Sequence[Path]) -> list[Program]:
        """Tell those of these parties to end that the desk has started."""
        ended = [self._programs[file] for file in files if file in self._programs]
        for program in ended:
            program.terminate()
        return ended

    def _folder(self, contract: Contract) -> Path:
        return self._config.folder / str(contract.id)

    def _aggregator(self) -> Path:
        if self._config.aggregator is None:
            raise ConfigError(
                "[desk] aggregator: name its control socket, it speaks to the oracles"
            )
        return self._config.aggregator

    async def _ask(
        self, folder: Path, role: Role, method: str, deadline_s: float = ASK_S, **arguments: Any
    ) -> Any:
        return await call(folder / role.value / CONTROL, method, deadline_s, **arguments)

    async def _start(self, folder: Path, role: Role) -> None:
        """Unless it runs, whoever has started it."""
        file = folder / f"{role.value}.toml"
        program = self._programs.get(file)
        if program is not None and program.child is not None and program.child.poll() is None:
            return
        with suppress(ConfigError):
            await self._ask(folder, role, "status", 1.0)
            return
        command = ("party", "run", "--role", role.value, "--config", str(file))
        program = Program(role.value, command, folder / f"{role.value}.log")
        self._programs[file] = program
        program.start()

    # Files

    def _write(self, contract: Contract, folder: Path) -> None:
        """Both files, or none, whenever this process ends."""
        terms, (port,) = self._terms(contract), free_ports(1)
        draft = Path(tempfile.mkdtemp(prefix=".draft-", dir=folder.parent))
        try:
            for role, path in _templates(self._config).items():
                tables = _template(role, path)
                party = tables["party"] | {"folder": str((folder / role.value).absolute())}
                if role is Role.HOLDER:
                    party["listen"] = f"127.0.0.1:{port}"
                else:
                    tables["peer"] = tables["peer"] | {"url": f"ws://127.0.0.1:{port}"}
                tables |= {"party": party, "terms": terms}
                file = draft / f"{role.value}.toml"
                file.write_text("\n".join(_table(name, tables[name]) for name in tables))
                load_party(file)
            sync_folder(draft)
            draft.replace(folder)
            sync_folder(folder.parent)
        except BaseException:
            shutil.rmtree(draft, ignore_errors=True)
            raise

    def _terms(self, contract: Contract) -> dict[str, Any]:
        shared = asdict(self._config.terms)
        block_s, spare = shared.pop("block_s"), shared.pop("spare_blocks")
        refund = shared.pop("refund_blocks")
        instrument, now_ms = contract.instrument, UnixMs(self._now_ms())
        if not serves(self._config.chain):
            raise ConfigError(f"[desk] chain: {self._config.chain}: no node serves it; start one")
        with closing(open_chain(self._config.chain, "socket")) as chain:
            height = chain.height
        left_ms = max(instrument.expiry_ms - now_ms, 0)
        expiry_height = height + -(-left_ms // (1000 * block_s)) + spare
        oracles = self._config.network.config
        is_watched = instrument.barrier is not None or instrument.is_american
        expiry = oracles.round_at(instrument.expiry_ms)
        return {
            "instrument": instrument.name,
            "quantity_sats": contract.quantity_sats,
            "collateral_sats": contract.collateral_sats,
            "premium_sats": contract.premium_sats,
            "payout_bits": bits_that_fit(contract.collateral_sats),
            "rounds": expiry - contract.round + 1 if is_watched else 1,
            "expiry_height": expiry_height,
            "refund_height": expiry_height + refund,
            **shared,
        }


def _templates(config: DeskConfig) -> dict[Role, Path]:
    return {Role.HOLDER: config.holder, Role.WRITER: config.writer}


def _template(role: Role, path: Path) -> Tables:
    """The tables of a party's file, its paths made absolute. ConfigError if it is not one."""
    try:
        tables: Tables = msgspec.toml.decode(path.read_bytes(), type=dict[str, dict[str, Any]])
    except OSError as error:
        raise ConfigError(f"[desk] {role.value}: {path}: {error.strerror}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"[desk] {role.value}: {path}: no party's file: {error}") from None
    missing = {"party", "keys", "peer", "oracles"} - tables.keys()
    if missing or "terms" in tables:
        raise ConfigError(
            f"[desk] {role.value}: {path}: a party's file without [terms]; it needs"
            f" {', '.join(sorted(missing)) or 'no [terms], an order brings them'}"
        )
    folder = path.parent.absolute()
    for name, field in (("party", "chain"), ("oracles", "network")):
        tables[name][field] = str(folder / str(tables[name].get(field, "")))
    tables["keys"] = {name: str(folder / str(file)) for name, file in tables["keys"].items()}
    return tables


def _side(role: Role, status: Mapping[str, Any]) -> Side:
    try:
        stage = Stage.CLOSED if status["over"] else STAGES[PartyStage(status["stage"])]
        if status["stage"] == PartyStage.CANCELLED.value:
            stage = Stage.FAILED
        return Side(
            role=role.value,
            stage=stage,
            outcome=status["outcome"] or "",
            fault=status["fault"] or "",
            contract_id=status["contract"] or "",
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ProtocolError(f"{role.value}: its status makes no sense: {error}") from None


def _dispute(status: Mapping[str, Any], rows: Sequence[dict[str, Any]]) -> Dispute:
    shown, terms = status["dispute"], ContractTerms.decode(bytes.fromhex(status["terms"]))
    fields = ("wait", "step", "fault", "leaf", "winner", "prover", "turn")
    return Dispute(
        contract_id=status["contract"],
        stage=status["stage"],
        height=status["height"],
        **{name: shown.get(name) for name in fields},
        since=max((row["height"] for row in rows if row["height"] is not None), default=None),
        deadline=shown.get("until_height"),
        digits=tuple(shown.get("digits", ())),
        log4_steps=terms.chain.log4_steps,
        transactions=rows,
    )


def _table(name: str, fields: Mapping[str, Any]) -> str:
    """JSON's numbers, texts, truths and lists of them are TOML's."""
    return "\n".join([f"[{name}]", *(f"{k} = {json.dumps(v)}" for k, v in fields.items()), ""])
