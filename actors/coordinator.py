"""The coordinator as an actor: one contract from funding to its last block, on disk at every step.

Durable: a state is in the journal before anything it allows is broadcast, and after a restart the
chain is brought to what the last state says; nothing is signed or paid twice, and a call that is
repeated in the stage it leads to changes nothing. It holds the keys of both parties, which have
agreed to sign what the game decides; two parties that trust nobody are ``actors.party``.
"""

import secrets
import time
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

from bitcoin.core import COutPoint, CTransaction

from actors.agreement import COINBASE_MATURITY, Custody
from actors.config import Wallet, open_chain
from actors.journal import Journal
from actors.keyfile import load_key, load_seed
from actors.outcomes import Answered, fetch
from actors.prover import Job
from actors.report import TxReport
from actors.settlement import Settlement, Stage
from protocol.bitcoin.tx import hash_hex, parse_tx, serialize, txid, vsize
from protocol.dispute.game import Claim as DisputedClaim
from protocol.dispute.game import Game, Party, Verdict
from protocol.dispute.judge import judge
from protocol.errors import ConfigError, DisputeError
from protocol.oracle.config import OracleConfig
from protocol.oracle.expiry import Expiry, ExpiryCertificate
from protocol.settlement.anchor import ClaimAnchor
from protocol.settlement.claim import Claim, payout_units
from protocol.settlement.closing import close_nonce, close_session, close_tx, finish_close
from protocol.settlement.contract import REFUND, Contract
from protocol.settlement.funding import (
    Contribution,
    contract_outpoint,
    fund_needs,
    fund_spent,
    fund_tx,
    require_fund,
)
from protocol.settlement.graph import Graph
from protocol.settlement.keys import PartyKeys
from protocol.settlement.presign import assemble, presign, require_signatures
from protocol.settlement.terms import ContractTerms, Role, settlement_image
from protocol.units import Sats
from riscv_vm.fast import Machine

RETRY_S = 0.05
"""Between two requests for the same move, while its time lasts."""


@dataclass(frozen=True, slots=True)
class CoordinatorSettings:
    """Public values, paths of key files, the folder of journal and chain, the move deadline."""

    config: bytes  # CFG1
    terms: bytes  # TRM2
    holder: Custody
    writer: Custody
    folder: Path
    move_ms: int


