"""Success rates with their intervals."""

import json

import pytest

from vla_ros.evaluate import Report, Trial, wilson_interval


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    # R: binom::binom.confint(x, n, methods = "wilson")
    [
        (0, 10, 0.0, 0.2775328),
        (10, 10, 0.7224672, 1.0),
        (8, 10, 0.4901625, 0.9433178),
        (80, 100, 0.7111708, 0.8666331),
    ],
)
def test_wilson_interval_agrees_with_reference_values(successes, trials, low, high):
    assert wilson_interval(successes, trials) == pytest.approx((low, high), abs=1e-6)


def test_without_trials_nothing_is_known():
    assert wilson_interval(0, 0) == (0.0, 1.0)


def test_a_report_is_json_with_the_documented_keys(tmp_path):
    trials = (
        Trial(5, "pick up the red cube", True, 4.2, "success"),
        Trial(6, "pick up the blue cube", False, 12.0, "time-out"),
    )
    file = tmp_path / "deep" / "report.json"
    Report("pick_place", "checkpoint", True, trials).write(file)
    data = json.loads(file.read_text())
    assert {
        "task",
        "checkpoint",
        "lockstep",
        "episodes",
        "successes",
        "success_rate",
        "wilson_95",
        "trials",
    } <= set(data)
    assert data["episodes"] == 2 and data["successes"] == 1 and data["success_rate"] == 0.5
    assert {"seed", "instruction", "success", "seconds"} <= set(data["trials"][0])
