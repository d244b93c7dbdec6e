"""Was a contract settled rightly? From blocks, the terms and both public bundles alone.

The auditor runs the machine on what was published, finds out for itself whether the claim was true,
compares everything that either side said with the honest trace, and computes who is due what.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from protocol.crypto.winternitz import digits_number
from protocol.dispute.claim import Party
from protocol.dispute.play import Challenge, Kickoff, Play
from protocol.dispute.rules import History
from protocol.dispute.sides import agrees
from protocol.errors import DisputeError
from protocol.settlement.claim import Check, failed_check
from protocol.settlement.dispute.comparing import Lie, lies_of
from protocol.settlement.dispute.dues import Share, final_of, shares_of
from protocol.settlement.dispute.story import Act, Story
from protocol.settlement.onetime import payout_label
from protocol.settlement.terms import Role

Retrace = Callable[[bytes], History]
"""The machine's honest trace of a guest input."""


@dataclass(frozen=True, slots=True)
class ClaimAudit:
    """What was claimed, and whether the machine agrees."""

    prover: Role
    data: bytes
    """The guest's whole input, as it was published."""
    units: int
    root: bytes
    honest_root: bytes
    is_true: bool
    failed: Check | None
    """The program's check that fails on the claim; None where it accepts it, or is another one."""


@dataclass(frozen=True, slots=True)
class Audit:
    """The auditor's judgement."""

    contract_id: bytes
    decided: Act
    """The transaction that decided."""
    claim: ClaimAudit | None
    """None where no claim was published in full."""
    challenged: bool
    lies: tuple[Lie, ...]
    shares: Mapping[Role, Share]
    wronged: Role | None
    reason: str
    """In words: why it was right, or who was wronged and how."""

    @property
    def is_right(self) -> bool:
        """Did who told the truth get what is due?"""
        return self.wronged is None

    @property
    def challenger_is_right(self) -> bool | None:
        """Was the challenge right? None where there was none."""
        return not self.claim.is_true if self.claim and self.challenged else None


def audit(story: Story, retrace: Retrace) -> Audit:
    """The judgement; DisputeError while no block holds the end of the contract."""
    final = final_of(story)
    if final is None or final.height is None:
        newest = story.acts[-1].name if story.acts else "nothing"
        raise DisputeError(f"not settled: {newest} is what the chain shows last; audit it later")
    play = _claimed(story)
    claim: ClaimAudit | None = None
    lies: tuple[Lie, ...] = ()
    if play is not None:
        data = play.premises.layout.data(play.said.input_digits)
        history = retrace(data)
        claim, lies = _claim(story, play, data, history), tuple(lies_of(story, history))
    shares = shares_of(story, claim.units if claim else None)
    decided = next((act for act in story.acts if act.field.startswith("REFUTE")), final)
    wronged, reason = _judged(story, decided, claim, lies, shares)
    return Audit(
        contract_id=story.graph.contract.id,
        decided=decided,
        claim=claim,
        challenged=any(isinstance(act.says, Challenge) for act in story.acts),
        lies=lies,
        shares=shares,
        wronged=wronged,
        reason=reason,
    )


def _claimed(story: Story) -> Play | None:
    """The game after KICKOFF; None where there is none."""
    return next((act.after for act in story.acts if isinstance(act.says, Kickoff)), None)


def _claim(story: Story, play: Play, data: bytes, history: History) -> ClaimAudit:
    assert story.prover is not None and play.said.root is not None
    contract = story.graph.contract
    label = payout_label(contract.terms, story.prover)
    shown = next(act.messages for act in story.acts if act.messages and label in act.messages)
    return ClaimAudit(
        prover=story.prover,
        data=data,
        units=digits_number(shown[label].digits),
        root=play.said.root,
        honest_root=history.root,
        is_true=agrees(play, history),
        failed=failed_check(contract.terms, data) if contract.judge is None else None,
    )


def _judged(
    story: Story,
    decided: Act,
    claim: ClaimAudit | None,
    lies: tuple[Lie, ...],
    shares: Mapping[Role, Share],
) -> tuple[Role | None, str]:
    """Who was wronged, if anybody, and why."""
    strange = next((act for act in story.acts if act.objection), None)
    if strange is not None and strange.before is not None and story.prover is not None:
        mover = strange.before.turn
        harmed = story.prover.other if mover is Party.PROVER else story.prover
        return harmed, f"Script took {strange.name}, which the rules refuse: {strange.objection}."
    wronged, reason = _outcome(story, decided, claim, lies)
    if wronged is not None:
        return wronged, reason
    for role, share in shares.items():
        if not share.right:
            short = share.due_sats - share.took_sats - share.open_sats
            return (role if short > 0 else role.other), (
                f"{reason} But the {role.value} took {share.took_sats:,} sats"
                f" where {share.due_sats - share.open_sats:,} were due."
            )
    return None, reason


def _outcome(
    story: Story, decided: Act, claim: ClaimAudit | None, lies: tuple[Lie, ...]
) -> tuple[Role | None, str]:
    """The same by who won alone."""
    if story.prover is None:
        return None, f"Both signed {decided.name}: nobody had to claim."
    prover, other = story.prover, story.prover.other
    if claim is None:
        return None, f"The {prover.value} stopped before its claim was published: no claim, no pay."
    play = story.play
    won = play is not None and play.outcome is not None and play.outcome.winner is Party.PROVER
    lied = any(lie.party is prover for lie in lies)
    silent = decided.field == "TIMEOUT"
    if claim.is_true and won:
        return None, "The claim was true, and it was paid."
    if claim.is_true and lied and not silent:
        return None, f"The claim was true, but the {prover.value} lied about it: {_first(lies)}."
    if claim.is_true:
        return prover, f"The {prover.value}'s claim was true, but it did not move in time."
    if not won:
        return None, f"The claim was false ({_why(claim)}), and the {other.value} has the pot."
    return (
        other,
        f"The claim was false ({_why(claim)}), and it was paid: {_missed(decided, other)}.",
    )


def _first(lies: tuple[Lie, ...]) -> str:
    lie = lies[0]
    return f"{lie.what} of {lie.act} is {lie.said}, in truth {lie.true}"


def _why(claim: ClaimAudit) -> str:
    if claim.failed is not None:
        return f"the program's check {claim.failed.name} fails"
    if claim.root != claim.honest_root:
        return "its root is not that of the honest trace"
    return "the program does not halt on it"


def _missed(decided: Act, other: Role) -> str:
    if decided.field == "SETTLE":
        return f"the {other.value} did not challenge it"
    if decided.field.startswith("REFUTE"):
        return f"what the {other.value} asserted was refuted"
    return f"the {other.value} did not go on with its challenge"
