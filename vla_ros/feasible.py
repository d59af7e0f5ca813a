"""Which part of a hand's motion a robot can repeat: reach, joint limits, workspace and speed, pose by pose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from vla_ros.contract import Contract
from vla_ros.errors import ContractError, KinematicsError
from vla_ros.kinematics import Kinematics
from vla_ros.pose import IDENTITY, compose, distance

Array = npt.NDArray[np.float64]
TOLERANCE, ANGLE_TOLERANCE = 5e-4, 2e-3  # [m], [rad] a pose counts as met
AT_LIMIT = 0.01  # [rad, m] of a joint from the end of its range
STARTS, POSTURES, UNLIKE = 12, 3, 0.2  # tries to reach the first pose; postures kept; [rad] by which they differ
ITERATIONS = 20  # from one pose to the next
OPENING_SLACK = 0.002  # [m] a hand may be open further than the robot's gripper
SLACK = 1.02  # what is too fast by less than this is left to the gate
SHARE = 0.8  # of the allowed acceleration that a motion may take: the rest is for keeping on its path
BACK = 2  # steps towards a pose that is missed


@dataclass(frozen=True)
class Placement:
    """Where the recording is for the robot. frame: pose of the recording's frame in the robot's root [x y z qx qy qz qw].

    tip: pose of the robot's tip in the recorded tool's frame. opening: what is between the recorded fingers when the
    robot's gripper is to be wide open [m]; None: twice its joint's range, as of two fingers that move alike.
    """

    frame: tuple[float, ...] = tuple(IDENTITY.tolist())
    tip: tuple[float, ...] = tuple(IDENTITY.tolist())
    opening: float | None = None

    def goals(self, poses: npt.ArrayLike) -> Array:
        """Return the tip's poses [n, 7] in the robot's root for the recorded tool's poses [n, 7]."""
        return compose(compose(np.array(self.frame), poses), np.array(self.tip))


@dataclass(frozen=True)
class Span:
    """Rows from start (inclusive) to stop (exclusive) that the robot cannot repeat as they are, and why."""

    start: int
    stop: int
    reason: str


@dataclass(frozen=True)
class Feasibility:
    """Of one motion of n rows, between n + 1 poses.

    joints: what brings the tip to each pose, or as near as it gets [n + 1, N]. spans: what cannot be repeated at the
    recorded speed. reached: bool [n], whether both ends of a row can be reached at all. slower: by which factor the motion
    has to be slowed down, where it is in reach, for every joint to keep speed and acceleration; 1 for not at all.
    """

    joints: Array
    spans: tuple[Span, ...]
    reached: npt.NDArray[np.bool_]
    slower: float

    @property
    def rows(self) -> int:
        """How many rows."""
        return len(self.reached)

    @property
    def share(self) -> float:
        """Part of the rows that can be repeated as they were recorded."""
        return 1.0 - sum(span.stop - span.start for span in self.spans) / self.rows


