"""The simulated robot at its table: physics at 600 Hz, sensors, pictures, and the judge of the task.

Deterministic: a world reset with the same seed and given the same targets at the same steps repeats itself
exactly. Nothing here knows about time of day; who paces the steps decides what a second is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import mujoco
import numpy as np
import numpy.typing as npt

from vla_ros.errors import SimulationError, unknown_name
from vla_ros.sim.model import TIMESTEP, robot_model, tune_servos
from vla_ros.sim.render import Frame, Renderer, Snapshot
from vla_ros.sim.scene import add_table
from vla_ros.sim.sensors import TaxelPads, ToolWrench
from vla_ros.sim.tasks import Scene, Task, Verdict, View

Array = npt.NDArray[np.float64]
JUDGE_EVERY = 6  # [steps] 10 ms
GRIPPER = "gripper"


class World:
    """A robot described by a URDF, at a table, with a task.

    `dt` is the physics step [s]; `joint_names` the actuated joints in URDF order, gripper included;
    `time` [s] and `steps` count from the last reset.
    """

    dt = TIMESTEP

    def __init__(self, urdf_xml: str, task: Task, width: int = 320, height: int = 240, tip: str = "tool0") -> None:
        self.task = task
        self._robot = robot_model(urdf_xml)
        add_table(self._robot.spec)
        task.build(self._robot.spec)
        self._robot.spec.visual.global_.offwidth, self._robot.spec.visual.global_.offheight = width, height
        self._model = self._robot.spec.compile()
        self._data = mujoco.MjData(self._model)
        self.joint_names = self._robot.joints
        self._is_gripper = np.array([name == GRIPPER or name.endswith(f"_{GRIPPER}") for name in self.joint_names])
        self._joints = [self._model.joint(name).id for name in self.joint_names]
        self._qpos = self._model.jnt_qposadr[self._joints]
        self._dofs = self._model.jnt_dofadr[self._joints]
        self._servos = _servo_leaders(self._model, self._robot.mimics, self.joint_names)
        self._tip = self._model.body(tip).id
        self._wrench = ToolWrench(self._model, self._robot, tip)
        self._pads = TaxelPads(self._model, self._robot)
        self._renderer = Renderer(self._model, width, height)
        self.lower, self.upper = self._model.jnt_range[self._joints].T
        self._data.qpos[self._qpos] = self._home()
        tune_servos(self._model, self._data, task.stiffness)
        self._lead = -self._model.actuator_biasprm[:, 2] / self._model.actuator_gainprm[:, 0]  # [s]
        self.reset(0)

    # --- trials -----------------------------------------------------------------------------------------

    def reset(self, seed: int, instruction: str | None = None) -> Scene:
        """Start the trial of `seed`; an `instruction` replaces the drawn one in the same scene."""
        scene = self.task.draw(np.random.default_rng(seed), seed, int((~self._is_gripper).sum()))
        self.scene = scene if instruction is None else self.task.retarget(scene, instruction)
        self.steps, self._held, self._ended = 0, 0, 0.0
        self._verdict: Verdict = "running"
        self._opinion: Verdict = "running"
        mujoco.mj_resetData(self._model, self._data)
        self._place_robot(self.scene)
        for name, pose in self.scene.objects.items():
            self._place_object(name, pose)
        mujoco.mj_forward(self._model, self._data)
        return self.scene

    def step(self, n: int = 1) -> None:
        """Advance the physics by `n` steps of `dt`."""
        done = 0
        while done < n:
            burst = min(n - done, JUDGE_EVERY - self.steps % JUDGE_EVERY)
            mujoco.mj_step(self._model, self._data, burst)
            self.steps += burst
            done += burst
            if self.steps % JUDGE_EVERY == 0:
                self._judge()

    @property
    def time(self) -> float:
        """Seconds since reset."""
        return self.steps * self.dt

    def success(self) -> bool:
        """True once the task was done (it stays true until the next reset)."""
        return self._verdict == "success"

    def failure(self) -> bool:
        """True once the task has failed or its time is up (it stays true until the next reset)."""
        return self._verdict == "failure"

    def status(self) -> dict[str, Any]:
        """Return the trial's message (running, success, failure), seed, instruction, time [s], success ..."""
        return {
            "message": self._verdict,
            "task": self.task.name,
            "seed": self.scene.seed,
            "instruction": self.scene.instruction,
            "target": self.scene.target,
            "time": round(self._ended, 6),
            "success": self.success(),
        }

    # --- robot ------------------------------------------------------------------------------------------

    def set_joint_targets(self, position: npt.ArrayLike, velocity: npt.ArrayLike | None = None) -> None:
        """Give the servos positions [rad, m] and, to follow without lag, velocities; in `joint_names` order.

        Positions are clipped to the joint limits. SimulationError on a wrong length or a value not finite.
        """
        target = self._checked("position", position)
        speed = np.zeros_like(target) if velocity is None else self._checked("velocity", velocity)
        target = np.clip(target, self.lower, self.upper)[self._servos]
        self._data.ctrl[:] = target + self._lead * speed[self._servos]

    def joint_state(self) -> tuple[Array, Array, Array]:
        """Return measured positions [rad, m], velocities and efforts [Nm, N], each in `joint_names` order."""
        data = self._data
        return (
            data.qpos[self._qpos].copy(),
            data.qvel[self._dofs].copy(),
            data.qfrc_actuator[self._dofs].copy(),
        )

    def wrench(self) -> Array:
        """Return [fx fy fz tx ty tz] (N, Nm): what the environment exerts on the tool, in and about tool0."""
        return self._wrench.read(self._data)

    def taxels(self, side: str) -> npt.NDArray[np.float32]:
        """Return a pad's forces [4, 4, 3] N: shear x, shear y, pressure. `side` is left or right.

        Row 0 is nearest the finger tip.
        """
        return self._pads.read(self._data, side)

    def tip_pose(self) -> Array:
        """Return the true pose [x y z qx qy qz qw] of the tip in base_link."""
        return self._pose(self._tip)

    def objects(self) -> dict[str, Array]:
        """Return the true pose [x y z qx qy qz qw] of each object of the task in base_link."""
        return {name: self._pose(self._model.body(name).id) for name in self.scene.objects}

    # --- cameras ----------------------------------------------------------------------------------------

    @property
    def cameras(self) -> tuple[str, ...]:
        """The short names of the URDF's cameras."""
        return tuple(self._robot.cameras)

    @property
    def pads(self) -> tuple[str, ...]:
        """The short names of the URDF's taxel pads."""
        return self._robot.pads

    def snapshot(self) -> Snapshot:
        """Return what a picture needs, so that another thread may render while this one steps."""
        mocap = np.concatenate([self._data.mocap_pos, self._data.mocap_quat], axis=1)
        return Snapshot(self.time, self._data.qpos.copy(), mocap)

    def frame(self, camera: str, snapshot: Snapshot | None = None, depth: bool = True) -> Frame:
        """Return colour and, if asked for, depth of one camera in one pass, now or at a snapshot."""
        if camera not in self._robot.cameras:
            raise SimulationError(unknown_name("camera", camera, self._robot.cameras))
        return self._renderer.frame(camera, snapshot or self.snapshot(), depth)

    def render(self, camera: str, depth: bool = False, snapshot: Snapshot | None = None) -> npt.NDArray[Any]:
        """Return the picture of one camera: uint8 [H, W, 3], or float32 [H, W] m when `depth`."""
        frame = self.frame(camera, snapshot, depth)
        return frame.rgb if frame.depth is None else frame.depth

    def camera_info(self, camera: str) -> dict[str, Any]:
        """Return the pinhole model of a camera: fx, fy, cx, cy [px], width, height, and its optical frame."""
        if camera not in self._robot.cameras:
            raise SimulationError(unknown_name("camera", camera, self._robot.cameras))
        width, height = self._renderer.width, self._renderer.height
        focal = height / 2 / math.tan(math.radians(self._model.camera(camera).fovy[0]) / 2)
        centre = {"cx": (width - 1) / 2, "cy": (height - 1) / 2}
        frame = self._robot.cameras[camera].frame
        return {"fx": focal, "fy": focal, **centre, "width": width, "height": height, "frame": frame}

    # --- inside -----------------------------------------------------------------------------------------

    def _home(self) -> Array:
        return np.array([self._robot.home.get(name, 0.0) for name in self.joint_names])

    def _place_robot(self, scene: Scene) -> None:
        start = self._home()
        start[~self._is_gripper] += scene.joint_offset
        start[self._is_gripper] = scene.gripper
        start = np.clip(start, self.lower, self.upper)
        self._data.qpos[self._qpos] = start
        for follower, leader in self._robot.mimics.items():
            self._data.qpos[self._model.joint(follower).qposadr] = start[self.joint_names.index(leader)]
        self.set_joint_targets(start)

    def _place_object(self, name: str, pose: Array) -> None:
        body = self._model.body(name)
        wxyz = pose[[6, 3, 4, 5]]
        mocap = body.mocapid[0]
        if mocap >= 0:
            self._data.mocap_pos[mocap], self._data.mocap_quat[mocap] = pose[:3], wxyz
        else:
            start = self._model.jnt_qposadr[body.jntadr[0]]
            self._data.qpos[start : start + 7] = (*pose[:3], *wxyz)

    def _judge(self) -> None:
        """Ask the task for its verdict, and let it count once it has held long enough."""
        if self._verdict != "running":
            return
        opinion = self.task.judge(self.scene, self._view())
        self._held = self._held + 1 if opinion == self._opinion else 1
        self._opinion = opinion
        if opinion != "running" and self._held > round(self.task.hold / (JUDGE_EVERY * self.dt)):
            self._verdict = opinion
        elif self.time >= self.task.time_limit:
            self._verdict = "failure"
        self._ended = self.time

    def _view(self) -> View:
        gripper = self._data.qpos[self._qpos][self._is_gripper]
        speeds = {}
        for name in self.scene.objects:
            body = self._model.body(name)
            if body.jntnum[0]:
                start = self._model.jnt_dofadr[body.jntadr[0]]
                speeds[name] = float(np.linalg.norm(self._data.qvel[start : start + 3]))
        return View(
            self._data.xpos[self._tip].copy(),
            float(gripper[0]) if gripper.size else 0.0,
            self.objects(),
            speeds,
        )

    def _pose(self, body: int) -> Array:
        return np.concatenate([self._data.xpos[body], self._data.xquat[body][[1, 2, 3, 0]]])

    def _checked(self, what: str, values: npt.ArrayLike) -> Array:
        array = np.asarray(values, dtype=np.float64)
        if array.shape != (len(self.joint_names),):
            raise SimulationError(f"joint {what}s have shape {array.shape}; expected {len(self.joint_names)} values")
        if not np.isfinite(array).all():
            raise SimulationError(f"joint {what}s are not finite: {array.tolist()}")
        return array


def _servo_leaders(model: Any, mimics: Mapping[str, str], joints: tuple[str, ...]) -> list[int]:
    """Return, for each servo of the model, the index in `joints` of the joint whose target it takes."""
    names = [model.actuator(index).name for index in range(model.nu)]
    return [joints.index(mimics.get(name, name)) for name in names]
