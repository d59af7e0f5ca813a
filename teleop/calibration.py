"""What a leader arm's servo ticks mean: which servo is which joint, where its zero is, and which way it turns.

Two kinds of file. Our own YAML, made by ``vla-ros calibrate leader``; and LeRobot's calibration JSON (``id``, ``drive_mode``,
``homing_offset``, ``range_min``, ``range_max`` a motor), where a joint is at zero in the middle of its range and the homing
offset has been written into the servo.

A servo tells where it is within a turn, and nothing of whole turns: a Feetech's position begins anew at 0 after 4095, and a
Dynamixel forgets when its power goes how often it was turned round. So a joint's range is a turn at most, and ticks are taken
to be in the turn around the middle of its range.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, fields
from errno import EEXIST
from pathlib import Path
from typing import Any

import yaml

from vla_ros.errors import DeviceError, VlaRosError, unknown_name
from vla_ros.paths import share_path

TICKS = 4096  # a turn of the servos that leaders are made of (12 bits)
IDS = range(253)  # of a servo, in both protocols
LEROBOT = {"id", "drive_mode", "homing_offset", "range_min", "range_max"}


@dataclass(frozen=True)
class ServoJoint:
    """One joint of a leader.

    id: of its servo. range_min, range_max: ticks it was moved between. zero: tick at which the joint is at `at` [rad].
    direction: 1, or -1 where more ticks are less of an angle. ends: joint positions at range_min and range_max, for one
    that is not turned angle by angle, such as a gripper [m]; None else. homing_offset, drive_mode: what the servo's registers
    held when it was calibrated; None: not known. A Dynamixel of drive_mode 1 counts the other way round by itself, so that
    it says nothing about `direction`; Feetech servos have none: there, LeRobot's swaps a gripper's ends.
    """

    id: int
    range_min: int
    range_max: int
    zero: int = TICKS // 2
    at: float = 0.0
    direction: int = 1
    ends: tuple[float, float] | None = None
    homing_offset: int | None = None
    drive_mode: int | None = None

    def __post_init__(self) -> None:
        if self.id not in IDS:
            raise DeviceError(f"id is {self.id}, want 0 to 252")
        if self.range_min >= self.range_max:
            raise DeviceError(f"range_min {self.range_min} is not below range_max {self.range_max}")
        if self.range_max - self.range_min > TICKS:
            raise DeviceError(
                f"range_min {self.range_min} and range_max {self.range_max} are more than a turn apart ({TICKS} ticks)"
            )
        if self.direction not in (1, -1):
            raise DeviceError(f"direction is {self.direction}, want 1 or -1")
        if self.drive_mode not in (None, 0, 1):
            raise DeviceError(f"drive_mode is {self.drive_mode}, want 0 or 1")

    @property
    def middle(self) -> int:
        """Ticks in the middle of the range; half a turn from there, the servo's next turn begins."""
        return (self.range_min + self.range_max + 1) // 2

    def position(self, ticks: int, around: int | None = None) -> float:
        """Return the joint's position [rad, m] at `ticks`, taken to be within half a turn of `around`: the middle of the
        range, or ticks that the joint was at just before.
        """
        ticks = nearest_turn(ticks, self.middle if around is None else around)
        if self.ends is None:
            return self.at + self.direction * (ticks - self.zero) * 2.0 * math.pi / TICKS
        share = (ticks - self.range_min) / (self.range_max - self.range_min)
        low, high = self.ends
        return low + min(max(share, 0.0), 1.0) * (high - low)

    def ticks(self, position: float) -> int:
        """Return the ticks nearest to a position [rad, m]."""
        if self.ends is None:
            return round(self.zero + self.direction * (position - self.at) * TICKS / (2.0 * math.pi))
        low, high = self.ends
        return round(self.range_min + (position - low) / (high - low) * (self.range_max - self.range_min))


@dataclass(frozen=True)
class Calibration:
    """Joints by name, and the file they are from."""

    joints: Mapping[str, ServoJoint]
    source: str = "calibration"

    def __post_init__(self) -> None:
        names: dict[int, str] = {}
        for name, joint in self.joints.items():
            if joint.id in names:
                raise DeviceError(f"{self.source}: joints '{names[joint.id]}' and '{name}' have the same id {joint.id}")
            names[joint.id] = name
        if not names:
            raise DeviceError(f"{self.source}: no joints")

    def positions(self, ticks: Mapping[int, int], around: Mapping[int, int] | None = None) -> dict[str, float]:
        """Return the joints' positions [rad, m] by name at the servos' `ticks` by id; see `ServoJoint.position`."""
        near = around or {}
        return {name: joint.position(ticks[joint.id], near.get(joint.id)) for name, joint in self.joints.items()}

    def save(self, path: Path) -> None:
        """Write our own format: the whole file, or none. Raises DeviceError where nothing can be written."""
        joints = {
            name: {k: v for k, v in asdict(joint).items() if v is not None} for name, joint in self.joints.items()
        }
        for joint in joints.values():
            if "ends" in joint:
                joint["ends"] = list(joint["ends"])
        text = "# Made by vla-ros calibrate leader: see docs/teleop.md.\n"
        with writable(path) as partial:
            partial.write_text(text + yaml.safe_dump({"joints": joints}, sort_keys=False), encoding="utf-8")
            partial.replace(path)


