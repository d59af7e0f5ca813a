"""Where a camera of the robot's URDF sees a point.

A camera is a ``<gazebo>`` sensor: its optical frame is a link (``gz_frame_id``; x right, y down, z forward) and its optics a
horizontal field of view. Places in a picture are x right, y down in [-1, 1] from edge to edge, whatever the picture's size.
"""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
CAMERA_SUFFIX = "_camera"


@dataclass(frozen=True)
class CameraSpec:
    """A camera of the URDF: its optical frame and horizontal field of view [rad]."""

    name: str
    frame: str
    hfov: float

    def places(self, points: npt.ArrayLike, size: tuple[int, int]) -> Array:
        """Return where points [N, 3] of the optical frame [m] are seen, [N, 2]; NaN where that is behind or out of the picture.

        size: [height, width] of the picture in pixels, which are square.
        """
        xyz = np.asarray(points, dtype=np.float64)
        height, width = size
        focal = width / 2.0 / math.tan(self.hfov / 2.0)
        with np.errstate(divide="ignore", invalid="ignore"):
            seen = focal * xyz[:, :2] / xyz[:, 2:]
        places: Array = 2.0 * seen / np.array([width, height])
        out = (xyz[:, 2] <= 0.0) | ~(np.abs(places) <= 1.0).all(axis=1)
        places[out] = np.nan
        return places


def cameras_of(urdf: str | ET.Element) -> dict[str, CameraSpec]:
    """Return the cameras of a URDF (text or root element) by short name: ``front`` for a sensor ``front_camera``."""
    root = ET.fromstring(urdf) if isinstance(urdf, str) else urdf
    cameras = {}
    for sensor in root.findall("gazebo/sensor"):
        if "camera" not in str(sensor.get("type")):
            continue
        name, frame = str(sensor.get("name")), sensor.findtext("gz_frame_id", "")
        hfov = float(sensor.findtext("camera/horizontal_fov", "1.0"))
        cameras[name.removesuffix(CAMERA_SUFFIX)] = CameraSpec(name, frame, hfov)
    return cameras
