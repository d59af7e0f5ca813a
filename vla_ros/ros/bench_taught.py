"""Whether a way of teaching records what training needs: demonstrate with a device, train on that alone, evaluate."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from vla_ros.evaluate.report import Report
from vla_ros.local import evaluate
from vla_ros.ros.collect import collect
from vla_ros.ros.graph import STEPS
from vla_ros.train.loop import train

WANTED = 0.75
TRIAL_SEED = 1_000_000  # of the trials, which no demonstration has


@dataclass(frozen=True)
class Teaching:
    """What to teach, how, and where to keep it.

    device: an emulated one that the scripted operator moves (`vla_ros.teleop.hands`), "" for the operator's own joints.
    dataset: demonstrations made otherwise, in the place of collecting any. output: folder of demonstrations, checkpoint and
    report; with `resume` it is gone on with.
    """

    device: str
    output: Path
    task: str = "pick_place"
    episodes: int = 100
    seed: int = 0
    policy: str = "act_aim"
    steps: int | None = None
    trials: int = 100
    contract: str = "tabletop_arm"
    dataset: Path | None = None
    resume: bool = False


def taught(setting: Teaching, say: Callable[[str], None] = print) -> Report:
    """Collect, train and evaluate in lockstep; return the report. Raises VlaRosError when one of them cannot be done."""
    name = setting.device or "the operator's own joints"
    demonstrations = setting.dataset or setting.output / "demonstrations"
    checkpoint = setting.output / "checkpoint"
    if setting.dataset is None:
        started = time.monotonic()
        outcome = collect(
            setting.task,
            setting.episodes,
            setting.seed,
            demonstrations,
            setting.contract,
            resume=setting.resume,
            device=f"scripted://{setting.device}",
        )
        say(
            f"{outcome.saved} demonstrations of {setting.task} through {name}, {len(outcome.failed)} failed, "
            f"in {time.monotonic() - started:.0f} s"
        )
    going_on = setting.resume and checkpoint.exists()
    result = train(demonstrations, setting.policy, checkpoint, steps=setting.steps, device="auto", resume=going_on)
    say(f"{setting.policy} trained for {result.steps} steps in {result.seconds:.0f} s, loss {result.loss:.4f}")
    report = evaluate(checkpoint, setting.task, setting.trials, TRIAL_SEED, STEPS, say=say)
    report.write(setting.output / "report.json")
    rate = report.successes / max(setting.trials, 1)
    met = "" if rate >= WANTED else f", want {WANTED:.0%}"
    say(f"taught through {name if setting.dataset is None else setting.dataset}: {report.summary()}{met}")

    return report
