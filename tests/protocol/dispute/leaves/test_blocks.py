"""Leaves spent in real blocks: keys, time lock, signatures, unsigned digits, and the verdict."""

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import pytest
from bitcoin.core import CTransaction

from protocol.bitcoin.sighash import LeafSpend, sign_input
from protocol.bitcoin.taproot import TapLeaf
from protocol.bitcoin.tx import Coin, outpoint, txid, txout, weight
from protocol.crypto.keys import SecretKey
from protocol.crypto.winternitz import Digits
from protocol.dispute.leaves import catalog, execute
from protocol.dispute.leaves.said import Said
from protocol.dispute.leaves.template import Guard, Template
from protocol.dispute.opening import place_of, siblings_of
from protocol.dispute.premises import Premises
from protocol.dispute.verdicts import Accusation, NodeVerdict, OpenVerdict, Predicate
from protocol.errors import ConsensusError
from regtest.kernel import KernelChain
from regtest.wallet import Wallet
from tests.builders.disputes import LAYOUT, Run, claim_input
from tests.builders.leaves import public_keys, signed, told
from tests.builders.programs import program
from tests.builders.scripts import locked, spend

AUX = bytes(32)
PROVER, CHALLENGER, THIEF = (SecretKey(bytes([n]) * 32) for n in (0x51, 0x52, 0x53))
BOTH = Guard((PROVER.public, CHALLENGER.public), 1)
ALONE = Guard((CHALLENGER.public,), 1)
K = 4
SOURCE = """
    addi a1, zero, -77
    addi a2, zero, 9
    div a3, a1, a2
    addi s1, zero, 30
again:
    addi s1, s1, -1
    bne s1, zero, again
    addi a0, zero, 0
    addi a7, zero, 93
    ecall
"""
RUN = Run(Premises(program(SOURCE), LAYOUT, K, 32), claim_input(1, 1))


@dataclass
class Stage:
    chain: KernelChain
    wallet: Wallet

    def fund(self, code: bytes) -> Coin:
        """An output that ``code`` locks, one block old."""
        pay = self.wallet.pay([txout(1_000_000, locked(code).script_pubkey)], AUX)
        self.chain.broadcast(pay)
        self.chain.mine(2)
        return Coin(outpoint(txid(pay), 0), pay.vout[0])

    def refused(self, tx: CTransaction, reason: str) -> None:
        with pytest.raises(ConsensusError) as caught:
            self.chain.mine(txs=[tx])
        assert reason in str(caught.value), caught.value


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    datadir = tmp_path_factory.mktemp("node")
    with KernelChain(datadir) as chain:
        wallet = Wallet(chain, SecretKey(b"\x44" * 32))
        chain.mine(5, to=wallet.script())
        chain.mine(100)
        yield Stage(chain, wallet)
    shutil.rmtree(datadir)


@dataclass
class Leaf:
    """A template with its guard, and the output that it locks."""

    template: Template
    guard: Guard
    code: bytes
    coin: Coin

    @classmethod
    def on(cls, stage: Stage, template: Template, guard: Guard) -> "Leaf":
        code = template.script(guard, public_keys(template))
        return cls(template, guard, code, stage.fund(code))

    def spend(
        self, values: Mapping[Said, Digits], hints: tuple[int, ...], *keys: SecretKey
    ) -> CTransaction:
        """A spend that says ``values``, signed by ``keys`` in the order of the guard."""
        unsigned = spend(self.code, [], self.coin, 1)
        leaf = LeafSpend(TapLeaf(self.code).hash)
        signatures = [
            sign_input(unsigned, 0, [self.coin.output], key, AUX, leaf=leaf) for key in keys
        ]
        messages = signed({m: values[m] for m in self.template.messages})
        witness = self.template.witness(signatures, messages, hints)
        return spend(self.code, witness, self.coin, 1)


