"""``oracle-vm vm step``, ``open``, ``check`` and ``disasm``: single steps and instructions."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from actors.vm_progress import compilation_told, proof_bar
from actors.vm_subject import (
    At,
    Elf,
    Input,
    Json,
    Log4Steps,
    Terms,
    Width,
    from_hex,
    read,
    record_fields,
    show,
    subject,
)
from protocol.errors import EncodingError
from riscv_vm.execution import Execution
from riscv_vm.image import load_elf
from riscv_vm.isa import LOG4_STEPS_DEFAULT, NOWRITE, REGISTER_BASE, REGISTER_NAMES, SENTINELS
from riscv_vm.isa import disassemble as assembler_text
from riscv_vm.prove import prove
from riscv_vm.record import Record
from riscv_vm.trace import INIT, Trace, TracedStep
from riscv_vm.tree import WIDTH_DEFAULT, Opening, check_opening

_SENTINEL_NAMES = dict(zip(SENTINELS, ("HALT", "TRAP"), strict=True))


def step(
    elf: Elf,
    at: At,
    data: Input = "",
    terms: Terms = None,
    log4_steps: Log4Steps = LOG4_STEPS_DEFAULT,
    width: Width = WIDTH_DEFAULT,
    as_json: Json = False,
) -> None:
    """Show one step: the instruction, what it reads and who wrote that last, what it commits.

    Each of `reads` has a `slot` (0 = rs1, 1 = rs2 or the loaded word, 2 = the old word of sb and
    sh; ecall: a7, a0), `addr`, `value` and `last`; slots that the instruction does not use are
    left out. Registers have addresses too: x_r is the word at 0xf0000000 + 4r.
    """
    execution = subject(elf, data, terms, log4_steps, width).execution
    found = _proved(execution, at).step(at)
    if as_json:
        print(json.dumps(_step_fields(found)))
        return
    print(f"step {found.index:,} at {_pc(found.pc)}: {_asm(found)}")
    for read_ in _step_fields(found)["reads"]:
        last = "INIT" if read_["last"] is None else f"step {read_['last']:,}"
        print(f"   reads {_place(read_['addr'])} = {_word(read_['value'])}, written by {last}")
    _print_record(found.record)


def open_command(
    elf: Elf,
    at: At,
    out: Annotated[Path, typer.Option(help="The file that the opening is written to.")],
    data: Input = "",
    terms: Terms = None,
    log4_steps: Log4Steps = LOG4_STEPS_DEFAULT,
    width: Width = WIDTH_DEFAULT,
    as_json: Json = False,
) -> None:
    """Write the proof that a step is under the root: its block of four records and the siblings."""
    execution = subject(elf, data, terms, log4_steps, width).execution
    trace = _proved(execution, at)
    opening = trace.open(at)
    encoded = opening.encode()
    try:
        out.write_bytes(encoded)
    except OSError as error:
        raise EncodingError(f"--out {out}: cannot be written ({error.strerror})") from None
    answer = {"root": trace.root.hex(), "step": at, "file": str(out), "bytes": len(encoded)}
    if as_json:
        answer["record"] = record_fields(opening.record)
    show(answer, as_json)
    if not as_json:
        _print_record(opening.record)


def check(
    root: Annotated[str, typer.Argument(help="The root in hex; its length is the width.")],
    opening: Annotated[Path, typer.Option(help="A file that `vm open` wrote.")],
    as_json: Json = False,
) -> None:
    """Check that an opening leads to ROOT and show its record; the exit code says it too."""
    found = Opening.decode(read(opening))
    valid = check_opening(from_hex("ROOT", root), found)
    reason = None if valid else f"{opening}: does not lead to this root"
    if as_json:
        answer: dict[str, Any] = {"kind": "opening", "valid": valid, "reason": reason}
        answer |= {"step": found.step, "log4_steps": found.log4_steps, "width": found.width}
        print(json.dumps(answer | {"record": record_fields(found.record)}))
        if not valid:
            raise typer.Exit(1)
        return
    if reason is not None:
        raise EncodingError(reason)
    print(f"opening: valid, step {found.step:,} of 4^{found.log4_steps}")
    _print_record(found.record)


def disasm(elf: Elf, as_json: Json = False) -> None:
    """List the instructions of ELF, the symbols among them; terms and input change none."""
    image = load_elf(read(elf))
    names: dict[int, list[str]] = {}
    for name, symbol in image.symbols.items():
        names.setdefault(symbol.address, []).append(name)
    rows = [(pc, image.opcode(pc)) for pc in range(image.text_base, image.text_end, 4)]
    if as_json:
        listed = [
            {
                "pc": pc,
                "opcode": word,
                "asm": assembler_text(word, pc),
                "symbols": names.get(pc, []),
            }
            for pc, word in rows
        ]
        print(json.dumps({"entry": image.entry, "instructions": listed}))
        return
    for pc, word in rows:
        for name in names.get(pc, []):
            print(f"{name}:")
        print(f"{pc:8x}:  {word:08x}  {assembler_text(word, pc)}")


def _proved(execution: Execution, at: int) -> Trace:
    """The trace of ``execution``, which has a step ``at``; EncodingError if it has not."""
    if at >= execution.limit:
        raise EncodingError(
            f"--at {at}: the trace has {execution.limit} steps; choose a smaller step or a larger"
            " --log4-steps"
        )
    with compilation_told(), proof_bar() as advance:
        return prove(execution, advance)


def _step_fields(found: TracedStep) -> dict[str, Any]:
    """A step for JSON. Address 0 marks a slot that is not used: no word that is read has it."""
    reads = [
        {
            "slot": slot,
            "addr": read_.address,
            "value": read_.value,
            "last": None if read_.last == INIT else read_.last,
        }
        for slot, read_ in enumerate(found.reads)
        if read_.address
    ]
    return {
        "step": found.index,
        "pc": found.pc,
        "opcode": found.opcode,
        "asm": _asm(found),
        "reads": reads,
        "record": record_fields(found.record),
    }


def _asm(found: TracedStep) -> str:
    if found.pc in _SENTINEL_NAMES:
        return _SENTINEL_NAMES[found.pc].lower()
    return assembler_text(found.opcode, found.pc)


def _print_record(record: Record) -> None:
    if record.waddr == NOWRITE:
        print("  writes nothing")
    else:
        print(f"  writes {_place(record.waddr)} = {_word(record.wval)}")
    print(f"    next {_pc(record.next_pc)}")


def _place(address: int) -> str:
    if address >= REGISTER_BASE:
        return REGISTER_NAMES[(address - REGISTER_BASE) // 4]
    return f"0x{address:08x}"


def _word(value: int) -> str:
    return f"0x{value:08x} ({value:,})"


def _pc(pc: int) -> str:
    return _SENTINEL_NAMES.get(pc, f"0x{pc:x}")
