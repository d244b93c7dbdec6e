"""The desk over parties' processes: files out, control sockets in."""

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from actors.config import open_chain
from actors.contract_process import Program
from actors.contract_setting import Ending, Setting
from actors.control import Control
from actors.market_config import DeskConfig, SharedTerms
from actors.market_parties import PartyDesk
from actors.party_config import load_party
from actors.party_folder import CONTROL
from protocol.bitcoin.address import REGTEST, decode_address
from protocol.errors import ConfigError, ProtocolError, QuorumError
from protocol.options.book import Contract, Settlement, Side, Stage
from protocol.options.instrument import parse_instrument
from protocol.settlement.terms import Role
from protocol.units import PriceE8, Round, Sats, UnixMs
from tests.builders.network import until
from tests.builders.terms import AMERICAN, contract_terms

NOW = UnixMs(1_795_255_200_000)
CONTRACT = Contract(
    id=7,
    instrument=parse_instrument("BTC-27DEC26-50000-P"),
    quantity_sats=Sats(4 * 10**8),
    collateral_sats=Sats(4 * 10**8),
    premium_sats=Sats(5_000_000),
    round=Round(NOW // 1000),
    index_e8=PriceE8(60_000 * 10**8),
    opened_ms=NOW,
)
SHARED = SharedTerms(bond_sats=2_500_000, block_s=86_400, spare_blocks=4, refund_blocks=40)


@pytest.fixture(scope="module")
def setting(tmp_path_factory):
    """Both parties' files without [terms], as their owners write them."""
    made = Setting.create(tmp_path_factory.mktemp("desk") / "s", Ending.COOPERATIVE)
    for role in Role:
        file = made.folder / f"{role.value}.toml"
        file.write_text(file.read_text().split("[terms]")[0])
    return made


@pytest.fixture(scope="module")
def chain(setting):
    """A served node with some blocks."""
    program = setting.programs("kernel")[0]
    program.start()
    try:
        with open_chain(setting.socket, "socket") as chain:
            chain.mine(3)
            yield chain
    finally:
        program.terminate()
        program.wait()


def desk_on(setting: Setting, folder: Path, **changes) -> PartyDesk:
    network = setting.oracles.network
    config = DeskConfig(
        folder=folder / "contracts",
        holder=setting.folder / "holder.toml",
        writer=setting.folder / "writer.toml",
        chain=setting.socket,
        aggregator=None,
        starts=False,
        terms=SHARED,
        network=network,
        feed=network.feed("BTC/USD"),
    )
    return PartyDesk.open(replace(config, **changes), lambda: NOW)


# Files


async def test_an_order_becomes_both_parties_files(setting, chain, tmp_path):
    desk = desk_on(setting, tmp_path)
    assert desk.custody == "owners"
    await desk.offer(CONTRACT)
    folder = tmp_path / "contracts" / "7"
    holder, writer = (load_party(folder / f"{role.value}.toml") for role in Role)
    assert (holder.claim, holder.terms) == (writer.claim, writer.terms)
    assert holder.instrument == CONTRACT.instrument.name
    assert holder.claim.payoff.quantity_sats == CONTRACT.quantity_sats
    assert holder.terms.premium_sats == CONTRACT.premium_sats
    days = -(-(CONTRACT.instrument.expiry_ms - NOW) // 86_400_000)
    assert holder.terms.expiry_height == chain.height + days + 4
    assert holder.terms.refund_height == holder.terms.expiry_height + 40
    assert writer.peer.url == f"ws://127.0.0.1:{holder.listen.port}"
    assert holder.folder == folder / "holder"
    assert holder.keys["wallet"] == setting.folder / "holder" / "wallet.key"
    written = {path: path.read_bytes() for path in folder.iterdir()}
    await desk.offer(CONTRACT)
    assert {path: path.read_bytes() for path in folder.iterdir()} == written


@pytest.mark.parametrize(("tail", "quorum"), [("P-A", 3), ("C-UO90000", 2)])
async def test_what_is_watched_is_watched_from_now_on(setting, chain, tmp_path, tail, quorum):
    """An American option takes all three oracles: two would not do."""
    instrument = parse_instrument(f"BTC-27DEC26-50000-{tail}")
    desk = desk_on(setting, tmp_path)
    await desk.offer(replace(CONTRACT, instrument=instrument))
    party = load_party(tmp_path / "contracts" / "7" / "holder.toml")
    assert party.claim.quorum == quorum
    slot = party.claim.slot
    assert (slot.start_round, slot.target_round) == (NOW // 1000, instrument.expiry_ms // 1000)


async def test_without_a_node_nothing_is_written(setting, tmp_path):
    desk = desk_on(setting, tmp_path, chain=tmp_path / "no.sock")
    with pytest.raises(ConfigError, match=r"\[desk\] chain: .*no.sock: no node serves it"):
        await desk.offer(CONTRACT)
    assert list((tmp_path / "contracts").iterdir()) == []


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "it needs keys, oracles, party, peer"),
        ("[party", "no party's file"),
        ("[party]\n[keys]\n[peer]\n[oracles]\n[terms]\n", "an order brings them"),
    ],
)
def test_a_partys_file_that_is_none(setting, tmp_path, text, says):
    (tmp_path / "holder.toml").write_text(text)
    with pytest.raises(ConfigError, match=says):
        desk_on(setting, tmp_path, holder=tmp_path / "holder.toml")


