"""The motion of a tool in an episode: its poses and the opening at every row, and after the last."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from vla_ros.data.reader import Dataset
from vla_ros.errors import DatasetError

Array = npt.NDArray[np.float64]


def hand_motion(dataset: Dataset, episode: int) -> tuple[Array, Array]:
    """Return poses [n + 1, 7] [m, xyzw] and openings [n + 1] [m] of an episode of n rows, recorded without a robot.

    Raises DatasetError for a dataset of a robot.
    """
    action = dataset.contract.action
    if not action.follows:
        raise DatasetError(
            f"'{dataset.root}' was recorded with a robot, '{dataset.contract.robot}': want one of a hand"
        )
    steps = dataset.column("action", episode).astype(np.float64)
    first = dataset.column(action.follows, episode)[:1].astype(np.float64)
    opening = dataset.column(dataset.contract.state.key, episode)[:1].reshape(1, -1).astype(np.float64)
    column = dataset.contract.state.names.index(action.names[7]) if len(action.names) > 7 else None
    wide = np.zeros(len(steps) + 1) if column is None else np.concatenate([opening[:, column], steps[:, 7]])
    return np.concatenate([first, steps[:, :7]]), wide
