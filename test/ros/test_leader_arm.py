"""An emulated leader arm on the running graph: it moves the simulated arm, its cable is pulled, and nothing ever jumps."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from changed_contract import blind_contract
from ros_support import RosTest
from servo_support import JOINTS, address, calibration

from vla_ros.emulators.dynamixel import DynamixelEmulator

DEGREE, MILLIMETRE, TICK = np.pi / 180.0, 0.001, 2.0 * np.pi / 4096
ELBOW = JOINTS.index("elbow")
WATCHED = 60  # commands of the gate, of 10 ms each, after engaging
APPROACH, GRIP = 0.3, 0.1  # [rad/s, m/s] at which leader and follower are led together


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
        self.commands: list[tuple[np.ndarray, int]] = []  # positions, and the tick [ns]
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
        from vla_ros.ros.convert import from_time

        assert list(message.joint_names) == list(JOINTS)
        self.commands.append((np.array(message.points[0].positions), from_time(message.header.stamp)))

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
        """Take the clutch: the arm goes to its leader no faster than they are led together."""
        start, stamp = self.commands[-1]
        self.status.clear()
        self.clutch(True)
        self.ros.wait_for(lambda: self.taken_again() or "active" in self.status.get("gate_node", ""))
        first = len(self.commands)
        self.ros.wait_for(lambda: len(self.commands) >= first + WATCHED)
        for position, t in self.commands[first : first + WATCHED]:
            away, since = np.abs(position - start), (t - stamp) / 1e9
            assert (away[:-1] < APPROACH * since + 1.0 * DEGREE).all() and away[-1] < GRIP * since + 2.0 * MILLIMETRE

    def taken_again(self) -> bool:
        """Take the clutch again if a machine too busy has made it open; always False."""
        if "take the clutch again" in self.status.get("teleop_node", ""):
            self.status.clear()
            self.clutch(True)
        return False

    def led_together(self, emulator: DynamixelEmulator) -> None:
        """Wait until the elbow is where its leader is; take the clutch again when a busy machine made it open."""

        def together() -> bool:
            self.taken_again()
            return abs(self.joints["elbow"] - (emulator.rest[ELBOW + 1] - 2048) * TICK) < 1.0 * DEGREE

        try:
            self.ros.wait_for(together)
        except AssertionError:
            wanted = (emulator.rest[ELBOW + 1] - 2048) * TICK
            raise AssertionError(
                f"the elbow is at {self.joints['elbow']:.3f}, not {wanted:.3f}: {self.status}"
            ) from None


@pytest.fixture
def leader() -> Iterator[DynamixelEmulator]:
    with DynamixelEmulator(amplitude=0.0) as emulator:
        emulator.rest |= {1: 2348, 3: 1948, 4: 1948, 6: 2348}  # up and aside, clear of table and base
        emulator.rest[7] = 1000  # closed, as the arm's gripper
        yield emulator


def test_a_leader_arm_leads_and_a_pulled_cable_holds_the_arm_until_the_clutch_is_taken_again(
    ros: RosTest, leader: DynamixelEmulator, tmp_path: Path
) -> None:
    from vla_ros.ros.graph import bring_up
    from vla_ros.ros.up import Graph

    device = address(leader, calibration(tmp_path / "leader.yaml"), rate=100)
    specs = bring_up(str(blind_contract(tmp_path)), task="reach", teleop=device, source="teleop")
    with ExitStack() as stack:
        graph = stack.enter_context(Graph(specs, tmp_path / "logs"))
        operator = Operator(ros)
        graph.wait_ready()
        operator.says("teleop_node", "the clutch is open")
        operator.says("gate_node", "hold: source 'teleop' asks to hold")
        ros.wait_for(lambda: operator.commands and operator.joints)
        operator.engage_without_a_jump()
        operator.says("teleop_node", "leading")

        operator.led_together(leader)
        for _ in range(5):
            leader.rest[ELBOW + 1] -= 40
            operator.led_together(leader)

        operator.status.clear()
        leader.fault = "unplug"
        operator.says("teleop_node", "there is no such port now")
        assert leader.path in operator.status["teleop_node"]
        assert operator.levels["teleop_node"] == 2
        operator.says("gate_node", "hold: source 'teleop' asks to hold")
        held = operator.commands[-1][0][ELBOW]
        leader.rest[ELBOW + 1] += 300
        leader.fault = "none"
        operator.says("teleop_node", "take the clutch again")
        assert abs(operator.commands[-1][0][ELBOW] - held) < 1.0 * DEGREE

        operator.engage_without_a_jump()
        operator.led_together(leader)

        operator.clutch(False)
        operator.says("gate_node", "hold: source 'teleop' asks to hold")
        held, count = operator.commands[-1][0][ELBOW], len(operator.commands)
        leader.rest[ELBOW + 1] -= 400
        ros.wait_for(lambda: len(operator.commands) > count + WATCHED)
        assert abs(operator.commands[-1][0][ELBOW] - held) < 1.0 * DEGREE
        graph.check()
