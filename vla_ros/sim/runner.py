"""Runs a world in a thread: in real time like hardware, or in lockstep with the gate. No ROS: see `Outputs`.

Real time: physics is paced by the wall clock, and stamps are the system clock's. Lockstep: time is the
trial's own. It starts at 0 with a reset, and every tick of 10 ms waits until the command stamped with that
tick has come and until time beyond it is granted. All streams are published at whole physics steps: step n
has the stamp round(n * 1e9 / 600), so camera frame k is captured at exactly k/30 s, 20 steps after the one
before.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from vla_ros.action import NANOSECONDS
from vla_ros.errors import SimulationError
from vla_ros.sim.arm import Arm
from vla_ros.sim.controllers import TrajectoryPoint
from vla_ros.sim.outputs import Outputs
from vla_ros.sim.pacing import (
    CAMERA_EVERY,
    CONTROL_EVERY,
    GATE_EVERY,
    LOST,
    Pacer,
    PacingReport,
    step_time,
)
from vla_ros.sim.render import Snapshot
from vla_ros.sim.tasks import Scene
from vla_ros.sim.world import World

VISIBLE_JUMP = NANOSECONDS // 5  # [ns] a reset from less than this is announced by stamps this far ahead
DEAF = 0.3  # [s] after a reset in real time: the controllers are restarting, commands on their way go unheard
SEEN = 0.1  # [s] after a reset in real time: everybody has seen where the arm is now
WAKE = 0.5  # [s] between looks at the stop flag while waiting
JOIN = 0.05  # [s] between looks, while time stands still, whether someone has joined who waits for a picture


@dataclass(frozen=True)
class Trial:
    """What a reset sets up. instruction: replaces the scene's own words unless empty."""

    task: str
    seed: int
    instruction: str = ""


class _Reset:
    def __init__(self, trial: Trial) -> None:
        self.trial = trial
        self.done = threading.Event()
        self.scene: Scene | None = None
        self.error: SimulationError | None = None


