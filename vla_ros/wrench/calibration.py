"""A sensor's calibration: the tool's load and the sensor's offsets, and the YAML file that keeps them."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import yaml

from vla_ros.errors import CalibrationError, unknown_name

Array = npt.NDArray[np.float64]
Vector = tuple[float, ...]
MEANING = {
    "frame": "the sensor's, as the URDF calls it",
    "mass": "[kg] of what is behind the sensor",
    "centre": "[m] of that mass, in the sensor's frame",
    "force_offset": "[N] that the sensor shows without a load",
    "torque_offset": "[Nm] likewise",
    "gravity": "[m/s2] in the robot's root frame",
    "poses": "from which this was found",
    "residual_force": "[N] rms that it leaves unexplained",
    "residual_torque": "[Nm] likewise",
    "mass_error": "[kg] standard error",
    "centre_error": "[m] standard error of the worst coordinate",
}


@dataclass(frozen=True)
class WrenchCalibration:
    """What a sensor shows without contact, at any orientation. See MEANING for units."""

    frame: str
    mass: float
    centre: Vector
    force_offset: Vector = (0.0, 0.0, 0.0)
    torque_offset: Vector = (0.0, 0.0, 0.0)
    gravity: Vector = (0.0, 0.0, -9.80665)
    poses: int = 0
    residual_force: float = 0.0
    residual_torque: float = 0.0
    mass_error: float = 0.0
    centre_error: float = 0.0

    def without_contact(self, rotation: Array) -> Array:
        """Return the wrench [6] that the sensor shows at R_root_sensor [3, 3] when nothing touches the tool."""
        weight = self.mass * (rotation.T @ np.array(self.gravity))
        force = weight + self.force_offset
        torque = np.cross(self.centre, weight) + self.torque_offset
        return np.concatenate([force, torque])

    def save(self, path: Path) -> None:
        """Write the file. Raises CalibrationError."""
        lines = ["# A force/torque sensor's calibration, written by `vla-ros calibrate wrench`."]
        for name, value in asdict(self).items():
            shown = [round(part, 9) for part in value] if isinstance(value, tuple) else value
            shown = round(shown, 9) if isinstance(shown, float) else shown
            lines.append(f"{name}: {shown}  # {MEANING[name]}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        except OSError as error:
            raise CalibrationError(f"{path}: cannot be written: {error.strerror}") from None


def load_calibration(path: str | Path) -> WrenchCalibration:
    """Read the file. Raises CalibrationError naming the key that is wrong."""
    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "is not text"
        raise CalibrationError(f"{path}: {reason}; make one with vla-ros calibrate wrench") from None
    except yaml.YAMLError as error:
        raise CalibrationError(f"{path}: is not YAML: {str(error).splitlines()[0]}") from None
    if not isinstance(content, dict):
        raise CalibrationError(f"{path}: is a {type(content).__name__}, want keys such as mass and centre")
    for name in content:
        if name not in MEANING:
            raise CalibrationError(f"{path}: {unknown_name('key', str(name), MEANING)}")
    values = {}
    for field in fields(WrenchCalibration):
        if field.name in content:
            values[field.name] = _checked(path, field.name, content[field.name])
        elif field.name in ("frame", "mass", "centre"):
            raise CalibrationError(f"{path}: {field.name} is missing: {MEANING[field.name]}")
    return WrenchCalibration(**values)


def _checked(path: str | Path, name: str, value: Any) -> Any:
    if name == "frame":
        if isinstance(value, str) and value:
            return value
        raise CalibrationError(f"{path}: frame is {value!r}, want the name of a link")
    if name in ("centre", "force_offset", "torque_offset", "gravity"):
        if isinstance(value, list) and len(value) == 3 and all(map(_finite, value)):
            return tuple(map(float, value))
        raise CalibrationError(f"{path}: {name} is {value!r}, want three numbers: {MEANING[name]}")
    if not _finite(value) or value < 0:
        raise CalibrationError(f"{path}: {name} is {value!r}, want a number of 0 or more: {MEANING[name]}")
    return int(value) if name == "poses" else float(value)


def _finite(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and bool(np.isfinite(value))
