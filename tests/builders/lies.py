"""The lies of a prover, by kind: each makes a plan out of an honest run, or None if it cannot here.

A kind is a function of a random generator, a run and the step to lie at. ``FORGERIES`` forge the
record of that step and defend it with a fragment, ``TAMPERINGS`` change what a round reveals, and
``SPEECHLESS`` falls silent somewhere.
"""

from dataclasses import replace

from protocol.dispute.claim import FAN
from protocol.dispute.execute import shown_step
from protocol.dispute.fragment import Fragment, Slot
from protocol.dispute.play import Wait
from riscv_vm.isa import HALT, NOWRITE, SENTINELS, TRAP
from riscv_vm.record import Record
from tests.builders.disputes import Plan, Run, justify

CORNERS = (0, 1, 4, 0x1000, 0x7FFF_FFFF, 0x8000_0000, 0xF000_0000, 0xF000_0004, NOWRITE, HALT, TRAP)


def other(rng, word):
    """A word that is not ``word``: near it, a corner or random."""
    choices = (word ^ 1 << rng.randrange(32), rng.choice(CORNERS), rng.getrandbits(32))
    return next((c for c in rng.sample(choices, 3) if c != word), word ^ 1)


def false_record(rng, record, field=None):
    """``record`` with one wrong field."""
    name = field or rng.choice(Record._fields)
    return record._replace(**{name: other(rng, getattr(record, name))})


# Forged records, defended without a false premise.


def unexecuted(rng, run, index):
    """The true premises, and the false record as their result: EXECUTE refuses."""
    record = false_record(rng, run.step(index).record)
    return replace(run.fragment(index), write=record), record


def unrevealed(rng, run, index):
    """The honest fragment of a step whose record was false: RECORD."""
    return run.fragment(index), false_record(rng, run.step(index).record)


def wrong_index(rng, run, index):
    """The fragment of another step, of the same block or any: EXECUTE refuses."""
    another = rng.choice((index ^ 1, index ^ 2, (index + 1) % run.premises.steps))
    return replace(run.fragment(another)), false_record(rng, run.step(index).record)


def wrong_slot_address(rng, run, index):
    """A slot at another address than the instruction's: EXECUTE refuses."""
    fragment = run.fragment(index)
    place = rng.randrange(3)
    slots = list(fragment.slots)
    slots[place] = replace(slots[place], address=other(rng, slots[place].address))
    record = false_record(rng, fragment.write)
    return replace(fragment, slots=tuple(slots), write=record), record


def wrong_word(rng, run, index):
    """All that is true of another word than the one that the instruction reads: EXECUTE refuses."""
    fragment = run.fragment(index)
    used = [place for place in range(3) if fragment.slots[place].address]
    if not used:
        return None
    place, address = rng.choice(used), 0xF000_0000 + 4 * rng.randint(1, 31)
    last = run.writer(address, index)
    slot = Slot(address, run.value(address, index), max(last, 0), int(last < 0))
    fragment = replace(fragment, slots=_with(fragment.slots, place, slot))
    step = shown_step(run.premises, fragment)
    if step.record == fragment.write:
        return None
    return replace(fragment, write=step.record), step.record


# Forged records, defended by a false premise that EXECUTE cannot see.


