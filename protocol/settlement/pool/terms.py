"""Who guards the pool's sats, and how long a batch may be doubted.

    vault terms    "VLT1" | n u8 | q u8 | bond u64 | feerate u32 | max_feerate u32 | move_window u16
                   | challenge_window u16 | deposit_window u16 | log4_steps u8 | width u8
                   | sequencer (party_terms) | n x member (party_terms)

Everything is big-endian. Their digest is the ``domain`` of the pool's own terms
(protocol.pool.params), so of its id and its program: what owners sign is for one vault.
"""

from dataclasses import dataclass
from struct import Struct
from typing import Final

from protocol.bitcoin.tx import MAX_MONEY_SATS
from protocol.crypto.tagged import tagged_hash
from protocol.errors import TermsError
from protocol.oracle.layout import require_uint
from protocol.settlement.chain_terms import LOG4_STEPS_MAX, MAX_FEERATE_SAT_VB, WIDTHS, WINDOW_MAX
from protocol.settlement.party_terms import PartyTerms, Role

TERMS_MAGIC: Final = b"VLT1"
MEMBERS_MAX: Final = 15

SEQUENCER: Final = Role.HOLDER
"""In a game about a batch the sequencer holds the claim ..."""
MEMBER: Final = Role.WRITER
"""... and a member of the committee is the other side."""

_LAYOUT: Final = Struct(">4sBBQIIHHHBB")


@dataclass(frozen=True, slots=True, kw_only=True)
class VaultTerms:
    """What everybody agrees on before the first STATE. TermsError names a wrong field.

    ``quorum`` of ``members`` sign what leaves the vault, by their ``key``. In a game each side
    posts ``bond_sats``. Pre-signed transactions pay ``feerate_sat_vb``; ``max_feerate_sat_vb`` is
    what bonds are sized for. Windows are blocks: a move's, a challenge's, and those after which an
    unused deposit is its owner's again. The trace has 4^``log4_steps`` steps, its hashes ``width``
    bytes.
    """

    sequencer: PartyTerms
    members: tuple[PartyTerms, ...]
    quorum: int
    bond_sats: int
    feerate_sat_vb: int = 2
    max_feerate_sat_vb: int = 10
    move_window: int = 6
    challenge_window: int = 12
    deposit_window: int = 2_016
    log4_steps: int = 15
    width: int = 20

    def __post_init__(self) -> None:
        _require_between("members", len(self.members), 1, MEMBERS_MAX)
        _require_between("quorum", self.quorum, 1, len(self.members))
        keys = [key for party in (self.sequencer, *self.members) for key in party.keys]
        if len(set(keys)) != len(keys):
            raise TermsError("key: one is used twice; each role of each party needs its own")
        _require_between("bond_sats", self.bond_sats, 1, MAX_MONEY_SATS // 64)
        _require_between("max_feerate_sat_vb", self.max_feerate_sat_vb, 1, MAX_FEERATE_SAT_VB)
        _require_between("feerate_sat_vb", self.feerate_sat_vb, 1, self.max_feerate_sat_vb)
        for field in ("move_window", "challenge_window", "deposit_window"):
            _require_between(field, getattr(self, field), 1, WINDOW_MAX)
        _require_between("log4_steps", self.log4_steps, 1, LOG4_STEPS_MAX)
        if self.width not in WIDTHS:
            raise TermsError(f"width {self.width}: 20 or 32 bytes")
        if self.late_window > WINDOW_MAX:
            raise TermsError(
                f"move_window {self.move_window}: the longest game may last {self.late_window}"
                f" blocks, a relative lock counts {WINDOW_MAX}"
            )
        if self.deposit_window < 2 * self.late_window:
            raise TermsError(
                f"deposit_window {self.deposit_window}: a batch may wait {self.late_window} blocks"
                f" for its games, give at least twice as many"
            )

    @property
    def late_window(self) -> int:
        """Blocks from KICKOFF on after which every game is over, if who can win it moves in time:
        the longest game, and a challenge window more for the transaction that convicts."""
        return 4 * self.challenge_window + (2 * self.log4_steps + 3) * self.move_window

    @property
    def chain(self) -> "VaultTerms":
        """Windows and fee rates, where a dispute looks for them."""
        return self

    @property
    def keys(self) -> tuple[bytes, ...]:
        """The committee's x-only keys, in its order."""
        return tuple(member.key for member in self.members)

    def encode(self) -> bytes:
        """The ``VLT1`` bytes."""
        numbers = (self.bond_sats, self.feerate_sat_vb, self.max_feerate_sat_vb)
        windows = (self.move_window, self.challenge_window, self.deposit_window)
        shape = (self.log4_steps, self.width)
        head = _LAYOUT.pack(TERMS_MAGIC, len(self.members), self.quorum, *numbers, *windows, *shape)
        return head + b"".join(party.encode() for party in (self.sequencer, *self.members))

    @property
    def digest(self) -> bytes:
        """What names them: 32 bytes."""
        return tagged_hash("btcfi/vault-terms/v1", self.encode())


def _require_between(field: str, value: int, least: int, most: int) -> None:
    require_uint(field, value, 64)
    if not least <= value <= most:
        raise TermsError(f"{field} {value}: it must lie between {least} and {most}")
