"""Does feeling matter? One set of demonstrations, one policy trained with wrench and touch and once more without, the same
trials for both.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from itertools import count
from pathlib import Path
from typing import Any

import yaml

from vla_ros.contract import load_contract
from vla_ros.evaluate.report import Report, difference_interval
from vla_ros.policy.config import policy_file, read_policy_file

WITH, WITHOUT = "with wrench and touch", "without"
FELT = ("wrench", "taxels")  # kinds of streams that are left out
SAID = 50  # attempts of the demonstrator between two lines about them
TRIAL_SEED = 1_000_000  # of the first trial; no demonstration has it
UNREAD = {"insert": ("observation.images.wrist",)}  # by task; this camera looks past the peg into the hole


@dataclass(frozen=True)
class Ablation:
    """What to compare. output: folder for demonstrations, checkpoints and reports; what is there already is not made again.

    policy: file, or name in config/policies. steps: of the optimiser; None for the file's. horizon: grid steps between two
    inferences. seed: of demonstration 0 and of the weights; trials have seeds from 1000000 on.
    """

    task: str
    output: Path
    demonstrations: int = 300
    trials: int = 100
    policy: str = "act_felt"
    steps: int | None = None
    horizon: int = 24
    seed: int = 0
    device: str = "auto"
    contract: str = "tabletop_arm"


def ablation(setting: Ablation, say: Callable[[str], None] = print) -> dict[str, Any]:
    """Collect, train twice, evaluate twice; return what ``report.json`` holds. Raises VlaRosError's children."""
    from vla_ros.local.demonstrate import demonstrate
    from vla_ros.local.evaluate import evaluate
    from vla_ros.train.loop import train

    data = setting.output / "demonstrations"
    counted = count(1)

    def say_now_and_then(line: str) -> None:
        if next(counted) % SAID == 0:
            say(line)

    demonstrate(
        setting.task, setting.demonstrations, setting.seed, data, setting.contract, resume=True, say=say_now_and_then
    )
    files = variants(setting.policy, setting.output, setting.contract, UNREAD.get(setting.task, ()))
    reports = {}
    for name, file in files.items():
        checkpoint = setting.output / file.stem
        if not (checkpoint / "training.json").exists():
            result = train(
                data,
                file,
                checkpoint,
                steps=setting.steps,
                device=setting.device,
                seed=setting.seed,
                cache=setting.output / "frames",
            )
            say(f"{name}: {result.steps} steps, loss {result.loss:.4f}, {result.seconds:.0f} s")
    for name, file in files.items():
        say(f"{setting.task}, {name}:")
        checkpoint = setting.output / file.stem
        reports[name] = evaluate(checkpoint, setting.task, setting.trials, TRIAL_SEED, setting.horizon, say=say)
        reports[name].write(setting.output / f"{file.stem}.json")
    result_ = summary(setting, reports)
    (setting.output / "report.json").write_text(json.dumps(result_, indent=2) + "\n", encoding="utf-8")
    return result_


def variants(policy: str, output: Path, contract: str, unread: Sequence[str] = ()) -> dict[str, Path]:
    """Write the policy file twice to `output`, as it is and without encoders of what is felt; return the files by name.

    unread: keys of streams that neither reads.
    """
    config, _, _ = read_policy_file(policy)
    data = yaml.safe_load(policy_file(policy).read_text(encoding="utf-8"))
    sections = data["model"]["encoders"]
    streams = [stream for stream in config.streams(load_contract(contract)) if stream.key not in unread]
    read = {s.key: sections[_pattern(s.key, sections)] for s in streams}
    felt = {s.key for s in streams if s.kind in FELT}
    output.mkdir(parents=True, exist_ok=True)
    files = {WITH: output / "with.yaml", WITHOUT: output / "without.yaml"}
    for name, file in files.items():
        data["model"]["encoders"] = {k: v for k, v in read.items() if name == WITH or k not in felt}
        file.write_text(yaml.safe_dump(data, sort_keys=False), encoding="utf-8")
    return files


def _pattern(key: str, sections: Mapping[str, Any]) -> str:
    return key if key in sections else next(pattern for pattern in sections if fnmatch(key, pattern))


def summary(setting: Ablation, reports: dict[str, Report]) -> dict[str, Any]:
    """Return both rates, and their difference with its 95% interval."""
    felt, blind = reports[WITH], reports[WITHOUT]
    low, high = difference_interval(felt.successes, len(felt.trials), blind.successes, len(blind.trials))
    rows = {name: {k: v for k, v in report.to_dict().items() if k != "trials"} for name, report in reports.items()}
    return {
        "task": setting.task,
        "demonstrations": setting.demonstrations,
        "policy": setting.policy,
        "horizon": setting.horizon,
        "results": rows,
        "difference": felt.successes / len(felt.trials) - blind.successes / len(blind.trials),
        "difference_95": [low, high],
    }


def table(result: dict[str, Any]) -> str:
    """Return the comparison as Markdown."""
    lines = ["| task | policy | successes | rate (95% Wilson) |", "|---|---|---|---|"]
    for name, row in result["results"].items():
        low, high = row["wilson_95"]
        lines.append(
            f"| {result['task']} | {name} | {row['successes']} of {row['episodes']} "
            f"| {row['success_rate']:.0%} ({low:.0%} to {high:.0%}) |"
        )
    low, high = result["difference_95"]
    points = f"{100 * result['difference']:+.0f} points (95% interval {100 * low:+.0f} to {100 * high:+.0f})"
    return "\n".join([*lines, "", f"difference: {points}"])
