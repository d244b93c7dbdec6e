"""The program that judges a pool's batches, and the terms page that makes it this pool's.

    page   PoolParams 1,416 (protocol.pool.params) | CFG1 (protocol.oracle.config), then zeros

The pool's parameters name the oracles by their digest; the guest needs their keys and quorum too.
"""

from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from hashlib import sha256
from typing import Final, Self

from protocol.errors import TermsError
from protocol.oracle.config import OracleConfig
from protocol.pool.params import POOL_PARAMS_SIZE, PoolParams
from riscv_vm.guest import guest_elf
from riscv_vm.image import ProgramImage, load_elf, with_terms

LOG4_STEPS: Final = 15
"""N = 4^15 = 2^30 steps: a batch that may need more (``witness.steps_max``) is not to be signed."""

_GUEST: Final = "pool"


class Check(IntEnum):
    """The guest's checks in its order; the first that fails is its exit code, in a0 at the TRAP.

    The comments beside them are in riscv_vm/guest/pool.c. A tree that is no tree is found before
    the certificate is looked at.
    """

    TERMS = 1
    LENGTH = 2
    PADDING = 3
    CERTIFICATE = 4
    CONFIG = 5
    OBSERVERS = 6
    SIGNERS = 7
    REPORTS = 8
    QUORUM_SIGNATURE = 9
    STATE = 10
    PARAMETERS = 11
    TOKENS = 12
    POSITIONS = 13
    ACCOUNTS = 14
    TIME = 15
    PRICES = 16
    ACCRUAL = 17
    DEPOSITS = 18
    OPERATION_FORM = 19
    OPENED = 20
    RESULT = 21
    PAYMENTS = 22
    SEQ = 23
    OPERATIONS_ROOT = 24
    PRICES_ROOT = 25
    PAYMENTS_ROOT = 26
    NEW_ROOT = 27


@dataclass(frozen=True, slots=True)
class PoolTerms:
    """What judges every batch of a pool. TermsError if the oracles are not the pool's."""

    params: PoolParams
    oracles: OracleConfig

    def __post_init__(self) -> None:
        if self.oracles.digest != self.params.oracle_config:
            raise TermsError(
                f"oracle_config {self.params.oracle_config.hex()}: the pool's parameters name other"
                f" oracles than these, whose digest is {self.oracles.digest.hex()}"
            )

    @property
    def pool_id(self) -> bytes:
        """What the owners' signatures are bound to."""
        return self.params.pool_id

    def encode(self) -> bytes:
        """The bytes that the terms page begins with (``--terms`` of the vm commands)."""
        return self.params.encode() + self.oracles.encode()

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """The inverse of ``encode``; EncodingError or TermsError for any other bytes."""
        params = PoolParams.decode(data[:POOL_PARAMS_SIZE])
        return cls(params, OracleConfig.decode(data[POOL_PARAMS_SIZE:]))


@lru_cache(maxsize=1)
def template_hash() -> bytes:
    """SHA-256 of the pool guest's ELF, whose terms page is zero."""
    return sha256(guest_elf(_GUEST)).digest()


@lru_cache(maxsize=1)
def pool_template() -> ProgramImage:
    """The pool guest before it has terms."""
    return load_elf(guest_elf(_GUEST))


@lru_cache(maxsize=4)
def image_of(terms: PoolTerms) -> ProgramImage:
    """The guest of the pool with these terms."""
    return with_terms(pool_template(), terms.encode())
