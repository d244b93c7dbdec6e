"""The one-time messages of a dispute: whose label each place in the game has.

A leaf's template names a message by its place (``Said``: party, round, field); a contract's key is
under a ``Label``. In the direction of prover P, what P and the challenger C may come to sign:

    P   node_0..3      rounds 1..R     head, slot_0..2, write   round R + 2
        record_0..3    round R + 1     (input, root, payout: protocol.settlement.onetime)
    C   digit          rounds 1..R + 1
        below          rounds t of an assertion      record, path_0..      round R + 3
"""

from protocol.crypto.winternitz import Label
from protocol.dispute.claim import Party
from protocol.dispute.leaves import said
from protocol.dispute.leaves.said import Said
from protocol.dispute.leaves.verdict_assert import path, shapes
from protocol.settlement.terms import ContractTerms, Role, contract_id


def signer(prover: Role, party: Party) -> Role:
    """Who plays ``party`` where ``prover`` proves."""
    return prover if party is Party.PROVER else prover.other


def label_of(own: bytes, prover: Role, message: Said) -> Label:
    """The label of ``message`` in the contract ``own`` (its id), where ``prover`` proves."""
    role = signer(prover, message.party)
    return Label(own, prover.value, role.value, message.turn, message.field, message.digits)


def said_of(label: Label, prover: Role) -> Said:
    """The inverse of ``label_of``."""
    party = Party.PROVER if label.role == prover.value else Party.CHALLENGER
    return Said(party, label.round, label.field, label.digits)


def prover_messages(log4_steps: int, width: int) -> tuple[Said, ...]:
    """What the prover may come to sign after KICKOFF."""
    nodes = (node for turn in range(1, log4_steps) for node in said.nodes(turn, width))
    return (*nodes, *said.records(log4_steps), *said.fragment(log4_steps).values())


def challenger_messages(log4_steps: int, width: int) -> tuple[Said, ...]:
    """What the challenger may come to sign."""
    digits, deep = said.digits(log4_steps), tuple(shapes(log4_steps, width))
    if not deep:
        return digits
    below = (said.below(log4_steps, turn) for turn in sorted({shape.turn for shape in deep}))
    return (*digits, *below, said.record(log4_steps), *max(map(path, deep), key=len))


def dispute_labels(terms: ContractTerms, role: Role) -> tuple[Label, ...]:
    """Every label that ``role`` may come to sign in a dispute: as prover, then as challenger.

    They share none with ``claim_labels(terms, role)``.
    """
    own, shape = contract_id(terms), (terms.chain.log4_steps, terms.chain.width)
    proving = (label_of(own, role, message) for message in prover_messages(*shape))
    answering = (label_of(own, role.other, message) for message in challenger_messages(*shape))
    return (*proving, *answering)
