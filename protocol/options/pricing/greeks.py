"""A price and its sensitivities."""

from dataclasses import dataclass
from typing import Generic, TypeVar

from protocol.options.pricing.quadrature import Floats

T = TypeVar("T", float, Floats)


@dataclass(frozen=True, slots=True)
class Greeks(Generic[T]):
    """The price and its Greeks, in the unit of the spot, per year and per 1.00: one number each, or
    an array with a number a row.

    delta and gamma are by the spot, vega by the volatility per root year (divide by 100 for a vol
    point), theta by the passing of a year (by 365 for a day), rho by the continuously compounded
    rate, dividend_rho by the yield of the underlying.
    """

    price: T
    delta: T
    gamma: T
    vega: T
    theta: T
    rho: T
    dividend_rho: T
