"""Known holes in what a witness holds: one-time digits, numbers that nobody signed, signatures.

The other half of ``test_known_holes``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random

import pytest

from protocol.bitcoin.opcodes import Op
from protocol.bitcoin.script import number_bytes
from protocol.bitcoin.sighash import LeafSpend, taproot_sighash
from protocol.bitcoin.taproot import TapLeaf
from protocol.bitcoin.tx import txout, with_witness
from protocol.crypto.keys import SecretKey
from protocol.crypto.winternitz import (
    Digits,
    OneTimePublicKey,
    checksum_size,
    digits_of,
    with_checksum,
)
from protocol.dispute.assembler import Assembler
from protocol.dispute.claim import base4
from protocol.dispute.leaves import (
    catalog,
    execute,
    moves,
    said,
    verdict_assert,
    verdict_open,
    verdict_program,
)
from protocol.dispute.leaves.said import Said
from protocol.dispute.leaves.template import Guard, Template
from protocol.dispute.leaves.verdict_open import Shape
from protocol.dispute.premises import Premises
from protocol.dispute.verdicts import Accusation, Predicate
from regtest.libkernel import verify_input
from riscv_vm.tree import join
from tests.builders import steps
from tests.builders.asm import TEXT_BASE
from tests.builders.disputes import LAYOUT, Run, claim_input, settling_program
from tests.builders.leaves import (
    NO_GUARD,
    Told,
    bare_holds,
    carried,
    fragment_values,
    leaf_holds,
    one_time_key,
    opening_hints,
    public_keys,
    signed,
    told,
)
from tests.builders.scripts import core_holds, holds, locked, spend

K = 5
RUN = Run(Premises(settling_program(Random(5), 70, 3), LAYOUT, K, 20), claim_input(9, 9))
BORDERS = execute.Borders.of(steps.PREMISES)
PROVER, CHALLENGER, THIEF = (SecretKey(bytes([n]) * 32) for n in (0x71, 0x72, 0x73))
AUX = bytes(32)


# One-time signatures


def with_sum(missing: int, count: int) -> Digits:
    """A message of ``count`` digits whose checksum is ``missing``."""
    full, rest = divmod(missing, 15)
    return (*(0,) * full, *(15 - rest,) * (rest > 0), *(15,) * count)[:count]


@pytest.mark.parametrize("missing", [0, 1, 15, 16, 17, 240, 255, 256, 257, 345, 360])
def test_the_checksum_at_powers_of_the_base(missing: int) -> None:
    """At 16 and 256 one more in the message changes every checksum digit: 100 to 0ff. Who can move
    digits only upwards must not find a message there, whichever digits of the checksum it keeps."""
    message, key = said.records(K)[0], one_time_key(said.records(K)[0])
    template = moves.signing("one message", (message,))
    digits = with_sum(missing, 24)
    whole = with_checksum(digits)
    assert sum(15 - d for d in digits) == missing
    assert whole[24:] == tuple(missing >> 4 * n & 15 for n in (2, 1, 0))
    assert leaf_holds(template, {message: digits})
    code = template.script(NO_GUARD, public_keys(template))
    elements = key.sign(digits, {})
    raised = next((n for n, d in enumerate(digits) if d < 15), None)
    if raised is None:
        return
    other = (*digits[:raised], digits[raised] + 1, *digits[raised + 1 :])
    true_sum, old_sum = with_checksum(other)[24:], whole[24:]
    forged = list(elements)
    forged[raised] = key.sign(other, {})[raised]
    for checksum in {true_sum, old_sum, tuple(map(max, true_sum, old_sum))}:
        pairs = zip(forged[24:] + forged[:24], (*checksum, *other), strict=True)
        witness = [item for element, d in pairs for item in (element, number_bytes(d))]
        assert not core_holds(code, witness)


@pytest.mark.parametrize("wrong", [16, 17, 127, 1 << 20, -1, b"\x8f", b"\x10\0", b"\x0f\0\0\0\0"])
def test_digits_above_15_are_refused_not_clamped(wrong: int | bytes) -> None:
    """Clamped, 16 would be a second way to say 15, and the sum of the digits would be another."""
    message = said.records(K)[0]
    template = moves.signing("one message", (message,))
    code = template.script(NO_GUARD, public_keys(template))
    witness = template.witness((), signed({message: (15,) * 24}))
    assert core_holds(code, witness)
    for place in (1, 2 * checksum_size(24) + 1, len(witness) - 1):
        items = list(witness)
        items[place] = number_bytes(wrong) if isinstance(wrong, int) else wrong
        assert not core_holds(code, items)


# What the spender supplies unsigned


def encodings(value: int) -> list[bytes]:
    """Other ways to write a small number, which consensus takes for the same one."""
    longer = [bytes([value]), bytes([value, 0]), bytes([value, 0, 0]), bytes([value, 0, 0, 0])]
    return [*longer, b"\x80", b"\0\x80", b"\0\0\0\x80"] if value == 0 else longer


def other_encodings(template: Template, values: dict[Said, Digits], hints: tuple[int, ...]) -> None:
    """In every place another encoding changes nothing, and a number out of range is refused."""
    accepted = bare_holds(template, values, hints)
    for place in range(len(hints)):
        encoded = encodings(hints[place])
        wrong = [16, -1, number_bytes(hints[place] + 16), bytes([hints[place], 0, 0, 0, 0])]
        for item in (encoded[place % len(encoded)], wrong[place % 4]):
            shown = (*hints[:place], item, *hints[place + 1 :])
            assert bare_holds(template, values, shown) == (accepted and item in encoded)
    for n in range(4):
        every = [encodings(h)[n % len(encodings(h))] for h in hints]
        assert bare_holds(template, values, every) == accepted


def lying_about_pc(disputed: int) -> dict[Said, Digits]:
    honest = told(RUN, disputed)
    moved = replace(honest.executed, pc=honest.executed.pc ^ 8)
    return catalog.spoken(RUN.premises, replace(honest, fragment=moved))


def test_numbers_that_are_not_minimal() -> None:
    """05 00 is 5 and 80 is 0 for arithmetic, but not for OP_EQUAL nor as a condition of OP_IF:
    hints are made minimal before anything looks at them, selectors and steering bits too."""
    disputed = 0b01_01_00
    template = verdict_open.opening(Shape(K, 20, K - 1, 0), Accusation(Predicate.PC))
    hints = opening_hints(RUN.premises, RUN, disputed - 1, K - 1)
    other_encodings(template, lying_about_pc(disputed), hints)
    honest = catalog.spoken(RUN.premises, told(RUN, disputed))
    assert not bare_holds(template, honest, [encodings(h)[-1] for h in hints])
    for name in ("div", "rem"):
        fragment = steps.step_of(name, 0xFFFF_F000, 7)
        values = fragment_values(fragment, steps.LOG4, base4(fragment.index, steps.LOG4))
        other_encodings(execute.template(name, BORDERS), values, execute.hints_for(fragment))


@pytest.mark.parametrize("step", [0b00_00, 0b01_00, 0b10_11, 0b11_01])
def test_steering_digits_that_are_not_minimal(step: int) -> None:
    """Both bits of such a digit are conditions of OP_IF, the lower one sometimes as it came."""
    disputed = 0b01_00_00
    address = RUN.records[step].waddr
    shown = Told(disputed, address=address).values(K)
    honest = catalog.spoken(RUN.premises, told(RUN, disputed))
    template = verdict_open.opening(Shape(K, 20, K - 2, 0), Accusation(Predicate.STALE))
    *hints, above, place = opening_hints(RUN.premises, RUN, step, K - 2)
    assert (above, place) == divmod(step, 4)
    for item in (above, *encodings(above)):
        assert bare_holds(template, {**honest, **shown}, [*hints, item, place])


def test_the_steering_digits_of_an_opening() -> None:
    """A digit of 4 or more would steer as its two low bits and count as another step."""
    disputed = 0b01_00_00_00
    template = verdict_open.opening(Shape(K, 20, K - 3, 0), Accusation(Predicate.PC))
    hints = opening_hints(RUN.premises, RUN, disputed - 1, K - 3)
    lying = lying_about_pc(disputed)
    assert bare_holds(template, lying, hints)
    for place in (-3, -2, -1):
        for wrong in (7, 11, 15, 19, -1, 0, 1, 2, number_bytes(3 + 256), b"\x83"):
            shown = [*hints]
            shown[place] = wrong
            assert not bare_holds(template, lying, shown), (place, wrong)


def test_a_block_in_digits_that_carry() -> None:
    """16 + x beside y - 1 is x beside y to every sum, so that the block hashes as it should; but
    digit by digit it is another record than the one that an honest prover read or went on from."""
    disputed = 0b01_01_00
    honest = catalog.spoken(RUN.premises, told(RUN, disputed))
    hints = opening_hints(RUN.premises, RUN, disputed - 1, K - 1)
    template = verdict_open.opening(Shape(K, 20, K - 1, 0), Accusation(Predicate.PC))
    for other in carried(hints, 96):
        assert not bare_holds(template, honest, other)


@pytest.mark.parametrize("place", [4, 5, 6])
def test_a_record_beyond_the_block(place: int) -> None:
    """The step before i ends in threes, and a sum tells: 2 + 4 is 3 + 3. Without its bound, a digit
    of 4 would pick as record what lies below the block, which contradicts every honest pc."""
    disputed = 0b01_01_00_00
    template = verdict_open.opening(Shape(K, 20, K - 2, 0), Accusation(Predicate.PC))
    honest = catalog.spoken(RUN.premises, told(RUN, disputed))
    block = 6 - place
    hints = opening_hints(RUN.premises, RUN, disputed - 16 + 4 * block, K - 2)
    assert hints[-2:] == (block, 0)
    assert not bare_holds(template, honest, (*hints[:-1], place))


@pytest.mark.parametrize("condition", [b"\x02", b"\x80", b"\0", b"\x01\0", b"\x81", b"\x01" * 5])
def test_a_condition_is_0_or_1_in_its_minimal_form(condition: bytes) -> None:
    """Tapscript's OP_IF takes nothing else, by consensus: no condition has two encodings."""
    asm = Assembler(["x", "condition"])
    x, flag = asm.stack
    (result,) = asm.branch(flag, lambda: [asm.op(Op.ADD, x, 1)], lambda: [asm.op(Op.SUB, x, 1)])
    asm.drop(result)
    code = asm.finish()
    assert holds(code, [5, 0]) and holds(code, [5, 1])
    assert not holds(code, [5, condition])


