"""WebSocket connections to those whose address is known."""

from websockets.asyncio.client import connect


class Connect(connect):
    """``websockets.connect`` to whoever is at this address: who answers there cannot send the
    client elsewhere; a redirect is the error that it ends with."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc
