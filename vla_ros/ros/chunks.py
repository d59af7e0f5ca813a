"""Action chunks on the wire: trajectory_msgs/JointTrajectory with the action's names.

``joint_names`` are the action names, ``header.stamp`` the observation's stamp, ``header.frame_id`` the
frame of pose actions, ``points[i].time_from_start`` is (i + 1) * dt. An empty chunk says "hold"; one without
names besides, that a person has released the clutch: see `vla_ros.intervention`.
"""

from __future__ import annotations

import array

import numpy as np
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from vla_ros.action import NANOSECONDS, ActionChunk
from vla_ros.errors import ActionError
from vla_ros.ros.convert import from_time, to_duration, to_time

UNEVEN = 2_000  # [ns] two points may be this far off an even spacing


def chunk_to_message(chunk: ActionChunk) -> JointTrajectory:
    """Return the message of a chunk."""
    message = JointTrajectory(joint_names=list(chunk.names))
    message.header.stamp = to_time(chunk.stamp)
    message.header.frame_id = chunk.frame
    message.points = [
        JointTrajectoryPoint(
            positions=array.array("d", row),
            time_from_start=to_duration(round((i + 1) * chunk.dt * NANOSECONDS)),
        )
        for i, row in enumerate(chunk.values.tolist())
    ]
    return message


def chunk_from_message(message: JointTrajectory, space: str | None = None, dt: float = 1.0 / 30.0) -> ActionChunk:
    """Return the chunk of a message.

    space: the action space, by default told from the names (``ee.`` makes a pose). dt: of an empty chunk [s].

    Raises:
        ActionError: rows of the wrong length, or times that are not (i + 1) * dt.
    """
    names = tuple(message.joint_names)
    rows = [point.positions for point in message.points]
    for i, row in enumerate(rows):
        if len(row) != len(names):
            raise ActionError(f"point {i} of a chunk has {len(row)} values for {len(names)} names")
    if rows:
        times = np.array([from_time(point.time_from_start) for point in message.points], dtype=np.int64)
        dt = float(times[-1]) / len(rows) / NANOSECONDS
        wanted = np.round(np.arange(1, len(rows) + 1) * dt * NANOSECONDS)
        wrong = np.flatnonzero(np.abs(times - wanted) > UNEVEN)
        if dt <= 0.0 or wrong.size:
            index = int(wrong[0]) if wrong.size else 0
            raise ActionError(
                f"point {index} of a chunk is at {times[index] / NANOSECONDS} s, want evenly spaced times > 0"
            )
    return ActionChunk(
        values=np.array(rows, dtype=np.float64).reshape(len(rows), len(names)),
        names=names,
        space=space or ("ee_pose" if any(name.startswith("ee.") for name in names) else "joint_position"),
        stamp=from_time(message.header.stamp),
        dt=dt,
        frame=message.header.frame_id,
    )
