"""How a camera sees: its focal lengths, centre and distortion, and their file in ROS's camera_calibration format."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import yaml

from vla_ros.errors import DeviceError, unknown_name

# Distortion models of sensor_msgs/CameraInfo (sensor_msgs/distortion_models.hpp) and how many coefficients each has.
MODELS = {"plumb_bob": 5, "rational_polynomial": 8, "equidistant": 4}
Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Intrinsics:
    """A lens. width, height: of its picture [px]. fx, fy, cx, cy [px], the middle of the first pixel being (0, 0).

    distortion: coefficients of `model` in OpenCV's order, none for an ideal lens.
    """

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float
    model: str = "plumb_bob"
    distortion: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.model not in MODELS:
            raise DeviceError(unknown_name("distortion model", self.model, MODELS))
        if self.distortion and len(self.distortion) != MODELS[self.model]:
            raise DeviceError(f"{len(self.distortion)} coefficients of '{self.model}', want {MODELS[self.model]}")
        numbers = (self.fx, self.fy, self.cx, self.cy, *self.distortion)
        if min(self.width, self.height, self.fx, self.fy) <= 0 or not np.isfinite(numbers).all():
            raise DeviceError(
                f"a lens of {self.width}x{self.height} px with fx {self.fx:g}, fy {self.fy:g}: want finite ones above 0"
            )

    @property
    def ideal(self) -> bool:
        """True without distortion."""
        return not any(self.distortion)

    @property
    def matrix(self) -> Array:
        """The camera matrix K [3, 3]."""
        return np.array([[self.fx, 0.0, self.cx], [0.0, self.fy, self.cy], [0.0, 0.0, 1.0]])

    @property
    def coefficients(self) -> Array:
        """The distortion [n], zeros for an ideal lens."""
        return np.array(self.distortion or (0.0,) * MODELS[self.model])

    def project(self, points: npt.ArrayLike) -> Array:
        """Return the pixels [N, 2] of points [N, 3] in the camera's optical frame (z forward) [m]."""
        given = np.asarray(points, dtype=float).reshape(-1, 1, 3)
        still = np.zeros(3)
        project = cv2.fisheye.projectPoints if self.model == "equidistant" else cv2.projectPoints
        return np.asarray(project(given, still, still, self.matrix, self.coefficients)[0]).reshape(-1, 2)

    def sight(self, pixels: npt.ArrayLike) -> Array:
        """Return x/z and y/z of the lines of sight of pixels [N, 2] -> [N, 2]."""
        given = np.asarray(pixels, dtype=float).reshape(-1, 2)
        if self.ideal:
            return np.asarray((given - (self.cx, self.cy)) / (self.fx, self.fy))
        undo = cv2.fisheye.undistortPoints if self.model == "equidistant" else cv2.undistortPoints
        return np.asarray(undo(given.reshape(-1, 1, 2), self.matrix, self.coefficients)).reshape(-1, 2)

    def rays(self) -> Array:
        """Return x/z and y/z of every pixel's line of sight [height, width, 2]."""
        u, v = np.meshgrid(np.arange(self.width, dtype=float), np.arange(self.height, dtype=float))
        return self.sight(np.stack((u, v), axis=-1)).reshape(self.height, self.width, 2)

    def undistorted(self) -> Intrinsics:
        """Return the ideal lens with the same focal lengths and centre."""
        return replace(self, model="plumb_bob", distortion=())

    def cropped(self, x: int, y: int, width: int, height: int) -> Intrinsics:
        """Return the lens of the part of the picture that begins at pixel (x, y)."""
        return replace(self, width=width, height=height, cx=self.cx - x, cy=self.cy - y)

    def resized(self, width: int, height: int) -> Intrinsics:
        """Return the lens of the picture scaled to width x height."""
        sx, sy = width / self.width, height / self.height
        cx, cy = (self.cx + 0.5) * sx - 0.5, (self.cy + 0.5) * sy - 0.5  # pixels' middles are at whole numbers
        return replace(self, width=width, height=height, fx=self.fx * sx, fy=self.fy * sy, cx=cx, cy=cy)


def load_intrinsics(path: Path | str) -> Intrinsics:
    """Read a camera_info file, as camera_calibration and `vla-ros calibrate camera` write it. Raises DeviceError."""
    try:
        with open(path, encoding="utf-8") as file:
            content = yaml.safe_load(file)
        matrix = [float(value) for value in content["camera_matrix"]["data"]]
        coefficients = [float(value) for value in content["distortion_coefficients"]["data"]]
        width, height, model = int(content["image_width"]), int(content["image_height"]), content["distortion_model"]
        fx, _, cx, _, fy, cy, *_ = matrix
    except OSError as error:
        raise DeviceError(f"camera_info {path}: {error.strerror}") from None
    except KeyError as error:
        raise DeviceError(f"camera_info {path}: has no {error}, as files of ROS's camera_calibration do") from None
    except (yaml.YAMLError, TypeError, ValueError, OverflowError) as error:
        text = str(error).splitlines()[0]
        raise DeviceError(f"camera_info {path}: not in the format of ROS's camera_calibration: {text}") from None
    try:
        return Intrinsics(width, height, fx, fy, cx, cy, str(model), tuple(coefficients))
    except DeviceError as error:
        raise DeviceError(f"camera_info {path}: {error}") from None


def save_intrinsics(lens: Intrinsics, path: Path | str, name: str) -> None:
    """Write a camera_info file; `name` is what the camera is called."""
    k, identity = lens.matrix, np.eye(3)
    content = {
        "image_width": lens.width,
        "image_height": lens.height,
        "camera_name": name,
        "camera_matrix": _block(k),
        "distortion_model": lens.model,
        "distortion_coefficients": _block(lens.coefficients[None]),
        "rectification_matrix": _block(identity),
        "projection_matrix": _block(np.hstack((k, np.zeros((3, 1))))),
    }
    with open(path, "w", encoding="utf-8") as file:
        yaml.safe_dump(content, file, sort_keys=False, default_flow_style=None)


def _block(values: Array) -> dict[str, Any]:
    rows, columns = values.shape
    return {"rows": rows, "cols": columns, "data": [float(value) for value in values.reshape(-1)]}
