"""Pages of this machine's own processes."""

from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.error import URLError

import pytest

from actors.loopback import get_page
from actors.ports import free_ports


class Page(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.path.encode())

    def log_message(self, *_):
        pass


def test_no_proxy_is_asked_for_a_page_of_this_machine(monkeypatch):
    (nobody,) = free_ports(1)
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{nobody}")
    with ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        assert get_page(server.server_port, "/metrics", 10) == b"/metrics"
        server.shutdown()
    with pytest.raises(URLError):
        get_page(nobody, "/metrics", 10)
    with pytest.raises(URLError):
        get_page(nobody, "/metrics", 10, "::1")
