"""Calibrating a leader arm by hand: which way its servos turn, where they are at home, and how far they go.

The arm is limp; a person moves it and presses Enter. What is asked, and read, is the same from a terminal and from a pipe.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TextIO

from vla_ros.drivers.address import Address
from vla_ros.errors import DeviceError
from vla_ros.teleop.calibration import TICKS, Calibration, ServoJoint, nearest_turn, writable
from vla_ros.teleop.servo_bus import ServoBus
from vla_ros.teleop.servo_tables import DYNAMIXEL, FEETECH, ServoTable

TABLES: Mapping[str, ServoTable] = {"dynamixel": DYNAMIXEL, "feetech": FEETECH}
MOVED = 40  # [ticks], 3.5 degrees: less is no answer to "turn it"
PAUSE = 0.02  # [s] between two looks at the servos
FAR = 1500  # [ticks], 132 degrees from one look to the next: further, and it may have gone the other way round


class Guide:
    """Asks, and reads the servos while it waits for Enter. lines: the answers. say: shows a line."""

    def __init__(self, bus: ServoBus, lines: TextIO, say: Callable[[str], None]) -> None:
        self._bus, self._say = bus, say
        self._turned: dict[int, int] = {}  # ticks by id at the last look, counted on over turns
        self._entered: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        threading.Thread(target=self._listen, args=(lines,), name="answers", daemon=True).start()

    def calibrate(
        self, joints: Mapping[str, int], home: Mapping[str, float], grippers: Mapping[str, tuple[float, float]]
    ) -> Calibration:
        """Return the calibration. joints: servo ids by the follower's joint names. home: the pose [rad] to begin in.

        grippers: joints that open and close, with their positions then, closed first [m]. Raises DeviceError.
        """
        offsets, modes = self._prepare(joints)
        turned = [name for name in joints if name not in grippers]
        pose = ", ".join(f"{name} {home.get(name, 0.0):.2f}" for name in turned)
        zero = self._ask(
            f"Bring the leader into the pose in which the follower is at {pose} [rad], then press Enter.", joints
        )[-1]
        directions = {name: self._direction(name, joints) for name in turned}
        seen = self._ask("Move every joint through its whole range, then press Enter.", joints)
        made = {}
        for name, servo in joints.items():
            at = home.get(name, 0.0)
            low, high = min(ticks[servo] for ticks in seen), max(ticks[servo] for ticks in seen)
            if name not in grippers and high - low < MOVED:
                raise DeviceError(f"joint '{name}' (servo {servo}) was not moved: it went from {low} to {high} ticks")
            if high - low >= TICKS:
                raise DeviceError(
                    f"joint '{name}' (servo {servo}) went from {low} to {high} ticks, which is not within a turn ({TICKS}), "
                    "and servos tell no more: move it less far"
                )
            made[name] = ServoJoint(
                *(servo, low, max(high, low + 1), zero[servo], at, directions.get(name, 1)),
                homing_offset=offsets[servo],
                drive_mode=modes.get(servo),
            )
        for name, (closed, opened) in grippers.items():
            if name in joints:
                made[name] = self._gripper(made[name], name, closed, opened, joints)
        return Calibration(made)

    def _prepare(self, joints: Mapping[str, int]) -> tuple[dict[int, int], dict[int, int]]:
        """Let the servos go; return their homing offsets and, where they have some, their drive modes by id."""
        silent = [servo for servo in joints.values() if self._bus.ping(servo) is None]
        if silent:
            raise DeviceError(f"{self._bus.port}: no answer from servo {', '.join(map(str, silent))}; give --ids")
        for servo in joints.values():
            self._bus.torque_off(servo)
        offsets = {servo: self._bus.read(servo, self._bus.table.homing) for servo in joints.values()}
        register = self._bus.table.drive_mode
        if register is None:
            return offsets, {}
        return offsets, {servo: self._bus.read(servo, register) & 1 for servo in joints.values()}

    def _direction(self, name: str, joints: Mapping[str, int]) -> int:
        seen = self._ask(
            f"Turn '{name}' so that the follower's angle grows (its URDF says which way), then press Enter.", joints
        )
        moved = seen[-1][joints[name]] - seen[0][joints[name]]
        if abs(moved) < MOVED:
            raise DeviceError(
                f"joint '{name}' (servo {joints[name]}) was turned by {moved} ticks, want {MOVED} or more"
            )
        return 1 if moved > 0 else -1

    def _gripper(
        self, joint: ServoJoint, name: str, closed: float, opened: float, joints: Mapping[str, int]
    ) -> ServoJoint:
        shut = self._ask(f"Close '{name}', then press Enter.", joints)[-1][joint.id]
        wide = self._ask(f"Open '{name}', then press Enter.", joints)[-1][joint.id]
        if abs(wide - shut) < MOVED:
            raise DeviceError(f"joint '{name}' (servo {joint.id}) is at {shut} closed and {wide} open: too near")
        if abs(wide - shut) >= TICKS:
            raise DeviceError(
                f"joint '{name}' (servo {joint.id}) is at {shut} closed and {wide} open: a turn ({TICKS}) or more"
            )
        low, high = sorted(((shut, closed), (wide, opened)))
        return replace(joint, range_min=low[0], range_max=high[0], ends=(low[1], high[1]))

    def _ask(self, question: str, joints: Mapping[str, int]) -> list[dict[int, int]]:
        """Say `question`, read the servos until Enter, and return their ticks by id, at least once before and once after."""
        servos = list(joints.values())
        seen = [self._ticks(servos)]
        self._say(question)
        while True:
            try:
                answer = self._entered.get(timeout=PAUSE)
            except queue.Empty:
                answer = ""
            seen.append(self._ticks(servos))
            if answer is None:
                raise DeviceError("the answers ended before the calibration did; nothing is saved")
            if answer:
                return seen

    def _ticks(self, servos: Sequence[int]) -> dict[int, int]:
        """Return ticks by id: within the servos' turn at the first look, counted on from the last one after that."""
        problem = ""
        for _ in range(10):
            ticks, _, failed, _ = self._bus.positions(servos)
            if failed is not None:
                problem = f"servo {failed} does not answer"
                continue
            turned = {servo: nearest_turn(value, self._turned.get(servo, TICKS // 2)) for servo, value in ticks.items()}
            moved = {servo: abs(value - self._turned.get(servo, value)) for servo, value in turned.items()}
            servo = max(moved, key=lambda each: moved[each])
            if moved[servo] <= FAR:
                self._turned = turned
                return turned
            problem = f"servo {servo} is {moved[servo]} ticks from where it just was: turn it slower"
        raise DeviceError(f"{self._bus.port}: {problem}")

    def _listen(self, lines: TextIO) -> None:
        for line in lines:
            self._entered.put(line)
        self._entered.put(None)


def calibrate_leader(
    address: str,
    joints: Sequence[str],
    grippers: Mapping[str, tuple[float, float]],
    output: Path,
    lines: TextIO,
    say: Callable[[str], None],
    ids: Sequence[int] = (),
    home: Mapping[str, float] | None = None,
) -> Calibration:
    """Calibrate the arm at ``dynamixel:///dev/ttyUSB0?baud=1000000`` and save it to `output`. ids: of the servos, in the
    order of `joints`; by default 1, 2, ... Raises DeviceError: before anything is asked if `output` cannot be written.
    """
    parsed = Address.parse(address)
    if parsed.device not in TABLES:
        raise DeviceError(f"{address}: only servos are calibrated: {', '.join(sorted(TABLES))}")
    parsed.only("baud", "calibration", "rate", "joints", "homing")
    servos = list(ids) or list(range(1, len(joints) + 1))
    if len(servos) != len(joints) or len(set(servos)) != len(servos):
        raise DeviceError(f"ids {servos}: want {len(joints)} different ones, for {', '.join(joints)}")
    with writable(output):
        pass
    table = TABLES[parsed.device]
    bus = ServoBus(table, parsed.path, parsed.whole("baud", table.baud, 9600, 4_000_000))
    bus.open()
    try:
        made = Guide(bus, lines, say).calibrate(dict(zip(joints, servos, strict=True)), home or {}, grippers)
    finally:
        bus.close()
    made.save(output)
    return made
