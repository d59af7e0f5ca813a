"""A headset's controllers or hands, or a phone, by WebXR: ``webxr://127.0.0.1:8443``; the page is opened in its browser.

It is served on the loopback interface (by `adb reverse tcp:8443 tcp:8443` that is the headset's too); elsewhere on request:
``webxr://0.0.0.0:8443``. token: what the page's address has to contain, made anew each time by default. cert: folder of
the certificate. yaw [degrees]: from the robot's x axis to the direction in which the operator looked at the start.

The things that are tracked: "right", "left", "phone", "head", and of bare hands "right thumb", "right index", ... Values:
"right trigger", "right clutch", "right button 0", ... Messages as `webxr_message` has them.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable
from pathlib import Path

from vla_ros.drivers.address import Address
from vla_ros.drivers.base import Reading
from vla_ros.drivers.certificate import default_folder, own_address, tls_context
from vla_ros.drivers.parsers import ParserCase
from vla_ros.drivers.tracked import Axes, Tracked
from vla_ros.drivers.webxr_message import parse_message
from vla_ros.drivers.webxr_server import PageServer
from vla_ros.errors import DeviceError

PORT = 8443
EVERYWHERE = ("0.0.0.0", "::")
PATIENCE = 2.0  # [s] that `open` waits for a page
QUIET = 0.8  # [s] without a message


class WebXr:
    """The device: a server to which the headset's page connects."""

    options: tuple[str, ...] = ("yaw", "token", "cert")
    bodies: tuple[str, ...] = ()
    hand = "right"

    def __init__(self, address: Address) -> None:
        self._host = address.host or "127.0.0.1"
        if not self._host.isascii():
            raise DeviceError(f"{address.text}: '{self._host}' is no host's name or address, want webxr://0.0.0.0:8443")
        self._axes = Axes.of(address, "-z forward")
        self._token = address.text_of("token", "") or secrets.token_urlsafe(9)
        self._folder = Path(address.text_of("cert", "") or default_folder())
        self._server = PageServer(self._host, PORT if address.port is None else address.port, self._token)
        self.device, self.rejected = "webxr", 0
        self._heard, self._pages = 0.0, 0

    @property
    def url(self) -> str:
        """What to open in the headset's browser."""
        host = own_address() if self._host in EVERYWHERE else self._host
        return f"https://{host}:{self._server.port}/?token={self._token}"

    def open(self) -> None:
        """Serve the page, and wait a while for one. Raises DeviceError, saying which address to open."""
        if not self._server.running:
            names = ["localhost", "127.0.0.1", own_address() if self._host in EVERYWHERE else self._host]
            self._server.start(tls_context(self._folder, tuple(dict.fromkeys(names))))
        if not self._server.wait_for_page(PATIENCE):
            raise DeviceError(f"webxr: {self._server.problem}; open {self.url} in the headset's or phone's browser")
        self._pages = self._server.pages
        self._server.forget()
        self._heard = time.monotonic()

    def read(self, timeout: float) -> Reading[Tracked] | None:
        """Return what was tracked; None if nothing came within `timeout` [s]. Raises DeviceError when it is lost."""
        taken = self._server.take(timeout)
        if self._server.pages != self._pages:  # the hand that holds the clutch may be another
            raise DeviceError("webxr: a page has connected anew")
        if taken is not None:
            return self.take(*taken)
        if self._server.problem:
            raise DeviceError(f"webxr: {self._server.problem}; open {self.url} again")
        if time.monotonic() - self._heard > QUIET:
            raise DeviceError("webxr: the page sends nothing; press Start on it, and put the headset on")
        return None

    def close(self) -> None:
        """Let go what waits; the page stays connected."""
        self._server.forget()

    def end(self) -> None:
        """Stop serving."""
        self._server.stop()

    def take(self, text: str | bytes, arrival: int) -> Reading[Tracked] | None:
        """Return what a message says that arrived at `arrival` [ns]; None if it is none. Raises DeviceError at the end."""
        try:
            message = parse_message(text, self._axes)
        except DeviceError:
            self.rejected += 1
            return None
        if message.tracked is None:
            raise DeviceError(f"webxr: {message.why or 'the session is over'}; press Start on the page")
        self._heard = time.monotonic()
        return Reading(message.tracked, arrival, message.time, message.number)


def fuzz_case() -> ParserCase:
    """Return how the parser is fuzzed: with spoiled messages."""
    pose = {"p": [0.1, 1.2, -0.3], "q": [0.0, 0.0, 0.0, 1.0]}
    controller = {**pose, "trigger": 0.5, "squeeze": 1, "buttons": [0, 1]}
    bare = {**pose, "thumb": [0.1, 1.2, -0.3], "index": [0.1, 1.2, -0.31]}
    contents = ({"right": controller, "head": pose}, {"right": bare, "left": bare}, {"phone": controller})
    texts = [json.dumps({"type": "pose", "n": n, "t": 16.0 * n, "hands": hands}) for n, hands in enumerate(contents)]

    def parser() -> Callable[[bytes], object]:
        axes = Axes("-z forward")
        return lambda packet: parse_message(packet, axes)

    return ParserCase(parser, tuple(text.encode() for text in texts))
