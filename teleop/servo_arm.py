"""A leader arm of serial servos: joints by name at 100 Hz and more, its torque off, its troubles told."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace

from vla_ros.beat import next_question
from vla_ros.drivers.address import Address
from vla_ros.drivers.base import Reading
from vla_ros.errors import DeviceError
from vla_ros.teleop.calibration import Calibration, load_calibration, parse_renaming
from vla_ros.teleop.device import TeleopSample
from vla_ros.teleop.reflection import ForceReflection, ReflectionSettings
from vla_ros.teleop.servo_bus import ServoBus
from vla_ros.teleop.servo_tables import DYNAMIXEL, FEETECH, ServoTable

HEALTH_PERIOD = 1.0  # [s] in which one servo after the other is asked for its voltage and its faults
MOST_WATCHED = 127  # of a watchdog's register; more: it has acted
WATCHDOG = 0.2  # [s] without a packet after which servos that are told currents let go
JUMP = 500  # [ticks], 44 degrees from one sample to the next
WRONG = 10  # wrong answers of one servo in a row: it is a fault


class ServoArm:
    """A driver (see `vla_ros.drivers.base`) of leader arms: ``dynamixel:///dev/ttyUSB0?calibration=leader.yaml``.

    Options: calibration, joints (leader:follower,... where names differ), rate [Hz], baud, homing (check or ignore: whether
    the servos' homing offsets must be those of the calibration), reflect and current: see `ReflectionSettings`.
    """

    table: ServoTable
    _due: float  # the next sync read, monotonic [s]

    def __init__(self, address: Address) -> None:
        address.only("calibration", "joints", "rate", "baud", "homing", "reflect", "current")
        if not address.path:
            raise DeviceError(f"{address.text}: no port; want {address.device}:///dev/ttyUSB0?calibration=leader.yaml")
        if "calibration" not in address.options:
            raise DeviceError(
                f"{address.text}: no calibration; make one with 'vla-ros calibrate leader {address.text}'"
            )
        renamed = parse_renaming(address.text_of("joints", ""))
        self.calibration: Calibration = load_calibration(address.options["calibration"], renamed)
        self._check_homing = address.text_of("homing", "check", ("check", "ignore")) == "check"
        self._period = 1.0 / address.number("rate", 100.0, 1.0, 1000.0)
        self.reflection = self._reflecting(address)
        self.bus = ServoBus(self.table, address.path, address.whole("baud", self.table.baud, 9600, 4_000_000))
        self.device, self.rejected = f"{address.device} {address.path}", 0
        self.servos = [joint.id for joint in self.calibration.joints.values()]
        self._reset()

    def with_ends(self, ends: Mapping[str, tuple[float, float]]) -> None:
        """Let joints named in `ends` go between these positions where the calibration does not say (LeRobot's does not)."""
        joints = self.calibration.joints.items()
        made = {n: replace(j, ends=ends[n]) if n in ends and j.ends is None else j for n, j in joints}
        self.calibration = Calibration(made, self.calibration.source)

    def open(self) -> None:
        """Find every servo of the calibration and let go of its torque."""
        self._reset()
        self.bus.open()
        missing = [servo for servo in self.servos if self.bus.ping(servo) is None]
        if missing:
            there = [servo for servo in self.servos if servo not in missing]
            raise DeviceError(
                f"{self.bus.port}: no answer from servo {', '.join(map(str, missing))} at {self.bus.baud} baud; "
                f"these answer: {', '.join(map(str, there)) or 'none'}; check power, cables and ids"
            )
        for name, joint in self.calibration.joints.items():
            self._check(name, joint.id, joint.homing_offset)
            self.bus.torque_off(joint.id)
            if self.reflection is not None and joint.ends is None:
                self._take_currents(name, joint.id)
            self._lowest[joint.id] = self.bus.read(joint.id, self.table.lowest)

    def read(self, timeout: float) -> Reading[TeleopSample] | None:
        """Return the joints when they are next due; None when not all servos answered."""
        pause = self._due - time.monotonic()
        if pause > timeout:
            time.sleep(timeout)
            return None
        if pause > 0:
            time.sleep(pause)
        self._due += self._period
        if (now := time.monotonic()) > self._due + self._period:
            self._due = next_question(now)
        ticks, alerts, failed, heard = self.bus.positions(self.servos)
        arrival = time.time_ns()
        self._watch_health(alerts, all_well=failed is None)
        if failed is not None:
            self._count(failed, heard)
            return None
        self._wrong.clear()
        if not self._plausible(ticks):
            self.rejected += 1
            return None
        sample = TeleopSample(arrival, self.calibration.positions(ticks))
        self._reflect(arrival)
        return Reading(sample, arrival, flags=tuple(flag for flags in self._flags.values() for flag in flags))

    def close(self) -> None:
        """Let the port go; servos that were told currents let go too, at the latest by their watchdog."""
        if self.reflection is not None:
            with suppress(DeviceError):
                for joint in self.calibration.joints.values():
                    self.bus.torque_off(joint.id)
        self.bus.close()

    def _reflecting(self, address: Address) -> ForceReflection | None:
        gain = address.number("reflect", 0.0, 0.0, 1.0)
        limit = address.number("current", ReflectionSettings.limit, 1.0, 1000.0)
        if gain == 0.0:
            return None
        if self.table.current is None:
            raise DeviceError(
                f"{address.text}: {self.table.make} servos take no currents, so that forces cannot be felt"
            )
        return ForceReflection(ReflectionSettings(gain, limit))

    def _take_currents(self, name: str, servo: int) -> None:
        """Let the servo be driven by current: none at first, and none when the bus falls silent."""
        control = self.table.current
        assert control is not None
        silence = round(WATCHDOG / control.watchdog_unit)
        for register, value in (
            *((control.mode, control.by_current), (control.watchdog, 0), (control.watchdog, silence)),
            *((control.goal, 0), (self.table.torque, 1)),
        ):
            if not self.bus.write(servo, register, value):
                raise DeviceError(
                    f"{self.bus.port}: servo {servo} ('{name}') takes no currents (register {register.address}): "
                    "leave reflect out"
                )

    def _wake(self, servo: int) -> None:
        """Let a servo be told currents again whose watchdog has acted, the bus having been silent for a moment."""
        control = self.table.current
        if self.reflection is None or control is None or self.bus.read(servo, control.watchdog) <= MOST_WATCHED:
            return
        self.reflection.restart()
        for value in (0, round(WATCHDOG / control.watchdog_unit)):
            self.bus.write(servo, control.watchdog, value)

    def _reflect(self, now: int) -> None:
        if self.reflection is None:
            return
        wanted = self.reflection.step(now)
        turned = {name: joint for name, joint in self.calibration.joints.items() if joint.ends is None}
        self.bus.currents({joint.id: joint.direction * wanted.get(name, 0.0) for name, joint in turned.items()})

    def _reset(self) -> None:
        self._due = next_question(time.monotonic())
        self._health_due, self._turn = self._due + HEALTH_PERIOD, 0
        self._flags: dict[int, list[str]] = {}
        self._lowest: dict[int, int] = {}
        self._wrong: dict[int, int] = {}
        self._accepted: dict[int, int] | None = None  # ticks of the last sample, and of the last answers
        self._heard: dict[int, int] | None = None

    def _plausible(self, ticks: dict[int, int]) -> bool:
        """Return False for a jump that no hand makes, unless it stays: check sums, Feetech's above all, let some through."""

        def near(other: dict[int, int]) -> bool:
            return all(abs(value - other[servo]) <= JUMP for servo, value in ticks.items())

        before, self._heard = self._heard, ticks
        if self._accepted is not None and not near(self._accepted) and not (before is not None and near(before)):
            return False
        self._accepted = ticks
        return True

    def _check(self, name: str, servo: int, expected: int | None) -> None:
        if expected is None or not self._check_homing:
            return
        found = self.bus.read(servo, self.table.homing)
        if found != expected:
            raise DeviceError(
                f"{self.bus.port}: servo {servo} ('{name}') has homing offset {found}, {self.calibration.source} says "
                f"{expected}: it is another arm's calibration, or the servo was reset; calibrate anew, or say homing=ignore"
            )

    def _count(self, servo: int, heard: bool) -> None:
        """Count a servo's missing or wrong answer; raise when one gives nothing but nonsense."""
        if not heard:
            self._wrong.pop(servo, None)
            return
        self.rejected += 1
        self._wrong[servo] = self._wrong.get(servo, 0) + 1
        if self._wrong[servo] >= WRONG:
            raise DeviceError(
                f"{self.bus.port}: servo {servo} answers garbage: a loose cable, or two servos with the id {servo}"
            )

    def _watch_health(self, alerts: list[int], all_well: bool) -> None:
        """Ask a servo that raises an alert, or the next one in turn, how it is."""
        now = time.monotonic()
        if not all_well or now < self._health_due:
            return
        self._health_due = now + HEALTH_PERIOD / len(self.servos)
        self._turn = (self._turn + 1) % len(self.servos)
        servo = next((alert for alert in alerts if not self._flags.get(alert)), self.servos[self._turn])
        try:
            faults = self.table.faults_in(self.bus.read(servo, self.table.status))
            volts = self.bus.read(servo, self.table.voltage)
            self._wake(servo)
        except DeviceError:
            return  # if it is more than a hiccup, the next sync read tells
        flags = [f"servo {servo}: {fault} error" for fault in faults]
        if volts < self._lowest[servo]:
            flags.append(f"servo {servo}: low voltage, {volts / 10:.1f} V of {self._lowest[servo] / 10:.1f} V")
        self._flags[servo] = flags


class DynamixelArm(ServoArm):
    """Dynamixel servos of the X series (XL330, XL430, XC330): GELLO, ALOHA and Koch leaders."""

    table = DYNAMIXEL


class FeetechArm(ServoArm):
    """Feetech STS3215 servos: SO-100 and SO-101 leaders."""

    table = FEETECH
