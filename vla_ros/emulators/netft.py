"""An ATI Net F/T box: RDT records, and the page /netftapi2.xml by HTTP (see `vla_ros.drivers.netft`)."""

from __future__ import annotations

import random
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from vla_ros.emulators.rdt import RdtEmulator

PAGE = """<?xml version="1.0" encoding="ISO-8859-1"?>
<netft>
  <runstat>0x{status:08X}</runstat>
  <cfgcpf>{force:.0f}</cfgcpf>
  <cfgcpt>{torque:.0f}</cfgcpt>
  <scfgfu>N</scfgfu>
  <scfgtu>Nm</scfgtu>
  <comrdte>Enabled</comrdte>
  <comrdtrate>{rate:.0f}</comrdtrate>
  <setrate>{internal:.0f}</setrate>
  <prodname>Emulated {name}</prodname>
</netft>
"""


class NetFtEmulator(RdtEmulator):
    """A Net F/T box: counts a million a N and Nm, as ATI's are when they leave the works."""

    name = "netft"

    def __init__(self, host: str = "127.0.0.1", port: int = 0, rate: float = 500.0) -> None:
        super().__init__(host, port, rate)
        self._http_port = 0
        self._server: ThreadingHTTPServer | None = None

    @property
    def address(self) -> str:
        """The address that a driver takes."""
        return f"{super().address}?http={self._http_port}"

    def plug(self) -> None:
        """Open the UDP port, and the HTTP port that serves the page."""
        super().plug()
        try:
            self._server = _Server((self.host, self._http_port), self)
        except OSError:
            super().unplug()
            raise
        self._http_port = self._server.server_address[1]
        threading.Thread(
            target=self._server.serve_forever, args=(0.05,), name=f"emulated {self.name} page", daemon=True
        ).start()

    def unplug(self) -> None:
        """Close both ports."""
        super().unplug()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def page(self) -> bytes:
        """Return what /netftapi2.xml shows, as the present fault spoils it."""
        if self.fault == "garbage":
            return random.Random(1).randbytes(400)
        text = PAGE.format(
            name=self.name,
            status=self.status,
            force=self.force_counts,
            torque=self.torque_counts,
            rate=self.rate,
            internal=self.internal_rate,
        ).encode("latin-1")
        return text[: len(text) // 2] if self.fault == "partial" else text


class AxiaEmulator(NetFtEmulator):
    """An Axia, which samples at the rate it was set to."""

    name = "axia"
    internal_rate = 1953.0


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], device: NetFtEmulator) -> None:
        self.device = device
        super().__init__(address, _Handler)


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        """Answer with the page, or that there is none of that name."""
        found = self.path == "/netftapi2.xml"
        body = self.server.device.page() if found else b""
        self.send_response(200 if found else 404)
        self.send_header("Content-Type", "text/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Keep quiet."""
