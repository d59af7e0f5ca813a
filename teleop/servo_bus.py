"""Servos on one serial bus, through their vendor's SDK (dynamixel-sdk or feetech-servo-sdk)."""

from __future__ import annotations

import termios
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import Any

from vla_ros.errors import DeviceError
from vla_ros.teleop.servo_tables import Register, ServoTable

BLOCK = 0.002  # [s] that one read of the port waits; the SDKs themselves do not wait at all, they spin
SETTLE = 0.02  # [s] after an answer that did not come, in which it may still come
TRIES = 3  # of a single ping, read or write


class ServoBus:
    """Reads and writes servos. Raises DeviceError when the port is gone or a servo does not answer as it should.

    port: such as /dev/ttyUSB0. baud: [bit/s].
    """

    def __init__(self, table: ServoTable, port: str, baud: int) -> None:
        self.table, self.port, self.baud = table, port, baud
        self._port: Any = None
        self._groups: dict[tuple[int, ...], Any] = {}
        try:
            self._sdk = import_module(table.sdk)
        except ImportError:
            raise DeviceError(f"{table.make} servos need the Python package: pip install {table.package}") from None

    def open(self) -> None:
        """Open the port, for this program alone."""
        port = self._sdk.PortHandler(self.port)
        try:
            with self._named("cannot open"):
                if not port.setBaudRate(self.baud):
                    raise DeviceError(f"{self.port}: {self.table.package} knows no baud rate {self.baud}")
                port.ser.timeout = BLOCK
                port.ser.exclusive = True
        except BaseException:
            self._port = port
            self.close()
            raise
        self._received, read = 0, port.readPort

        def counted(length: int) -> bytes:
            data: bytes = read(length)
            self._received += len(data)
            return data

        port.readPort = counted  # the SDKs call it silence, too, when what came is no packet
        self._port, self._packets = port, self._sdk.PacketHandler(self.table.protocol)
        self._packet: Sequence[int] | None = None
        self._late, receive = False, self._packets.rxPacket

        def kept(*arguments: Any) -> Any:
            answer = receive(*arguments)
            self._packet = answer[0]
            return answer

        self._packets.rxPacket = kept  # the SDKs take what a packet of another length holds, check sum included
        self._groups.clear()

    def close(self) -> None:
        """Let the port go; harmless when not open."""
        port, self._port = self._port, None
        if port is not None and port.ser is not None:
            with suppress(OSError, termios.error):
                port.ser.close()

    def ping(self, servo: int) -> int | None:
        """Return the model number of `servo`; None if it does not answer."""
        with self._named(f"servo {servo}"):
            for _ in range(TRIES):
                self._fresh()
                model, result, _ = self._packets.ping(self._port, servo)
                if result == self._sdk.COMM_SUCCESS:
                    return int(model)
                self._late = True
        return None

    def read(self, servo: int, register: Register) -> int:
        """Return a register of one servo."""
        result: int = self._sdk.COMM_RX_FAIL
        with self._named(f"servo {servo}"):
            for _ in range(TRIES):
                self._fresh()
                data, result, _ = self._packets.readTxRx(self._port, servo, register.address, register.size)
                if self._answered(result, register.size):
                    return register.value(bytes(data))
                self._late = True
        raise DeviceError(f"{self.port}: servo {servo}: {self._told(result)}")

    def write(self, servo: int, register: Register, value: int) -> bool:
        """Write a register of one servo; return whether the servo took it."""
        data = list((value % (1 << 8 * register.size)).to_bytes(register.size, "little"))
        with self._named(f"servo {servo}"):
            for _ in range(TRIES):
                self._fresh()
                result, error = self._packets.writeTxRx(self._port, servo, register.address, register.size, data)
                if self._answered(result, 0) and not error & ~self.table.alert:
                    return True
                self._late = True
        return False

    def torque_off(self, servo: int) -> None:
        """Let a hand turn the servo."""
        if not self.write(servo, self.table.torque, 0):
            raise DeviceError(f"{self.port}: servo {servo} does not let its torque go")

    def currents(self, values: Mapping[int, float]) -> None:
        """Tell servos by id their currents [mA] in one sync write, which is not answered."""
        control = self.table.current
        if control is None:
            raise DeviceError(f"{self.port}: {self.table.make} servos take no currents")
        with self._named("sync write"):
            self._fresh()
            group = self._sdk.GroupSyncWrite(self._port, self._packets, control.goal.address, control.goal.size)
            for servo, value in values.items():
                group.addParam(servo, list(round(value).to_bytes(control.goal.size, "little", signed=True)))
            if group.txPacket() != self._sdk.COMM_SUCCESS:
                raise DeviceError(f"{self.port}: lost while writing")

    def positions(self, servos: Sequence[int]) -> tuple[dict[int, int], list[int], int | None, bool]:
        """Return ticks by id in one sync read, who raises an alert, and who answered not or wrong (`positions` ends there):
        its id, and whether anything came from it.
        """
        register = self.table.position
        ticks: dict[int, int] = {}
        alerts: list[int] = []
        with self._named("sync read"):
            self._fresh()
            if self._group(servos).txPacket() != self._sdk.COMM_SUCCESS:
                raise DeviceError(f"{self.port}: lost while writing")
            for servo in servos:
                self._received = 0
                data, result, error = self._packets.readRx(self._port, servo, register.size)
                if not self._answered(result, register.size):
                    self._late = True
                    return ticks, alerts, servo, self._received > 0
                ticks[servo] = register.value(bytes(data))
                if error & self.table.alert:
                    alerts.append(servo)
        return ticks, alerts, None, True

    def _group(self, servos: Sequence[int]) -> Any:
        key = tuple(servos)
        if key not in self._groups:
            register = self.table.position
            group = self._sdk.GroupSyncRead(self._port, self._packets, register.address, register.size)
            for servo in key:
                group.addParam(servo)
            self._groups[key] = group
        return self._groups[key]

    def _answered(self, result: int, size: int) -> bool:
        """Return whether the last packet is an answer with `size` bytes of parameters."""
        place, more = self.table.length
        return result == self._sdk.COMM_SUCCESS and self._packet is not None and self._packet[place] == size + more

    def _fresh(self) -> None:
        """Drop what has come too late, for an answer does not tell its question, and what an exception left locked."""
        if self._port is None:
            raise DeviceError(f"{self.port}: not open")
        if self._late:
            time.sleep(SETTLE)
            self._late = False
        self._port.is_using = False
        self._port.ser.reset_input_buffer()

    def _told(self, result: int) -> str:
        text = str(self._packets.getTxRxResult(result)).replace("[TxRxResult]", "").strip()
        return text or f"result {result}"

    @contextmanager
    def _named(self, what: str) -> Iterator[None]:
        """Turn what the SDK and pyserial raise into one line."""
        try:
            yield
        except (OSError, termios.error, TypeError) as error:  # pyserial: TypeError from a port closed meanwhile
            raise DeviceError(f"{self.port}: {what}: {_cause(error)}{_advice(self.port, error)}") from None
        except (IndexError, ValueError) as error:  # the SDKs parse what they get without looking
            raise DeviceError(f"{self.port}: {what}: answer cannot be read: {error}") from None


def serial_ports() -> list[str]:
    """Return the ports of USB serial adapters that are here, by their lasting names where they have some."""
    named = sorted(str(path) for path in Path("/dev/serial/by-id").glob("*"))
    return named or sorted(str(path) for pattern in ("ttyUSB*", "ttyACM*") for path in Path("/dev").glob(pattern))


def _cause(error: BaseException) -> str:
    words = str(getattr(error, "strerror", None) or (error.args[-1] if error.args else ""))
    return words.splitlines()[0] if words else type(error).__name__


def _advice(port: str, error: BaseException) -> str:
    number = getattr(error, "errno", None)
    if number == 13:
        return "; give yourself access: sudo usermod -aG dialout $USER, then log in again"
    if number == 11:
        return "; another program has it open"
    if not Path(port).exists():
        return f"; there is no such port now; serial ports here: {', '.join(serial_ports()) or 'none'}; plug it in"
    return ""