def wrong_opcode(rng, run, index):
    """Another instruction: ROM. At a sentinel there is none: EXECUTE refuses."""
    opcode = run.step(index).opcode
    text = run.premises.image.text
    known = int.from_bytes(text[4 * rng.randrange(len(text) // 4) :][:4], "little")
    candidates = [known, *(opcode ^ 1 << bit for bit in rng.sample(range(32), 12))]
    return _first(run, index, ({"opcode": word} for word in candidates if word != opcode))


def wrong_pc(rng, run, index):
    """Another place of the text or a sentinel, with what truly is there: ENTRY or OPEN."""
    image, honest = run.premises.image, run.step(index).pc
    places = [*range(image.text_base, image.text_end, 4), HALT, TRAP]
    rng.shuffle(places)
    return _first(run, index, ({"pc": pc} for pc in places if pc != honest))


def invented_opcode(rng, run, index):
    """A sentinel pc with an opcode that the text has somewhere: EXECUTE refuses."""
    step = run.step(index)
    opcode = run.premises.image.opcode(run.premises.image.entry)
    record = false_record(rng, step.record)
    pc = rng.choice(SENTINELS)
    return replace(run.fragment(index), pc=pc, opcode=opcode, write=record), record


def wrong_value(rng, run, index):
    """A wrong word at the honest pointer: OPEN, or INIT, INPUT or ZERO if nothing wrote it."""
    choices = []
    for address, value in _reads(rng, run, index):
        choices += [{"words": {address: other(rng, value)}} for _ in range(3)]
    return _first(run, index, choices)


def wrong_initial(rng, run, index):
    """A wrong initial value of a word that truly was never written: INIT, INPUT or ZERO."""
    choices = []
    for address, value in _reads(rng, run, index):
        if not run.writes(address, index):
            choices += [{"words": {address: other(rng, value)}} for _ in range(3)]
    return _first(run, index, choices)


def stale_write(rng, run, index):
    """An older value of the word, with the step that truly wrote it: OPEN."""
    choices = []
    for address, _ in _reads(rng, run, index):
        older = [(step, value) for step, value in run.writes(address, index)[:-1]]
        rng.shuffle(older)
        choices += [_pointing(address, value, step, 0) for step, value in older]
    return _first(run, index, choices)


def stale_initial(rng, run, index):
    """The initial value of a word, as if nothing had written it: OPEN."""
    choices = []
    for address, _ in _reads(rng, run, index):
        if run.writes(address, index):
            choices.append(_pointing(address, run.value(address, 0), 0, 1))
    return _first(run, index, choices)


def elsewhere(rng, run, index):
    """What another step wrote to another address: OPEN."""
    choices = []
    for address, _ in _reads(rng, run, index):
        later = range(run.writer(address, index) + 1, index)
        steps = rng.sample(later, min(len(later), 8))
        choices += [_pointing(address, run.step(s).record.wval, s, 0) for s in steps]
    return _first(run, index, choices)


def future(rng, run, index):
    """A pointer to the step itself or a later one: FUTURE."""
    choices = []
    for address, value in _reads(rng, run, index):
        last = rng.choice((index, run.premises.steps - 1, rng.randrange(index, run.premises.steps)))
        choices += [_pointing(address, other(rng, value), last, 0) for _ in range(3)]
    return _first(run, index, choices)


def strange_init(rng, run, index):
    """An INIT digit that is neither 0 nor 1: FUTURE."""
    choices = []
    for address, value in _reads(rng, run, index):
        last = max(run.writer(address, index), 0)
        wrong = other(rng, value)
        choices += [_pointing(address, wrong, last, rng.randrange(2, 16)) for _ in range(3)]
    return _first(run, index, choices)


def wrong_x0(rng, run, index):
    """A value in a slot that is not used, x0 for one: EXECUTE refuses."""
    fragment = run.fragment(index)
    empty = [place for place in range(3) if fragment.slots[place].address == 0]
    if not empty:
        return None
    slots = list(fragment.slots)
    place = rng.choice(empty)
    field = rng.choice(("value", "last", "init"))
    slots[place] = replace(slots[place], **{field: 0 if field == "init" else 1})
    record = false_record(rng, fragment.write)
    return replace(fragment, slots=tuple(slots), write=record), record


def _reads(rng, run, index):
    """The (address, value) pairs that a step truly reads, shuffled."""
    reads = [(read.address, read.value) for read in run.step(index).reads if read.address]
    rng.shuffle(reads)
    return reads


def _pointing(address, value, last, init):
    return {"words": {address: value}, "pointers": {address: (last, init)}}


def _first(run, index, choices):
    """The fragment of the first choice that leads to another record than the true one."""
    for choice in choices:
        fragment = justify(run, index, **choice)
        if fragment is not None and fragment.write != run.step(index).record:
            return fragment, fragment.write
    return None


FORGERIES = {
    function.__name__: function
    for function in (
        *(unexecuted, unrevealed, wrong_index, wrong_slot_address, wrong_word, wrong_opcode),
        *(wrong_pc, invented_opcode, wrong_value, wrong_initial, stale_write),
        *(stale_initial, elsewhere, future, strange_init, wrong_x0),
    )
}


def forge(plan: Plan, rng, kind: str, index: int) -> bool:
    """Add a forged record to a plan; False if this kind of lie is not possible at that step."""
    forged = FORGERIES[kind](rng, plan.run, index)
    if forged is None:
        return False
    plan.forge(index, *forged)
    return True


# What a round reveals.


def random_node(rng, plan: Plan) -> None:
    """A random node among the four of a round: NODE."""
    turn, child = _turn(rng, plan), rng.randrange(FAN)
    plan.nodes[turn] = lambda play, nodes: _with(nodes, child, rng.randbytes(len(nodes[0])))


def honest_nodes(rng, plan: Plan) -> None:
    """The honest nodes below a false parent: NODE."""
    run = plan.run

    def honest(play, nodes):
        level, first = play.node
        return tuple(run.node(level, first + child) for child in range(FAN))

    plan.nodes[_turn(rng, plan)] = honest
    if plan.true:
        plan.root = rng.randbytes(run.width)


def mixed_nodes(rng, plan: Plan) -> None:
    """Each node of each round from the forged tree or the honest one: NODE."""

    def mixed(play, nodes):
        level, first = play.node
        honest = (plan.run.node(level, first + child) for child in range(FAN))
        return tuple(rng.choice(pair) for pair in zip(nodes, honest, strict=True))

    plan.nodes = dict.fromkeys(range(1, plan.premises.rounds + 1), mixed)


def swapped_nodes(rng, plan: Plan) -> None:
    """The right nodes in the wrong order: NODE."""
    plan.nodes[_turn(rng, plan)] = lambda play, nodes: (*nodes[1:], nodes[0])


def false_block(rng, plan: Plan) -> None:
    """Other records than those in the tree: BLOCK."""
    place = rng.randrange(FAN)
    plan.block = lambda play, block: _with(block, place, false_record(rng, block[place]))


def honest_block(rng, plan: Plan) -> None:
    """The honest records below a false block node: BLOCK."""
    plan.block = lambda play, block: plan.run.block(play.block)


def random_root(rng, plan: Plan) -> None:
    """A root of nothing: NODE, or BLOCK in a trace of four steps."""
    plan.root = rng.randbytes(plan.run.width)


TAMPERINGS = {
    function.__name__: function
    for function in (
        *(random_node, honest_nodes, mixed_nodes, swapped_nodes),
        *(false_block, honest_block, random_root),
    )
}


def fall_silent(rng, plan: Plan) -> None:
    """No answer at some move."""
    k = plan.premises.log4_steps
    waits = [(Wait.INPUT, 0), (Wait.RECORDS, k - 1), (Wait.EXECUTE, k)]
    plan.silent = rng.choice([*waits, *((Wait.NODES, turn) for turn in range(k - 1))])


def _turn(rng, plan: Plan) -> int:
    return rng.randint(1, max(1, plan.premises.rounds))


def _with(items, place, item):
    return (*items[:place], item, *items[place + 1 :])


def lie_somewhere(rng, run: Run, kind: str) -> tuple[Plan, int] | None:
    """A plan with one forged record, at a random step where this kind of lie is possible."""
    plan = Plan(run, coherent=rng.random() < 0.3)
    steps = run.premises.steps
    candidates = [rng.randrange(min(run.steps + 4, steps)) for _ in range(12)]
    candidates += [0, run.steps - 1, min(run.steps, steps - 1), steps - 1, rng.randrange(steps)]
    rng.shuffle(candidates)
    for index in candidates:
        if forge(plan, rng, kind, index):
            return plan, index
    return None


def fragment_field_lies(fragment: Fragment):
    """Every single-field corruption of a fragment: (name, fragment)."""
    flip = 1 << 4
    for name in ("index", "pc", "opcode"):
        yield name, replace(fragment, **{name: getattr(fragment, name) ^ flip})
    for place, slot in enumerate(fragment.slots):
        for name in ("address", "value", "last", "init"):
            bits = flip if name in ("address", "value") else 1
            changed = replace(slot, **{name: getattr(slot, name) ^ bits})
            yield (
                f"slot {place} {name}",
                replace(fragment, slots=_with(fragment.slots, place, changed)),
            )
    for name in Record._fields:
        value = getattr(fragment.write, name) ^ flip
        yield f"write {name}", replace(fragment, write=fragment.write._replace(**{name: value}))
