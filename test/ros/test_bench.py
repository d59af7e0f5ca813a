"""The benchmarks run and print their numbers; how good those are depends on the machine."""

from __future__ import annotations

import re

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2")

from vla_ros.ros.bench import gate, transport


def test_the_gates_period_is_printed_idle_and_under_load(
    ros_domain: int, capsys: pytest.CaptureFixture[str]
) -> None:
    gate(seconds=1.0, load=1)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines[1:]] == ["0 busy threads", "1 busy threads"]
    for line in lines[1:]:
        match = re.search(r"period p50 \[ms\] (\d+\.\d+).*jitter p99 \[ms\] (\d+\.\d+)", line)
        assert match is not None
        assert float(match[1]) == pytest.approx(10.0, abs=1.0)


def test_the_time_from_image_to_command_is_printed(
    ros_domain: int, capsys: pytest.CaptureFixture[str]
) -> None:
    transport(seconds=3.0)
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].startswith("capture stamp to observation: p50 ")
    assert re.match(r"capture stamp to command: p50 \d+\.\d ms, p99 \d+\.\d ms, max ", lines[2])
