"""Contracts for tests: terms, both parties' keys and signatures, moves, a chain to try them on.

The claims are of the right form and about nothing: what they say is the guest's business.
"""

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from bitcoin.core import COutPoint, CTransaction

from protocol.bitcoin.taproot import key_path_script
from protocol.bitcoin.tx import Coin, outpoint, txid, txout
from protocol.crypto.keys import SecretKey
from protocol.crypto.tagged import tagged_hash
from protocol.crypto.winternitz import Digits, Label
from protocol.options.instrument import OptionKind
from protocol.options.payoff import Payoff
from protocol.oracle.expiry import ExpirySlot
from protocol.settlement.contract import Contract
from protocol.settlement.funding import Contribution, fund_needs, fund_spent, fund_tx, require_fund
from protocol.settlement.graph import Graph
from protocol.settlement.keys import PartyKeys
from protocol.settlement.move import ANCHOR_SATS
from protocol.settlement.onetime import OneTimeKeys, SignedMessage, claim_digits, payout_label
from protocol.settlement.presign import assemble, presign, require_signatures
from protocol.settlement.terms import (
    ChainTerms,
    ClaimTerms,
    ContractTerms,
    PartyTerms,
    Role,
    claim_size,
)
from protocol.units import E8, PriceE8, Sats
from regtest.chain import COINBASE_MATURITY, Chain, rule_broken
from regtest.conformance.backends import BITCOIND, KERNEL, Backend
from regtest.wallet import Wallet
from riscv_vm.image import ProgramImage

AUX = bytes(32)
KEYS = {Role.HOLDER: PartyKeys(b"\x48" * 32), Role.WRITER: PartyKeys(b"\x57" * 32)}
STRANGER = PartyKeys(b"\x99" * 32)
NOWHERE = outpoint(b"\x07" * 32, 0)
UNIT_SATS = 1_000
REMAINDER_SATS = 123
FAR = 1_000_000
"""A height that no test reaches."""

NONFINAL = "bad-txns-nonfinal"
SPENT = "bad-txns-inputs-missingorspent"
BAD_SIGNATURE = "Invalid Schnorr signature"
LOCKED = "Locktime requirement not satisfied"

BACKENDS = [KERNEL, *[BITCOIND] * bool(os.environ.get("BITCOIND"))]
"""A bitcoind too, where one is named."""


def party_terms(role: Role, **changes: Any) -> PartyTerms:
    keys = KEYS[role]
    fields: dict[str, Any] = {
        "key": keys.key.public,
        "prover_key": keys.prover_key.public,
        "challenger_key": keys.challenger_key.public,
        "script": key_path_script(SecretKey(tagged_hash("test", role.value.encode())).public),
        "nonce": role.value.encode() + bytes(10),
    }
    return PartyTerms(**(fields | changes))


def claim_of_bits(
    bits: int = 8, quorum: int = 2, unit_sats: int = UNIT_SATS, **changes: Any
) -> ClaimTerms:
    """A call with a unit of 1,000 sats, and a remainder that fills none."""
    collateral = Sats(((1 << bits) - 1) * unit_sats + REMAINDER_SATS)
    fields: dict[str, Any] = {
        "slot": ExpirySlot(
            config_digest=b"\xc0" * 32, feed_id=b"\xfe" * 32, start_round=100, target_round=110
        ),
        "roster": tuple(SecretKey(bytes([n + 1]) * 32).public for n in range(min(quorum + 1, 8))),
        "quorum": quorum,
        "grace_rounds": 20,
        "payoff": Payoff(
            kind=OptionKind.CALL,
            strike_e8=PriceE8(50_000 * E8),
            quantity_sats=collateral,
            collateral_sats=collateral,
        ),
        "payout_bits": bits,
    }
    return ClaimTerms(**(fields | changes))


