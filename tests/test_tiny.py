"""Five seconds that touch everything: machine, commitment, script, quorum, settlement, layers."""

from pathlib import Path

import pytest

import protocol
from protocol.bitcoin.taproot import NUMS_KEY, TapLeaf, taproot_output
from protocol.dispute.claim import Fault, Party
from protocol.dispute.lies.prover import Liar
from protocol.dispute.lies.rehearsal import Sides, rehearse
from protocol.dispute.lies.scene import Scene
from protocol.dispute.premises import InputLayout, Premises
from protocol.dispute.sides import HONEST
from protocol.errors import QuorumError
from protocol.oracle.quorum import median
from riscv_vm.machine import run as reference_run
from riscv_vm.prove import Execution, prove
from tests.builders.oracles import CONFIG, certify, observed, proposal_of
from tests.builders.programs import program

COUNT_TO_FIVE = """
    addi t0, x0, 5
loop:
    addi t0, t0, -1
    bne t0, x0, loop
    addi a0, x0, 0
    addi a7, x0, 93
    ecall
"""


@pytest.fixture(scope="module")
def image():
    return program(COUNT_TO_FIVE)


def test_the_packages_are_ours():
    assert Path(protocol.__file__).parents[1] == Path(__file__).parents[1]


def test_machine_and_commitment(image):
    trace = prove(Execution(image, log4_steps=4))
    assert trace.outcome == reference_run(image, b"", 4)
    assert trace.outcome.end == "HALT"


def test_one_wrong_write_is_found(image):
    def trace(data, forgery):
        return prove(Execution(image, data, 4, 20, forgery=forgery))

    premises = Premises(image, InputLayout(bytes(4), ((0, 8),), (8,)), 4, 20)
    scene = Scene(premises, bytes(4), bytes(4), trace)
    record = trace(bytes(4), None).block(0)[3]
    liar = Liar(scene).forged(3, scene.fragment(3), record._replace(wval=7))
    play = rehearse(scene, Sides(liar.strategy, HONEST))
    assert (play.outcome.winner, play.outcome.fault) == (Party.CHALLENGER, Fault.RECORD)
    assert play.said.executed.index == 3


def test_quorum():
    report = proposal_of(*(observed(i, price) for i, price in enumerate((100, 101, 10**9)))).report
    assert report.price_e8 == median([100, 101, 10**9]) == 101
    certify(report).check(CONFIG)
    with pytest.raises(QuorumError):
        certify(report, signers=(0, 1, 2)).check(CONFIG)


def test_script():
    output = taproot_output(NUMS_KEY, TapLeaf(b"\x51"))
    assert output.script_pubkey[:2] == b"\x51\x20"