class Coordinator:
    """The actor."""

    def __init__(self, settings: CoordinatorSettings) -> None:
        settings.folder.mkdir(parents=True, exist_ok=True)
        self._settings = settings
        self._oracles = OracleConfig.decode(settings.config)
        self.terms = ContractTerms.decode(settings.terms)
        custody = {Role.HOLDER: settings.holder, Role.WRITER: settings.writer}
        self._keys = {role: PartyKeys(load_seed(own.seed)) for role, own in custody.items()}
        self._image = settlement_image(self.terms)
        self._journal, self._state = self._open_journal()
        self._chain = open_chain(settings.folder / "chain")
        self._wallets = {
            role: Wallet(self._chain, load_key(own.wallet)) for role, own in custody.items()
        }

    def stage(self) -> Stage:
        """Where the contract stands, once the chain is where its journal says."""
        self._enforce()
        return self._state.stage

    def fund(self) -> None:
        """Both sign every way out, then FUND; FUND is mined. A funded contract stays as it is."""
        if self._state.stage is Stage.DRAFT:
            self._sign_contract()
        if self._state.stage is Stage.SIGNED:
            self._write(self._state.to(Stage.FUNDED))

    def honest_payout(self, certificate: bytes) -> Sats:
        """What the holder is due by this expiry certificate; an error of ours if it is not ours."""
        return self._due(self._checked(ExpiryCertificate.decode(certificate)))

    def claim(self, claim: Claim, root: bytes, log4_steps: int, width: int) -> None:
        """Record a claim and the shape of its trace. It may be a lie, but its certificate must be
        this contract's: QuorumError, SignatureError, TermsError or DisputeError otherwise."""
        self._checked(claim.certificate)
        DisputedClaim(root, log4_steps, width)
        if (self._state.claim, self._state.root) == (claim.encode(), root):
            return
        self._write(
            self._state.to(
                Stage.CLAIMED,
                claim=claim.encode(),
                root=root,
                log4_steps=log4_steps,
                width=width,
                payout_sats=int(self.terms.claim.payout_sats(claim.units)),
            )
        )

    def dispute(self, prover: Any, job: Job, challenger: Any) -> Verdict:
        """Referee the game about the claim on record, down to one step; its end is on record too.

        ``job`` is what the prover committed to; only the players look at it. A dispute that a crash
        interrupted is played again from its beginning.
        """
        if self._state.stage is not Stage.DISPUTED:
            self._write(self._state.to(Stage.DISPUTED))
        state = self._state
        game = Game.start(DisputedClaim(state.root, state.log4_steps, state.width))
        while game.turn is not None:
            game = self._move(game, prover, job, challenger)
        if game.step is not None:
            machine = Machine(self._image, state.claim)
            machine.run(game.step)
            game = judge(game, machine.step())
        verdict = game.verdict
        assert verdict is not None
        self._write(state.to(Stage.DECIDED, winner=str(verdict.winner), fault=str(verdict.fault)))
        return verdict

    def settle(self, honest_root: bytes) -> Sats:
        """Both sign CLOSE; it is mined in the next block. The sats that the holder is paid.

        It pays what was claimed or, if the challenger won the dispute, what the report says, and is
        anchored to the claimed root or then to the challenger's ``honest_root``.
        """
        if self._state.stage is Stage.SETTLED:
            self._enforce()
            return Sats(self._state.payout_sats)
        claim, payout, root = Claim.decode(self._state.claim), self._state.payout_sats, honest_root
        if self._state.winner == Party.CHALLENGER:
            payout = self._due(claim.certificate.expiry)
        else:
            root = self._state.root
        report_hash = claim.certificate.expiry.report_hash
        close = self._close(payout, ClaimAnchor.of(root, report_hash))
        self._write(
            self._state.to(Stage.SETTLED, close_tx=serialize(close), payout_sats=int(payout))
        )
        return Sats(payout)

    def refund(self) -> None:
        """Wait (here: mine) until the refund height and broadcast REFUND."""
        if self._state.stage is not Stage.REFUNDED:
            self._write(self._state.to(Stage.REFUNDED, payout_sats=0))
        self._enforce()

    def transactions(self) -> list[TxReport]:
        """The contract's transactions that are in blocks."""
        self._enforce()
        return [
            TxReport(name, hash_hex(txid(tx)), vsize(tx), place.block.height)
            for name, tx in self._allowed()
            if (place := self._chain.tx(txid(tx))) and place.block
        ]

    def close(self) -> None:
        """Flush and release chain and journal."""
        self._chain.close()
        self._journal.close()

    # Disk and chain

    def _open_journal(self) -> tuple[Journal, Settlement]:
        """The journal of this contract and its last state; ConfigError if it is another's."""
        path = self._settings.folder / "settlement.journal"
        journal, records = Journal.open(path)
        owner = b"contract " + sha256(self._settings.terms).digest()
        if not records:
            journal.append(owner)
        elif records[0] != owner:
            journal.close()
            raise ConfigError(f"{path}: belongs to another contract; use a folder of its own")
        return journal, Settlement.decode(records[-1]) if records[1:] else Settlement()

    def _write(self, state: Settlement) -> None:
        """First to disk, then to the chain."""
        self._journal.append(state.encode())
        self._state = state
        self._enforce()

    def _enforce(self) -> None:
        """Bring the chain to what the state says; changes nothing where it already is."""
        for name, tx in self._allowed():
            place = self._chain.tx(txid(tx))
            if place and place.block:
                continue
            if name == "REFUND":
                missing = self.terms.chain.refund_height - self._chain.height
                self._chain.mine(max(missing, 0))
            if place is None:
                self._chain.broadcast(tx)
            self._chain.mine(1)

    def _allowed(self) -> list[tuple[str, CTransaction]]:
        """What the state allows to broadcast, in order."""
        state = self._state
        raw = [("FUND", state.fund_tx)]
        if state.stage is Stage.SETTLED:
            raw.append(("CLOSE", state.close_tx))
        if state.stage is Stage.REFUNDED:
            raw.append(("REFUND", state.refund_tx))
        return [(name, parse_tx(tx)) for name, tx in raw if tx]

    # The game

    def _move(self, game: Game, prover: Any, job: Job, challenger: Any) -> Game:
        """One answer in time and in form, or the silent side has lost.

        Answers are pure, so a side that crashed is asked again while its time lasts.
        """
        end = time.monotonic() + self._settings.move_ms / 1000
        while (left_s := end - time.monotonic()) > 0:
            if game.turn is Party.PROVER:
                outcome = fetch(prover.answer.remote(job, game), left_s, foreign=True)
            else:
                outcome = fetch(challenger.choose.remote(job, game), left_s, foreign=True)
            if isinstance(outcome, Answered):
                try:
                    return _apply(game, outcome.value)
                except DisputeError:
                    break  # an answer that is no move is no answer
            time.sleep(RETRY_S)
        return game.timeout()

    # The contract

    @cached_property
    def _contract(self) -> Contract:
        one_time = {role: self._keys[role].one_time(self.terms, role).public for role in Role}
        return Contract(self.terms, one_time)

    def _sign_contract(self) -> None:
        """Every way out is signed by both, and verified by both, before FUND is."""
        self._faucet()
        parts = {role: self._contribution(role) for role in Role}
        fund = fund_tx(self._contract, parts[Role.HOLDER], parts[Role.WRITER])
        point = require_fund(self._contract, fund, parts[Role.HOLDER], parts[Role.WRITER])
        graph = Graph.of(self._contract, point)
        signed = {role: presign(graph, role, self._keys[role], _entropy()) for role in Role}
        for role in Role:
            require_signatures(graph, role, signed[role])
        refund = assemble(graph.move(REFUND), {role: signed[role][REFUND] for role in Role})
        spent = fund_spent(parts[Role.HOLDER], parts[Role.WRITER])
        for role in Role:
            fund = self._wallets[role].sign(fund, spent, _entropy())
        self._write(
            self._state.to(Stage.SIGNED, fund_tx=serialize(fund), refund_tx=serialize(refund))
        )

    def _close(self, payout: int, anchor: ClaimAnchor) -> CTransaction:
        """CLOSE by key path, signed by both together."""
        contract = self._contract
        keys = {role: self._keys[role].key for role in Role}
        tx = close_tx(contract, self._fund_point(), payout, anchor.encode())
        nonces = {role: close_nonce(contract, tx, keys[role], secrets.token_bytes) for role in Role}
        session = close_session(contract, tx, {role: nonces[role].public for role in Role})
        partials = {role: session.sign(nonces[role], keys[role]) for role in Role}
        return finish_close(contract, tx, session, partials)

    def _faucet(self) -> None:
        """Regtest coins for both."""
        for role in Role:
            self._chain.mine(1, to=self._wallets[role].script())
        self._chain.mine(COINBASE_MATURITY)

    def _contribution(self, role: Role) -> Contribution:
        wallet = self._wallets[role]
        coins = wallet.gather(lambda count: fund_needs(self._contract, role, count))
        return Contribution(coins, wallet.script())

    def _fund_point(self) -> COutPoint:
        return contract_outpoint(parse_tx(self._state.fund_tx))

    def _checked(self, certificate: ExpiryCertificate) -> Expiry:
        certificate.check(self._oracles, self.terms.claim.quorum)
        payout_units(self.terms, certificate.expiry)
        return certificate.expiry

    def _due(self, expiry: Expiry) -> Sats:
        return self.terms.claim.payout_sats(payout_units(self.terms, expiry))


def _apply(game: Game, answer: Any) -> Game:
    """``answer``, which may be anything, as the move that is due; DisputeError if it is none."""
    if game.turn is Party.CHALLENGER:
        return game.pick(answer)
    return game.reveal_records(answer) if game.at_block else game.reveal(answer)


def _entropy() -> bytes:
    return secrets.token_bytes(32)
