"""XELA uSkin: the sensors' server (XELA Server 1.7) sends JSON over a websocket.

Protocol: "XELA Software Manual" 1.7.6, data format (p. 37-38), as its users describe it (github.com/mcsix/xela_server_ros
with a parser by XELA's own developer, and LeRobot's XELA backend, which cites the pages):

    {"message": 49090, "time": 1708406349.56, "sendtime": ..., "sensors": 1, "type": "routine",
     "1": {"time": 1708406349.559, "sensor": "1", "model": "uSPa44", "taxels": 16,
           "data": "8246,81A8,8A58,...", "calibrated": [0.059, 0.021, 0.15, ...] or null, "temp": [307.5]}}

message: counts up; the first text after the connection is {"message": "Welcome", ...}. Keys of digits: the sensors, each
with the time of its sample (server's clock, Unix [s]). data: three hexadecimal uint16 a taxel, x y z, raw counts.
calibrated: three numbers a taxel, x y z [N], null without a calibration file. Taxels go line by line from the top left.
"""

from __future__ import annotations

import json
import math
import re
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from vla_ros.drivers.address import Address
from vla_ros.drivers.base import Reading
from vla_ros.drivers.parsers import ParserCase
from vla_ros.errors import DeviceError

PORT = 5000
FIELDS = {"calibrated": "N", "data": "counts"}
MOST = 1024  # taxels of one sensor; more is no message of a sensor
LARGEST = 1e4  # [N] of a force
LONGEST = 2**20  # [bytes] of a message
CONNECT = 3.0  # [s] that a connection may take
HEX = re.compile(r"[0-9A-Fa-f]{1,4}")


@dataclass(frozen=True)
class XelaSample:
    """One sensor in one message. counts: [rows, columns, 3] raw; forces: the same [N], None without a calibration."""

    sequence: int
    time: float | None  # [s] of the server's clock
    model: str
    counts: npt.NDArray[np.float32]
    forces: npt.NDArray[np.float32] | None


class XelaParser:
    """Messages to samples of the sensor named `sensor`. Lets no exception out, whatever the message.

    rejected: messages that were neither a greeting nor a sample. sensors: those in the newest message.
    """

    def __init__(self, sensor: str = "1") -> None:
        self.rejected = 0
        self.sensors: tuple[str, ...] = ()
        self._sensor = sensor

    def feed(self, message: str | bytes) -> list[XelaSample]:
        """Return the sample in a message, or nothing."""
        try:
            content = json.loads(message)
            if not isinstance(content, dict):
                raise ValueError("no object")
            if content.get("message") == "Welcome":
                return []
            self.sensors = tuple(key for key in content if key.isdigit())
            if not self.sensors:
                raise ValueError("no sensors")
            if self._sensor not in self.sensors:
                return []
            return [_sample(content, content[self._sensor])]
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
            self.rejected += 1
            return []


def _sample(content: dict[str, Any], sensor: dict[str, Any]) -> XelaSample:
    """Return the sample of a sensor's part of a message; raises ValueError, TypeError or KeyError if it is none."""
    sequence, taxels, model = content["message"], sensor["taxels"], str(sensor.get("model", ""))
    if isinstance(sequence, bool) or not isinstance(sequence, int) or not isinstance(taxels, int):
        raise ValueError("no counts")
    if not 0 <= sequence < 2**53 or not 0 < taxels <= MOST:
        raise ValueError("no message counts so far, and no sensor has so many taxels")
    words = sensor["data"].split(",")
    if not all(HEX.fullmatch(word) for word in words):
        raise ValueError("no hexadecimal numbers")
    shape = (*layout(model, taxels), 3)
    counts = np.array([int(word, 16) for word in words], dtype=np.float32).reshape(shape)
    forces = None
    if sensor.get("calibrated") is not None:
        newtons = np.array(sensor["calibrated"], dtype=np.float64).reshape(shape)
        if not (np.abs(newtons) <= LARGEST).all():  # so for NaN, too
            raise ValueError("no forces")
        forces = newtons.astype(np.float32)
    taken = sensor.get("time", content.get("time"))
    if isinstance(taken, bool) or not isinstance(taken, int | float) or not math.isfinite(taken) or abs(taken) > 1e11:
        taken = None
    return XelaSample(sequence, taken, model, counts, forces)


