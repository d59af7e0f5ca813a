"""Poses for the wrench's calibration, asked for one by one on the running robot."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from geometry_msgs.msg import WrenchStamped
from rclpy.context import Context
from rclpy.executors import Executor
from sensor_msgs.msg import JointState

from vla_ros.errors import CalibrationError, GraphError, ObservationError
from vla_ros.kinematics import Kinematics
from vla_ros.ros import qos
from vla_ros.ros.convert import JointReader
from vla_ros.ros.own_node import own_node
from vla_ros.wrench import RecordedPose, calibrate
from vla_ros.wrench.load import FEWEST

STALE = 0.3  # [s] after the answer, in which what was queued before it is thrown away
PATIENCE = 10.0  # [s] for the samples of a pose
STILL = 0.005  # [rad, m] that a joint may move meanwhile
PROMPT = "Enter takes pose {number}; q and Enter ends: "


def ask_for_poses(
    kinematics: Kinematics,
    topic: str,
    joint_topic: str,
    samples: int,
    ask: Callable[[str], str] = input,
    say: Callable[[str], None] = print,
    context: Context | None = None,
) -> list[RecordedPose]:
    """Return the poses in which `ask` was answered with nothing, until it is answered with q.

    In each the arm must stand still, without contact, while `samples` wrenches come on `topic`. Raises GraphError when
    none or no joint states come.
    """
    if samples < 1:
        raise CalibrationError(f"{samples} samples a pose: want at least 1")
    with own_node("calibrate_wrench", context) as (node, executor):
        collector = _Collector(kinematics, topic, joint_topic, samples)
        node.create_subscription(WrenchStamped, topic, collector.on_wrench, qos.SENSOR)
        node.create_subscription(JointState, joint_topic, collector.on_joints, qos.SENSOR)
        poses: list[RecordedPose] = []
        say(
            "Hold the arm still in at least 6 poses without contact, the tool tilted differently in each, up to sideways."
        )
        while not ask(PROMPT.format(number=len(poses) + 1)).strip().lower().startswith("q"):
            _spin(executor, STALE, lambda: False)
            collector.begin()
            _spin(executor, PATIENCE, lambda: collector.complete)
            pose = collector.pose(say)
            if pose is not None:
                poses.append(pose)
                say(_progress(poses, kinematics))
        return poses


def _spin(executor: Executor, seconds: float, done: Callable[[], bool]) -> None:
    end = time.monotonic() + seconds
    while not done() and (left := end - time.monotonic()) > 0:
        executor.spin_once(timeout_sec=min(left, 0.1))


class _Collector:
    """Gathers the wrenches and joint positions of one pose."""

    def __init__(self, kinematics: Kinematics, topic: str, joint_topic: str, samples: int) -> None:
        self._names, self._samples = kinematics.joint_names, samples
        self._topic, self._joint_topic = topic, joint_topic
        self._read = JointReader(kinematics.joint_names, joint_topic)
        self._problem = ""
        self.begin()

    def begin(self) -> None:
        self._wrenches: list[list[float]] = []
        self._joints: list[np.ndarray] = []

    @property
    def complete(self) -> bool:
        return len(self._wrenches) >= self._samples and bool(self._joints)

    def on_wrench(self, message: WrenchStamped) -> None:
        force, torque = message.wrench.force, message.wrench.torque
        self._wrenches.append([force.x, force.y, force.z, torque.x, torque.y, torque.z])

    def on_joints(self, message: JointState) -> None:
        try:
            self._joints.append(self._read(message))
        except ObservationError as error:
            self._problem = str(error)

    def pose(self, say: Callable[[str], None]) -> RecordedPose | None:
        """Return the mean, None (and say why) when the arm moved. Raises GraphError when something does not come."""
        if not self._joints:
            raise GraphError(self._problem or f"no joint states on {self._joint_topic} within {PATIENCE:g} s")
        if len(self._wrenches) < self._samples:
            raise GraphError(
                f"{len(self._wrenches)} of {self._samples} wrenches on {self._topic} within {PATIENCE:g} s; "
                "is force_torque_node running? Another source: --topic"
            )
        joints, wrenches = np.array(self._joints), np.array(self._wrenches)
        moved = np.ptp(joints, axis=0)
        if moved.max() > STILL:
            worst = int(moved.argmax())
            say(f"not taken: {self._names[worst]} moved by {moved[worst]:.3f} meanwhile")
            return None
        positions = dict(zip(self._names, map(float, joints.mean(axis=0)), strict=True))
        return RecordedPose(positions, tuple(map(float, wrenches.mean(axis=0))))


def _progress(poses: list[RecordedPose], kinematics: Kinematics) -> str:
    text = "taken: " + ", ".join(f"{value:.3g}" for value in poses[-1].wrench)
    if len(poses) < FEWEST:
        return text
    try:
        found = calibrate(poses, kinematics)
    except CalibrationError as error:
        return f"{text}; not enough yet: {error}"
    return f"{text}; so far {found.mass:.3f} kg +- {found.mass_error:.3f}, centre +- {1e3 * found.centre_error:.1f} mm"
