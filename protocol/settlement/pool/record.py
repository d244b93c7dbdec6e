"""What a player keeps of its games: one record per fact, on disk before anything follows from it.

    plan    number u16 | count u16 | a piece of the plan    before this side signs its games
    signed  game id | whose | signatures | consents         before its own leave, or it relies on
                                                            the other side's
    lent    game id | of ADVANCE_OPEN | of ADVANCE_LATE     before they leave, or P relies on them
    heard   game id | messages                              before they are answered
    over    game id                                         when nothing undoes its end any more

A record is its kind and its parts, each with its length. What one-time keys have signed is the
guard's, and the keys themselves follow from the seed and the game's id.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

from protocol.crypto.winternitz import Label, OneTimeGuard
from protocol.errors import EncodingError
from protocol.settlement.onetime import SignedMessage
from protocol.settlement.party_terms import Role
from protocol.settlement.pool.advance import Signed
from protocol.settlement.pool.conviction import SignedGame
from protocol.settlement.pool.graph import Plan
from protocol.settlement.record import pack_parts, role_of, unpack_parts
from riscv_vm.image import ProgramImage

PIECE_BYTES: Final = 1 << 19
"""Of a plan in one record: a batch may be larger than a journal's record."""

Heard = Mapping[Label, SignedMessage]


class Memory:
    """What a player remembers. It begins with ``records``, oldest first, and learns by ``keep``.

    ``write`` has a record on disk when it returns, or raises; ``guard`` is the one-time guard of
    the player's seed. Without them a player forgets when its process ends.
    """

    def __init__(
        self,
        records: Iterable[bytes] = (),
        write: Callable[[bytes], None] = lambda record: None,
        guard: OneTimeGuard | None = None,
    ) -> None:
        """EncodingError for records that are none."""
        self.guard: OneTimeGuard = {} if guard is None else guard
        self.plans: list[bytes] = []
        """Encoded, oldest first."""
        self.signed: dict[tuple[bytes, Role], SignedGame] = {}
        self.lent: dict[bytes, tuple[Signed, Signed]] = {}
        self.over: set[bytes] = set()
        self._heard: dict[bytes, dict[bytes, SignedMessage]] = {}
        self._pieces: list[bytes] = []
        self._write = write
        for record in records:
            self._learn(record)

    def keep_plan(self, plan: Plan) -> None:
        """Once, however often it is kept."""
        data = plan.encode()
        if data in self.plans:
            return
        pieces = [data[at : at + PIECE_BYTES] for at in range(0, len(data), PIECE_BYTES)]
        for number, piece in enumerate(pieces):
            self._keep(_record("plan", _u16(number), _u16(len(pieces)), piece))

    def plans_of(self, image: ProgramImage) -> Iterator[Plan]:
        """All that were kept, oldest first; EncodingError for a plan of another program."""
        return (Plan.decode(data, image) for data in self.plans)

    def keep_signed(self, game: bytes, role: Role, signed: SignedGame) -> None:
        """Both sides' signatures of a game."""
        consents = pack_parts(
            part for name, consent in signed.consents.items() for part in (name.encode(), consent)
        )
        self._once(
            self.signed.get((game, role)) == signed,
            _record("signed", game, role.value.encode(), signed.signatures, consents),
        )

    def plays(self, game: bytes) -> bool:
        """Whether both sides have signed the game, and it may go on."""
        return all((game, role) in self.signed for role in Role) and game not in self.over

    def keep_lent(self, game: bytes, signed: tuple[Signed, Signed]) -> None:
        """A member's signatures of both ADVANCEs."""
        parts = [pack_parts(_u16(n) + own for n, own in one.items()) for one in signed]
        self._once(self.lent.get(game) == signed, _record("lent", game, *parts))

    def keep_heard(self, game: bytes, messages: Heard) -> None:
        """The first message of each label; those that are known are not written again."""
        known = self._heard.get(game, {})
        news = {label.encode(): one for label, one in messages.items()}
        parts = [
            part
            for label, one in news.items()
            if label not in known
            for part in (label, bytes(one.digits), pack_parts(one.signature))
        ]
        self._once(not parts, _record("heard", game, pack_parts(parts)))

    def keep_over(self, game: bytes) -> None:
        """It needs no player any more."""
        self._once(game in self.over, _record("over", game))

    def heard(self, game: bytes, labels: Iterable[Label]) -> Heard:
        """What was heard in this game, whose labels these are."""
        known = self._heard.get(game, {})
        found = ((label, known.get(label.encode())) for label in labels)
        return {label: message for label, message in found if message is not None}

    def _once(self, known: bool, record: bytes) -> None:
        if not known:
            self._keep(record)

    def _keep(self, record: bytes) -> None:
        """It counts when it is on disk."""
        self._write(record)
        self._learn(record)

    def _learn(self, record: bytes) -> None:
        kind, *parts = unpack_parts("record", record) or [b""]
        match kind, parts:
            case b"plan", [number, count, piece]:
                self._piece(int.from_bytes(number), int.from_bytes(count), piece)
            case b"signed", [game, role, signatures, consents]:
                given = {name.decode(): own for name, own in _rows(consents, 2)}
                self.signed[game, role_of(role)] = SignedGame(signatures, given)
            case b"lent", [game, opened, late]:
                self.lent[game] = _signed(opened), _signed(late)
            case b"heard", [game, messages]:
                known = self._heard.setdefault(game, {})
                for label, digits, signature in _rows(messages, 3):
                    elements = tuple(unpack_parts("signature", signature))
                    known[label] = SignedMessage(tuple(digits), elements)
            case b"over", [game]:
                self.over.add(game)
            case _:
                raise EncodingError(
                    f"record of kind {kind!r} and {len(parts)} parts: a newer program wrote it, use"
                    " that one"
                )

    def _piece(self, number: int, count: int, piece: bytes) -> None:
        """A plan whose writer died in the middle begins again."""
        self._pieces = [*(self._pieces if number else []), piece]
        if len(self._pieces) == count:
            self.plans.append(b"".join(self._pieces))


def _record(kind: str, *parts: bytes) -> bytes:
    return pack_parts((kind.encode(), *parts))


def _rows(data: bytes, size: int) -> Iterator[tuple[bytes, ...]]:
    """Parts in rows of so many; EncodingError if one is not whole."""
    parts = unpack_parts("row", data)
    if len(parts) % size:
        raise EncodingError(f"a record of {len(parts)} parts in rows of {size}: damaged")
    return zip(*(parts[n::size] for n in range(size)), strict=True)


def _signed(data: bytes) -> dict[int, bytes]:
    return {int.from_bytes(one[:2]): one[2:] for one in unpack_parts("signatures", data)}


def _u16(number: int) -> bytes:
    return number.to_bytes(2)
