"""What the demo of a contract refuses, the prices it finds, and how it reads."""

import io
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from actors.contract_accounts import _balance, _due, _End
from actors.contract_demo import ContractDemo
from actors.contract_oracles import expiry_at, price_for
from actors.contract_report import Balance, ContractReport, show
from actors.contract_setting import Ending, Setting
from actors.contract_terms import payoff_words, show_terms, stand_in, steps
from actors.contract_txs import TxRow
from actors.party_config import PartyConfig, load_party
from protocol.errors import ConfigError
from protocol.options.instrument import Barrier, KnockOut, OptionKind
from protocol.options.payoff import Payoff
from protocol.settlement.terms import Role
from protocol.units import E8, PriceE8, Sats


@pytest.fixture(scope="module")
def party(tmp_path_factory: pytest.TempPathFactory) -> PartyConfig:
    folder = tmp_path_factory.mktemp("demo") / "files"
    Setting.create(folder, Ending.COOPERATIVE)
    return load_party(folder / "holder.toml")


def printed(print_to) -> str:
    """What a console without a terminal shows."""
    out = io.StringIO()
    print_to(Console(file=out, width=110))
    return out.getvalue()


@pytest.mark.parametrize(
    ("ending", "units", "message"),
    [
        (Ending.COOPERATIVE, 65_536, "--payout 65536: this contract pays 0 to 65535 units"),
        (Ending.COOPERATIVE, -1, "--payout -1: this contract pays 0 to 65535 units"),
        (Ending.REFUND, 1, "a refund pays nothing"),
        (Ending.CLAIM_HOLDER, 0, "gives the holder nothing"),
        (Ending.AMERICAN, 0, "gives the holder nothing"),
        (Ending.CLAIM_WRITER, 65_535, "gives the writer nothing"),
    ],
)
def test_a_payout_that_cannot_be_is_refused(tmp_path: Path, ending, units, message) -> None:
    with pytest.raises(ConfigError, match=message):
        ContractDemo(ending, units, "kernel", tmp_path / "demo", print)


@given(units=st.integers(0, 65_535))
@settings(max_examples=40, deadline=None)
def test_there_is_a_price_for_every_number_of_units(party: PartyConfig, units: int) -> None:
    price_e8 = price_for(party.claim, units)
    assert party.claim.units(expiry_at(party.claim.slot, price_e8)) == units
    assert 24_000 * E8 < price_e8 <= 50_000 * E8


def test_three_oracles_sign_what_the_terms_ask_for(tmp_path: Path) -> None:
    setting = Setting.create(tmp_path / "demo", Ending.AMERICAN)
    slot, quorum = setting.claim.slot, setting.claim.quorum
    certificate = setting.oracles.certify(slot, quorum, PriceE8(40_000 * E8))
    certificate.check(setting.oracles.network.config, quorum)
    assert quorum == 3


def test_the_fees_of_the_terms_are_those_of_the_graph(party: PartyConfig) -> None:
    contract = stand_in(party.claim, party.terms)
    found = {step.name: step for step in steps(contract)}
    assert found.keys() == {"CLOSE", *contract.moves}
    for name, move in contract.moves.items():
        assert found[name].fee_sats == move.fee_sats == 2 * found[name].vsize
    assert found["writer:KICKOFF"].paid_by == "writer, from its bond"
    assert found["REFUND"].paid_by == "both, from the reserve"