def layout(model: str, taxels: int) -> tuple[int, int]:
    """Return (rows, columns): a model's last two digits, as in uSPa46 and XR1944, if they fit; else one row."""
    digits = model[-2:]
    if len(digits) == 2 and digits.isascii() and digits.isdigit() and int(digits[0]) * int(digits[1]) == taxels:
        return int(digits[0]), int(digits[1])
    return 1, taxels


class XelaDriver:
    """``xela://127.0.0.1:5000?sensor=1&field=calibrated``: taxels [rows, columns, 3] float32: x y shear, z normal.

    field: "calibrated" [N], or "data" [raw counts] for a sensor without a calibration.
    """

    device = "xela"

    def __init__(self, address: Address) -> None:
        address.only("sensor", "field")
        self._uri = f"ws://{address.host or '127.0.0.1'}:{address.port or PORT}"
        self._sensor = str(address.whole("sensor", 1, 1, 255))
        self._field = address.text_of("field", "calibrated", FIELDS)
        self.unit = FIELDS[self._field]
        self._parser = XelaParser(self._sensor)
        self._socket: Any = None
        self._connection = ExitStack()

    @property
    def rejected(self) -> int:
        """Messages that were no message of the server."""
        return self._parser.rejected

    def open(self) -> None:
        """Connect to the server, which then sends. Raises DeviceError."""
        try:
            from websockets.exceptions import WebSocketException
            from websockets.sync.client import connect
        except ImportError:
            raise DeviceError(
                "xela: needs the Python package 'websockets' from version 15: pip install 'websockets>=15'"
            ) from None
        try:
            opened = connect(
                self._uri, open_timeout=CONNECT, close_timeout=0.5, max_size=LONGEST, proxy=None, compression=None
            )
            self._socket = self._connection.enter_context(opened)
        except (OSError, UnicodeError, WebSocketException) as error:  # UnicodeError: the host is no name
            raise DeviceError(
                f"xela: no server at {self._uri} ({error or type(error).__name__}); start xela_server, and mind that it "
                "may listen at this computer's network address instead of 127.0.0.1"
            ) from None

    def read(self, timeout: float) -> Reading[npt.NDArray[np.generic]] | None:
        """Return the next sample; None if there is none within `timeout` [s]. Raises DeviceError when it is lost."""
        from websockets.exceptions import WebSocketException

        end = time.monotonic() + timeout
        while (left := end - time.monotonic()) > 0:
            try:
                message = self._socket.recv(timeout=left)
            except TimeoutError:
                return None
            except (OSError, WebSocketException, EOFError) as error:
                raise DeviceError(f"xela: the server at {self._uri} closed the connection ({error})") from None
            arrival = time.time_ns()
            for sample in self._parser.feed(message):
                return Reading(self._value(sample), arrival, sample.time, sample.sequence)
            if self._parser.sensors and self._sensor not in self._parser.sensors:
                there = ", ".join(self._parser.sensors)
                raise DeviceError(f"xela: {self._uri} has no sensor {self._sensor}; it has: {there}; use ?sensor=N")
        return None

    def _value(self, sample: XelaSample) -> npt.NDArray[np.float32]:
        if self._field == "data":
            return sample.counts
        if sample.forces is None:
            raise DeviceError(
                f"xela: {self._uri} sends no calibrated forces for sensor {self._sensor} ({sample.model}); install its "
                "calibration in the server, or take raw counts with ?field=data"
            )
        return sample.forces

    def close(self) -> None:
        """Close the connection."""
        self._socket = None
        with suppress(OSError):  # it may be gone already
            self._connection.close()


def fuzz_case() -> ParserCase:
    """Return how the parser is fuzzed: messages with and without forces, spoiled."""
    sensor = {"time": 1.7e9, "sensor": "1", "data": "8246,81A8,8A58", "model": "uSPa11", "taxels": 1, "temp": [307.5]}
    frame = {"message": 49090, "time": 1.7e9, "sensors": 1, "type": "routine"}
    contents: tuple[dict[str, object], ...] = (
        frame | {"1": sensor | {"calibrated": [0.059, 0.021, -0.15]}},
        frame | {"1": sensor | {"calibrated": None}, "2": sensor},
    )
    return ParserCase(lambda: XelaParser().feed, tuple(json.dumps(content).encode() for content in contents))