def contract_terms(
    claim: ClaimTerms | None = None,
    holder: PartyTerms | None = None,
    writer: PartyTerms | None = None,
    **chain: Any,
) -> ContractTerms:
    """Eight payout bits that all have an output, and a claim that may be made at once."""
    fields: dict[str, Any] = {
        "premium_sats": 5_000,
        "bond_sats": 1_000_000,
        "claim_fee_sats": 3_001,
        "feerate_sat_vb": 2,
        "max_feerate_sat_vb": 2,
        "expiry_height": 1,
        "refund_height": FAR,
        "move_window": 3,
        "challenge_window": 3,
        "sweep_delay": 4,
        "log4_steps": 12,
        "width": 20,
        "anchored": True,
    }
    return ContractTerms(
        claim=claim or claim_of_bits(),
        holder=holder or party_terms(Role.HOLDER),
        writer=writer or party_terms(Role.WRITER),
        chain=ChainTerms(**(fields | chain)),
    )


def one_time_of(terms: ContractTerms) -> dict[Role, OneTimeKeys]:
    """Both parties' one-time keys; making them takes longer than using them."""
    return dict(_one_time_of(terms))


@lru_cache(maxsize=4)
def _one_time_of(terms: ContractTerms) -> dict[Role, OneTimeKeys]:
    return {role: KEYS[role].one_time(terms, role) for role in Role}


@lru_cache(maxsize=16)
def contract_of(terms: ContractTerms, judge: ProgramImage | None = None) -> Contract:
    return Contract(terms, {r: keys.public for r, keys in one_time_of(terms).items()}, judge)


@dataclass(frozen=True)
class Deal:
    """A contract that both parties have signed."""

    graph: Graph
    one_time: Mapping[Role, OneTimeKeys]
    signatures: Mapping[Role, Mapping[str, bytes]]
    """By party and way."""
    guard: dict[Label, Digits] = field(default_factory=dict)

    @property
    def terms(self) -> ContractTerms:
        return self.graph.contract.terms

    def messages(self, prover: Role, units: int) -> dict[Label, SignedMessage]:
        """All that ``prover`` reveals where it claims ``units``."""
        size = claim_size(self.terms.claim.quorum)
        claim = units.to_bytes(4) + bytes((7 * n + 1) % 256 for n in range(4, size))
        root = tagged_hash("test", claim)[: self.terms.chain.width]
        digits = claim_digits(self.terms, prover, claim, root)
        return self.one_time[prover].sign(digits, self.guard)

    def payout(self, prover: Role, units: int) -> SignedMessage:
        """A payout message; unlike an honest party it signs as many as it is asked for."""
        label = payout_label(self.terms, prover)
        digits = tuple(units >> 4 * n & 15 for n in reversed(range(label.digits)))
        return self.one_time[prover].sign({label: digits}, {})[label]

    def signed(
        self, name: str, messages: Mapping[Label, SignedMessage] | None = None
    ) -> CTransaction:
        """A move, finished."""
        return assemble(self.graph.moves[name], self.signatures, messages)

    def claim(self, prover: Role, units: int) -> list[CTransaction]:
        """INPUT_1 .. KICKOFF."""
        messages = self.messages(prover, units)
        return [self.signed(move.name, messages) for move in self.graph.forward(prover)]

    def settle(self, prover: Role) -> CTransaction:
        return self.signed(self.graph.settle(prover).name)


def deal(
    terms: ContractTerms, fund: COutPoint = NOWHERE, judge: ProgramImage | None = None
) -> Deal:
    """Both build the graph, sign it, and verify each other."""
    graph = Graph.of(contract_of(terms, judge), fund)
    made = {role: presign(graph, role, KEYS[role], AUX) for role in Role}
    for role in Role:
        require_signatures(graph, role, made[role])
    return Deal(graph, one_time_of(terms), made)