class Runner:
    """Steps the world of the present trial, publishes through `outputs`, and obeys commands and resets.

    world_of: returns the world of a task (the same one each time). trial: the first. order: the joints in
    the order of forward commands. on_error: told when a thread fails, which ends it.
    """

    def __init__(
        self,
        world_of: Callable[[str], World],
        trial: Trial,
        order: Sequence[str],
        outputs: Outputs,
        lockstep: bool,
        on_error: Callable[[BaseException], None],
    ) -> None:
        self.world = world_of(trial.task)
        self.now = 0  # [ns] stamp of what was published last
        self.frames = self.dropped = 0  # pictures published, and given up because rendering was too slow
        self._world_of, self._outputs, self._lockstep, self._on_error = world_of, outputs, lockstep, on_error
        self._arm = Arm(self.world.joint_names, order, self.world.joint_state()[0])
        self._first, self._trial = trial, None if lockstep else trial
        self._changed = threading.Condition()  # guards what other threads set: arm, answer, grant, reset, picture
        self._answered, self._granted, self._epoch, self._deaf_until = -1, 0, 0, 0
        self._reset: _Reset | None = None
        self._seen = threading.Event()  # set once a reset in real time has been seen
        self._picture: tuple[World, Snapshot, int] | None = None  # to publish; in lockstep the last published
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._pacer = Pacer(CONTROL_EVERY * World.dt)

    # --- called from other threads ----------------------------------------------------------------------

    def start(self) -> None:
        """Start the threads."""
        self._stop.clear()
        loops = [self._run_lockstep] if self._lockstep else [self._run_realtime, self._run_cameras]
        self._threads = [threading.Thread(target=self._guarded, args=(loop,), name="simulation") for loop in loops]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End the threads; the world stays as it is."""
        self._stop.set()
        with self._changed:
            self._changed.notify_all()
        for thread in self._threads:
            thread.join(timeout=10.0)

    def follow(self, names: Sequence[str], stamp: int, points: Sequence[TrajectoryPoint]) -> str | None:
        """Give the trajectory controller a command, the answer to tick `stamp`; return why it is refused."""
        with self._changed:
            if self.now < self._deaf_until:
                return None
            refusal = self._arm.follow(names, stamp, points, self.now)
            self._answer(stamp)
        return refusal

    def forward(self, values: Sequence[float], answers: bool) -> str | None:
        """Give the forward controller a command; it has no stamp: `answers` makes it the present tick's."""
        with self._changed:
            if self.now < self._deaf_until:
                return None
            refusal = self._arm.forward(values)
            if answers:
                self._answer(self.now)
        return refusal

    def grant(self, t: int) -> None:
        """Let lockstep time run until `t` [ns], rounded up to a tick."""
        with self._changed:
            self._granted = t
            self._changed.notify_all()

    def reset(self, trial: Trial, deadline: float = 60.0) -> Scene:
        """Begin `trial` and return its scene. SimulationError when it is not set up within `deadline` s."""
        reset = _Reset(trial)
        with self._changed:
            self._reset = reset
            self._changed.notify_all()
        if not reset.done.wait(deadline):
            raise SimulationError(f"no reset within {deadline:g} s")
        if reset.error or reset.scene is None:
            raise reset.error or SimulationError("no scene")
        return reset.scene

    @property
    def awaited(self) -> str:
        """What lockstep time stands still for at this moment; '' when it runs."""
        with self._changed:
            if self._trial is None:
                return "the first trial"
            if self.world.steps % GATE_EVERY:
                return ""
            if self.now >= self._granted:
                return f"time beyond {self.now / NANOSECONDS:.2f} s to be granted"
            return "" if self._answered == self.now else f"the command of tick {self.now / NANOSECONDS:.2f} s"

    def pacing(self) -> PacingReport:
        """Return how well real time was kept since the last call."""
        return self._pacer.report()

    def _answer(self, stamp: int) -> None:
        self._answered = stamp
        self._changed.notify_all()

    # --- the simulation's threads -----------------------------------------------------------------------

    def _guarded(self, loop: Callable[[], None]) -> None:
        try:
            loop()
        except Exception as error:  # noqa: BLE001 - a thread must not die unseen
            if not self._stop.is_set():
                self._on_error(error)

    def _run_lockstep(self) -> None:
        while not self._stop.is_set():
            if self._reset is not None:
                self._serve_reset()
            elif self._trial is None:  # the first trial begins when someone asks for it: all nodes are there to see it
                with self._changed:
                    wanted = self._changed.wait_for(self._woken, WAKE) and self._granted > 0
                if wanted and self._reset is None:
                    self._begin(self._first)
            elif self.world.steps % GATE_EVERY or self._await_turn():
                self._advance()
                self._publish(step_time(self.world.steps))

    def _woken(self) -> bool:
        return self._stop.is_set() or self._reset is not None or self._granted > 0

    def _await_turn(self) -> bool:
        """Wait until this tick is answered and time beyond it granted; False: stopped or reset first."""
        told = False
        while not self._stop.is_set() and self._reset is None:
            with self._changed:
                granted = self.now < self._granted
                if granted and self._answered == self.now:
                    return True
                woken = (granted or told) and self._changed.wait(JOIN)
            if not granted and not told:
                told = True
                self._outputs.status(self.world)
            elif not woken and self._picture is not None:
                self._outputs.pictures(*self._picture)
        return False

    def _run_realtime(self) -> None:
        self._begin(self._first)
        self._start_clock()
        while not self._stop.is_set():
            if self._reset is not None:
                self._serve_reset()
            self._advance()
            self._pacer.wait()
            behind = time.time_ns() - self._epoch - step_time(self.world.steps)
            if behind > LOST * NANOSECONDS:
                self._epoch += behind
            self._publish(self._epoch + step_time(self.world.steps))
            if self.world.time > SEEN:
                self._seen.set()

    def _start_clock(self) -> None:
        self._pacer.restart()
        self._epoch = max(time.time_ns() - step_time(self.world.steps), self.now + 1)

    def _run_cameras(self) -> None:
        while not self._stop.is_set():
            with self._changed:
                self._changed.wait_for(lambda: self._picture is not None or self._stop.is_set(), WAKE)
                picture, self._picture = self._picture, None
            if picture is not None:
                self._outputs.pictures(*picture)
                self.frames += 1

    def _serve_reset(self) -> None:
        with self._changed:
            reset, self._reset = self._reset, None
            self._granted = 0
        if reset is not None:
            try:
                self._begin(reset.trial)
                reset.scene = self.world.scene
            except SimulationError as error:
                reset.error = error
            if self._lockstep or reset.error:
                reset.done.set()
            else:
                self._start_clock()
                self._deaf_until = self._epoch + round(DEAF * NANOSECONDS)
                self._seen = reset.done

    def _begin(self, trial: Trial) -> None:
        world = self._world_of(trial.task)
        if self._lockstep and self._trial is not None and step_time(self.world.steps) < VISIBLE_JUMP:
            self.world.reset(self.world.scene.seed)  # at step 0 every stream is due
            self._publish(VISIBLE_JUMP)
        world.reset(trial.seed, trial.instruction or None)
        with self._changed:
            self.world, self._trial, self._answered = world, trial, -1
            self._arm.reset(world.joint_state()[0])
        self._outputs.say(world.scene.instruction)
        if self._lockstep:
            self._publish(0)

    def _advance(self) -> None:
        """Let the controllers and the physics go on to the next 300 Hz instant."""
        with self._changed:
            position, velocity = self._arm.desired(self.now)
        self.world.set_joint_targets(position, velocity)
        self.world.step(CONTROL_EVERY)

    def _publish(self, now: int) -> None:
        """Publish what is due at the world's present step, stamped `now` [ns]."""
        world = self.world
        with self._changed:
            self.now = now
        camera = world.steps % CAMERA_EVERY == 0
        if camera and not self._lockstep:  # first, since a picture takes longest
            with self._changed:
                self.dropped += self._picture is not None
                self._picture = (world, world.snapshot(), now)
                self._changed.notify_all()
        self._outputs.sensors(world, now)
        if camera and self._lockstep:
            self._picture = (world, world.snapshot(), now)
            self._outputs.pictures(*self._picture)
            self.frames += 1
        if camera or world.steps % GATE_EVERY == 0:
            self._outputs.clock(now)
