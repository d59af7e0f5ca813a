"""An emulated leader arm on the running graph: it moves the simulated arm, its cable is pulled, and nothing ever jumps."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ros_support import RosTest
from servo_support import JOINTS, address, calibration

from vla_ros.emulators.dynamixel import DynamixelEmulator

DEGREE, MILLIMETRE, TICK = np.pi / 180.0, 0.001, 2.0 * np.pi / 4096
ELBOW = JOINTS.index("elbow")
WATCHED = 60  # commands of the gate, of 10 ms each, after engaging


class Operator:
    """Takes the clutch, and looks at arm, commands and diagnostics."""

    def __init__(self, ros: RosTest) -> None:
        from diagnostic_msgs.msg import DiagnosticArray
        from sensor_msgs.msg import JointState
        from trajectory_msgs.msg import JointTrajectory

        from vla_ros.ros import qos

        self.ros = ros
        self.joints: dict[str, float] = {}
        self.status: dict[str, str] = {}
        self.levels: dict[str, int] = {}
        self.commands: list[np.ndarray] = []
        node = ros.node
        node.create_subscription(JointState, "/joint_states", self._on_joints, qos.SENSOR)
        node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, qos.COMMAND)
        node.create_subscription(JointTrajectory, "/arm_controller/joint_trajectory", self._on_command, qos.COMMAND)

    def _on_joints(self, message: Any) -> None:
        self.joints = dict(zip(message.name, message.position, strict=True))

    def _on_diagnostics(self, message: Any) -> None:
        self.status |= {status.name: status.message for status in message.status}
        self.levels |= {status.name: status.level[0] for status in message.status}

    def _on_command(self, message: Any) -> None:
        assert list(message.joint_names) == list(JOINTS)
        self.commands.append(np.array(message.points[0].positions))

    def clutch(self, held: bool) -> None:
        from std_srvs.srv import SetBool

        assert self.ros.call(SetBool, "/teleop_node/clutch", SetBool.Request(data=held)).success

    def says(self, node: str, text: str) -> None:
        def said() -> bool:
            return text in self.status.get(node, "")

        try:
            self.ros.wait_for(said)
        except AssertionError:
            raise AssertionError(f"{node} did not say '{text}', it says '{self.status.get(node)}'") from None

    def engage_without_a_jump(self) -> None:
        """Take the clutch with the leader held still: the arm stays where it is."""
        start = self.commands[-1]
        self.clutch(True)
        self.says("gate_node", "active")
        first = len(self.commands)
        self.ros.wait_for(lambda: len(self.commands) >= first + WATCHED)
        away = np.abs(np.array(self.commands[first : first + WATCHED]) - start).max(axis=0)
        assert (away[:-1] < 1.0 * DEGREE).all() and away[-1] < 2.0 * MILLIMETRE

    def elbow_reaches(self, position: float) -> None:
        self.ros.wait_for(lambda: abs(self.joints["elbow"] - position) < 1.0 * DEGREE, what=f"the elbow at {position}")


@pytest.fixture
def leader() -> Iterator[DynamixelEmulator]:
    with DynamixelEmulator(amplitude=0.0) as emulator:
        emulator.rest |= dict.fromkeys(range(1, 7), 2048 + 300)  # 0.46 rad from where the arm is at most
        emulator.rest[7] = 1000  # closed, as the arm's gripper
        yield emulator


def test_a_leader_arm_leads_and_a_pulled_cable_holds_the_arm_until_the_clutch_is_taken_again(
    ros: RosTest, leader: DynamixelEmulator, tmp_path: Path
) -> None:
    from vla_ros.ros.graph import bring_up
    from vla_ros.ros.up import Graph

    device = address(leader, calibration(tmp_path / "leader.yaml"), rate=100)
    specs = bring_up(task="reach", teleop=device, teleop_parameters={"mode": "relative"}, source="teleop")
    with ExitStack() as stack:
        graph = stack.enter_context(Graph(specs, tmp_path / "logs"))
        operator = Operator(ros)
        graph.wait_ready()
        operator.says("teleop_node", "the clutch is open")
        operator.says("gate_node", "hold: source 'teleop' asks to hold")
        ros.wait_for(lambda: operator.commands and operator.joints)
        operator.engage_without_a_jump()
        operator.says("teleop_node", "leading")

        before = operator.commands[-1][ELBOW]
        leader.rest[ELBOW + 1] += 200
        operator.elbow_reaches(before + 200 * TICK)

        leader.fault = "unplug"
        operator.says("teleop_node", leader.path)
        assert operator.levels["teleop_node"] == 2
        operator.says("gate_node", "hold: source 'teleop' asks to hold")
        held = operator.commands[-1][ELBOW]
        leader.rest[ELBOW + 1] -= 250
        leader.fault = "none"
        operator.says("teleop_node", "take the clutch again")
        assert abs(operator.commands[-1][ELBOW] - held) < 1.0 * DEGREE

        operator.engage_without_a_jump()
        leader.rest[ELBOW + 1] -= 150
        operator.elbow_reaches(held - 150 * TICK)

        operator.clutch(False)
        operator.says("gate_node", "hold: source 'teleop' asks to hold")
        leader.rest[ELBOW + 1] += 400
        held = operator.commands[-1][ELBOW]
        count = len(operator.commands)
        ros.wait_for(lambda: len(operator.commands) > count + WATCHED)
        assert abs(operator.commands[-1][ELBOW] - held) < 1.0 * DEGREE
        graph.check()
