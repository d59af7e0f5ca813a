"""The whole loop, as a user runs it: teach, train, evaluate; for the task reach, on the CPU."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from vla_ros.ros.environment import child_environment

WANTED = 0.8
EPISODES, STEPS, TRIALS = 150, 2500, 20


def vla_ros(*arguments: str | Path) -> str:
    """Run the command line and return what it printed."""
    command = [sys.executable, "-m", "vla_ros.cli", *map(str, arguments)]
    result = subprocess.run(command, env=child_environment(), capture_output=True, text=True, timeout=1500)
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-2000:]
    return result.stdout


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_a_policy_taught_and_trained_from_nothing_reaches_what_it_is_told_to(ros_domain: int, tmp_path: Path) -> None:
    data, checkpoint, report = tmp_path / "data", tmp_path / "checkpoint", tmp_path / "report.json"
    vla_ros("collect", "--task", "reach", "--episodes", EPISODES, "--seed", 0, "--output", data)
    vla_ros(
        "train",
        "--dataset",
        data,
        "--policy",
        "act_small",
        "--output",
        checkpoint,
        "--steps",
        STEPS,
        "--device",
        "cpu",
    )
    printed = vla_ros(
        "evaluate", "--checkpoint", checkpoint, "--task", "reach", "--episodes", TRIALS, "--seed", 1_000_000, "--lockstep",
        "--report", report,
    )  # fmt: skip
    result = json.loads(report.read_text())
    assert result["episodes"] == TRIALS and result["lockstep"] is True
    assert "Wilson" in printed
    assert result["success_rate"] >= WANTED, printed
