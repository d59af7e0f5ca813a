"""Where a camera is, from views of a board and the poses of the arm's tip.

In hand: the camera moves with the tip, the board stays: T_base_tip[i] X T_camera_board[i] is the same for all i, with
X = T_tip_camera. To hand: the camera stays, the board moves with the tip: the same with T_tip_base[i] and
X = T_base_camera. X is first found in closed form (Park and Martin 1994, "Robot sensor calibration: solving AX = XB on
the Euclidean group"), then X and the board's pose together by least squares. (OpenCV 5 has no calibrateHandEye in its
Python module.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import least_squares
from scipy.spatial.transform import Rotation

from vla_ros.errors import DeviceError

Array = npt.NDArray[np.float64]
FEWEST_POSES = 5
SMALLEST_TURN = np.deg2rad(5.0)  # between two poses whose motion counts
SECOND_AXIS = 0.15  # of the turns' spread, that must be about another axis than the most common one


@dataclass(frozen=True)
class HandEye:
    """camera [4, 4]: T_tip_camera in hand, T_base_camera to hand [m]. board [4, 4]: T_base_board, or T_tip_board.

    residuals [N, 2]: by how much each view's board is off [m, rad]. unseen [N, 2]: the same, of a view that the
    calibration did not know.
    """

    camera: Array
    board: Array
    residuals: Array
    unseen: Array

    def summary(self) -> str:
        """Return the errors in a line: root mean squares."""
        off, turned = _rms(self.residuals)
        unseen_off, unseen_turned = _rms(self.unseen)
        return (
            f"residual {off * 1e3:.2f} mm, {np.rad2deg(turned):.3f} deg; of views left out {unseen_off * 1e3:.2f} mm, "
            f"{np.rad2deg(unseen_turned):.3f} deg"
        )


def solve_hand_eye(tips: Sequence[Array], boards: Sequence[Array], in_hand: bool) -> HandEye:
    """Return where the camera is. tips: T_base_tip [4, 4] of each view, boards: T_camera_board [4, 4] [m].

    Raises DeviceError where the arm has moved too little to tell.
    """
    if len(tips) != len(boards) or len(tips) < FEWEST_POSES:
        raise DeviceError(f"{min(len(tips), len(boards))} views with a pose, want at least {FEWEST_POSES}")
    hands: list[Array] = [np.array(tip if in_hand else np.linalg.inv(tip), dtype=np.float64) for tip in tips]
    seen = [np.asarray(board, dtype=float) for board in boards]
    camera, board = _solve(hands, seen)
    residuals = np.array([_off(hand, camera, view, board) for hand, view in zip(hands, seen, strict=True)])
    unseen = []
    for left in range(len(hands)):
        kept = [index for index in range(len(hands)) if index != left]
        without = _solve([hands[i] for i in kept], [seen[i] for i in kept])
        unseen.append(_off(hands[left], without[0], seen[left], without[1]))
    return HandEye(camera, board, residuals, np.array(unseen))


def _solve(hands: Sequence[Array], seen: Sequence[Array]) -> tuple[Array, Array]:
    camera = _closed_form(hands, seen)
    guesses = [hand @ camera @ view for hand, view in zip(hands, seen, strict=True)]
    board = np.eye(4)
    board[:3, :3] = Rotation.from_matrix([guess[:3, :3] for guess in guesses]).mean().as_matrix()
    board[:3, 3] = np.mean([guess[:3, 3] for guess in guesses], axis=0)
    distance = float(np.mean([np.linalg.norm(view[:3, 3]) for view in seen]))  # makes angles and lengths alike

    all_hands, all_seen = np.array(hands), np.array(seen)

    def errors(x: Array) -> Array:
        off = np.linalg.inv(board @ _pose(x[6:])) @ all_hands @ (camera @ _pose(x[:6])) @ all_seen
        turned = Rotation.from_matrix(off[:, :3, :3]).as_rotvec() * distance
        return np.concatenate((off[:, :3, 3].reshape(-1), turned.reshape(-1)))

    x = least_squares(errors, np.zeros(12), method="lm").x
    return camera @ _pose(x[:6]), board @ _pose(x[6:])


def _closed_form(hands: Sequence[Array], seen: Sequence[Array]) -> Array:
    """Return X of A X = X B, A and B being the motions of hand and camera between every two views."""
    motions = []
    for i in range(len(hands)):
        for j in range(i):
            a, b = np.linalg.inv(hands[j]) @ hands[i], seen[j] @ np.linalg.inv(seen[i])
            alpha, beta = (Rotation.from_matrix(m[:3, :3]).as_rotvec() for m in (a, b))
            if SMALLEST_TURN < np.linalg.norm(alpha) < np.pi - SMALLEST_TURN:
                motions.append((a, b, alpha, beta))
    axes = np.array([alpha / np.linalg.norm(alpha) for _, _, alpha, _ in motions]).reshape(-1, 3)
    spread = np.linalg.svd(axes, compute_uv=False) if len(axes) > 1 else np.zeros(2)
    if spread[0] == 0 or spread[1] / spread[0] < SECOND_AXIS:
        raise DeviceError(
            "the arm has turned about one axis only, or hardly at all, between the views: turn the tip by 20 degrees and "
            "more about different axes"
        )
    rotation = Rotation.align_vectors([alpha for _, _, alpha, _ in motions], [beta for *_, beta in motions])[0]
    turn = rotation.as_matrix()
    left = np.concatenate([a[:3, :3] - np.eye(3) for a, *_ in motions])
    right = np.concatenate([turn @ b[:3, 3] - a[:3, 3] for a, b, *_ in motions])
    camera = np.eye(4)
    camera[:3, :3], camera[:3, 3] = turn, np.linalg.lstsq(left, right, rcond=None)[0]
    return camera


def _off(hand: Array, camera: Array, view: Array, board: Array) -> tuple[float, float]:
    """Return how far the board seen is from where it should be [m, rad]."""
    off = np.linalg.inv(board) @ hand @ camera @ view
    return float(np.linalg.norm(off[:3, 3])), float(np.linalg.norm(Rotation.from_matrix(off[:3, :3]).as_rotvec()))


def _pose(x: Array) -> Array:
    """Return the transform [4, 4] of a shift and a rotation vector [6]."""
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = Rotation.from_rotvec(x[3:]).as_matrix(), x[:3]
    return pose


def _rms(errors: Array) -> tuple[float, float]:
    off, turned = np.sqrt((errors**2).mean(axis=0))
    return float(off), float(turned)
