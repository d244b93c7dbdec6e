"""Simulated exchanges: real WebSocket servers on loopback that speak the venues' wire formats.

They share no code with the adapters that read them, so that each can find the other's mistakes.
"""

from actors.feeds.simulated.exchanges import SimulatedExchanges
from actors.feeds.simulated.path import PricePath

__all__ = ["PricePath", "SimulatedExchanges"]
