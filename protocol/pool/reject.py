"""Why a well-formed operation is refused: codes with stable numbers (docs/pool.md, "Codes").

Several checks may fail at once; the first in the order of docs/pool.md decides. Bytes that are no
operation at all are an EncodingError and have no code.
"""

from enum import IntEnum, unique

from protocol.errors import ProtocolError


@unique
class RejectCode(IntEnum):
    """Numbers never change and are never used again. The text is what a person is told."""

    message: str

    def __new__(cls, number: int, message: str) -> "RejectCode":
        code = int.__new__(cls, number)
        code._value_ = number
        code.message = message
        return code

    SIGNATURE = 1, "the signature is not the owner's for these bytes and this pool"
    NONCE = 2, "the nonce is not the account's next one"
    DEADLINE = 3, "the deadline has passed"
    HALTED = 4, "the pool is halted"
    CLOSE_ONLY = 5, "the pool is close-only: its assets are below what it owes"
    ORDER_REQUIRED = 6, "this pool trades by orders only: create one instead"

    TOKEN = 10, "the token is not whitelisted"
    NOT_SHORTABLE = 11, "the token cannot be sold short"
    LEVERAGE = 20, "the size is above max_leverage times the collateral"
    UTILIZATION = 30, "the token's reserve would exceed max_utilization of the liquidity"
    DEPOSIT = 40, "the owner has not paid in that much"
    MIN_COLLATERAL = 41, "the collateral would be below the token's least"
    FEE = 50, "the collateral does not cover the fee"

    PRICE = 60, "the price is worse than acceptable_price"
    EMPTY = 61, "the operation changes nothing: every amount is zero"
    SIZE_BELOW_COLLATERAL = 62, "the size would be below the collateral (leverage under 1)"
    LIQUIDATABLE = 63, "the position would be open to liquidation"
    GLOBAL_CAP = 64, "all reserves together would exceed the pool's cap"
    OPEN_INTEREST_CAP = 65, "the open interest would exceed the token's cap"
    AT_CAP = 66, "the profit has reached the reserve: close the position instead of adding to it"

    NO_POSITION = 70, "there is no such position"
    SIZE_TOO_LARGE = 71, "the position is smaller than that"
    COLLATERAL_TOO_LARGE = 72, "the position has less collateral than that"
    LOSS_EXCEEDS_COLLATERAL = 73, "the loss exceeds the collateral: only liquidate closes it"
    HEALTHY = 80, "the position is healthy: nobody may liquidate it"
    NOT_AT_CAP = 81, "the profit is below the reserve: only the owner closes it"

    SLIPPAGE = 90, "the result is less than the owner accepts"
    GLP_BALANCE = 91, "the account has fewer shares than that"
    COOLDOWN = 92, "liquidity was added too recently"
    NO_VALUE = 93, "the shares or the pool are worth nothing"

    NO_ORDER = 100, "there is no such order"
    NOT_DUE = 101, "the order cannot fill in this batch"
    EXPIRED = 102, "the order has expired"
    PENDING = 103, "a market order can be cancelled only after the batch it had to fill in"

    BUCKET_FULL = 110, "the tree has no room under this key"
    OVERFLOW = 111, "a number leaves its bounds"


class RejectError(ProtocolError):
    """Ends a transition before it has changed anything; ``transition.apply`` turns it into a
    ``Rejected``."""

    def __init__(self, code: RejectCode) -> None:
        super().__init__(f"{code.name}: {code.message}")
        self.code = code
