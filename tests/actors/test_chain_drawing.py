"""The tree of a contract: every step in its state at every stage, as text and as SVG."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest

from actors.chain_drawing import MARKS, State, Step, as_text, draw
from actors.chain_report import report, title_of
from actors.chain_svg import BOX_WIDTH, COLOURS, as_svg
from protocol.bitcoin.tx import hash_hex, txid
from protocol.crypto.keys import SecretKey
from protocol.settlement.closing import assemble_close, close_tx, sign_close
from protocol.settlement.payout import payout_of
from protocol.settlement.spending import bump_tx, sweep_tx
from protocol.settlement.terms import Role
from regtest.kernel import KernelChain
from regtest.wallet import Wallet
from tests.builders.contracts import AUX, KEYS, Stage, contract_terms, deal

UNITS = 77
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with KernelChain(tmp_path / "node") as chain:
        wallets = {r: Wallet(chain, SecretKey(bytes([n]) * 32)) for n, r in enumerate(Role, 1)}
        for wallet in wallets.values():
            chain.mine(3, to=wallet.script())
        chain.mine(100)
        yield Stage(chain, wallets)
    shutil.rmtree(tmp_path)


def states(root: Step) -> dict[str, State]:
    """By name; of steps of one name the first."""
    found: dict[str, State] = {}
    for _, step in root.walk():
        found.setdefault(step.name, step.state)
    return found


def test_before_fund_nothing_is_possible(stage: Stage) -> None:
    made = deal(contract_terms())
    root = draw(made.graph, stage.chain)
    assert set(states(root).values()) == {State.LATER}
    drawn = {name for name in made.graph.moves if name in states(root)}
    assert {name.partition(":")[2] for name in drawn if name != "REFUND"} == {
        *("INPUT_1", "KICKOFF", "SETTLE", "CHALLENGE")
    }
    behind = len([name for name in made.graph.moves if name.startswith("holder")]) - 4
    assert as_text("", root).count(f", {behind} more transactions behind it") == 2
    (row,) = report(stage.chain, [made.graph]).contracts
    assert (row.state, row.txs) == ("signed", ())


def test_a_claim_from_fund_to_its_sweeps(stage: Stage) -> None:
    chain, made = stage.chain, stage.fund(contract_terms())
    found = states(draw(made.graph, chain))
    assert found["FUND"] is State.CONFIRMED
    for name in ("CLOSE", "holder:INPUT_1", "writer:INPUT_1"):
        assert found[name] is State.POSSIBLE
    assert found["REFUND"] is found["holder:KICKOFF"] is found["holder:TIMEOUT"] is State.LATER
    assert report(chain, [made.graph]).contracts[0].state == "funded"

    inputs, kickoff = made.claim(Role.HOLDER, UNITS)
    chain.broadcast(inputs)
    found = states(draw(made.graph, chain))
    assert found["holder:INPUT_1"] is State.WAITING
    assert found["holder:KICKOFF"] is State.LATER
    chain.mine()
    stage.broadcast(kickoff)
    root = draw(made.graph, chain)
    found = states(root)
    assert found["holder:KICKOFF"] is State.CONFIRMED
    assert found["holder:SETTLE"] is State.LATER
    for name in ("CLOSE", "REFUND", "holder:TIMEOUT", "writer:INPUT_1", "writer:SWEEP_HOLDER"):
        assert found[name] is State.GONE
    assert "3 blocks after holder:KICKOFF: in 2 blocks" in as_text("", root)
    assert report(chain, [made.graph]).contracts[0].state == "claimed"

    chain.mine(2)
    assert states(draw(made.graph, chain))["holder:SETTLE"] is State.POSSIBLE
    stage.broadcast(made.settle(Role.HOLDER))
    taken = payout_of(made.graph, made.graph.settle(Role.HOLDER), UNITS).sweeps[Role.WRITER]
    shown = made.payout(Role.HOLDER, UNITS)
    sweep = sweep_tx(
        made.graph,
        made.graph.settle(Role.HOLDER),
        Role.WRITER,
        taken,
        KEYS[Role.WRITER],
        AUX,
        payout=shown,
    )
    assert states(draw(made.graph, chain))["holder:SWEEP_WRITER"] is State.POSSIBLE
    stage.broadcast(sweep)
    root = draw(made.graph, chain)
    found = states(root)
    assert found["holder:SWEEP_WRITER"] is State.CONFIRMED
    assert found["holder:SWEEP_HOLDER"] is State.LATER
    assert f"9 outputs, {len(taken)} of them taken, {hash_hex(txid(sweep))[:16]}" in as_text(
        "", root
    )


def test_the_report_says_what_every_transaction_is(stage: Stage) -> None:
    chain, made = stage.chain, stage.fund(contract_terms())
    steps = made.claim(Role.WRITER, UNITS)
    stage.broadcast(*steps)
    chain.mine(2)
    settle = made.settle(Role.WRITER)
    wallet = stage.wallets[Role.HOLDER]
    bump = bump_tx(
        made.graph.settle(Role.WRITER), settle, [wallet.utxos()[0].coin], wallet.script(2), 9
    )
    child = wallet.sign(bump.tx, bump.spent, AUX)
    chain.mine(txs=[settle, child])
    found = report(chain, [made.graph])
    (contract,) = found.contracts
    short = made.graph.contract.id.hex()[:8]
    assert (contract.id, contract.state) == (made.graph.contract.id.hex(), "settled")
    assert [tx.title for tx in contract.txs] == [
        f"FUND of {short}",
        f"INPUT_1 of {short} by the writer",
        f"KICKOFF of {short} by the writer",
        f"SETTLE of {short} in the writer's claim",
        f"BUMP of {short} in the writer's claim",
    ]
    at = [tx.height for tx in contract.txs]
    assert at == [106 + 1, 108, 109, 112, 112]
    assert [tx.depth for tx in contract.txs] == [chain.height - height + 1 for height in at]
    for row, tx in zip(contract.txs[1:], (*steps, settle, child), strict=True):
        assert row.txid == hash_hex(txid(tx))
    moves = made.graph.moves
    assert contract.txs[3].fee_sats == moves["writer:SETTLE"].fee_sats
    assert contract.txs[3].fee_sats + contract.txs[4].fee_sats == 9 * sum(
        tx.vsize for tx in contract.txs[3:]
    )
    assert (found.height, found.tip) == (chain.height, hash_hex(chain.tip.hash))
    assert found.to_json()["contracts"][0]["txs"][2]["vsize"] == contract.txs[2].vsize


def test_close_is_seen_by_its_key_and_by_its_leaf(stage: Stage) -> None:
    made = stage.fund(contract_terms())
    contract = made.graph.contract
    tx = close_tx(contract, made.graph.fund, 5_000)
    signed = {role: sign_close(contract, tx, KEYS[role].key, AUX) for role in Role}
    stage.broadcast(assemble_close(contract, tx, signed))
    found = states(draw(made.graph, stage.chain))
    assert found.pop("FUND") is found.pop("CLOSE") is State.CONFIRMED
    assert set(found.values()) == {State.GONE}
    assert report(stage.chain, [made.graph]).contracts[0].state == "settled"


def test_refund_waits_for_its_height(stage: Stage) -> None:
    height = stage.chain.height + 8
    made = stage.fund(contract_terms(refund_height=height))
    assert "above height" in as_text("", draw(made.graph, stage.chain))
    stage.chain.mine(height - stage.chain.height)
    assert states(draw(made.graph, stage.chain))["REFUND"] is State.POSSIBLE
    stage.broadcast(made.signed("REFUND"))
    assert states(draw(made.graph, stage.chain))["REFUND"] is State.CONFIRMED
    assert report(stage.chain, [made.graph]).contracts[0].state == "refunded"


def test_text_has_a_line_for_every_step(stage: Stage) -> None:
    made = stage.fund(contract_terms())
    root = draw(made.graph, stage.chain)
    text = as_text("A title", root)
    assert text.startswith("A title\n\n[x] FUND")
    marked = re.findall(r"\[.\] (\S+)  [\d,]+ sats", text)
    assert marked == [step.name for _, step in root.walk()]
    assert all(f"{mark} {state.value}" in text.splitlines()[-1] for state, mark in MARKS.items())


def test_svg_is_well_formed_and_inside_its_frame(stage: Stage) -> None:
    made = stage.fund(contract_terms())
    root = draw(made.graph, stage.chain)
    document = ElementTree.fromstring(as_svg("Contract <&'\">", root))
    width, height = float(document.get("width")), float(document.get("height"))
    groups = document.findall(f"{SVG}g")
    steps = [step for _, step in root.walk()]
    assert len(groups) == len(steps)
    bottoms = []
    for group, step in zip(groups, steps, strict=True):
        (box,) = group.findall(f"{SVG}rect")
        assert (box.get("fill"), box.get("stroke")) == COLOURS[step.state]
        left, top = float(box.get("x")), float(box.get("y"))
        assert left + BOX_WIDTH <= width and top + float(box.get("height")) <= height
        assert not bottoms or top > bottoms[-1]  # no box on another
        bottoms.append(top + float(box.get("height")))
        name, state, details = (text.text for text in group.findall(f"{SVG}text"))
        assert (name, state) == (step.name, step.state.value)
        assert details.startswith(f"{step.sats:,} sats")
        for text in group.findall(f"{SVG}text"):
            assert left < float(text.get("x")) < left + BOX_WIDTH
    assert len(document.findall(f"{SVG}path")) == len(steps) - 1  # every step has its parent
    legend = {text.text for text in document.findall(f"{SVG}text")}
    assert legend == {"Contract <&'\">", *(state.value for state in State)}


def luminance(colour: str) -> float:
    """WCAG 2's relative luminance."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return sum(c * w for c, w in zip(linear, (0.2126, 0.7152, 0.0722), strict=True))


@pytest.mark.parametrize("state", State)
def test_text_stands_out_from_every_colour(state: State) -> None:
    fill, border = COLOURS[state]
    assert (luminance(fill) + 0.05) / (luminance("#1b1f24") + 0.05) > 7
    assert (luminance(fill) + 0.05) / (luminance(border) + 0.05) > 3


def test_a_name_that_no_move_has() -> None:
    graph = deal(contract_terms()).graph
    short = graph.contract.id.hex()[:8]
    assert title_of(graph, "writer:VERDICT") == f"VERDICT of {short} in the writer's claim"
    assert title_of(graph, "CLOSE") == f"CLOSE of {short}"
