"""A scripted operator: does a task from joint positions and object poses, like a person with a leader arm.

It looks at what is measured, not at a clock: the gripper closes when the tip is at the cube, the arm lifts
when the fingers have stopped, and a lost cube is picked up again. Seeded detours before the grasp show how to
recover (in the spirit of DART, Laskey et al. 2017), and the grasp is as inexact as that of who learns from it: a
policy that has only seen cubes held square takes one that is held askew for none at all. The same seed and the
same inputs give the same motion.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping

import numpy as np
import numpy.typing as npt

from vla_ros.errors import KinematicsError, SimulationError, unknown_name
from vla_ros.kinematics import Kinematics
from vla_ros.sim import inserting, weighing
from vla_ros.sim.motion import Motion, multiply, quaternion, rotation_vector
from vla_ros.sim.tasks import colour_in

Array = npt.NDArray[np.float64]
END = object()
Script = Iterator[None]  # a script runs until it needs the next measurement, then yields

TOP_DOWN = np.array([1.0, 0.0, 0.0, 0.0])  # the tip's quaternion with z down and x forward
SPEED, ACCELERATION = 1.05, 4.5  # [rad/s], [rad/s^2] of the fastest joint in a move; two moves may overlap
SHORTEST = 0.25  # [s] a move
FINGER_TIME = 0.36  # [s] to open or close
OPEN, CLOSED = 0.04, 0.0  # [m]
EMPTY = 0.008  # [m] fingers closed further than this hold nothing
ARRIVED, PATIENCE = 0.012, 1.0  # [rad] of every joint; [s] to wait for it
STILL, STILL_TIME = 0.0005, 0.09  # [m] fingers that moved less during that time [s] have stopped
BLEND = 0.72  # the next move starts when this part of a move's time has passed
BIN_SIZE = 0.07  # [m] a cube nearer to the bin's centre is in it

GRASP_Z, ALIGN_Z, APPROACH_Z, CARRY_Z, RELEASE_Z = 0.02, 0.07, 0.12, 0.15, 0.075  # [m] of the tip
TOUCH_Z, HOVER_Z = 0.015, 0.06
GRASP_ERROR = np.array(
    [0.004, 0.004, 0.0, 0.0, 0.0, 0.17]
)  # [m], [rad] standard deviations of a grasp, at most doubled


class ScriptedOperator:
    """Does `task_name` with the joints of `kinematics` (which include the gripper).

    `perturbation` scales the detours; 0 gives the plain motion. `phase` names what it is doing, `done` says
    that the task is finished.
    """

    def __init__(self, task_name: str, kinematics: Kinematics, perturbation: float = 1.0) -> None:
        scripts: dict[str, tuple[str | tuple[str, ...], Callable[[], Script]]] = {
            "reach": ("disc", self._reach),
            "pick_place": ("cube", self._pick_place),
            "weigh": (weighing.NEEDED, lambda: weighing.weigh(self)),
            "insert": (inserting.NEEDED, lambda: inserting.insert(self)),
        }
        if task_name not in scripts:
            raise SimulationError(unknown_name("task of the scripted operator", task_name, scripts))
        if "gripper" not in kinematics.joint_names:
            names = ", ".join(kinematics.joint_names)
            raise SimulationError(f"the operator needs a joint 'gripper'; got {names}")
        self._kind, self._write_script = scripts[task_name]
        self._kinematics, self.perturbation = kinematics, perturbation
        self._gripper = kinematics.joint_names.index("gripper")
        self._arm = [index for index, name in enumerate(kinematics.joint_names) if name != "gripper"]
        self.reset(0, "")

    def reset(self, seed: int, instruction: str) -> None:
        """Forget everything; the next `act` starts what the instruction says, from the measured joints."""
        self.rng, self._grasps = np.random.default_rng([seed, 1]), np.random.default_rng([seed, 2])
        self._instruction = instruction
        self._script: Script | None = None
        self.phase, self.done = "", False

    def act(self, t: float, q: npt.ArrayLike, objects: Mapping[str, npt.ArrayLike]) -> Array:
        """Return the joint targets [N] (rad, m) for time `t` [s].

        `q` [N] are the measured joints, `objects` the poses [x y z qx qy qz qw] by name. Call it at 30 Hz or
        more. Raises SimulationError when the instruction's object is not among `objects`.
        """
        self._t, self._q = t, np.array(q, dtype=np.float64)
        self.objects = {name: np.asarray(pose, dtype=np.float64) for name, pose in objects.items()}
        if self._script is None:
            self._start()
        self._openings.append((t, float(self._q[self._gripper])))
        if self._script is not None and not self.done:
            self.done = next(self._script, END) is END
        return self._targets()

    # --- scripts ------------------------------------------------------------------------------------------

    def _reach(self) -> Script:
        self.phase = "approach"
        yield from self.go(self.above(HOVER_Z) + self.detour(0.02))
        yield from self.maybe_kick(0.4, 0.05)
        self.phase = "touch"
        yield from self.go(self.above(TOUCH_Z))
        yield from self.arrive()

    def _pick_place(self) -> Script:
        while not self._in_bin():
            yield from self.pick()
            if self.holding():
                yield from self._place()
        self.phase = "finished"

    def pick(self, height: float = CARRY_Z, inexact: float = 1.0, grasp: float = GRASP_Z) -> Script:
        """Grasp the target, more or less exactly, and lift it, the tip up to `height` [m].

        grasp: height of the tip then [m].
        """
        self.phase = "approach"
        if self.opening() < OPEN - 0.003:
            self.move_fingers(OPEN)
        yield from self.go(self.above(APPROACH_Z) + self.detour(0.015))
        yield from self.maybe_kick(0.5, 0.045)
        self.phase = "align"
        error = inexact * self.perturbation * GRASP_ERROR * self._grasps.normal(size=6).clip(-2.0, 2.0)
        yield from self.go(self.above(ALIGN_Z) + error)
        if (yield from self.maybe_kick(0.3, 0.012)):
            yield from self.go(self.above(ALIGN_Z) + error)
        self.phase = "descend"
        yield from self.go(self.above(grasp) + error)
        yield from self.arrive()
        self.phase = "grasp"
        self.move_fingers(CLOSED)
        yield from self.fingers_stop()
        self.phase = "lift"
        yield from self.go(self.straight_up(height))

    def _place(self) -> Script:
        self.phase = "carry"
        yield from self.go(self._over_bin(CARRY_Z) + self.detour(0.01))
        if not self.holding():
            return
        self.phase = "lower"
        yield from self.go(self._over_bin(RELEASE_Z))
        yield from self.arrive()
        self.phase = "release"
        self.move_fingers(OPEN)
        yield from self.fingers_stop()
        self.phase = "retreat"
        yield from self.go(self.straight_up(CARRY_Z), until=1.0)

    # --- goals: tip position [m] and rotation vector from TOP_DOWN [rad], [6] -----------------------------

    def above(self, height: float) -> Array:
        """Return the goal over the target; cubes are grasped square to their sides."""
        pose = self.objects[self.target]
        yaw = rotation_vector(pose[3:])[2] if self._kind != "disc" else 0.0
        yaw = (yaw + np.pi / 4) % (np.pi / 2) - np.pi / 4  # a cube looks the same after a quarter turn
        return np.array([pose[0], pose[1], height, 0.0, 0.0, yaw])

    def _over_bin(self, height: float) -> Array:
        x, y = self.objects["bin"][:2]
        return np.array([x, y, height, 0.0, 0.0, 0.0])

    def straight_up(self, height: float) -> Array:
        """Return the goal over where the tip is going."""
        goal = self.tip.goal
        goal[2] = height
        return goal

    def detour(self, spread: float) -> Array:
        """Return a random offset of a via point, `spread` [m] wide sideways, never down."""
        x, y, yaw = self.rng.normal(0.0, [spread, spread, 0.1])
        return self.perturbation * np.array([x, y, self.rng.uniform(0.0, 0.03), 0.0, 0.0, yaw])

    # --- actions ------------------------------------------------------------------------------------------

    def go(self, goal: Array, until: float = BLEND, slowly: float = 0.0) -> Script:
        """Move to the goal in at least `slowly` s; go on when the part `until` of the move's time has passed."""
        self.tip.move_to(goal, self._t, max(slowly, self._duration(self.tip.goal, goal)))
        while self.tip.progress(self._t) < until:
            yield

    def maybe_kick(self, probability: float, reach: float) -> Generator[None, None, bool]:
        """With that probability push the tip aside by up to `reach` [m]; return whether it was."""
        kicked = bool(self.rng.random() < probability and self.perturbation > 0)
        angle, size = self.rng.uniform(0, 2 * np.pi), reach * self.rng.uniform(0.5, 1.0)
        up, yaw = self.rng.uniform(0.0, 0.03), self.rng.normal(0.0, 4 * reach)
        if kicked:
            turn = float(np.clip(yaw, -0.3, 0.3))
            push = np.array([size * np.cos(angle), size * np.sin(angle), up, 0.0, 0.0, turn])
            yield from self.go(self.tip.goal + self.perturbation * push)
        return kicked

    def arrive(self) -> Script:
        """Wait until the measured joints are where the move ends."""
        deadline = self._t + PATIENCE
        while self.tip.progress(self._t) < 1.0:
            yield
        goal = self._solve(self.tip.goal)
        while np.abs(self._q - goal)[self._arm].max() > ARRIVED and self._t < deadline:
            yield

    def wait(self, seconds: float) -> Script:
        """Stay for so long."""
        end = self._t + seconds
        while self._t < end:
            yield

    def move_fingers(self, opening: float) -> None:
        """Open or close the fingers; see `fingers_stop`."""
        self._fingers.move_to(np.array([opening]), self._t, FINGER_TIME)

    def fingers_stop(self) -> Script:
        """Wait until the measured fingers have stopped: at the cube or at their end."""
        begin = self._t
        yield
        while self._t < begin + FINGER_TIME + PATIENCE:
            window = [opening for when, opening in self._openings if when >= self._t - STILL_TIME]
            if self._t > begin + 0.5 * FINGER_TIME and max(window) - min(window) < STILL:
                return
            yield

    # --- what is measured ---------------------------------------------------------------------------------

    def opening(self) -> float:
        """Return the measured opening of a finger [m]."""
        return float(self._q[self._gripper])

    def measured_tip(self) -> Array:
        """Return the tip's pose [x y z qx qy qz qw] from the measured joints."""
        return np.asarray(self._kinematics.pose(self._q))

    def holding(self) -> bool:
        """True when the fingers are apart and the target is between them."""
        tip = self.measured_tip()[:3]
        return self.opening() > EMPTY and bool(np.linalg.norm(self.objects[self.target][:3] - tip) < 0.035)

    def _in_bin(self) -> bool:
        offset = self.objects[self.target][:2] - self.objects["bin"][:2]
        return bool(np.abs(offset).max() < BIN_SIZE) and not self.holding()

    # --- the reference ------------------------------------------------------------------------------------

    def _start(self) -> None:
        if isinstance(self._kind, tuple):
            needed, self.target = list(self._kind), self._kind[0]
        else:
            self.target = f"{colour_in(self._instruction)}_{self._kind}"
            needed = [self.target, "bin"] if self._kind == "cube" else [self.target]
        for name in needed:
            if name not in self.objects:
                raise SimulationError(unknown_name("object", name, self.objects))
        pose = self._kinematics.pose(self._q)
        rotation = rotation_vector(multiply(pose[3:], -TOP_DOWN))
        self.tip = Motion(np.concatenate([pose[:3], rotation]))
        self._fingers = Motion(self._q[[self._gripper]])
        self._reference = self._q.copy()
        self._openings: deque[tuple[float, float]] = deque(maxlen=100)
        self._script = self._write_script()

    def _targets(self) -> Array:
        """Return the joints of the reference now; they are also where the next search begins."""
        self._reference = self._solve(self.tip.at(self._t))
        self._reference[self._gripper] = np.clip(self._fingers.at(self._t)[0], CLOSED, OPEN)
        return self._reference.copy()

    def _solve(self, reference: Array) -> Array:
        pose = np.concatenate([reference[:3], multiply(quaternion(reference[3:]), TOP_DOWN)])
        try:
            return self._kinematics.solve(pose, self._reference, tolerance=1e-6, angle_tolerance=1e-5)
        except KinematicsError:  # out of reach: as near as a small step brings it
            return self._kinematics.step_towards(self._reference, pose, 0.05)

    def _duration(self, start: Array, goal: Array) -> float:
        """Return the time [s] in which a minimum-jerk move keeps every joint below SPEED and ACCELERATION."""
        distance = float(np.abs(self._solve(goal) - self._solve(start))[self._arm].max())
        return max(SHORTEST, 1.875 * distance / SPEED, float(np.sqrt(5.774 * distance / ACCELERATION)))
