"""The files of a hand-eye calibration: the tip's poses beside the pictures, and the camera's place."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import yaml
from scipy.spatial.transform import Rotation

from vla_ros.errors import DeviceError

Array = npt.NDArray[np.float64]


def load_poses(path: Path) -> dict[str, Array]:
    """Read the tip's pose for every picture, T_base_tip [4, 4] [m]. Raises DeviceError."""
    want = "want lines of 'picture.png: [x, y, z, qx, qy, qz, qw]'"
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DeviceError(f"{path}: {error.strerror}; {want}") from None
    except yaml.YAMLError:
        raise DeviceError(f"{path}: not YAML; {want}") from None
    if not isinstance(content, dict):
        raise DeviceError(f"{path}: {want}")
    poses = {}
    for name, values in content.items():
        try:
            numbers = np.array(values, dtype=float).reshape(7)
            if not np.isfinite(numbers).all():
                raise ValueError("not finite")
            pose = np.eye(4)
            pose[:3, :3], pose[:3, 3] = Rotation.from_quat(numbers[3:]).as_matrix(), numbers[:3]
        except (TypeError, ValueError, OverflowError):
            raise DeviceError(f"{path}: the pose of {name} is {values}; {want}") from None
        poses[str(name)] = pose
    return poses


def save_poses(poses: dict[str, Array], path: Path) -> None:
    """Write the file that `load_poses` reads."""
    content = {name: _seven(pose) for name, pose in poses.items()}
    path.write_text(yaml.safe_dump(content, sort_keys=False, default_flow_style=None), encoding="utf-8")


def save_place(camera: Array, path: Path, parent: str, child: str, quality: str) -> str:
    """Write T_parent_child [4, 4] and return how to publish it on /tf_static, in text."""
    values = _seven(camera)
    content = {"parent": parent, "child": child, "xyz": values[:3], "xyzw": values[3:], "quality": quality}
    path.write_text(yaml.safe_dump(content, sort_keys=False, default_flow_style=None), encoding="utf-8")
    names = ("x", "y", "z", "qx", "qy", "qz", "qw")
    arguments = " ".join(f"--{name} {value:.6f}" for name, value in zip(names, values, strict=True))
    return (
        f"{path}: written; ros2 run tf2_ros static_transform_publisher {arguments} "
        f"--frame-id {parent} --child-frame-id {child}"
    )


def load_place(path: Path) -> Array:
    """Read the file that `save_place` writes, T_parent_child [4, 4] [m]. Raises DeviceError."""
    want = "want a file of vla-ros calibrate hand-eye, with xyz: [x, y, z] and xyzw: [qx, qy, qz, qw]"
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        numbers = np.array([*content["xyz"], *content["xyzw"]], dtype=float).reshape(7)
        place = np.eye(4)
        place[:3, :3], place[:3, 3] = Rotation.from_quat(numbers[3:]).as_matrix(), numbers[:3]
    except OSError as error:
        raise DeviceError(f"{path}: {error.strerror}; {want}") from None
    except (yaml.YAMLError, KeyError, TypeError, ValueError, OverflowError):
        raise DeviceError(f"{path}: not the place of a camera; {want}") from None
    if not np.isfinite(place).all():
        raise DeviceError(f"{path}: the place of the camera is not finite; {want}")
    return place


def _seven(pose: Array) -> list[float]:
    return [float(v) for v in (*pose[:3, 3], *Rotation.from_matrix(pose[:3, :3]).as_quat())]
