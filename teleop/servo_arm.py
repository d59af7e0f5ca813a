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
from vla_ros.teleop.calibration import Calibration, ServoJoint, load_calibration, nearest_turn, parse_renaming
from vla_ros.teleop.device import TeleopSample
from vla_ros.teleop.reflection import ForceReflection, ReflectionSettings
from vla_ros.teleop.servo_bus import ServoBus
from vla_ros.teleop.servo_tables import DYNAMIXEL, FEETECH, ServoTable

HEALTH_PERIOD = 1.0  # [s] in which one servo after the other is asked for its voltage and its faults
MOST_WATCHED = 127  # of a watchdog's register; more: it has acted
WATCHDOG = 0.2  # [s] without a packet after which servos that are told currents let go
JUMP = 500  # [ticks], 44 degrees from one sample to the next
PAUSE = 0.2  # [s] without a sample, after which the clutch has slipped and a joint may have been turned any way
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
        made = dict(self.calibration.joints)
        for name, joint in made.items():
            if name in ends and joint.ends is None:
                mirrored = joint.drive_mode == 1 and self.table.drive_mode is None
                made[name] = replace(joint, ends=ends[name][::-1] if mirrored else ends[name])
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
            self._check(name, joint)
            self.bus.torque_off(joint.id)
            if self.reflection is not None and joint.ends is None:
                self._take_currents(name, joint.id)
            self._lowest[joint.id] = self.bus.read(joint.id, self.table.lowest)

    def read(self, timeout: float) -> Reading[TeleopSample] | None:
        """Return the joints when they are next due; None when not all servos answered, and then no force is felt."""
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
            self._let_go()
            self._count(failed, heard)
            return None
        self._wrong.clear()
        if not self._plausible(ticks):
            self._let_go()
            self.rejected += 1
            return None
        sample = TeleopSample(arrival, self.calibration.positions(ticks, self._turned))
        self._reflect(arrival)
        return Reading(sample, arrival, flags=tuple(flag for flags in self._flags.values() for flag in flags))

    def close(self) -> None:
        """Let the port go; servos that were told currents let go too, at the latest by their watchdog."""
        if self.reflection is not None:
            with suppress(DeviceError):
                self._let_go()
            for servo in self.servos:
                with suppress(DeviceError):
                    self.bus.torque_off(servo)
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
        if self.reflection is not None:
            self._tell(self.reflection.step(now))

    def _let_go(self) -> None:
        """Tell no servo a current; they rise from zero again."""
        if self.reflection is not None:
            self.reflection.restart()
            self._tell({})

    def _tell(self, wanted: Mapping[str, float]) -> None:
        felt = {name: joint for name, joint in self.calibration.joints.items() if joint.ends is None}
        self.bus.currents({joint.id: joint.direction * wanted.get(name, 0.0) for name, joint in felt.items()})

    def _reset(self) -> None:
        self._due = next_question(time.monotonic())
        self._health_due, self._turn = self._due + HEALTH_PERIOD, 0
        self._flags: dict[int, list[str]] = {}
        self._lowest: dict[int, int] = {}
        self._wrong: dict[int, int] = {}
        self._turned: dict[int, int] = {}  # ticks of the last sample, counted on over turns
        self._moved_at = 0.0  # when that was, monotonic [s]
        self._heard: dict[int, int] = {}  # ticks of the last answers

    def _plausible(self, ticks: dict[int, int]) -> bool:
        """Return False for a jump that no hand makes, unless it stays: check sums, Feetech's above all, let some through.

        A joint that has turned on from the last sample is counted on, so that it does not jump by a turn either; after a
        jump of its own or a pause, its ticks are in the turn of its range.
        """

        def near(servo: int, other: Mapping[int, int]) -> bool:
            return servo in other and abs(nearest_turn(ticks[servo], other[servo]) - other[servo]) <= JUMP

        before, self._heard = self._heard, ticks
        smooth = {servo for servo in ticks if near(servo, self._turned)}
        if self._turned and len(smooth) < len(ticks) and not all(near(servo, before) for servo in ticks):
            return False
        now = time.monotonic()
        if now - self._moved_at > PAUSE:
            smooth = set()
        for joint in self.calibration.joints.values():
            around = self._turned[joint.id] if joint.id in smooth else joint.middle
            self._turned[joint.id] = nearest_turn(ticks[joint.id], around)
        self._moved_at = now
        return True

    def _check(self, name: str, joint: ServoJoint) -> None:
        """Raise DeviceError if the servo was set otherwise when it was calibrated."""
        servo, source = f"{self.bus.port}: servo {joint.id} ('{name}')", self.calibration.source
        cause = "it is another arm's calibration, or the servo was reset; calibrate anew"
        if joint.drive_mode is not None and self.table.drive_mode is not None:
            found = self.bus.read(joint.id, self.table.drive_mode) & 1
            if found != joint.drive_mode:
                raise DeviceError(
                    f"{servo} has drive mode {found}, {source} says {joint.drive_mode}: it would be mirrored; {cause}"
                )
        if joint.homing_offset is not None and self._check_homing:
            found = self.bus.read(joint.id, self.table.homing)
            if found != joint.homing_offset:
                raise DeviceError(
                    f"{servo} has homing offset {found}, {source} says {joint.homing_offset}: {cause}, or say homing=ignore"
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
