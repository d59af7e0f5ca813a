"""The benchmarks run and print their numbers; how good those are depends on the machine."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from changed_contract import patient_contract

pytest.importorskip("rclpy", reason="needs ROS 2")

from vla_ros.ros.bench import gate, transport
from vla_ros.ros.bench_cameras import cameras
from vla_ros.ros.bench_standins import STAGES


def test_the_gates_period_is_printed_idle_and_under_load(ros_domain: int, capsys: pytest.CaptureFixture[str]) -> None:
    gate(seconds=1.0, load=1)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines[1:]] == ["0 busy threads", "1 busy threads"]
    for line in lines[1:]:
        match = re.search(r"period p50 \[ms\] (\d+\.\d+).*jitter p99 \[ms\] (\d+\.\d+)", line)
        assert match is not None
        assert float(match[1]) == pytest.approx(10.0, abs=1.0)


@pytest.mark.parametrize("task", ["reach", "pick_place"])  # the gripper at either end of its range
def test_the_time_from_image_to_command_is_printed_by_stage(
    ros_domain: int, tmp_path: Path, capsys: pytest.CaptureFixture[str], task: str
) -> None:
    transport(seconds=3.0, contract=str(patient_contract(tmp_path)), task=task)
    lines = capsys.readouterr().out.splitlines()
    for stage, line in zip(STAGES, lines[1:], strict=True):
        assert re.match(rf"capture stamp to {stage}: p50 \d+\.\d ms, p99 \d+\.\d ms, max ", line)


def test_frames_and_ages_of_cameras_are_printed(ros_domain: int, capsys: pytest.CaptureFixture[str]) -> None:
    cameras(seconds=2.0, count=1)
    lines = capsys.readouterr().out.splitlines()
    assert re.match(r"observation.images.camera_1: \d+ frames 640x480 published, \d+ received, \d+ lost; age", lines[1])
    assert re.match(r"\d+ frames lost \(want 0\), p99 of the age beyond the camera's own latency \d+", lines[-1])
