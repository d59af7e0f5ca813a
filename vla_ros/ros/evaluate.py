"""Evaluate a checkpoint: bring the graph up, run seeded trials through policy and gate, and report the success rate."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trajectory_msgs.msg import JointTrajectory

from vla_ros.contract import load_contract
from vla_ros.errors import GraphError
from vla_ros.evaluate.report import Report, Trial, seeds
from vla_ros.ros.film import Film
from vla_ros.ros.graph import STEPS, bring_up
from vla_ros.ros.qos import COMMAND
from vla_ros.ros.trials import TaskStatus, TrialDriver
from vla_ros.ros.up import Graph
from vla_ros.sim.tasks import get_task

START_ATTEMPTS = 3


@dataclass(frozen=True)
class Evaluation:
    """What to evaluate. seed: of the first trial; trial i has seed + i. media: folder for a picture and a video."""

    checkpoint: Path
    task: str
    episodes: int
    seed: int
    lockstep: bool
    instruction: str | None = None
    contract: str = ""  # default: the checkpoint's own
    steps: int = STEPS
    media: Path | None = None
    view: bool = False


def evaluate(setting: Evaluation, say: Callable[[str], None] = print) -> Report:
    """Run the trials on a graph of their own and return the report; `say` gets one line per trial.

    Raises VlaRosError when the graph does not come up, dies, or stands still.
    """
    started = time.monotonic()
    contract = setting.contract or str(setting.checkpoint / "contract.yaml")
    limit = get_task(setting.task).time_limit
    specs = bring_up(
        contract=contract,
        task=setting.task,
        seed=setting.seed,
        checkpoint=str(setting.checkpoint),
        lockstep=setting.lockstep,
        steps=setting.steps,
    )
    trials: list[Trial] = []
    with Graph(specs) as graph:
        graph.wait_ready()
        with TrialDriver(progress_deadline=20.0) as driver:
            first = _FirstCommand(driver, load_contract(contract).action.command.topic)
            film = Film(driver.node, _front_camera(contract), view=setting.view)
            for index, seed in enumerate(seeds(setting.seed, setting.episodes)):
                if index == 0 and (setting.media or setting.view):
                    film.start()
                scene, status = _run(driver, setting, seed, limit, graph.check)
                trial = Trial(
                    seed,
                    scene["instruction"],
                    status.state == "success",
                    round(float(status.values.get("decided", status.time)), 3),
                    status.values.get("outcome") or _outcome(status.state),
                )
                trials.append(trial)
                if index == 0:
                    say(f"first command to the arm {first.after(started):.1f} s after the start")
                    film.stop()
                    if setting.media:
                        video, picture = setting.media / "trial.mp4", setting.media / "trial.png"
                        film.write(video, picture)
                        say(f"video {video}, picture {picture}")
                say(
                    f"trial {index + 1}/{setting.episodes} seed {seed}: {trial.outcome} after {trial.seconds:.1f} s:"
                    f" {trial.instruction}"
                )
            driver.select("")
    return Report(setting.task, str(setting.checkpoint), setting.lockstep, tuple(trials))


def _run(
    driver: TrialDriver, setting: Evaluation, seed: int, limit: float, alive: Callable[[], None]
) -> tuple[dict[str, Any], TaskStatus]:
    """Run one trial; begin it again when it does not get going: a node that had just joined missed its first samples."""
    for attempt in range(START_ATTEMPTS):
        scene = driver.start(setting.task, seed, "policy", setting.instruction)
        try:
            return scene, driver.watch(limit, lockstep=setting.lockstep, alive=alive)
        except GraphError:
            alive()
            if attempt + 1 == START_ATTEMPTS or (driver.status is not None and driver.status.time > 0.1):
                raise
            driver.reset(setting.task, seed + 1)  # another scene, so that the next reset publishes anew
    raise AssertionError("unreachable")


class _FirstCommand:
    """Notes when the gate's first command passed by."""

    def __init__(self, driver: TrialDriver, topic: str) -> None:
        self._at: float | None = None
        self._subscription = driver.node.create_subscription(
            JointTrajectory, topic, self._on_command, COMMAND
        )

    def _on_command(self, _: JointTrajectory) -> None:
        if self._at is None:
            self._at = time.monotonic()

    def after(self, start: float) -> float:
        """Return the seconds from `start` to the first command; not a number if there was none."""
        return float("nan") if self._at is None else self._at - start


def _front_camera(contract: str) -> str:
    cameras = load_contract(contract).streams("image")
    return next((c.topic for c in cameras if "front" in c.key), cameras[0].topic)


def _outcome(state: str) -> str:
    return state if state in ("success", "failure") else "time-out"
