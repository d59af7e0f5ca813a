"""Latency measured on the running simulator, by a motion through the gate."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from changed_contract import patient_contract
from ros_support import RosTest

from vla_ros.calibrate_latency import evaluate
from vla_ros.contract import load_contract
from vla_ros.errors import CalibrationError, GraphError
from vla_ros.ros.graph import bring_up
from vla_ros.ros.up import Graph

DELAY = 60_000_000  # [ns]
FRONT, LATE = "observation.images.front", "observation.images.late"


def contract_with_a_late_camera(folder: Path) -> Path:
    """Return a contract with the front camera, and the same camera by a driver that stamps late."""
    path = patient_contract(folder)
    data = yaml.safe_load(path.read_text())
    streams = data["observation"]
    data["observation"] = {
        key: streams[key] for key in (FRONT, "observation.state", "observation.wrench.tool", "task")
    } | {LATE: {**streams[FRONT], "topic": "/late/image_raw"}}
    path = folder / "late.yaml"
    path.write_text(yaml.safe_dump(data, sort_keys=False))
    return path


@pytest.mark.timeout(300)
def test_an_injected_delay_is_found_on_the_running_simulator(ros: RosTest, tmp_path: Path) -> None:
    from sensor_msgs.msg import Image

    from vla_ros.messages import from_time
    from vla_ros.ros import qos
    from vla_ros.ros.calibrate_latency import record_motion
    from vla_ros.ros.convert import to_time

    contract = load_contract(contract_with_a_late_camera(tmp_path))
    publisher = ros.node.create_publisher(Image, "/late/image_raw", qos.COMMAND)

    def relay(message: Any) -> None:
        message.header.stamp = to_time(from_time(message.header.stamp) + DELAY)
        publisher.publish(message)

    ros.node.create_subscription(Image, "/front_camera/color/image_raw", relay, qos.reliable(10))
    specs = bring_up(contract="tabletop_arm", task="reach", seed=3)
    specs = [
        replace(spec, parameters={**spec.parameters, "contract": str(patient_contract(tmp_path))}) for spec in specs
    ]
    with Graph(specs) as graph:
        graph.wait_ready(120.0)
        stop = threading.Event()
        relaying = threading.Thread(target=lambda: spin_until(ros, stop))
        relaying.start()
        try:
            said: list[str] = []
            seen = record_motion(contract, "shoulder_pan", 0.05, 8.0, say=said.append)
            found, refused = evaluate(contract, seen, "shoulder_pan", None, said.append)
            print("\n".join(said))
            assert {FRONT, LATE} <= found.keys(), refused
            assert abs(found[LATE].seconds - found[FRONT].seconds - 0.060) < 0.006
            assert abs(found[FRONT].seconds) < 0.012
            with pytest.raises(CalibrationError, match="cannot move by .* at most 0.0"):
                record_motion(contract, "shoulder_pan", 0.5, 8.0)
        finally:
            stop.set()
            relaying.join()


def spin_until(ros: RosTest, stop: threading.Event) -> None:
    while not stop.is_set():
        ros.executor.spin_once(timeout_sec=0.1)


def test_a_robot_that_is_not_up_and_an_unknown_joint_are_named(ros: RosTest, monkeypatch: pytest.MonkeyPatch) -> None:
    from vla_ros.ros import calibrate_latency

    monkeypatch.setattr(calibrate_latency, "PATIENCE", 0.5)
    contract = load_contract("tabletop_arm")
    with pytest.raises(GraphError, match="no joint states on /joint_states within 0 s: is the robot up"):
        calibrate_latency.record_motion(contract, "elbow", 0.05, 8.0, context=ros.context)
    with pytest.raises(CalibrationError, match="did you mean 'elbow'"):
        calibrate_latency.record_motion(contract, "elbo", 0.05, 8.0, context=ros.context)
