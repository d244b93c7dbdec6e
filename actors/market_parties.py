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
from actors.control import call
from actors.files import sync_folder
from actors.market_children import PartyChildren, end_party
from actors.market_config import DeskConfig
from actors.market_desk import Dispute
from actors.party_config import load_party
from actors.party_folder import CONTROL
from actors.ports import free_ports
from protocol.errors import ConfigError, ProtocolError
from protocol.options.book import Contract, Settlement, Side, Stage
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

_SIGNED: Final = (Stage.OPEN, Stage.SETTLING, Stage.DISPUTED, Stage.CLOSED)
"""Where a contract has a watcher's file."""

Tables = dict[str, dict[str, Any]]


class PartyDesk:
    """A ``ContractDesk``. ``now_ms`` is the market's clock."""

    def __init__(self, config: DeskConfig, now_ms: Callable[[], int]) -> None:
        self.custody = "desk" if config.starts else "owners"
        self._config = config
        self._now_ms = now_ms
        self._children = PartyChildren()

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
        self._keep(folder)

    async def sides(self, contract: Contract) -> Sequence[Side]:
        """What the parties say, those that answer first; one that does not is where the contract
        is, for all that is known, and its fault says what to do. A party of the desk's that died is
        started again."""
        folder = self._folder(contract)
        faults = self._keep(folder)
        asked = [self._side(contract, folder, role, faults.get(role, "")) for role in Role]
        answers = await asyncio.gather(*asked)
        found = sorted(answers, key=lambda answer: not answer[0])
        if self._config.starts and any(side.stage in _SIGNED for _, side in found):
            await self._show(folder)
        return [side for _, side in found]

    async def _show(self, folder: Path) -> None:
        """Leave a watcher's file of the contract beside the node, for `oracle-vm chain`."""
        file = self._config.chain.parent / "contracts" / f"{folder.name}.contract"
        if file.exists():
            return
        for role in Role:
            with suppress(ProtocolError):  # the other one may know more
                data = bytes.fromhex(await self._ask(folder, role, "contract_file"))
                file.parent.mkdir(parents=True, exist_ok=True)
                draft = file.with_suffix(".new")
                draft.write_bytes(data)
                draft.replace(file)
                return

    async def leave(self, contract: Contract) -> None:
        """End both parties, if this desk has started them, or one before it that was killed."""
        folder = self._folder(contract)
        files = {role: folder / f"{role.value}.toml" for role in Role}
        self._children.end(files.values())
        for role, file in files.items() if self._config.starts else ():
            with suppress(ConfigError):  # it does not run any more
                end_party(int((await self._ask(folder, role, "status"))["pid"]), file)

    def _keep(self, folder: Path) -> Mapping[Role, str]:
        """Have both run, if that is the desk's to do; why one does not."""
        if not self._config.starts:
            return {}
        return {role: self._children.keep(folder, role) for role in Role}

    async def _side(
        self, contract: Contract, folder: Path, role: Role, fault: str
    ) -> tuple[bool, Side]:
        try:
            side = _side(role, await self._ask(folder, role, "status"))
            self._children.answered(folder, role)
            return True, side
        except ConfigError as error:
            if self._config.starts:
                if not fault and not self._children.is_starting(folder, role):
                    log = folder / f"{role.value}.log"
                    fault = f"it does not answer ({error}); if that stays so, see {log}"
            else:
                command = f"oracle-vm party run --role {role.value} --config"
                fault = f"it does not run: `{command} {folder / role.value}.toml`"
            return False, Side(role=role.value, stage=contract.stage, fault=fault)

    async def exercise(self, contract: Contract) -> None:
        """The holder signs, the aggregator passes it on."""
        folder, socket = self._folder(contract), self._aggregator()
        named: Any = contract.exercise_round
        signed = await self._ask(folder, Role.HOLDER, "exercise", round_id=named)
        await call(socket, "notice", ASK_S, notice=signed["notice"])

    async def settle(self, contract: Contract) -> None:
        """The oracles sign the expiry that the contract's own terms ask for. An exercise that they
        have not heard of in time counts for nothing: then it is that of the instrument."""
        folder = self._folder(contract)
        status = await self._ask(folder, Role.HOLDER, "status")
        terms = ContractTerms.decode(bytes.fromhex(status["terms"]))
        try:
            certificate = await self._certified(terms, contract.exercise_round)
        except ProtocolError as error:
            if contract.exercise_round is None or self._now_ms() < contract.instrument.expiry_ms:
                raise ProtocolError(_unsettled(terms, error)) from None
            certificate = await self._certified(terms, None)
        for role in (Role.WRITER, Role.HOLDER):
            await self._ask(folder, role, "settle", SETTLE_S, certificate=certificate)

    async def _certified(self, terms: ContractTerms, exercised: int | None) -> str:
        """What the oracles sign (EXP1 in hex)."""
        claim, slot = terms.claim, terms.expiry_slot(exercised)
        preimage = (terms.encode() + template_hash()).hex() if claim.is_american else ""
        signed: dict[str, str] = await call(
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
            quorum=claim.quorum,
            config=slot.config_digest.hex(),
        )
        return signed["expiry"]

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
        for program in self._children.end_all():
            await asyncio.to_thread(program.wait)

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
        try:
            return await call(folder / role.value / CONTROL, method, deadline_s, **arguments)
        except ConfigError:
            if self._children.is_starting(folder, role):
                raise ConfigError(f"the {role.value}'s party is starting") from None
            raise

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
                oracles = tables["oracles"] | {"epoch": self._config.network.config.epoch}
                tables |= {"party": party, "oracles": oracles, "terms": terms}
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
    for name, field in (("party", "chain"), ("party", "prover"), ("oracles", "network")):
        if field in tables[name]:
            tables[name][field] = str(folder / str(tables[name][field]))
    tables["keys"] = {name: str(folder / str(file)) for name, file in tables["keys"].items()}
    return tables


def _unsettled(terms: ContractTerms, error: ProtocolError) -> str:
    """Why there is no certificate yet, and what happens without one."""
    height = terms.chain.refund_height
    return (
        f"{error}; the oracles are asked again every second, without them block {height:,} brings"
        " the refund: the collateral to the writer"
    )


def _side(role: Role, status: Mapping[str, Any]) -> Side:
    try:
        stage = Stage.CLOSED if status["over"] else STAGES[PartyStage(status["stage"])]
        if status["stage"] == PartyStage.CANCELLED.value:
            stage = Stage.FAILED
        certified = status["certified"]
        return Side(
            role=role.value,
            stage=stage,
            outcome=status["outcome"] or "",
            fault=status["fault"] or "",
            contract_id=status["contract"] or "",
            settlement=None if certified is None else Settlement(**certified),
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
