"""What training needs of a dataset, and the dataset seen through another contract."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from vla_ros.contract import Contract
from vla_ros.errors import DatasetError


class EpisodeLike(Protocol):
    """One episode: its number of rows and its instruction."""

    @property
    def length(self) -> int:
        """Rows."""
        ...

    @property
    def task(self) -> str:
        """Instruction."""
        ...


class TrainingData(Protocol):
    """Rows of all episodes, one after the other, and their videos; `vla_ros.data.Dataset` is one."""

    @property
    def contract(self) -> Contract:
        """What it was recorded with."""
        ...

    @property
    def fps(self) -> float:
        """Rows a second."""
        ...

    @property
    def num_frames(self) -> int:
        """Rows of all episodes."""
        ...

    @property
    def episodes(self) -> Sequence[EpisodeLike]:
        """All episodes, in the order of their rows."""
        ...

    def column(self, key: str) -> npt.NDArray[Any]:
        """Return a numeric feature, [num_frames, ...]."""
        ...

    def frames(self, key: str, episode: int) -> npt.NDArray[Any]:
        """Return an episode's video, uint8 [T, H, W, 3], or depth, float32 [T, H, W] m."""
        ...


class EePoseData:
    """A joint_position dataset seen through an ee_pose contract: its recorded setpoints as poses of the tip.

    Forward kinematics of what the gate sent is what an ee_pose teacher would have sent; the observations
    stay.
    """

    def __init__(self, data: TrainingData, contract: Contract) -> None:
        check_reexpressible(data.contract, contract)
        self._data = data
        self.contract = contract
        self.fps = data.fps
        self.num_frames = data.num_frames
        self.episodes = data.episodes
        self._action = poses_of(data.column("action"), data.contract, contract)

    def column(self, key: str) -> npt.NDArray[Any]:
        """Return a numeric feature; the action as poses."""
        return self._action if key == "action" else self._data.column(key)

    def frames(self, key: str, episode: int) -> npt.NDArray[Any]:
        """Return an episode's video."""
        return self._data.frames(key, episode)


def seen_through(data: TrainingData, contract: Contract | None) -> TrainingData:
    """Return the dataset as `contract` wants it: itself, or its joint actions as poses.

    Raises DatasetError where the two differ in more than the action space.
    """
    if contract is None or not data.contract.differences(contract):
        return data
    return EePoseData(data, contract)


def check_reexpressible(recorded: Contract, wanted: Contract) -> None:
    """Raise DatasetError unless the contracts differ in the action alone, and that from joints to poses."""
    differences = [d for d in recorded.differences(wanted) if not d.startswith("action.")]
    if differences:
        raise DatasetError(f"the dataset does not fit the contract: {'; '.join(differences)}")
    if recorded.action.space != "joint_position" or wanted.action.space != "ee_pose":
        raise DatasetError(
            f"actions of space '{recorded.action.space}' cannot be re-expressed as '{wanted.action.space}'; "
            "valid: joint_position to ee_pose"
        )


def poses_of(actions: npt.NDArray[Any], recorded: Contract, wanted: Contract) -> npt.NDArray[np.float32]:
    """Return joint setpoints [N, J] as tool poses and the remaining joints, float32 [N, 7 + rest].

    Poses are of `wanted.action.tip` in its frame [m, xyzw]; quaternion signs are continuous along each row's
    predecessor as the kinematics' canonical sign gives them.
    """
    from vla_ros.kinematics import Kinematics  # Pinocchio, needed for this alone
    from vla_ros.paths import share_path
    from vla_ros.robot import load_urdf

    names = tuple(name.removesuffix(".pos") for name in recorded.action.names)
    kinematics = Kinematics(load_urdf(share_path(wanted.urdf)), names, tip=wanted.action.tip)
    rest = [recorded.action.names.index(name) for name in wanted.action.names[7:]]
    poses = np.stack([kinematics.pose(np.asarray(q, dtype=np.float64)) for q in actions])
    return np.concatenate([poses, actions[:, rest]], axis=1).astype(np.float32)
