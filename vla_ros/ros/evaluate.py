"""Evaluate a checkpoint: bring the graph up, run seeded trials through policy and gate, and report the success rate."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from trajectory_msgs.msg import JointTrajectory

from vla_ros.contract import Contract, load_contract
from vla_ros.evaluate.report import Report, Trial, seeds
from vla_ros.ros.film import Film
from vla_ros.ros.graph import STEPS, bring_up
from vla_ros.ros.qos import COMMAND
from vla_ros.ros.trials import TrialDriver
from vla_ros.ros.up import Graph
from vla_ros.sim.tasks import get_task


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
    contract = load_contract(setting.contract or setting.checkpoint / "contract.yaml")
    limit = get_task(setting.task).time_limit
    specs = bring_up(
        contract=contract.source,
        task=setting.task,
        seed=setting.seed,
        checkpoint=str(setting.checkpoint),
        lockstep=setting.lockstep,
        steps=setting.steps,
    )
    trials: list[Trial] = []
    with Graph(specs) as graph:
        graph.wait_ready()
        with TrialDriver() as driver:
            first = _FirstCommand(driver, contract.action.command.topic)
            film = Film(driver.node, _front_camera(contract), view=setting.view)
            for index, seed in enumerate(seeds(setting.seed, setting.episodes)):
                if index == 0 and (setting.media or setting.view):
                    film.start()
                scene = driver.start(setting.task, seed, "policy", setting.instruction)
                status = driver.watch(limit, lockstep=setting.lockstep, alive=graph.check)
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


class _FirstCommand:
    """Notes when the gate's first command passed by."""

    def __init__(self, driver: TrialDriver, topic: str) -> None:
        self._at: float | None = None
        self._subscription = driver.node.create_subscription(JointTrajectory, topic, self._on_command, COMMAND)

    def _on_command(self, _: JointTrajectory) -> None:
        if self._at is None:
            self._at = time.monotonic()

    def after(self, start: float) -> float:
        """Return the seconds from `start` to the first command; not a number if there was none."""
        return float("nan") if self._at is None else self._at - start


def _front_camera(contract: Contract) -> str:
    cameras = contract.streams("image")
    return next((c.topic for c in cameras if "front" in c.key), cameras[0].topic)


def _outcome(state: str) -> str:
    return state if state in ("success", "failure") else "time-out"
