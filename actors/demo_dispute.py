"""What the chain tells about a dispute, as the demo reports it: read from blocks by one side."""

from actors.report import DisputeReport
from protocol.bitcoin.tx import hash_hex, txid, vsize
from protocol.dispute.claim import Party
from protocol.dispute.play import Challenge, Kickoff, Pick, Play
from protocol.settlement.claim import Claim, failed_check
from protocol.settlement.dispute.explain import explain
from protocol.settlement.dispute.story import Act, Story
from protocol.settlement.dispute.words import instruction_words


def dispute_report(story: Story) -> DisputeReport | None:
    """How the claim of ``story`` fared; None where nobody claimed, or it is open."""
    decided = next((act for act in story.acts if act.after and act.after.outcome), None)
    if story.prover is None or decided is None or decided.after is None:
        return None
    play, outcome = decided.after, decided.after.outcome
    assert outcome is not None, "it is decided"
    said, claim = play.said, _claim(play)
    terms = story.graph.contract.terms.claim
    loser = story.prover.other if outcome.winner is Party.PROVER else story.prover
    first = next((act for act in story.acts if isinstance(act.says, Kickoff)), story.acts[1])
    return DisputeReport(
        prover=story.prover.value,
        claimed_sats=None if claim is None else terms.payout_sats(claim.units),
        root=None if said.root is None else said.root.hex(),
        challenged=any(isinstance(act.says, Challenge) for act in story.acts),
        step=None if said.fragment is None else said.fragment.index,
        instruction=None if said.fragment is None else instruction_words(said.fragment),
        fault=outcome.fault,
        leaf=decided.name,
        txid=hash_hex(txid(decided.tx)),
        rounds=sum(isinstance(act.says, Pick) for act in story.acts),
        blocks=(decided.height or 0) - (first.height or 0),
        vbytes=sum(vsize(act.tx) for act in _game(story, first, decided)),
        reason=_reason(story, decided, claim),
        winner=str(outcome.winner),
        loser=loser.value,
    )


def _claim(play: Play) -> Claim | None:
    """What was claimed; None where the prover fell silent before it had said all of it."""
    if play.said.root is None:
        return None
    return Claim.decode(play.premises.layout.data(play.said.input_digits))


def _game(story: Story, first: Act, last: Act) -> tuple[Act, ...]:
    """From ``first`` to ``last``."""
    return story.acts[story.acts.index(first) : story.acts.index(last) + 1]


def _reason(story: Story, decided: Act, claim: Claim | None) -> str:
    """Why it ended so, and which check of the program a false claim fails."""
    found = explain(story, decided)
    reason = found.words or f"{found.title}."
    terms = story.graph.contract.terms
    check = None if claim is None else failed_check(terms, claim.encode())
    return reason if check is None else f"{reason} The program's check {check.name} fails."