# Keys, annex, clean stack


@dataclass(frozen=True)
class Guarded:
    """A leaf that ``keys`` guard, with what satisfies its body."""

    template: Template
    values: Mapping[Said, Digits]
    hints: tuple[int, ...]
    keys: tuple[SecretKey, ...]

    @property
    def code(self) -> bytes:
        return self.template.script(Guard(tuple(k.public for k in self.keys)), self.public)

    @property
    def public(self) -> dict[Said, OneTimePublicKey]:
        return public_keys(self.template)

    def spent(
        self,
        signers: Sequence[SecretKey | bytes],
        *,
        leaf: bytes = b"",
        below: tuple[bytes, ...] = (),
        annex: tuple[bytes, ...] = (),
        signed_annex: bytes | None = None,
    ) -> bool:
        """Whether Core lets ``signers`` spend it: keys, or what stands for a signature.

        ``leaf`` is another leaf that they sign for; ``below`` lies under everything else.
        """
        output = txout(100_000, locked(self.code).script_pubkey)
        unsigned, hashed = spend(self.code, []), LeafSpend(TapLeaf(leaf or self.code).hash)
        message = taproot_sighash(unsigned, 0, [output], annex=signed_annex, leaf=hashed)
        signatures = [
            key.sign(message, AUX) if isinstance(key, SecretKey) else key for key in signers
        ]
        heard = {m: self.values[m] for m in self.template.messages}
        witness = [*below, *self.template.witness(signatures, signed(heard), self.hints)]
        stack = [*witness, self.code, locked(self.code).control_block(TapLeaf(self.code)), *annex]
        return verify_input(with_witness(unsigned, [stack]), 0, [output])


