"""Each check finds its fault, at its episode, time and stream, and nothing in data that has none."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from recordings import FRONT, WRENCH
from spoiled import FPS, as_episode, demonstrate, good_rows, picture
from typer.testing import CliRunner

from vla_ros.cli import app
from vla_ros.data.tools.check import check_dataset, check_rows
from vla_ros.data.tools.findings import NOTICE, SERIOUS, Finding

STATE = "observation.state"


def found(columns: dict[str, Any], length: int | None = None) -> list[tuple[str, str, str]]:
    return [(f.severity, f.kind, f.stream) for f in check_rows(as_episode(columns, length))]


@pytest.fixture
def columns() -> dict[str, Any]:
    return good_rows()


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return demonstrate(tmp_path_factory.mktemp("check") / "good", episodes=3)


@pytest.fixture
def broken(good: Path, tmp_path: Path) -> Path:
    """A copy that a test may break."""
    return Path(shutil.copytree(good, tmp_path / "set"))


def test_a_good_demonstration_has_no_findings(columns: dict[str, Any]) -> None:
    assert found(columns) == []


def test_a_good_dataset_has_no_findings(good: Path) -> None:
    report = check_dataset(good)
    assert report.findings == [] and (report.episodes, report.frames) == (3, 225)


def test_a_jump_of_the_state_is_found_where_it_is(columns: dict[str, Any]) -> None:
    columns[STATE][30:, 0] += 0.2
    jump = next(f for f in check_rows(as_episode(columns)) if f.kind == "jump")
    assert (jump.severity, jump.stream, jump.time) == (SERIOUS, STATE, 1.0) and "a.pos" in jump.text


def test_a_jump_of_the_action_is_found(columns: dict[str, Any]) -> None:
    columns["action"][40, 1] -= 0.1
    assert (SERIOUS, "jump", "action") in found(columns)


def test_an_action_in_other_units_is_far_from_the_state(columns: dict[str, Any]) -> None:
    columns["action"] = np.rad2deg(columns["action"]) / 20  # slow enough not to jump
    assert (SERIOUS, "far", "action") in found(columns)


@pytest.mark.parametrize(("rows", "severity"), [(6, NOTICE), (12, SERIOUS)])
def test_a_state_that_follows_late_is_found(columns: dict[str, Any], rows: int, severity: str) -> None:
    columns[STATE][rows:] = columns[STATE][:-rows].copy()
    columns[STATE][:rows] = columns[STATE][0]
    lags = [f for f in check_rows(as_episode(columns)) if f.kind == "lag"]
    assert [f.severity for f in lags] == [severity] and f"{rows * 1000 // FPS} ms late" in lags[0].text


def test_an_action_that_is_recorded_late_is_found(columns: dict[str, Any]) -> None:
    columns["action"][4:] = columns["action"][:-4].copy()
    columns["action"][:4] = columns["action"][4]
    assert (SERIOUS, "lag", STATE) in found(columns)


def test_a_state_that_has_nothing_to_do_with_the_action_is_found(columns: dict[str, Any]) -> None:
    t = np.arange(75) / FPS
    columns[STATE] = np.stack([0.1 * np.sin(7 * t), 0.1 * np.cos(9 * t)], axis=1).astype(np.float32)
    assert (NOTICE, "lag", STATE) in found(columns)


@pytest.mark.parametrize(("rows", "severity"), [(65, NOTICE), (200, SERIOUS)])
def test_an_idle_stretch_is_found(rows: int, severity: str) -> None:
    columns = good_rows(180) if severity == NOTICE else good_rows(60)
    for key in (STATE, "action"):
        columns[key] = np.concatenate([columns[key], np.repeat(columns[key][-1:], rows, axis=0)])
    length = len(columns[STATE])
    for key, values in good_rows(length).items():
        columns[key] = columns[key] if key in (STATE, "action") else values
    idle = [f for f in check_rows(as_episode(columns)) if f.kind == "idle"]
    assert [f.severity for f in idle] == [severity]


@pytest.mark.parametrize(("rows", "severity"), [(2, NOTICE), (20, SERIOUS)])
def test_an_old_sample_is_found_by_the_contracts_age(columns: dict[str, Any], rows: int, severity: str) -> None:
    columns["sync.age"][30 : 30 + rows, 0] = 0.12
    stale = [f for f in check_rows(as_episode(columns)) if f.kind == "stale"]
    assert [(f.severity, f.stream, f.time) for f in stale] == [(severity, FRONT, 1.0)]
    assert "120 ms old, at most 70 ms" in stale[0].text


def test_a_stamp_that_goes_back_is_found(columns: dict[str, Any]) -> None:
    columns["sync.stamp"][50:, 2] -= 500_000_000
    assert found(columns) == [(SERIOUS, "stamps", WRENCH)]


def test_nan_is_found(columns: dict[str, Any]) -> None:
    columns[WRENCH][10, 0, 0] = np.nan
    assert found(columns) == [(SERIOUS, "nan", WRENCH)]


def test_a_wrench_that_never_changes_while_the_arm_moves_is_found(columns: dict[str, Any]) -> None:
    columns[WRENCH][:] = 1.5
    assert found(columns) == [(SERIOUS, "dead", WRENCH)]


def test_missing_rows_and_wrong_indices_are_found(columns: dict[str, Any]) -> None:
    assert found(columns, length=80) == [(SERIOUS, "counts", "")]
    columns["frame_index"] = columns["frame_index"] + 1
    assert found(columns) == [(SERIOUS, "counts", "frame_index")]


def kinds(findings: list[Finding]) -> list[tuple[str, str, int, str]]:
    return [(f.severity, f.kind, f.episode, f.stream) for f in findings]


def test_a_black_camera_is_found(tmp_path: Path) -> None:
    def black(k: int, row: dict[str, Any]) -> None:
        if k >= 30:
            row[FRONT] = np.zeros_like(row[FRONT])

    report = check_dataset(demonstrate(tmp_path / "set", spoil=black))
    assert (SERIOUS, "blank", 1, FRONT) in kinds(report.findings)
    assert {f.episode for f in report.findings} == {1}


def test_a_frozen_camera_is_found_with_its_time(tmp_path: Path) -> None:
    def freeze(k: int, row: dict[str, Any]) -> None:
        if 15 <= k < 60:
            row[FRONT] = picture(15, 1)

    report = check_dataset(demonstrate(tmp_path / "set", spoil=freeze))
    assert kinds(report.findings) == [(SERIOUS, "frozen", 1, FRONT)]
    assert report.findings[0].time == pytest.approx(0.5, abs=0.05)


def test_a_picture_that_stands_still_with_the_arm_is_not_frozen(tmp_path: Path) -> None:
    def rest(k: int, row: dict[str, Any]) -> None:
        row[FRONT], row[STATE], row["action"] = picture(0), np.zeros(2), np.zeros(2)

    report = check_dataset(demonstrate(tmp_path / "set", episodes=1, rows=45, spoil=rest))
    assert kinds(report.findings) == []


def test_an_episode_recorded_twice_is_found(good: Path, tmp_path: Path) -> None:
    root = demonstrate(Path(shutil.copytree(good, tmp_path / "set")), episodes=1)
    assert kinds(check_dataset(root).findings) == [(SERIOUS, "duplicate", 3, "")]


def test_an_episode_that_nearly_repeats_another_is_noticed(good: Path, tmp_path: Path) -> None:
    def shake(k: int, row: dict[str, Any]) -> None:
        row[STATE] = row[STATE] + 1e-4

    root = demonstrate(Path(shutil.copytree(good, tmp_path / "set")), episodes=1, spoil=shake)
    assert kinds(check_dataset(root).findings) == [(NOTICE, "duplicate", 3, "")]


def test_a_corrupt_table_is_one_finding_and_hides_nothing_else(broken: Path) -> None:
    (broken / "data/chunk-000/file-001.parquet").write_bytes(b"not parquet")
    (broken / f"videos/{FRONT}/chunk-000/file-002.mp4").write_bytes(b"not a video")
    report = check_dataset(broken)
    assert kinds(report.findings) == [(SERIOUS, "unreadable", 1, ""), (SERIOUS, "unreadable", 2, FRONT)]
    assert "file-001.parquet" in report.findings[0].text and "file-002.mp4" in report.findings[1].text


@pytest.mark.parametrize("video", [True, False])
def test_a_video_of_another_length_is_found(broken: Path, tmp_path: Path, video: bool) -> None:
    other = demonstrate(tmp_path / "other", episodes=1, rows=50)
    name = f"videos/{FRONT}/chunk-000/file-000.mp4"
    shutil.copy(other / name, broken / name)
    report = check_dataset(broken, video=video)
    assert kinds(report.findings) == [(SERIOUS, "counts", 0, FRONT)]
    assert "50 frames, the metadata says 75" in report.findings[0].text


def test_wrong_totals_are_found(broken: Path) -> None:
    info = json.loads((broken / "meta/info.json").read_text())
    (broken / "meta/info.json").write_text(json.dumps(info | {"total_frames": 300}))
    assert kinds(check_dataset(broken).findings) == [(SERIOUS, "counts", -1, "")]


def test_a_dataset_without_a_contract_is_checked_as_far_as_possible(broken: Path) -> None:
    (broken / "meta/contract.yaml").unlink()
    assert kinds(check_dataset(broken).findings) == [(NOTICE, "contract", -1, "")]


def test_several_processes_find_what_one_finds(broken: Path) -> None:
    (broken / "data/chunk-000/file-001.parquet").write_bytes(b"not parquet")
    assert check_dataset(broken, jobs=2).findings == check_dataset(broken, jobs=1).findings != []


def test_the_command_prints_findings_and_exits_with_1(broken: Path) -> None:
    assert CliRunner().invoke(app, ["dataset", "check", str(broken)]).exit_code == 0
    (broken / f"videos/{FRONT}/chunk-000/file-002.mp4").unlink()
    result = CliRunner().invoke(app, ["dataset", "check", str(broken)])
    assert result.exit_code == 1 and result.output.startswith("serious episode 2")
    result = CliRunner().invoke(app, ["dataset", "check", str(broken), "--json", "--episodes", "1-2"])
    assert result.exit_code == 1
    told = json.loads(result.output)
    assert (told["episodes"], told["serious"], told["findings"][0]["stream"]) == (2, 1, FRONT)


def test_info_tells_the_figures(good: Path) -> None:
    result = CliRunner().invoke(app, ["dataset", "info", str(good), "--json"])
    figures = json.loads(result.output)
    assert (figures["episodes"], figures["frames"], figures["seconds"]) == (3, 225, 7.5)
    assert (figures["success"], figures["failure"], figures["contract"]) == (2, 1, "small")
    assert figures["cameras"][FRONT]["codec"] == "h264" and figures["tasks"] == {"do it": 3}
    assert "3 episodes, 225 rows at 30 Hz" in CliRunner().invoke(app, ["dataset", "info", str(good)]).output
