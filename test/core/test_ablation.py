"""The comparison of a policy that feels with the same one that does not."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from vla_ros.contract import load_contract
from vla_ros.errors import PolicyError
from vla_ros.evaluate.report import Report, Trial, difference_interval
from vla_ros.local.ablation import UNREAD, WITH, WITHOUT, Ablation, summary, table, variants
from vla_ros.policy.config import read_policy_file


def report(successes: int, trials: int) -> Report:
    results = tuple(Trial(seed, "lift the lighter cube", seed < successes, 4.0) for seed in range(trials))
    return Report("weigh", "checkpoint", True, results)


def test_the_two_policies_differ_in_nothing_but_what_they_feel(tmp_path: Path) -> None:
    files = variants("act_felt", tmp_path, "tabletop_arm")
    felt, blind = (yaml.safe_load(files[name].read_text(encoding="utf-8")) for name in (WITH, WITHOUT))
    left_out = set(felt["model"]["encoders"]) - set(blind["model"]["encoders"])
    for key in left_out:
        del felt["model"]["encoders"][key]
    assert felt == blind
    assert left_out == {"observation.wrench.tool", "observation.tactile.left", "observation.tactile.right"}
    streams = read_policy_file(files[WITHOUT])[0].streams(load_contract("tabletop_arm"))
    assert {stream.kind for stream in streams} == {"image", "joints", "text"}


def test_a_camera_that_looks_into_the_hole_is_read_by_neither(tmp_path: Path) -> None:
    for file in variants("act_felt", tmp_path, "tabletop_arm", UNREAD["insert"]).values():
        config, _, _ = read_policy_file(file)
        assert "observation.images.wrist" not in config.encoders and "observation.images.front" in config.encoders


def test_an_unknown_policy_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match="act_felt"):
        variants("act_flet", tmp_path, "tabletop_arm")


def test_the_difference_has_newcombes_interval() -> None:
    low, high = difference_interval(56, 70, 48, 80)  # Newcombe 1998, table II, example (a), method 10
    assert (low, high) == (pytest.approx(0.0524, abs=5e-5), pytest.approx(0.3339, abs=5e-5))
    assert difference_interval(0, 0, 1, 2) == (-1.0, 1.0)


def test_the_table_says_who_succeeded_how_often() -> None:
    result = summary(Ablation("weigh", Path("out")), {WITH: report(92, 100), WITHOUT: report(49, 100)})
    text = table(result)
    assert "| weigh | with wrench and touch | 92 of 100 | 92% (85% to 96%) |" in text
    assert "| weigh | without | 49 of 100 | 49% (39% to 59%) |" in text
    assert "difference: +43 points (95% interval +31 to +53)" in text
