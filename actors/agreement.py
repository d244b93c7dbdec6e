"""The terms that both parties of a demo agree on, and the files of their keys.

The demo makes the keys of both; parties that trust nobody agree over the wire (``actors.party``).
"""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from actors.config import Config, claim_terms
from actors.keyfile import create_key, load_key, load_seed
from protocol.bitcoin.taproot import key_path_script
from protocol.oracle.config import OracleConfig
from protocol.settlement.keys import PartyKeys
from protocol.settlement.party_terms import NONCE_SIZE
from protocol.settlement.terms import ChainTerms, ContractTerms, PartyTerms, Role

COINBASE_MATURITY: Final = 100
FUNDS_HEIGHT: Final = 2 + COINBASE_MATURITY
"""Where both parties of a new regtest chain have coins that they may spend: a coinbase each."""

SPARE_FEERATE: Final = 5
"""Bonds and outputs are sized for so many times the fee rate."""


@dataclass(frozen=True, slots=True)
class Custody:
    """The files of one party's keys: of its wallet, and the seed of its keys in the contract."""

    wallet: Path
    seed: Path

    @classmethod
    def create(cls, folder: Path, role: Role) -> Self:
        """New ones in ``folder``."""
        custody = cls(folder / f"{role.value}.key", folder / f"{role.value}.seed")
        create_key(custody.wallet)
        create_key(custody.seed)
        return custody

    def terms(self) -> PartyTerms:
        """What this party brings to a new contract."""
        keys = PartyKeys(load_seed(self.seed))
        return PartyTerms(
            key=keys.key.public,
            prover_key=keys.prover_key.public,
            challenger_key=keys.challenger_key.public,
            script=key_path_script(load_key(self.wallet).public),
            nonce=secrets.token_bytes(NONCE_SIZE),
        )


def agree(
    config: Config, oracles: OracleConfig, feed_id: bytes, custody: Mapping[Role, Custody]
) -> ContractTerms:
    """The contract of ``config`` on a new regtest chain; TermsError for one that makes no sense."""
    option, proving = config.option, config.proving
    return ContractTerms(
        claim=claim_terms(option, oracles, feed_id),
        holder=custody[Role.HOLDER].terms(),
        writer=custody[Role.WRITER].terms(),
        chain=ChainTerms(
            premium_sats=option.premium_sats,
            bond_sats=option.bond_sats,
            feerate_sat_vb=option.fee_rate,
            max_feerate_sat_vb=SPARE_FEERATE * option.fee_rate,
            expiry_height=FUNDS_HEIGHT + 1,
            refund_height=FUNDS_HEIGHT + option.refund_blocks,
            log4_steps=proving.log4_steps,
            width=proving.width,
        ),
    )
