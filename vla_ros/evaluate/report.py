"""The result of an evaluation: trials, the success rate and its Wilson interval."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

Z_95 = 1.959963984540054


def wilson_interval(successes: int, trials: int, z: float = Z_95) -> tuple[float, float]:
    """Return the Wilson score interval of a binomial proportion, (low, high) in [0, 1].

    E. B. Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22 (1927).
    Without trials nothing is known: (0, 1).
    """
    if not 0 <= successes <= trials:
        raise ValueError(f"{successes} successes of {trials} trials")
    if trials == 0:
        return 0.0, 1.0
    p = successes / trials
    centre = p + z * z / (2 * trials)
    spread = z * math.sqrt(p * (1 - p) / trials + z * z / (4 * trials * trials))
    scale = 1 + z * z / trials
    return max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale)


def difference_interval(a: int, of_a: int, b: int, of_b: int) -> tuple[float, float]:
    """Return the 95% interval of the difference of two proportions, a / of_a - b / of_b, in [-1, 1].

    R. G. Newcombe, "Interval estimation for the difference between independent proportions", Statistics in Medicine 17
    (1998), method 10: from the two Wilson intervals.
    """
    if not of_a or not of_b:
        return -1.0, 1.0
    p, q = a / of_a, b / of_b
    (low_a, high_a), (low_b, high_b) = wilson_interval(a, of_a), wilson_interval(b, of_b)
    return p - q - math.hypot(p - low_a, high_b - q), p - q + math.hypot(high_a - p, q - low_b)


@dataclass(frozen=True)
class Trial:
    """One trial: replay it with its seed. seconds: of the trial's time until it was decided."""

    seed: int
    instruction: str
    success: bool
    seconds: float
    outcome: str = ""  # success, failure or time-out


@dataclass(frozen=True)
class Report:
    """All trials of one evaluation."""

    task: str
    checkpoint: str
    lockstep: bool
    trials: tuple[Trial, ...]

    @property
    def successes(self) -> int:
        """How many trials succeeded."""
        return sum(trial.success for trial in self.trials)

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain data, with the keys of the documented JSON file."""
        n = len(self.trials)
        return {
            "task": self.task,
            "checkpoint": self.checkpoint,
            "lockstep": self.lockstep,
            "episodes": n,
            "successes": self.successes,
            "success_rate": self.successes / n if n else 0.0,
            "wilson_95": list(wilson_interval(self.successes, n)),
            "trials": [asdict(trial) for trial in self.trials],
        }

    def summary(self) -> str:
        """Return one line: successes, rate and interval."""
        data = self.to_dict()
        low, high = data["wilson_95"]
        return (
            f"{self.task}: {self.successes} of {len(self.trials)} trials succeeded, "
            f"{data['success_rate']:.1%} (95% Wilson interval {low:.1%} to {high:.1%})"
        )

    def write(self, path: Path) -> None:
        """Write the report as JSON, atomically."""
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(path.name + ".part")
        partial.write_text(json.dumps(self.to_dict(), indent=2) + "\n", encoding="utf-8")
        partial.replace(path)


def seeds(first: int, count: int) -> Sequence[int]:
    """Return the seeds of `count` trials; trial i of seed s is always s + i, so any of them replays alone."""
    return range(first, first + count)
