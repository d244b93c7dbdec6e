"""Pages of processes on this machine, whatever proxy the environment names for others."""

from typing import Final
from urllib.request import ProxyHandler, build_opener

_DIRECT: Final = build_opener(ProxyHandler({}))


def get_page(port: int, path: str, timeout_s: float, host: str = "127.0.0.1") -> bytes:
    """The body of ``http://host:port/path``; URLError or OSError if there is none."""
    shown = f"[{host}]" if ":" in host else host
    with _DIRECT.open(f"http://{shown}:{port}{path}", timeout=timeout_s) as reply:
        return bytes(reply.read())
