"""Leaves of a dispute with real keys: one-time messages signed, witnesses in order."""

from collections.abc import Mapping, Sequence
from functools import lru_cache

from protocol.bitcoin.script import number_bytes
from protocol.crypto.winternitz import Digits, Label, OneTimeKey, OneTimePublicKey
from protocol.dispute.fragment import Fragment
from protocol.dispute.leaves import said
from protocol.dispute.leaves.said import Said
from protocol.dispute.leaves.template import Guard, Signed, Template
from tests.builders.scripts import core_holds, holds

SEED = b"\x6e" * 32
NO_GUARD = Guard(())


@lru_cache(maxsize=256)
def one_time_key(message: Said) -> OneTimeKey:
    """The key of a message in the tests' one contract."""
    label = Label(
        b"\xc0" * 32, "holder", message.party.value, message.turn, message.field, message.digits
    )
    return OneTimeKey(SEED, label)


def public_keys(template: Template) -> dict[Said, OneTimePublicKey]:
    """The keys of a template's messages."""
    return {message: one_time_key(message).public for message in template.messages}


def signed(values: Mapping[Said, Digits]) -> dict[Said, Signed]:
    """Each message with its signature. The guard is new each time: these keys sign many."""
    return {m: (digits, one_time_key(m).sign(digits, {})) for m, digits in values.items()}


def fragment_values(
    fragment: Fragment, log4_steps: int, digits: Sequence[int]
) -> dict[Said, Digits]:
    """F_i and the challenger's digits of i, message by message."""
    messages = said.fragment(log4_steps)
    values = {messages[m]: d for m, d in fragment.digits(log4_steps).items()}
    picked = {m: (d,) for m, d in zip(said.digits(log4_steps), digits, strict=True)}
    return {**values, **picked}


def bare_holds(
    template: Template, values: Mapping[Said, Digits], hints: Sequence[int | bytes] = ()
) -> bool:
    """Whether the body accepts the digits themselves, as if every signature had been verified.

    Bitcoin Core judges; our interpreter, which is slower, is compared on a quarter of the cases.
    """
    heard = [message for message in template.messages if message not in template.silent]
    digits = [d for message in reversed(heard) for d in values[message]]
    items = [number_bytes(h) if isinstance(h, int) else h for h in (*hints, *digits)]
    code = template.body + NO_GUARD.signed
    if sum(digits) % 4 == 0:
        return holds(code, items)
    return core_holds(code, items)


def leaf_holds(
    template: Template, values: Mapping[Said, Digits], hints: Sequence[int | bytes] = ()
) -> bool:
    """Whether the whole leaf accepts these messages, signed."""
    code = template.script(NO_GUARD, public_keys(template))
    return holds(code, template.witness((), signed(values), hints))
