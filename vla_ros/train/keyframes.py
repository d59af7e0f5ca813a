"""Where a demonstration is going: the action at its next keyframe.

A keyframe is where a gripper opens or closes, or the episode's end (James and Davison 2022, "Q-attention", find
keyframes in demonstrations so). Until then the arm moves towards it, so from each row of an approach the same goal can
be learned from the pictures, long before a chunk of actions reaches it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt


def keyframes(grippers: npt.NDArray[np.floating]) -> npt.NDArray[np.int64]:
    """Return the keyframes of one episode, rising; the last row is always one.

    grippers: commanded openings [T, G]. A keyframe is the row before a command leaves for the other half of its range.
    """
    last = len(grippers) - 1
    low, high = grippers.min(axis=0, initial=np.inf), grippers.max(axis=0, initial=-np.inf)
    if last < 1 or grippers.shape[1] == 0:
        return np.array([last])
    closed = grippers < (low + high) / 2
    moves = high - low > 1e-3  # [m] a gripper that only trembles has no keyframes
    changes = np.flatnonzero((closed[1:] != closed[:-1])[:, moves].any(axis=1))
    return np.unique(np.append(changes, last))


def goals(
    actions: npt.NDArray[np.float32], lengths: npt.NDArray[np.int64], names: Sequence[str]
) -> npt.NDArray[np.float32]:
    """Return for each row of all episodes, [N, D], the action at the first keyframe after it."""
    columns = [i for i, name in enumerate(names) if name.startswith("gripper")]
    out = np.empty_like(actions)
    first = 0
    for length in lengths.tolist():
        episode = actions[first : first + length]
        frames = keyframes(episode[:, columns])
        following = np.minimum(np.searchsorted(frames, np.arange(length), side="right"), len(frames) - 1)
        out[first : first + length] = episode[frames[following]]
        first += length
    return out
