"""What peers remember of an oracle, asked before it signs again: a rolled-back guard is found out.

A peer's answer is the newest observation of this oracle that it has verified, so it proves itself:
nobody can stop an oracle by inventing a number.
"""

from collections.abc import Callable
from typing import Any

from protocol.errors import SignatureError
from protocol.oracle.config import OracleConfig
from protocol.oracle.messages import SeenAnswer


class Recollection:
    """The answers of the other oracles to the oracle ``index`` since its start. ``observation`` is
    the class of signed observations, ``require_seq`` raises GuardError if the guard has not come so
    far (``SignGuard.require_seq``)."""

    def __init__(
        self,
        config: OracleConfig,
        index: int,
        observation: Any,
        require_seq: Callable[[int], None],
    ) -> None:
        self._config = config
        self._index = index
        self._observation = observation
        self._require_seq = require_seq
        self._answered: set[int] = set()

    @property
    def missing(self) -> frozenset[int]:
        """The oracles that have not answered yet."""
        everybody = frozenset(range(len(self._config.oracles)))
        return everybody - self._answered - {self._index}

    @property
    def is_enough(self) -> bool:
        """Whether a quorum with this oracle has answered. Waiting for it costs nothing: without so
        many nothing can be certified."""
        return len(self._answered) >= self._config.quorum - 1

    def receive(self, sender: int, answer: SeenAnswer) -> None:
        """An answer. GuardError if it proves that the sign guard was rolled back; EncodingError or
        SignatureError, and it does not count, if it is no observation of this oracle."""
        if sender not in self.missing:
            return
        if answer.observation:
            signed = self._observation.decode(answer.observation)
            public = self._config.oracles[self._index]
            if signed.oracle != self._index or not signed.verify(public):
                raise SignatureError(f"oracle {sender} shows an observation that is not ours")
            self._require_seq(signed.observation.seq)
        self._answered.add(sender)
