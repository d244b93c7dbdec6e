"""Terms for everybody's tests, on the published oracles, feed and round of ``native_kat``.

A change may name a field of any part: the slot, the payoff, the claim or the chain terms.
"""

import json
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from protocol.bitcoin.taproot import key_path_script
from protocol.crypto.keys import SecretKey
from protocol.crypto.tagged import tagged_hash
from protocol.options.instrument import OptionKind
from protocol.options.payoff import Payoff
from protocol.oracle.config import OracleConfig
from protocol.oracle.expiry import ExpirySlot
from protocol.settlement.terms import ChainTerms, ClaimTerms, ContractTerms, PartyTerms
from protocol.units import E8, PriceE8, Sats

VECTORS = Path(__file__).parents[1] / "vectors"
KAT = json.loads((VECTORS / "oracle_dlc.json").read_text())["native_kat"]

CONFIG = OracleConfig.decode(bytes.fromhex(KAT["config_bytes"]))
FEED_ID = bytes.fromhex(KAT["feed_id"])
ROUND: int = KAT["round_id"]

SMALL = {"quantity_sats": 300_000, "collateral_sats": 300_000, "payout_bits": 8}
"""Changes that make a contract of eight payout bits of 1,176 sats and more."""
AMERICAN = {"is_american": True, "quorum": 3}
"""Changes that make it American: two of three oracles are too few for that."""


class Keys(Protocol):
    """The secret keys of a party, as ``protocol.settlement.keys.PartyKeys`` has them."""

    @property
    def key(self) -> SecretKey: ...
    @property
    def prover_key(self) -> SecretKey: ...
    @property
    def challenger_key(self) -> SecretKey: ...


class SeededKeys(NamedTuple):
    """Keys that follow from a seed."""

    key: SecretKey
    prover_key: SecretKey
    challenger_key: SecretKey


def seeded_keys(seed: bytes) -> SeededKeys:
    return SeededKeys(
        *(SecretKey(tagged_hash("test/party-key", seed + bytes([i]))) for i in range(3))
    )


HOLDER, WRITER = seeded_keys(b"holder"), seeded_keys(b"writer")


def party_terms(keys: Keys, **changes: Any) -> PartyTerms:
    """What a party with these keys brings, paid to a Taproot output of its key."""
    given: dict[str, Any] = {
        "key": keys.key.public,
        "prover_key": keys.prover_key.public,
        "challenger_key": keys.challenger_key.public,
        "script": key_path_script(keys.key.public),
        "nonce": tagged_hash("test/nonce", keys.key.public)[:16],
    }
    return PartyTerms(**(given | changes))


def claim_terms(
    kind: OptionKind = OptionKind.CALL,
    strike_e8: int = 50_000 * E8,
    quantity_sats: int = E8,
    collateral_sats: int = E8,
    **changes: Any,
) -> ClaimTerms:
    """A call over one bitcoin, sixteen payout bits, ten rounds of which four are enough."""
    slot: dict[str, Any] = {
        "config_digest": CONFIG.digest,
        "feed_id": FEED_ID,
        "start_round": ROUND - 9,
        "target_round": ROUND,
    }
    payoff: dict[str, Any] = {
        "kind": kind,
        "strike_e8": PriceE8(strike_e8),
        "quantity_sats": Sats(quantity_sats),
        "collateral_sats": Sats(collateral_sats),
    }
    claim: dict[str, Any] = {
        "roster": CONFIG.oracles,
        "quorum": CONFIG.quorum,
        "grace_rounds": 20,
        "min_rounds": 4,
    }
    parts = ((ExpirySlot, slot), (Payoff, payoff), (ClaimTerms, claim))
    for part, given in parts:
        given |= {name: changes.pop(name) for name in names(part) & changes.keys()}
    if changes:
        raise TypeError(f"no field of claim terms: {', '.join(changes)}")
    claim.setdefault("slot", ExpirySlot(**slot))
    claim.setdefault("payoff", Payoff(**payoff))
    return ClaimTerms(**claim)


def contract_terms(
    holder: Keys | PartyTerms = HOLDER, writer: Keys | PartyTerms = WRITER, **changes: Any
) -> ContractTerms:
    """``claim_terms`` between two parties; the chain's are for regtest."""
    chain: dict[str, Any] = {
        "premium_sats": 100_000,
        "bond_sats": 3_000_000,
        "claim_fee_sats": 20_000,
        "expiry_height": 150,
        "refund_height": 200,
    }
    chain |= {name: changes.pop(name) for name in names(ChainTerms) & changes.keys()}
    claim = changes.pop("claim") if "claim" in changes else claim_terms(**changes)
    return ContractTerms(
        claim=claim,
        holder=holder if isinstance(holder, PartyTerms) else party_terms(holder),
        writer=writer if isinstance(writer, PartyTerms) else party_terms(writer),
        chain=ChainTerms(**chain),
    )


def names(part: Any) -> frozenset[str]:
    """The fields that its constructor takes."""
    return frozenset(field.name for field in fields(part) if field.init)
