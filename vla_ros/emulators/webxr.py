"""A headset whose page streams its right controller: connects to the driver's server as the page does, by TLS.

Messages as `vla_ros.drivers.webxr_message` describes them; the axes are WebXR's.
"""

from __future__ import annotations

import json
import random
import socket
import ssl
import time
from contextlib import suppress
from typing import Any

from vla_ros.drivers.tracked import Axes
from vla_ros.emulators.base import Emulator
from vla_ros.emulators.hand import EmulatedHand

TOKEN = "emulated"
RETRY = 0.1  # [s] between two attempts to connect


class WebXrEmulator(Emulator):
    """hand: what is streamed, at `rate` [Hz]. Its grip button is the clutch, its trigger pinches."""

    name = "webxr"

    def __init__(self, rate: float = 72.0) -> None:
        super().__init__()
        self.hand = EmulatedHand()
        self.rate = rate
        self._axes, self._random = Axes("-z forward"), random.Random(0)
        self._began, self.number = time.monotonic(), 0
        with socket.socket() as probe:  # a free port, for the driver to listen on
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])

    @property
    def address(self) -> str:
        """The address that a driver takes."""
        return f"webxr://127.0.0.1:{self.port}?token={TOKEN}"

    def start(self) -> None:
        """Try to connect, until the driver serves its page, and stream."""
        self._start_loop(self._run)

    def stop(self) -> None:
        """Close the page."""
        self._end_loop()

    def _run(self) -> None:
        from websockets.exceptions import WebSocketException
        from websockets.sync.client import connect

        trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # as one who waves the browser's warning aside
        trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
        uri = f"wss://127.0.0.1:{self.port}/stream?token={TOKEN}"
        while not self._stop.wait(RETRY):
            if self.fault == "unplug":
                continue
            try:
                with connect(uri, ssl=trusting, proxy=None, compression=None, close_timeout=0.5) as page:
                    self._stream(page)
            except (OSError, WebSocketException):
                continue

    def _stream(self, page: Any) -> None:
        due = time.monotonic()
        while not self._stop.wait(max(0.0, due - time.monotonic())) and self.fault != "unplug":
            due = max(due + 1.0 / self.rate, time.monotonic() - 0.1)
            if self.fault != "silence":
                page.send(self._message())
            with suppress(TimeoutError):  # what the server tells has to be taken, or nothing comes through any more
                page.recv(timeout=0)

    def _message(self) -> str | bytes:
        if self.fault == "garbage":
            return self._random.randbytes(self._random.randint(0, 200))
        self.number += 1
        now = time.time_ns()
        pose = self._axes.back(self.hand.at(now)).tolist()
        buttons = {"trigger": self.hand.pinch, "squeeze": float(self.hand.held), "buttons": [0.0, 0.0]}
        hands = {"right": {"p": pose[:3], "q": pose[3:], **buttons}} if self.hand.seen else {}
        milliseconds = (time.monotonic() - self._began) * 1e3
        text = json.dumps({"type": "pose", "n": self.number, "t": milliseconds, "hands": hands})
        return text[: self._random.randrange(len(text))] if self.fault == "partial" else text
