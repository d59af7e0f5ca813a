"""UMI's published datasets as ours: a replay buffer becomes a LeRobot v3 dataset with a contract.

A row's observation is what UMI stored for a frame; its action is the tool's pose and the opening at the next row, as of a
robot-free recording of our own. The last frame of an episode, which has no next, gives no row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from vla_ros.action import NANOSECONDS
from vla_ros.contract import Contract, parse_contract
from vla_ros.contract_spec import POSE_AXES
from vla_ros.data.features import AGE, STAMP, sync_names
from vla_ros.data.umi_file import UmiFile
from vla_ros.data.writer import DatasetWriter
from vla_ros.errors import DatasetError

FPS = 59.94  # of the GoPro's video, at which the public sets are stored
ROUNDING = 0.01  # a dataset's rate is a whole number: by so much it may differ


def from_umi(
    path: str | Path,
    output: str | Path,
    task: str,
    fps: float = FPS,
    every: int = 3,
    gripper: int = 0,
    say: Callable[[str], None] = lambda line: None,
) -> int:
    """Append every episode of the replay buffer at `path` to the dataset `output`; return how many rows that were.

    fps: of the stored frames [Hz], of which each `every`-th is taken (UMI trains at 20 Hz). gripper: which one's poses
    are the tool's. say: told of each episode. Raises DatasetError.
    """
    rate = rate_of(fps, every)
    with UmiFile(path) as file:
        if gripper not in file.grippers:
            raise DatasetError(f"'{path}' has no gripper {gripper}; valid: {', '.join(map(str, file.grippers))}")
        keys = {number: _camera_key(number, gripper) for number in file.cameras}
        contract = umi_contract(rate, {keys[number]: shape for number, shape in file.cameras.items()})
        with DatasetWriter(output, contract) as writer:
            before = writer.num_frames
            for number, rows in enumerate(file.episodes):
                taken = rows[::every]
                if len(taken) < 2:
                    say(f"episode {number} of the file: {len(rows)} frames are too few; left out")
                    continue
                writer.start_episode(task)
                _write(file, writer, keys, gripper, taken, fps)
                say(f"episode {writer.save_episode()}: {len(taken) - 1} rows")
            return writer.num_frames - before


def rate_of(fps: float, every: int) -> int:
    """Return the whole number of rows a second that each `every`-th of `fps` frames gives. Raises DatasetError."""
    if every < 1 or fps <= 0.0:
        raise DatasetError(f"every {every} of {fps:g} frames a second: want both positive")
    rate = round(fps / every)
    if rate < 1 or abs(rate - fps / every) > ROUNDING * rate:
        raise DatasetError(f"every {every} of {fps:g} frames a second are {fps / every:.2f} Hz: want a whole number")
    return rate


def umi_contract(rate: float, cameras: Mapping[str, tuple[int, ...]]) -> Contract:
    """Return the contract of a hand-held gripper whose cameras, by stream key, have these picture shapes."""
    lines = [
        "# A hand-held gripper without a robot, as UMI records: made by vla-ros dataset from-umi.",
        "robot: umi_gripper",
        f"rate: {rate:g}",
        "observation:",
        *(
            f"  {key}: {{topic: /{key.rpartition('.')[2]}_camera/color/image_raw, kind: image, shape: {list(shape)}, "
            f"rate: {rate:g}}}"
            for key, shape in cameras.items()
        ),
        "  observation.pose.tool: {topic: /tool/pose, kind: pose, frame: world, align: interpolate, rate: 100}",
        "  observation.state: {topic: /gripper/joint_states, kind: joints, names: [gripper.pos], align: interpolate,"
        " max_age: 0.2}",
        "  task: {topic: /instruction, kind: text}",
        "action:",
        "  space: ee_pose",
        f"  names: [{', '.join(f'ee.{axis}' for axis in POSE_AXES)}, gripper.pos]",
        "  frame: world",
        "  follows: observation.pose.tool",
    ]
    return parse_contract("\n".join(lines) + "\n", "the contract of UMI's gripper")


def _camera_key(number: int, gripper: int) -> str:
    return "observation.images.wrist" if number == gripper else f"observation.images.camera{number}"


def _write(
    file: UmiFile, writer: DatasetWriter, keys: Mapping[int, str], gripper: int, taken: range, fps: float
) -> None:
    whole = range(taken[0], taken[-1] + 1)
    poses = file.poses(gripper, whole)[:: taken.step].astype(np.float32)
    widths = file.widths(gripper, whole)[:: taken.step].astype(np.float32)
    age = np.zeros(len(sync_names(writer.contract)), dtype=np.float32)
    for k, row in enumerate(taken[:-1]):
        pictures = {key: file.picture(number, row) for number, key in keys.items()}
        stamp = round((row - taken[0]) * NANOSECONDS / fps)
        writer.add_frame(
            {
                **pictures,
                "observation.pose.tool": poses[k],
                "observation.state": widths[[k]],
                "action": np.concatenate([poses[k + 1], widths[[k + 1]]]),
                AGE: age,
                STAMP: np.full(len(age), stamp, dtype=np.int64),
            }
        )