def nearest_turn(ticks: int, around: int) -> int:
    """Return `ticks`, more or less by whole turns, within half a turn of `around`."""
    return around + (ticks - around + TICKS // 2) % TICKS - TICKS // 2


@contextmanager
def writable(path: Path) -> Iterator[Path]:
    """Give an empty file beside `path`, to be renamed to it once it is written; it is removed in the end if it was not.

    Raises DeviceError where a calibration cannot be saved as `path`.
    """
    try:
        if path.exists() and not path.is_file():
            raise OSError(EEXIST, "it is there already, and no file")
        partial = path.with_name(f".{path.name}.new")
        partial.touch()
        try:
            yield partial
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        raise DeviceError(
            f"calibration cannot be saved as '{path}': {error.strerror}; want a file in a folder that can be written to"
        ) from None


def load_calibration(path: str, renamed: Mapping[str, str] | None = None) -> Calibration:
    """Read a calibration, ours (.yaml) or LeRobot's (.json), by its file or its name in config/leaders.

    renamed: the follower's joint for a leader's. Raises DeviceError naming the file, the key and what it should be.
    """
    if re.fullmatch(r"\w+", path):
        with suppress(VlaRosError):
            path = str(share_path(f"config/leaders/{path}.yaml"))
    try:
        text = Path(path).expanduser().read_text(encoding="utf-8")
        content = json.loads(text) if path.endswith(".json") else yaml.safe_load(text)
    except OSError as error:
        raise DeviceError(f"calibration '{path}': {error.strerror}; make one with 'vla-ros calibrate leader'") from None
    except (ValueError, yaml.YAMLError, RecursionError) as error:
        raise DeviceError(f"calibration '{path}' cannot be read: {str(error).splitlines()[0]}") from None
    joints = content if path.endswith(".json") else content.get("joints") if isinstance(content, dict) else None
    if not isinstance(joints, dict):
        raise DeviceError(f"calibration '{path}': want joints by name, found {type(joints).__name__}")
    read = _from_lerobot if path.endswith(".json") else _from_ours
    made = {}
    for name, values in joints.items():
        try:
            made[str(name)] = read(values)
        except DeviceError as error:
            raise DeviceError(f"calibration '{path}': joint '{name}': {error}") from None
    return Calibration(_renamed(made, renamed or {}, path), path)


def parse_renaming(text: str) -> dict[str, str]:
    """Return {leader's joint: follower's joint} of "shoulder_flex:shoulder_lift,wrist_roll:wrist_3"."""
    pairs = [pair.split(":") for pair in text.split(",") if pair]
    if any(len(pair) != 2 or not all(pair) for pair in pairs):
        raise DeviceError(f"joints '{text}', want leader:follower,leader:follower")
    return dict(pairs)


def _from_ours(values: Any) -> ServoJoint:
    known = [field.name for field in fields(ServoJoint)]
    given = _checked(values, known, ("id", "range_min", "range_max"))
    ends = given.pop("ends", None)
    if ends is not None and (not isinstance(ends, list) or len(ends) != 2 or not all(map(_number, ends))):
        raise DeviceError(f"ends is {ends!r}, want two numbers")
    at = given.pop("at", 0.0)
    if not _number(at):
        raise DeviceError(f"at is {at!r}, want a number")
    return ServoJoint(**_whole(given), at=float(at), ends=None if ends is None else (float(ends[0]), float(ends[1])))


def _from_lerobot(values: Any) -> ServoJoint:
    given = _whole(_checked(values, sorted(LEROBOT), sorted(LEROBOT)))
    low, high = given["range_min"], given["range_max"]
    return ServoJoint(
        given["id"],
        low,
        high,
        zero=round((low + high) / 2),
        homing_offset=given["homing_offset"],
        drive_mode=given["drive_mode"],
    )


def _checked(values: Any, known: list[str], needed: Any) -> dict[str, Any]:
    if not isinstance(values, dict):
        raise DeviceError(f"want keys and values, found {values!r}")
    for key in values:
        if key not in known:
            raise DeviceError(unknown_name("key", str(key), known))
    for key in needed:
        if key not in values:
            raise DeviceError(f"no '{key}'")
    return dict(values)


def _whole(values: dict[str, Any]) -> dict[str, int]:
    for key, value in values.items():
        if isinstance(value, bool) or not isinstance(value, int):
            raise DeviceError(f"{key} is {value!r}, want a whole number")
    return values


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _renamed(joints: dict[str, ServoJoint], renamed: Mapping[str, str], path: str) -> dict[str, ServoJoint]:
    for name in renamed:
        if name not in joints:
            raise DeviceError(f"calibration '{path}': {unknown_name('joint', name, joints)}")
    made = {renamed.get(name, name): joint for name, joint in joints.items()}
    if len(made) != len(joints):
        raise DeviceError(f"calibration '{path}': two joints would be called the same, renamed by {dict(renamed)}")
    return made
