"""How the demo plays an instrument: the price that its venues show, the rounds that count, who
claims. Any listed name will do; the price lies where the option pays."""

from typing import Final

import msgspec

from actors.demo_config import Config
from protocol.options.instrument import Instrument, KnockOut, OptionKind, parse_instrument
from protocol.settlement.terms import Role

ROUNDS_BEFORE_EXPIRY: Final = 2
"""The oracles certify these, then the one that settles."""
AMERICAN_ROUNDS: Final = 7_200
"""In which an American option may be exercised; the demo does so half-way."""
_IN_THE_MONEY: Final = 5
"""Per cent by which the price lies beyond strike or barrier: the simulated path moves by one."""


def listed(config: Config, name: str) -> Config:
    """``config`` for another instrument: a barrier is watched over all certified rounds, an
    American option may be exercised before expiry. EncodingError for a name that is none."""
    instrument = parse_instrument(name)
    rounds = 1 if instrument.barrier is None else 1 + ROUNDS_BEFORE_EXPIRY
    if instrument.is_american:
        rounds = AMERICAN_ROUNDS
    option = msgspec.structs.replace(config.option, instrument=name, rounds=rounds)
    return msgspec.structs.replace(config, option=option)


def price_e8(instrument: Instrument) -> int:
    """Around which the venues trade: the option is in the money and not knocked out."""
    strike, barrier = instrument.strike_e8, instrument.barrier
    sign = 1 if instrument.kind is OptionKind.CALL else -1
    borders = [strike]
    if barrier is not None and (barrier.direction is KnockOut.UP) is (sign < 0):
        borders.append(barrier.level_e8)  # on the side that pays nothing, like the strike
    beyond = sign * max(sign * border for border in borders)
    price = beyond * (100 + sign * _IN_THE_MONEY) // 100
    if barrier is not None and (barrier.direction is KnockOut.UP) is (sign > 0):
        middle = (beyond + barrier.level_e8) // 2
        return sign * min(sign * price, sign * middle)
    return price


def exercised_round(config: Config) -> int | None:
    """The round that the holder of an American option names; None for its expiry, and for other
    options."""
    instrument = parse_instrument(config.option.instrument)
    ahead = config.option.rounds // 2
    if not instrument.is_american or ahead == 0:
        return None
    return instrument.expiry_ms // config.oracle.interval_ms - ahead


def claimant(instrument: Instrument) -> Role:
    """Who can lie about what it pays: a binary that pays leaves the holder nothing to add."""
    return Role.WRITER if instrument.is_binary else Role.HOLDER