class RobotReach:
    """What the robot of a contract can do. Raises ContractError for a contract without a robot or with two grippers."""

    def __init__(self, contract: Contract, placement: Placement | None = None) -> None:
        self.contract, self.placement = contract, placement or Placement()
        self.kinematics = kinematics = Kinematics.of(contract)
        self._velocity = np.minimum(contract.limits.velocity_for(contract.joint_names), kinematics.velocity)
        self._acceleration = contract.limits.acceleration_for(contract.joint_names)
        grippers = [i for i, name in enumerate(contract.joint_names) if name not in kinematics.tip_joints]
        if len(grippers) > 1:
            names = ", ".join(contract.joint_names[i] for i in grippers)
            raise ContractError(f"{contract.source}: {names} do not move the tip; want one gripper, or none")
        self._gripper = grippers[0] if grippers else None
        span = kinematics.upper - kinematics.lower
        self._opening = self.placement.opening or (2.0 * float(span[self._gripper]) if grippers else 0.0)

    def check(self, poses: npt.ArrayLike, openings: npt.ArrayLike, rate: float) -> Feasibility:
        """Return what of a motion the robot can repeat.

        poses: of the tool in the recording's frame [n + 1, 7], openings: between the fingers [n + 1] [m]; rate: of both [Hz].
        """
        goals, wide = self.placement.goals(poses), np.asarray(openings, dtype=np.float64)
        joints, problems = self._follow(goals)
        problems = [problem or self._elsewhere(goal) for problem, goal in zip(problems, goals, strict=True)]
        if self._gripper is not None:
            joints[:, self._gripper], gripping = self._gripped(wide)
            problems = [problem or wrong for problem, wrong in zip(problems, gripping, strict=True)]
        reached = np.array([not (a or b) for a, b in pairwise(problems)], dtype=bool)
        speed, effort = self._pace(joints, rate)
        effort[1:] *= (reached[1:] & reached[:-1])[:, None]  # between two postures there is no motion
        reasons = [
            before or after or self._haste(fast, sudden)
            for (before, after), fast, sudden in zip(pairwise(problems), speed, effort, strict=True)
        ]
        paces = np.maximum(speed, np.sqrt(effort))[reached]
        most = float(paces.max()) if reached.any() else 1.0
        return Feasibility(joints, tuple(_spans(reasons)), reached, most if most > SLACK else 1.0)

    def _pace(self, joints: Array, rate: float) -> tuple[Array, Array]:
        """Return speeds and accelerations in rows [n, N], as parts of what is allowed; an acceleration is that at its begin."""
        speed = np.abs(np.diff(joints, axis=0)) * rate / self._velocity
        effort = np.zeros_like(speed)
        effort[1:] = np.abs(np.diff(joints, n=2, axis=0)) * rate**2 / (SHARE * self._acceleration)
        if self._gripper is not None:
            effort[:, self._gripper] = 0.0  # fingers that start with a jerk move no tool
        return speed, effort

    def _haste(self, speed: Array, effort: Array) -> str:
        """Return why a row is too fast for its joints, "" if it is not; speed, effort [N] as `_pace` gives them."""
        for parts, bound, what in ((speed, SLACK, "speed"), (effort, SLACK**2, "acceleration")):
            joint = int(parts.argmax())
            if parts[joint] > bound:
                return f"too fast: {self.contract.joint_names[joint]} {float(parts[joint]):.2f} times its {what}"
        return ""

    def _follow(self, goals: Array) -> tuple[Array, list[str]]:
        """Return joints [n + 1, N] along the goals and why each is missed; of several postures the one that misses least."""
        best: tuple[Array, list[str]] | None = None
        for start in self._postures(goals[0]):
            tried = self._follow_from(start, goals)
            if best is None or _missed(tried[1]) < _missed(best[1]):
                best = tried
            if not _missed(best[1]):
                break
        assert best is not None
        return best

    def _postures(self, goal: Array) -> list[Array]:
        """Return different postures in which the tip is at the goal, at most `POSTURES`; one near it where there is none."""
        lower, upper = self.kinematics.lower, self.kinematics.upper
        rng, found = np.random.default_rng(0), list[Array]()
        middle = np.clip(np.zeros(len(lower)), lower, upper)
        low, high = np.maximum(lower, -np.pi), np.minimum(upper, np.pi)
        for start in (middle, *(rng.uniform(low, high) for _ in range(STARTS - 1))):
            q = self._solved(goal, start, 100)
            if q is not None and all(np.abs(q - other).max() > UNLIKE for other in found):
                found.append(q)
        return found[:POSTURES] or [middle]

    def _follow_from(self, start: Array, goals: Array) -> tuple[Array, list[str]]:
        joints, problems, q = [], [], start
        for goal in goals:
            solved = self._solved(goal, q, ITERATIONS)
            if solved is None:
                for _ in range(BACK):
                    q = self.kinematics.step_towards(q, goal, 0.1)
            else:
                q = solved
            problems.append("" if solved is not None else self._miss(q, goal))
            joints.append(q)
        return np.array(joints), problems

    def _solved(self, goal: Array, near: Array, iterations: int) -> Array | None:
        try:
            return self.kinematics.solve(goal, near, TOLERANCE, ANGLE_TOLERANCE, iterations)
        except KinematicsError:
            return None

    def _miss(self, q: Array, goal: Array) -> str:
        far, turned = distance(self.kinematics.pose(q), goal)
        chain = [i for i, name in enumerate(self.contract.joint_names) if name in self.kinematics.tip_joints]
        at_end = np.minimum(q - self.kinematics.lower, self.kinematics.upper - q) < AT_LIMIT
        ends = [self.contract.joint_names[i] for i in chain if at_end[i]]
        where = f"{', '.join(ends)} at the end of its range" if ends else "out of reach"
        return f"{where}: {1e3 * float(far):.0f} mm and {np.degrees(float(turned)):.0f} degrees are missing"

    def _elsewhere(self, goal: Array) -> str:
        for axis, value, bounds in zip("xyz", goal, self.contract.limits.workspace or (), strict=False):
            if not bounds[0] <= value <= bounds[1]:
                return f"outside the workspace: {axis} beyond [{bounds[0]:g}, {bounds[1]:g}] m"
        return ""

    def _gripped(self, wide: Array) -> tuple[Array, list[str]]:
        """Return the gripper's joint positions for openings [n] and what is wrong with each."""
        assert self._gripper is not None
        low, high = self.kinematics.lower[self._gripper], self.kinematics.upper[self._gripper]
        wrong = f"wider open than the gripper's {1e3 * self._opening:.0f} mm"
        problems = [wrong if width > self._opening + OPENING_SLACK else "" for width in wide]
        return low + np.clip(wide / self._opening, 0.0, 1.0) * (high - low), problems


def _missed(problems: Sequence[str]) -> int:
    return sum(map(bool, problems))


def _spans(reasons: Sequence[str]) -> list[Span]:
    """Return the stretches of one kind of reason; of each the first reason is told."""
    spans: list[Span] = []
    for row, reason in enumerate(reasons):
        kind = reason.partition(":")[0]
        if kind and spans and spans[-1].stop == row and spans[-1].reason.partition(":")[0] == kind:
            spans[-1] = Span(spans[-1].start, row + 1, spans[-1].reason)
        elif kind:
            spans.append(Span(row, row + 1, reason))
    return spans
