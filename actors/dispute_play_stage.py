"""A funded contract whose price is certified, from which any number of games is played.

The oracles are made here and certify what is asked for; they say so in their names. Everything else
is as outside: terms, keys, scripts, signatures, blocks. A game is played on a copy of the chain.
"""

import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Final

from actors.config import CHAIN_NODE, Chain, Wallet, open_chain
from actors.contract_oracles import price_for
from actors.contract_setting import FUNDS_HEIGHT, Ending, Setting
from actors.dispute_play_side import Pair, Seat
from actors.keyfile import load_key
from actors.party_config import load_party
from actors.party_lie import false_claim
from actors.party_wallet import KeyWallet
from actors.terminal import new_folder
from protocol.crypto.keys import SecretKey
from protocol.dispute.lies.rehearsal import Sides
from protocol.dispute.lies.scene import Scene
from protocol.errors import ChainError
from protocol.oracle.expiry import ExpiryCertificate
from protocol.settlement import record
from protocol.settlement.claim import claim_of
from protocol.settlement.contract_file import ContractFile
from protocol.settlement.graph import Graph
from protocol.settlement.keys import SEED_BYTES, PartyKeys
from protocol.settlement.policy import Close, Policy
from protocol.settlement.terms import ContractTerms, Role, settlement_image
from riscv_vm.forge import Forgery
from riscv_vm.image import ProgramImage
from riscv_vm.prove import Execution, prove
from riscv_vm.trace import Trace

UNITS: Final = 20_000
"""Of the payout that the oracles certify: far from nothing and from everything."""
BOND_SATS: Final = 3_000_000
"""Covers a dispute with hashes of 32 bytes too."""
DEPTH: Final = 1
"""Confirmations that the parties wait for: nobody else mines here."""
CONTRACT: Final = "dispute.contract"
"""The contract's file beside a game's chain."""
Announce = Callable[[str], None]


@lru_cache(maxsize=16)
def trace_of(
    image: ProgramImage, data: bytes, log4_steps: int, width: int, forgery: Forgery | None = None
) -> Trace:
    """The machine's trace, remembered for the next game."""
    return prove(Execution(image, data, log4_steps, width, forgery=forgery))


def retrace(terms: ContractTerms, data: bytes) -> Trace:
    """What the settlement program does with ``data``."""
    chain = terms.chain
    return trace_of(settlement_image(terms), data, chain.log4_steps, chain.width)


@dataclass(frozen=True, slots=True)
class Stage:
    """The contract as both parties have it on disk, at a height where it may be claimed."""

    folder: Path
    backend: str
    seats: Mapping[Role, Seat] = field(repr=False)
    wallets: Mapping[Role, SecretKey] = field(repr=False)
    terms: ContractTerms = field(repr=False)
    graph: Graph = field(repr=False)
    certificate: ExpiryCertificate = field(repr=False)

    @classmethod
    def create(cls, folder: Path, backend: str, width: int, announce: Announce) -> "Stage":
        """New oracles, keys, chain and contract in ``folder``, which must be empty. The chain is
        closed again, unless it is a bitcoind's."""
        announce("make oracles, keys and a chain")
        setting = Setting.create(folder, Ending.CLAIM_HOLDER, width=width, bond_sats=BOND_SATS)
        config = load_party(folder / f"{Role.HOLDER.value}.toml")
        keys = {role: load_key(folder / role.value / "wallet.key") for role in Role}
        with open_chain(folder / CHAIN_NODE, backend) as chain:
            seats = {role: _seat(chain, role, keys[role]) for role in Role}
            for seat in seats.values():
                chain.mine(1, to=seat.wallet.script)
            chain.mine(FUNDS_HEIGHT - len(seats))
            announce("agree, build both disputes, sign everything, fund")
            parties = [seat.party() for seat in seats.values()]
            pair = Pair(chain, list(seats.values()), parties, retrace)
            pair.start()
            holder = pair.parties[Role.HOLDER]
            pair.do(Role.HOLDER, holder.propose(config.claim, config.terms, chain, pair.now_ms))
            if not chain.mempool():
                raise ChainError(f"the parties did not agree: {'; '.join(pair.notes)}")
            pair.mine(DEPTH)
            pair.mine(config.terms.expiry_height - chain.height)
            chain.checkpoint()
        terms, graph = holder.terms, holder.graph
        assert terms is not None and graph is not None, "the contract is funded"
        price_e8 = price_for(config.claim, UNITS)
        certificate = setting.oracles.certify(terms.expiry_slot(), terms.claim.quorum, price_e8)
        return cls(folder, backend, seats, keys, terms, graph, certificate)

    @property
    def contract_file(self) -> bytes:
        """What watchers of the contract need; it holds no secret."""
        seat = self.seats[Role.HOLDER]
        facts = record.Facts.of(seat.records)
        return ContractFile.of(seat.role, seat.keys, facts, seat.guard.get).public().encode()

    def scene(self, prover: Role) -> Scene:
        """What a lie about ``prover``'s claim is made of."""
        premises = self.graph.contract.courses[prover].premises
        data = claim_of(self.terms, self.certificate).encode()

        def trace(data: bytes, forgery: Forgery | None) -> Trace:
            return trace_of(premises.image, data, premises.log4_steps, premises.width, forgery)

        return Scene(premises, data, false_claim(self.terms, prover, data), trace)

    @contextmanager
    def opened(self, prover: Role, sides: Sides, folder: Path | None = None) -> Iterator[Pair]:
        """Both parties, who know the certificate, on a copy of the chain; ``prover`` claims and the
        other side does not. Chain and contract file stay in ``folder``, if there is one."""
        with new_folder(folder) as place:
            shutil.copytree(self.folder / CHAIN_NODE, place / CHAIN_NODE)
            (place / CONTRACT).write_bytes(self.contract_file)
            with open_chain(place / CHAIN_NODE, self.backend) as chain:
                yield self._pair(chain, prover, sides)

    def _pair(self, chain: Chain, prover: Role, sides: Sides) -> Pair:
        strategies = {prover: sides.prover, prover.other: sides.challenger}
        seats, parties = [], []
        for role in Role:
            wallet = KeyWallet(Wallet(chain, self.wallets[role]))
            seat = self.seats[role].copy(_policy(wallet, claims=role is prover), wallet)
            seats.append(seat)
            parties.append(seat.party(strategies[role]))
        pair = Pair(chain, seats, parties, retrace)
        pair.start()
        for role, party in pair.parties.items():
            pair.do(role, party.settle(self.certificate, chain, pair.now_ms))
        return pair


def _seat(chain: Chain, role: Role, key: SecretKey) -> Seat:
    wallet = KeyWallet(Wallet(chain, key))
    keys = PartyKeys(secrets.token_bytes(SEED_BYTES))
    return Seat(role, keys, _policy(wallet, claims=False), wallet)


def _policy(wallet: KeyWallet, *, claims: bool) -> Policy:
    return Policy(
        script=wallet.script, depth=DEPTH, close=Close.NEVER, claims=claims, claim_after_blocks=0
    )
