"""One direction of the contract: the moves with which one party claims, as drafts.

    INPUT_1 - .. - INPUT_m - KICKOFF -+- SETTLE
                                      +- CHALLENGE ..        (protocol.settlement.dispute.course)

INPUT_k and KICKOFF are the prover's, who reveals the claim in them; where it stops halfway, the
other side takes everything. SETTLE is anybody's, ``challenge_window`` blocks after KICKOFF; before,
the other side may dispute the claim.
"""

from typing import Final

from protocol.crypto.winternitz import BASE, Label
from protocol.settlement.move import Draft, all_of_it
from protocol.settlement.onetime import PAYOUT, OneTimePublics, claim_labels
from protocol.settlement.path import Lock, Message, SpendPath, revealed
from protocol.settlement.settle import Split
from protocol.settlement.terms import MESSAGES_PER_TX, ContractTerms, Role

_SMALL_ROOT: Final = 20
"""The hash width that fits KICKOFF beside that many input messages; a wider one takes a place."""


def direction(
    terms: ContractTerms, publics: OneTimePublics, split: Split, challenge: Draft
) -> Draft:
    """The first move of ``split.prover``, whose keys are ``publics``, with all that follows;
    ``challenge`` is the dispute's first."""
    prover = split.prover
    name = prover.value
    signers = {
        prover: terms.party(prover).prover_key,
        prover.other: terms.party(prover.other).challenger_key,
    }
    window = terms.chain.challenge_window
    settle = split.draft(SpendPath(f"{name}:SETTLE", signers, blocks=window))
    then: tuple[Draft, ...] = (settle, challenge)
    timeout: tuple[SpendPath, ...] = ()
    shown = runs(terms, prover)
    for number in range(len(shown), 0, -1):
        path = SpendPath(
            f"{name}:KICKOFF" if number == len(shown) else f"{name}:INPUT_{number}",
            signers,
            messages=tuple(_revealed(terms, publics, label) for label in shown[number - 1]),
            blocks=1,
            height=_claim_height(terms, prover) if number == 1 else 0,
        )
        lock = Lock.of([*(draft.inputs[0][0] for draft in then), *timeout])
        then = (Draft(path.name, prover, prover, ((path,),), (lock,), (), all_of_it, then),)
        timeout = (_timeout(terms, prover),)
    return then[0]


def timeout_name(prover: Role) -> str:
    """The name of the way in which the other side takes what waits for ``prover``."""
    return f"{prover.value}:TIMEOUT"


def _timeout(terms: ContractTerms, prover: Role) -> SpendPath:
    other = prover.other
    key = terms.party(other).challenger_key
    return SpendPath(timeout_name(prover), {other: key}, blocks=terms.chain.move_window)


def _claim_height(terms: ContractTerms, prover: Role) -> int:
    """The height above which ``prover`` may claim; 0 for the holder of an American contract."""
    if prover is Role.HOLDER and terms.claim.is_american:
        return 0
    return terms.chain.expiry_height


def runs(terms: ContractTerms, prover: Role) -> list[tuple[Label, ...]]:
    """What each move reveals: INPUT_1 .. INPUT_m, then KICKOFF."""
    *inputs, root, payout = claim_labels(terms, prover)
    room = MESSAGES_PER_TX - (terms.chain.width > _SMALL_ROOT)
    taken: list[tuple[Label, ...]] = []
    while len(inputs) > room:
        taken.append(tuple(inputs[:MESSAGES_PER_TX]))
        inputs = inputs[MESSAGES_PER_TX:]
    return [*taken, (*inputs, root, payout)]


def _revealed(terms: ContractTerms, publics: OneTimePublics, label: Label) -> Message:
    """The leftmost digit of the payout may have fewer than four bits."""
    spare = 4 * label.digits - terms.claim.payout_bits if label.field == PAYOUT else 0
    return revealed(label, publics.keys[label], BASE >> spare)