def test_the_terms_are_words_with_units(party: PartyConfig) -> None:
    text = printed(
        lambda console: show_terms(stand_in(party.claim, party.terms), party.instrument, console)
    )
    for words in (
        "the holder gets 4.00000000 BTC x (strike - price) / price if the price is below",
        "at most 4.00000000 BTC",
        "2 of 3 oracles",
        "units of 6,103 sats, up to 65,535",
        "from 112",
        "a whole claim that nobody challenges, at most",
        "30 ",
        "holder:INPUT_1",
        "a dispute from KICKOFF on, at most",
        "holder:REVEAL_1 .. 12",
        "who loses the dispute",
    ):
        assert words in text, words


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "2.00000000 BTC x (price - strike) / price if the price is above 50,000.00 USD"),
        ({"is_binary": True}, "the holder gets 2.00000000 BTC if the price is above 50,000.00"),
        (
            {"barrier": Barrier(KnockOut.UP, PriceE8(60_000 * E8))},
            "nothing once a certified price was at or above 60,000.00 USD",
        ),
        (
            {"kind": OptionKind.PUT, "barrier": Barrier(KnockOut.DOWN, PriceE8(40_000 * E8))},
            "nothing once a certified price was at or below 40,000.00 USD",
        ),
    ],
)
def test_every_payoff_is_a_sentence(changes, words: str) -> None:
    fields = {
        "kind": OptionKind.CALL,
        "strike_e8": PriceE8(50_000 * E8),
        "quantity_sats": Sats(2 * E8),
        "collateral_sats": Sats(2 * E8),
    }
    assert words in payoff_words(Payoff(**(fields | changes)))


def test_a_person_reads_tables() -> None:
    report = ContractReport(
        ok=True,
        path="claim-holder",
        backend="kernel",
        instrument="BTC-27DEC26-50000-P",
        contract="ab" * 32,
        price_e8=40_000 * E8,
        units=16_385,
        unit_sats=6_103,
        end="holder:SETTLE",
        outcome="The writer did not close.",
        txs=[TxRow("holder:SWEEP_HOLDER", "cd" * 32, 8_249, 16_498, 115)],
        balances={
            "holder": Balance(100, 90, -10, {"premium": -10}),
            "writer": Balance(100, 108, 8, {"premium": 10, "fees and anchors": -2}),
        },
        fees={"miners": 1_500, "left": 240},
        blocks=139,
        seconds=3.2,
    )
    text = printed(lambda console: show(report, console))
    for words in ("40,000.00 USD", "0.99997655 BTC", "cd" * 32, "16,498", "-10", "+10", "1,740"):
        assert words in text, words
    assert max(map(len, text.splitlines())) <= 110
    assert report.to_json()["txs"][0]["vsize"] == 8_249


CLAIMED = ["FUND", "holder:INPUT_1", "holder:KICKOFF"]


@pytest.mark.parametrize(
    ("names", "prover", "winner"),
    [
        (["FUND", "CLOSE"], None, None),
        (["FUND", "REFUND"], None, None),
        ([*CLAIMED, "holder:SETTLE", "holder:SWEEP_WRITER"], Role.HOLDER, None),
        ([*CLAIMED[:2], "holder:TIMEOUT"], Role.HOLDER, Role.WRITER),
        ([*CLAIMED, "holder:CHALLENGE", "holder:VERDICT_NODE_3"], Role.HOLDER, Role.WRITER),
        ([*CLAIMED, "holder:CHALLENGE", "holder:TAKE_1"], Role.HOLDER, Role.WRITER),
        ([*CLAIMED, "holder:CHALLENGE", "holder:SETTLE_round_2"], Role.HOLDER, Role.HOLDER),
        (["FUND", "writer:INPUT_1", "writer:SETTLE_assert_4"], Role.WRITER, Role.WRITER),
        (["FUND", "writer:INPUT_1", "writer:VERDICT_ROM_0"], Role.WRITER, Role.HOLDER),
    ],
)
def test_every_end_moves_money_from_one_side_to_the_other(
    party: PartyConfig, names, prover, winner
) -> None:
    """Before costs nobody gains what the other does not lose, whatever is claimed."""
    end = _End.of(names)
    assert (end.prover, end.winner) == (prover, winner)
    terms = stand_in(party.claim, party.terms).terms
    for units in (0, 30_000, 65_535):
        holder, writer = (_due(terms, end, units, role, 2_001) for role in Role)
        assert sum(holder.values()) + sum(writer.values()) == 0
        if winner is not None:
            lost = min(holder["bond and reserve"], writer["bond and reserve"])
            assert lost == -party.terms.bond_sats - (1_001 if winner is Role.HOLDER else 1_000)


def test_what_the_reasons_do_not_explain_is_shown() -> None:
    balance = _balance(100, 85, {"premium": -10, "payout": 0})
    assert balance == Balance(100, 85, -15, {"premium": -10, "odd satoshi of halves": -5})
