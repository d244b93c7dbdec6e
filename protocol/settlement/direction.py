"""One direction of the contract: the moves with which one party claims, as drafts.

    INPUT_1 - .. - INPUT_m - KICKOFF - SETTLE

INPUT_k and KICKOFF are the prover's, who reveals the claim in them; where it stops halfway, the
other side takes everything. SETTLE is anybody's, ``challenge_window`` blocks after KICKOFF.
"""

from typing import Final

from protocol.crypto.winternitz import BASE, Label
from protocol.settlement.move import Draft, Paid
from protocol.settlement.onetime import PAYOUT, OneTimePublics, labels_of
from protocol.settlement.path import Lock, Message, SpendPath, revealed
from protocol.settlement.settle import Split
from protocol.settlement.terms import MESSAGES_PER_TX, ContractTerms, Role

_SMALL_ROOT: Final = 20
"""The hash width that fits KICKOFF beside that many input messages; a wider one takes a place."""


def direction(terms: ContractTerms, publics: OneTimePublics, split: Split) -> Draft:
    """The first move of ``split.prover``, whose keys are ``publics``, with all that follows."""
    prover = split.prover
    name = prover.value
    signers = {
        prover: terms.party(prover).prover_key,
        prover.other: terms.party(prover.other).challenger_key,
    }
    window = terms.chain.challenge_window
    draft = split.draft(SpendPath(f"{name}:SETTLE", signers, blocks=window))
    ways = [draft.path]
    runs = _runs(terms, prover)
    for number in range(len(runs), 0, -1):
        path = SpendPath(
            f"{name}:KICKOFF" if number == len(runs) else f"{name}:INPUT_{number}",
            signers,
            messages=tuple(_revealed(terms, publics, label) for label in runs[number - 1]),
            blocks=1,
            height=_claim_height(terms, prover) if number == 1 else 0,
        )
        draft = Draft(path, prover, prover, (Lock.of(ways),), (), _all_of_it, then=(draft,))
        ways = [path, _timeout(terms, prover)]
    return draft


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


def _runs(terms: ContractTerms, prover: Role) -> list[tuple[Label, ...]]:
    """What each move reveals: INPUT_1 .. INPUT_m, then KICKOFF."""
    *inputs, root, payout = labels_of(terms, prover)
    room = MESSAGES_PER_TX - (terms.chain.width > _SMALL_ROOT)
    runs: list[tuple[Label, ...]] = []
    while len(inputs) > room:
        runs.append(tuple(inputs[:MESSAGES_PER_TX]))
        inputs = inputs[MESSAGES_PER_TX:]
    return [*runs, (*inputs, root, payout)]


def _revealed(terms: ContractTerms, publics: OneTimePublics, label: Label) -> Message:
    """The leftmost digit of the payout may have fewer than four bits."""
    spare = 4 * label.digits - terms.claim.payout_bits if label.field == PAYOUT else 0
    return revealed(label, publics.keys[label], BASE >> spare)


def _all_of_it(left: int, _paid: Paid) -> tuple[int, ...]:
    return (left,)
