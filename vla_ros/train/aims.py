"""Where in each picture the tool is seen at the next keyframe: what encoders that aim are trained with, in hindsight."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from vla_ros.camera_geometry import CameraSpec, cameras_of
from vla_ros.contract import Contract, StreamSpec
from vla_ros.encoders import ENCODERS
from vla_ros.errors import PolicyError, unknown_name
from vla_ros.policy.config import PolicyConfig
from vla_ros.robot import load_urdf

if TYPE_CHECKING:
    from vla_ros.kinematics import Kinematics

Array = npt.NDArray[np.float64]


def aims(
    policy: PolicyConfig,
    contract: Contract,
    goals: npt.NDArray[np.float32],
    column: Callable[[str], npt.NDArray[Any]],
) -> dict[str, npt.NDArray[np.float32]]:
    """Return, for each stream whose encoder aims, where its camera sees each row's goal: [N, 2], NaN where it does not.

    goals: the actions [N, D] at each row's next keyframe. column: the dataset's numeric features. The camera's place and
    optics are those of the contract's URDF. Raises PolicyError when the robot has no such camera, or there is no robot.
    """
    streams = [s for s in policy.streams(contract) if (part := policy.encoder_for(s)) and ENCODERS.get(part).aims]
    if not streams:
        return {}
    if contract.robot_free:
        raise PolicyError(f"{contract.source}: '{streams[0].key}' aims, which takes a robot that carries its camera")
    from vla_ros.kinematics import Kinematics, frame_poses  # Pinocchio, needed for this alone

    urdf = load_urdf(contract.urdf)
    cameras, tool = cameras_of(urdf), Kinematics.of(contract)
    tips = _tips(contract, tool, goals)
    state = [f"{name}.pos" for name in contract.joint_names]
    order = [contract.state.names.index(name) for name in state]
    joints = np.asarray(column(contract.state.key), dtype=np.float64)[:, order]
    found = {}
    for stream in streams:
        camera = _camera(stream, cameras, contract)
        T_root_camera = frame_poses(urdf, contract.joint_names, camera.frame, joints)
        found[stream.key] = _seen(T_root_camera, camera, stream, tips)
    return found


def _camera(stream: StreamSpec, cameras: dict[str, CameraSpec], contract: Contract) -> CameraSpec:
    name = stream.key.rsplit(".", 1)[-1]
    if name not in cameras:
        raise PolicyError(f"'{stream.key}' aims: {unknown_name('camera', name, cameras)} in {contract.urdf}")
    return cameras[name]


def _tips(contract: Contract, tool: Kinematics, goals: npt.NDArray[np.float32]) -> Array:
    """Return the tip's place [N, 3] at each goal; goals are the same for many rows."""
    if contract.action.space == "ee_pose":
        return goals[:, :3].astype(np.float64)
    distinct, which = np.unique(goals, axis=0, return_inverse=True)
    places = np.array([tool.pose(goal.astype(np.float64))[:3] for goal in distinct])
    return places[which.ravel()]


def _seen(T_root_camera: Array, camera: CameraSpec, stream: StreamSpec, tips: Array) -> npt.NDArray[np.float32]:
    """Return where the camera sees `tips` [N, 3] from where it is, [N or 1, 4, 4]."""
    away = tips - T_root_camera[:, :3, 3]
    turned = np.broadcast_to(T_root_camera[:, :3, :3], (len(tips), 3, 3))
    points = np.einsum("nij,ni->nj", turned, away)
    return camera.places(points, (stream.shape[0], stream.shape[1])).astype(np.float32)