def guarded_leaves() -> dict[str, Guarded]:
    """One leaf of each kind that a party spends alone or that both have signed."""
    disputed = 0b01_01_00
    lie = lying_about_pc(disputed)
    hints = opening_hints(RUN.premises, RUN, disputed - 1, K - 1)
    pc = Accusation(Predicate.PC)
    opened = verdict_open.opening(Shape(K, 20, K - 1, 0), pc)
    entry = verdict_program.rom(K, verdict_program.text_pages(RUN.premises.image)[0])
    fragment = steps.step_of("div", 7, 2)
    shown = fragment_values(fragment, steps.LOG4, base4(fragment.index, steps.LOG4))
    executes = execute.template("div", BORDERS)
    wrong_opcode = Told(5, TEXT_BASE, 0x13).values(K)
    way = verdict_assert.path(Shape(7, 20, 3, 0))
    return {
        "OPEN": Guarded(opened, lie, hints, (CHALLENGER,)),
        "ROM": Guarded(entry, wrong_opcode, (), (CHALLENGER,)),
        "EXECUTE": Guarded(executes, shown, execute.hints_for(fragment), (PROVER, CHALLENGER)),
        "REFUTE": refutable(way),
    }


def refutable(way: tuple[Said, ...]) -> Guarded:
    """A false node, signed by the challenger, and the true one that leads to the next."""
    rng = Random(3)
    node, siblings = rng.randbytes(20), [rng.randbytes(20) for _ in range(2)]
    below = (0, 0, 0, 1)
    upper = node
    for sibling in siblings:
        upper = join(upper, sibling)
    values = {
        way[0]: digits_of(rng.randbytes(20)),
        way[1]: digits_of(upper),
        said.below(7, 3): below,
    }
    hints = tuple(d for part in (node, *siblings) for d in digits_of(part))
    template = verdict_assert.refute_node(Shape(7, 20, 3, 0), 0)
    return Guarded(template, values, hints, (PROVER,))


