"""An emulated XELA Server with one uSPa44 on a websocket of the loopback interface; see `drivers.xela`."""

from __future__ import annotations

import json
import threading
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from vla_ros.emulators.base import Emulator
from vla_ros.emulators.touching import taxel_forces, touch_at
from vla_ros.errors import DeviceError

if TYPE_CHECKING:
    from websockets.sync.server import Server, ServerConnection

ROWS = COLUMNS = 4
PERIOD = 0.01  # [s]; a real server's log tells of 95 to 105 Hz
RAW_REST, RAW_RESPONSE = 33000, 1000  # counts without contact, and per newton


class XelaEmulator(Emulator):
    """Sends 100 messages a second to each client. calibrated: with forces, as with a calibration file."""

    name = "xela"

    def __init__(self) -> None:
        super().__init__()
        self.touch: float | None = None  # [s] of the cycle at which the contact stands still
        self.calibrated = True
        self._server: Server | None = None
        self._port = 0
        self._random = np.random.default_rng(0)
        self._began = 0.0

    @property
    def address(self) -> str:
        """The server's address for a driver."""
        return f"xela://127.0.0.1:{self._port}"

    def start(self) -> None:
        """Listen; on the port of the last time, if any."""
        self._stop.clear()  # before the first client
        self._began = time.monotonic()
        self._listen()
        self._start_loop(self._watch)

    def stop(self) -> None:
        """Hang up on every client and listen no more."""
        self._end_loop()
        self._deaf()

    def forces(self) -> npt.NDArray[np.float64]:
        """Return the present forces [4, 4, 3] [N]."""
        now = time.monotonic() - self._began if self.touch is None else self.touch
        return taxel_forces(ROWS, COLUMNS, touch_at(now))

    def message(self, count: int) -> str:
        """Return the text of the message number `count`."""
        forces, now = self.forces(), time.time()
        raw = np.clip(np.rint(RAW_REST + RAW_RESPONSE * forces), 0, 0xFFFF).astype(int).ravel()
        sensor: dict[str, Any] = {
            "time": now - 0.002,
            "sensor": "1",
            "data": ",".join(f"{value:X}" for value in raw),
            "model": f"uSPa{ROWS}{COLUMNS}",
            "taxels": ROWS * COLUMNS,
            "temp": [301.5],
            "calibrated": [round(value, 6) for value in forces.ravel().tolist()] if self.calibrated else None,
        }
        frame = {"message": count, "time": now - 0.001, "sendtime": now, "sensors": 1, "type": "routine", "1": sensor}
        return json.dumps(frame)

    def _listen(self) -> None:
        try:
            from websockets.sync.server import serve
        except ImportError:
            raise DeviceError(
                "emulating xela needs the Python package 'websockets' from version 15: pip install 'websockets>=15'"
            ) from None
        self._server = serve(self._talk, "127.0.0.1", self._port, compression=None)
        self._port = self._server.socket.getsockname()[1]
        threading.Thread(target=self._server.serve_forever, name="xela listens", daemon=True).start()

    def _deaf(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server = None

    def _watch(self) -> None:
        while not self._stop.wait(0.02):
            if self.fault == "unplug":
                self._deaf()
            elif self._server is None:
                self._listen()

    def _talk(self, client: ServerConnection) -> None:
        from websockets.exceptions import ConnectionClosed

        try:
            client.send(json.dumps({"message": "Welcome", "time": time.time(), "sensors": 1}))
            count = 0
            while self.fault != "unplug" and not self._stop.wait(PERIOD):
                count += 1
                if self.fault == "garbage":
                    client.send(self._random.bytes(200))
                elif self.fault == "partial":
                    text = self.message(count)
                    client.send(text[: int(self._random.integers(1, len(text)))])
                elif self.fault != "silence":
                    client.send(self.message(count))
        except ConnectionClosed:
            return