# Sockets

STATUS = {
    "stage": "funded", "over": False, "outcome": None, "fault": None, "dispute": None,
    "certified": None, "contract": "ab" * 32, "terms": None, "height": 120,
}  # fmt: skip


@asynccontextmanager
async def party(folder: Path, role: Role, **methods):
    """A process of a party, as far as a desk sees it."""
    path = folder / "contracts" / "7" / role.value
    path.mkdir(parents=True, exist_ok=True)
    control = Control(path / CONTROL, methods)
    await control.start()
    try:
        yield
    finally:
        await control.stop()


def saying(**changes):
    async def status():
        return STATUS | changes

    return status


async def test_what_parties_say(setting, tmp_path):
    desk = desk_on(setting, tmp_path)
    for side in await desk.sides(CONTRACT):
        assert side.stage is CONTRACT.stage, "as far as anybody knows"
        assert f"`oracle-vm party run --role {side.role} --config" in side.fault
    async with party(tmp_path, Role.WRITER, status=saying(stage="draft", contract=None)):
        writer, silent = await desk.sides(CONTRACT)
        assert writer == Side(role="writer", stage=Stage.OFFERED)
        assert (silent.role, silent.stage) == ("holder", Stage.ORDERED)
        async with party(tmp_path, Role.HOLDER, status=saying()):
            holder, _ = await desk.sides(CONTRACT)
            assert (holder.stage, holder.contract_id) == (Stage.OPEN, "ab" * 32)


async def test_what_the_oracles_certified_is_passed_on(setting, tmp_path):
    certified = {"round": 9, "price_e8": 40_000 * 10**8, "payout_sats": 7}
    desk = desk_on(setting, tmp_path)
    async with party(tmp_path, Role.HOLDER, status=saying(certified=certified)):
        holder, _ = await desk.sides(CONTRACT)
        assert holder.settlement == Settlement(**certified)


@pytest.mark.parametrize(
    ("stage", "over", "expected"),
    [
        ("claimed", False, Stage.SETTLING),
        ("disputed", False, Stage.DISPUTED),
        ("settled", False, Stage.SETTLING),
        ("settled", True, Stage.CLOSED),
        ("refunded", True, Stage.CLOSED),
        ("cancelled", True, Stage.FAILED),
    ],
)
async def test_stages(setting, tmp_path, stage, over, expected):
    desk = desk_on(setting, tmp_path)
    async with party(tmp_path, Role.HOLDER, status=saying(stage=stage, over=over)):
        side, _ = await desk.sides(CONTRACT)
        assert side.stage is expected


async def test_nonsense_is_refused(setting, tmp_path):
    desk = desk_on(setting, tmp_path)
    async with party(tmp_path, Role.HOLDER, status=saying(stage="happy")):
        with pytest.raises(ProtocolError, match="holder: its status makes no sense"):
            await desk.sides(CONTRACT)


async def test_a_notice_goes_to_the_oracles(setting, tmp_path):
    asked = []

    async def exercise(round_id):
        asked.append(round_id)
        return {"notice": "cafe"}

    async def notice(notice):
        asked.append(notice)

    aggregator = Control(tmp_path / "aggregator.sock", {"notice": notice})
    await aggregator.start()
    desk = desk_on(setting, tmp_path, aggregator=tmp_path / "aggregator.sock")
    async with party(tmp_path, Role.HOLDER, exercise=exercise):
        await desk.exercise(replace(CONTRACT, exercise_round=Round(9)))
    await aggregator.stop()
    assert asked == [9, "cafe"]
    with pytest.raises(ConfigError, match=r"\[desk\] aggregator"):
        await desk_on(setting, tmp_path).exercise(CONTRACT)


