"""Two emulated leader arms lead the two simulated arms; one episode holds both, and what went wrong is noted of it."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from changed_contract import changed_contract
from ros_support import RosTest
from servo_support import address, calibration

from vla_ros.contract import load_contract
from vla_ros.data import Dataset
from vla_ros.emulators.dynamixel import DynamixelEmulator
from vla_ros.emulators.feetech import FeetechEmulator

DEGREE, TICK = np.pi / 180.0, 2.0 * np.pi / 4096
ELBOW, PAN, SHUT = 3, 1, 1000  # servo ids; ticks of a closed gripper
VOLTAGE = 144  # where a Dynamixel keeps its present supply [0.1 V]


def blind_contract(folder: Path) -> Path:
    """Write the contract of two arms without cameras, which a busy machine meets."""
    contract = load_contract("two_arms")
    ages: dict[str, object] = {"observation/observation.state/max_age": 2.0, "limits/chunk_age": 2.0}
    file = changed_contract(folder, ages, "two_arms")
    data = yaml.safe_load(file.read_text())
    images = [stream.key for stream in contract.streams("image")]
    data["observation"] = {key: stream for key, stream in data["observation"].items() if key not in images}
    file.write_text(yaml.safe_dump(data, sort_keys=False))
    return file


class Operator:
    """Holds the clutch of both arms, and looks at where they are."""

    def __init__(self, ros: RosTest) -> None:
        from builtin_interfaces.msg import Time
        from diagnostic_msgs.msg import DiagnosticArray
        from sensor_msgs.msg import JointState

        from vla_ros.ros import qos

        self.ros, self.joints, self.said, self.recorder = ros, {}, "", ""
        self.progress = ros.collect(Time, "/recorder/progress", qos.COMMAND)
        ros.node.create_subscription(JointState, "/joint_states", self._on_joints, qos.SENSOR)
        ros.node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, qos.COMMAND)

    def _on_joints(self, message: Any) -> None:
        self.joints = dict(zip(message.name, message.position, strict=True))

    def _on_diagnostics(self, message: Any) -> None:
        self.said = next((s.message for s in message.status if s.name == "teleop_node"), self.said)
        self.recorder = next((s.message for s in message.status if s.name == "recorder_node"), self.recorder)

    def clutch(self) -> None:
        from std_srvs.srv import SetBool

        self.said = ""
        assert self.ros.call(SetBool, "/teleop_node/clutch", SetBool.Request(data=True)).success

    def bring(self, **elbows: int) -> None:
        """Wait until the elbows are at these ticks; a machine too busy makes the clutch open, which is taken again."""

        def there() -> bool:
            if "take the clutch again" in self.said:
                self.clutch()
            away = [self.joints.get(f"{arm}_elbow", 9.0) - (ticks - 2048) * TICK for arm, ticks in elbows.items()]
            return max(map(abs, away)) < 1.0 * DEGREE

        self.ros.wait_for(
            there, 90.0, f"elbows at {elbows}, the arms are at {self.joints}, teleop_node says '{self.said}'"
        )

    def hears(self, *words: str) -> None:
        try:
            self.ros.wait_for(lambda: all(word in self.said for word in words))
        except AssertionError:
            raise AssertionError(f"teleop_node did not say {words}, it says '{self.said}'") from None

    def begin(self) -> None:
        """Start an episode; again where a machine too busy has ended the recording before its first row."""
        while True:
            self.record("start")
            before = len(self.progress)
            self.ros.wait_for(lambda before=before: len(self.progress) > before + 1 or self.stopped, what="a row")
            if not self.stopped:
                return
            self.record("discard")

    def recorded(self) -> bool:
        """Wait until what is now is in the recording; return False when a machine too busy has ended it."""
        now = self.ros.node.get_clock().now().nanoseconds
        self.ros.wait_for(
            lambda: self.stopped or self.progress[-1].sec * 10**9 + self.progress[-1].nanosec >= now,
            what="rows up to the present",
        )
        return not self.stopped

    @property
    def stopped(self) -> bool:
        """Whether the recorder says that it has stopped by itself."""
        return self.recorder not in ("", "recording", "idle")

    def record(self, command: str) -> dict[str, Any]:
        from std_srvs.srv import Trigger

        answers, self.recorder = [], ""

        def done() -> bool:
            answers.append(self.ros.call(Trigger, f"/recorder_node/{command}"))
            return bool(answers[-1].success)

        self.ros.wait_for(done, what=f"/recorder_node/{command}")
        return dict(json.loads(answers[-1].message))


@pytest.mark.timeout(300)
def test_two_leaders_lead_two_arms_into_one_episode_and_trouble_is_noted_of_the_running_one(
    ros: RosTest, tmp_path: Path
) -> None:
    from vla_ros.ros.graph import bring_up
    from vla_ros.ros.up import Graph

    file = calibration(tmp_path / "leader.yaml")
    with ExitStack() as stack:
        left = stack.enter_context(DynamixelEmulator(amplitude=0.0))
        right = stack.enter_context(FeetechEmulator(amplitude=0.0))
        for leader in (left, right):
            leader.rest |= {PAN: 2048 - 130, 7: SHUT}
        device = f"left={address(left, file, rate=100)},right={address(right, file, rate=100)}"
        specs = bring_up(
            str(blind_contract(tmp_path)), task="reach", teleop=device, source="teleop", record=str(tmp_path / "both")
        )
        graph = stack.enter_context(Graph(specs, tmp_path / "logs"))
        operator = Operator(ros)
        graph.wait_ready()
        ros.wait_for(lambda: operator.joints)
        operator.clutch()
        while True:
            left.rest[ELBOW] = right.rest[ELBOW] = 2048
            operator.bring(left=2048, right=2048)
            operator.begin()
            left.rest[ELBOW] -= 150
            operator.bring(left=1898, right=2048)
            right.rest[ELBOW] -= 250
            operator.bring(left=1898, right=1798)
            if operator.recorded():
                break
            operator.record("discard")
        saved = operator.record("save")
        assert saved["problem"] == ""
        graph.check()

        operator.begin()
        left.servos[2].set(VOLTAGE, 2, 30)
        operator.hears("left: servo 2: low voltage", "take the clutch again")
        left.rest[ELBOW] += 100
        operator.bring(left=1998, right=1798)
        right.fault = "unplug"
        operator.hears("right: ", "there is no such port now")
        operator.record("save")
        graph.check()

    dataset = Dataset(tmp_path / "both")
    assert len(dataset.episodes) == 2 and 0 not in dataset.notes
    noted = " ".join(note.text for note in dataset.notes[1])
    assert "left: servo 2: low voltage" in noted and "right: " in noted
    names = list(load_contract("two_arms").joint_names)
    action, state = dataset.column("action", 0), dataset.column("observation.state", 0)
    assert action.shape == state.shape == (saved["rows"], 14)
    for rows in (action, state):
        for arm, moved in (("left", 150), ("right", 250)):
            elbow = rows[:, names.index(f"{arm}_elbow")]
            assert abs(abs(elbow[-1] - elbow[0]) - moved * TICK) < 3.0 * DEGREE
