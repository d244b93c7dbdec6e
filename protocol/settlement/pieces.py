"""Long messages in pieces that fit a wire frame, and whole again."""

from dataclasses import dataclass, field

from protocol.errors import TermsError
from protocol.settlement.messages import MAX_PIECES, PIECE_BYTES, Piece, Step


def cut(deal: bytes, step: Step, data: bytes) -> list[Piece]:
    """``data`` in as few pieces as it takes."""
    parts = [data[at : at + PIECE_BYTES] for at in range(0, len(data), PIECE_BYTES)]
    return [Piece(deal, step, number, len(parts), part) for number, part in enumerate(parts)]


def require_piece(piece: Piece) -> None:
    """TermsError for one that ``cut`` does not make."""
    if not 0 <= piece.index < piece.count <= MAX_PIECES:
        raise TermsError(f"piece {piece.index} of {piece.count}: {MAX_PIECES} at most, from 0")
    if len(piece.data) > PIECE_BYTES:
        raise TermsError(f"a piece of {len(piece.data)} bytes: {PIECE_BYTES} at most")


@dataclass(slots=True)
class Incoming:
    """What has come of one message, in any order."""

    count: int = 0
    pieces: dict[int, bytes] = field(default_factory=dict)

    def add(self, piece: Piece) -> bytes | None:
        """The whole, if ``piece`` completes it; then everything begins anew."""
        if piece.count != self.count:
            self.count, self.pieces = piece.count, {}
        self.pieces[piece.index] = piece.data
        if len(self.pieces) < self.count:
            return None
        whole = b"".join(self.pieces[index] for index in range(self.count))
        self.count, self.pieces = 0, {}
        return whole