async def test_an_exercise_that_nobody_heard_of_in_time_ends_at_expiry(setting, tmp_path):
    """Before that the fault names the block of the refund; the quorum is the contract's own."""
    terms = contract_terms(**AMERICAN)
    named, target = terms.expiry_round - 2, terms.expiry_round
    asked, told = [], []

    async def expire(target, exercise, quorum, **_):
        asked.append((target, exercise, quorum))
        if exercise == named:
            raise QuorumError("no notice in time")
        return {"expiry": "cafe"}

    async def settle(certificate):
        told.append(certificate)

    aggregator = Control(tmp_path / "aggregator.sock", {"expire": expire})
    await aggregator.start()
    desk = desk_on(setting, tmp_path, aggregator=tmp_path / "aggregator.sock")
    american = replace(
        CONTRACT,
        instrument=parse_instrument("BTC-27DEC26-50000-P-A"),
        exercise_round=Round(named),
    )
    status = saying(terms=terms.encode().hex())
    async with (
        party(tmp_path, Role.HOLDER, status=status, settle=settle),
        party(tmp_path, Role.WRITER, status=status, settle=settle),
    ):
        with pytest.raises(
            ProtocolError, match=r"no notice in time; .* block 200 brings the refund"
        ):
            await desk.settle(american)
        assert (asked, told) == ([(named, named, 3)], [])
        desk._now_ms = lambda: american.instrument.expiry_ms
        await desk.settle(american)
        assert asked[1:] == [(named, named, 3), (target, target, 3)]
        assert told == 2 * ["cafe"]
    await aggregator.stop()


async def test_transactions_are_those_of_whoever_answers(setting, tmp_path):
    async def transactions():
        return [{"name": "FUND"}]

    desk = desk_on(setting, tmp_path)
    assert await desk.transactions(CONTRACT) == ()
    async with party(tmp_path, Role.WRITER, transactions=transactions):
        assert await desk.transactions(CONTRACT) == [{"name": "FUND"}]


# Processes


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_real_parties_fund_and_close_what_was_ordered(setting, chain, tmp_path):
    """The desk starts both, they agree, sign and fund; told the oracles' expiry, they close."""
    later = msgspec.structs.replace(SHARED, spare_blocks=150)
    desk = desk_on(setting, tmp_path, starts=True, terms=later)
    contract = replace(CONTRACT, id=1)
    try:
        await desk.offer(contract)
        folder = tmp_path / "contracts" / "1"
        programs = {r: Program(r.value, (), folder, folder / r.value / CONTROL) for r in Role}

        async def ask(role, method, **arguments):
            return await asyncio.to_thread(programs[role].ask, method, **arguments)

        for role in Role:
            chain.mine(1, to=decode_address((await ask(role, "status"))["address"], REGTEST))
        chain.mine(100)
        await asyncio.to_thread(until, lambda: chain.mempool(), "FUND", 150)
        chain.mine(1)

        async def stages():
            return {side.stage for side in await desk.sides(contract)}

        while await stages() != {Stage.OPEN}:
            await asyncio.sleep(0.1)
        assert [row["name"] for row in await desk.transactions(contract)] == ["FUND"]
        terms = load_party(folder / "holder.toml").claim
        expiry = setting.oracles.certify(terms.slot, terms.quorum, PriceE8(40_000 * 10**8))
        height = load_party(folder / "holder.toml").terms.expiry_height
        chain.mine(height - chain.height)
        for role in (Role.WRITER, Role.HOLDER):
            await ask(role, "settle", certificate=expiry.encode().hex())
        await asyncio.to_thread(until, lambda: chain.mempool(), "CLOSE")
        sides = await desk.sides(contract)
        while {side.stage for side in sides} != {Stage.CLOSED}:
            chain.mine(1)
            await asyncio.sleep(0.1)
            sides = await desk.sides(contract)
        assert {side.outcome for side in sides} == {"CLOSE"}
        programs = desk._children.end_all()
        assert len(programs) == len(Role)
        for program in programs:
            assert await asyncio.to_thread(program.child.wait, 30) == 0
    finally:
        await desk.close()