@dataclass(frozen=True)
class Stage:
    """A chain and the wallets of both parties."""

    chain: Chain
    wallets: Mapping[Role, Wallet]

    def contribution(self, contract: Contract, role: Role) -> Contribution:
        wallet = self.wallets[role]
        coins = wallet.gather(lambda count: fund_needs(contract, role, count))
        return Contribution(coins, wallet.script(1))

    def fund(self, terms: ContractTerms, judge: ProgramImage | None = None) -> Deal:
        """FUND in a block, after both have signed everything else."""
        contract = contract_of(terms, judge)
        holder, writer = (self.contribution(contract, role) for role in Role)
        tx = fund_tx(contract, holder, writer)
        made = deal(terms, require_fund(contract, tx, holder, writer), judge)
        spent = fund_spent(holder, writer)
        for wallet in self.wallets.values():
            tx = wallet.sign(tx, spent, AUX)
        self.broadcast(tx)
        return made

    def broadcast(self, *txs: CTransaction) -> None:
        """Relayed, then in a block each."""
        for tx in txs:
            self.chain.broadcast(tx)
            self.chain.mine()

    def refused(self, tx: CTransaction, reason: str) -> None:
        """No next block may hold ``tx``, for this reason."""
        verdict = self.chain.check(tx)
        assert not verdict.consensus
        assert rule_broken(verdict.consensus_reason) == reason, verdict.consensus_reason

    def when_ripe(self, tx: CTransaction) -> int:
        """The blocks that ``tx`` had to wait for, each of them refusing it; then it is in one."""
        waited = 0
        while not self.chain.check(tx).accepted:
            self.refused(tx, NONFINAL)
            self.chain.mine()
            waited += 1
        self.broadcast(tx)
        return waited

    def settled(self, made: Deal, prover: Role, units: int) -> CTransaction:
        """The claim and SETTLE in blocks; SETTLE."""
        self.broadcast(*made.claim(prover, units))
        settle = made.settle(prover)
        assert self.when_ripe(settle) == made.terms.chain.challenge_window - 1
        return settle


@contextmanager
def opened_stage(backend: Backend, folder: Path) -> Iterator[Stage]:
    """A new chain on which both parties have coins."""
    with backend.open(folder) as chain:
        secrets = {Role.HOLDER: b"\x01" * 32, Role.WRITER: b"\x02" * 32}
        wallets = {role: Wallet(chain, SecretKey(secret)) for role, secret in secrets.items()}
        for wallet in wallets.values():
            chain.mine(20, to=wallet.script())
        chain.mine(COINBASE_MATURITY)
        yield Stage(chain, wallets)
    shutil.rmtree(folder)


def coin(sats: int, script: bytes, number: int = 0) -> Coin:
    """A coin that no chain knows."""
    return Coin(outpoint(tagged_hash("test", number.to_bytes(4)), 0), txout(sats, script))


def due(graph: Graph, prover: Role, units: int) -> dict[Role, int]:
    """What the terms owe each party after a claim, said without the code that pays it: for terms
    whose bits all have an output."""
    claim, chain = graph.contract.terms.claim, graph.contract.terms.chain
    spent = sum(move.fee_sats + ANCHOR_SATS for move in graph.forward(prover))
    settle = graph.settle(prover).fee_sats + ANCHOR_SATS
    spare = graph.contract.reserve_sats - settle
    holder = units * claim.unit_sats
    sats = {
        Role.HOLDER: chain.bond_sats + holder + spare // 2,
        Role.WRITER: chain.bond_sats + claim.collateral_sats - holder + -(-spare // 2),
    }
    sats[prover] -= spent
    gains = holder if prover is Role.HOLDER else (1 << claim.payout_bits) - 1 - units
    if gains:
        sats[prover] += chain.claim_fee_sats
        sats[prover.other] -= chain.claim_fee_sats
    return sats


def received(role: Role, terms: ContractTerms, *txs: CTransaction) -> int:
    """What ``txs`` pay to the script that ``role`` named in the terms."""
    outputs = [out for tx in txs for out in tx.vout]
    mine = terms.party(role).script
    return sum(int(out.nValue) for out in outputs if bytes(out.scriptPubKey) == mine)


def fee(tx: CTransaction, *parents: CTransaction) -> int:
    """What ``tx`` leaves to the miner; ``parents`` hold what it spends."""
    known = {txid(parent): parent for parent in parents}
    spent = sum(int(known[p.prevout.hash].vout[p.prevout.n].nValue) for p in tx.vin)
    return spent - sum(int(out.nValue) for out in tx.vout)