def test_execute_in_a_block(stage: Stage) -> None:
    transcript = told(RUN, 2)
    borders = execute.Borders.of(RUN.premises)
    leaf = Leaf.on(stage, execute.template("div", borders), BOTH)
    values = catalog.spoken(RUN.premises, transcript)
    hints = execute.hints_for(transcript.executed)
    write = transcript.executed.write
    false = replace(transcript.executed, write=write._replace(wval=write.wval + 1))
    lying = catalog.spoken(RUN.premises, replace(transcript, fragment=false))
    elsewhere = catalog.spoken(RUN.premises, replace(transcript, digits=(0, 0, 0, 3)))
    refused = [
        (leaf.spend(values, hints, PROVER, THIEF), "Invalid Schnorr signature"),
        (leaf.spend(values, hints, CHALLENGER, PROVER), "Invalid Schnorr signature"),
        (leaf.spend(lying, hints, PROVER, CHALLENGER), "OP_NUMEQUALVERIFY"),
        (leaf.spend(elsewhere, hints, PROVER, CHALLENGER), "OP_NUMEQUALVERIFY"),
        (leaf.spend(values, (*hints[:15], 16), PROVER, CHALLENGER), "OP_VERIFY"),
        (leaf.spend(values, (9, *hints[1:]), PROVER, CHALLENGER), "OP_NUMEQUALVERIFY"),
    ]
    for tx, reason in refused:
        stage.refused(tx, reason)
    spent = leaf.spend(values, hints, PROVER, CHALLENGER)
    assert stage.chain.check(spent).accepted
    stage.chain.mine(txs=[spent])
    assert stage.chain.utxo(leaf.coin.outpoint) is None


def test_a_verdict_needs_the_lie_and_the_challengers_key(stage: Stage) -> None:
    """NODE at 32 bytes, the widest leaf of signed messages."""
    transcript = told(RUN, 45)
    chosen = catalog.leaf_of(RUN.premises, transcript, NodeVerdict(2))
    assert chosen is not None
    leaf = Leaf.on(stage, chosen.template, ALONE)
    honest = catalog.spoken(RUN.premises, transcript)
    first, *rest = transcript.rounds[1]
    false = (bytes([first[0] ^ 1]) + first[1:], *rest)
    rounds = (transcript.rounds[0], false, transcript.rounds[2])
    lie = catalog.spoken(RUN.premises, replace(transcript, rounds=rounds))
    stage.refused(leaf.spend(honest, (), CHALLENGER), "OP_VERIFY")
    stage.refused(leaf.spend(lie, (), THIEF), "Invalid Schnorr signature")
    spent = leaf.spend(lie, (), CHALLENGER)
    assert 180_000 < weight(spent) < 210_000
    stage.chain.mine(txs=[spent])
    assert stage.chain.utxo(leaf.coin.outpoint) is None


def test_the_deepest_direct_open_is_relayed(stage: Stage) -> None:
    """Five compressions at 32 bytes fit the default policy's 400,000 units."""
    disputed = 0b01_00_00_00
    transcript = told(RUN, disputed)
    place = place_of(RUN.premises, disputed, disputed - 1)
    siblings = siblings_of(RUN.tree, disputed - 1, 0, 4)
    block = RUN.block((disputed - 1) // 4)
    verdict = OpenVerdict(Accusation(Predicate.PC), place, block, siblings)
    chosen = catalog.leaf_of(RUN.premises, transcript, verdict)
    assert chosen is not None
    leaf = Leaf.on(stage, chosen.template, ALONE)
    honest = catalog.spoken(RUN.premises, transcript)
    moved = replace(transcript.executed, pc=RUN.premises.image.entry)
    lie = catalog.spoken(RUN.premises, replace(transcript, fragment=moved))
    stage.refused(leaf.spend(honest, chosen.hints, CHALLENGER), "OP_VERIFY")
    other = (*chosen.hints[:100], chosen.hints[100] ^ 1, *chosen.hints[101:])
    stage.refused(leaf.spend(lie, other, CHALLENGER), "OP_NUMEQUALVERIFY")
    spent = leaf.spend(lie, chosen.hints, CHALLENGER)
    assert weight(spent) < 400_000
    assert stage.chain.check(spent).accepted
    stage.chain.mine(txs=[spent])
    assert stage.chain.utxo(leaf.coin.outpoint) is None