KINDS = ("OPEN", "ROM", "EXECUTE", "REFUTE")


@pytest.mark.parametrize("kind", KINDS)
def test_one_time_data_without_its_owners_signature(kind: str) -> None:
    """What a verdict shows is public: without a Schnorr signature over the outputs a miner, or who
    sees it first, would send the pot to himself."""
    leaf = guarded_leaves()[kind]
    assert leaf.spent(leaf.keys)
    for place in range(len(leaf.keys)):
        for other in (THIEF, b"", bytes(64), b"\x01"):
            signers = [other if n == place else key for n, key in enumerate(leaf.keys)]
            assert not leaf.spent(signers), (place, other)
    if len(leaf.keys) > 1:
        assert not leaf.spent(leaf.keys[::-1])
    assert not leaf.spent(leaf.keys, leaf=b"\x51"), "a signature for one leaf is none for another"


@pytest.mark.parametrize("kind", KINDS)
def test_an_annex_that_the_owner_did_not_sign(kind: str) -> None:
    """An annex is part of what is signed: nobody can blow up a spend that is on its way."""
    leaf = guarded_leaves()[kind]
    annex = b"\x50" + bytes(40)
    assert not leaf.spent(leaf.keys, annex=(annex,))
    assert not leaf.spent(leaf.keys, signed_annex=annex)
    assert leaf.spent(leaf.keys, annex=(annex,), signed_annex=annex)


@pytest.mark.parametrize("kind", KINDS)
def test_extra_witness_items(kind: str) -> None:
    """Tapscript leaves exactly one value: nothing can be stuffed under a witness, or left out."""
    leaf = guarded_leaves()[kind]
    for below in ((b"",), (b"\x01",), (b"", b"\x01"), (bytes(520),)):
        assert not leaf.spent(leaf.keys, below=below)
    if leaf.hints:
        short = replace(leaf.template, hints=leaf.template.hints - 1)
        witness = short.witness(
            (), signed({m: leaf.values[m] for m in short.messages}), leaf.hints[1:]
        )
        assert not core_holds(leaf.template.script(NO_GUARD, leaf.public), witness)
