"""A tracked hand on the running graph, as an operator sees it: what the devices of motion capture are tested with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from changed_contract import patient_contract
from ros_support import RosTest

from vla_ros.contract import load_contract
from vla_ros.emulators.hand import EmulatedHand
from vla_ros.kinematics import Kinematics

DEGREE, MILLIMETRE = np.pi / 180.0, 0.001
WATCHED = 60  # commands of the gate, of 10 ms each, after engaging
AWAY = np.array([0.0, 0.04, 0.03])  # [m] that the hand moves


def blind_contract(folder: Path) -> Path:
    """Write a contract that a busy machine meets, of a robot without cameras."""
    file = patient_contract(folder)
    data = yaml.safe_load(file.read_text())
    data["observation"] = {key: stream for key, stream in data["observation"].items() if stream["kind"] != "image"}
    file.write_text(yaml.safe_dump(data, sort_keys=False))
    return file


class HandOperator:
    """Takes the clutch, and looks at the arm's tip, the commands and the diagnostics."""

    def __init__(self, ros: RosTest, contract: Path) -> None:
        from diagnostic_msgs.msg import DiagnosticArray
        from sensor_msgs.msg import JointState
        from trajectory_msgs.msg import JointTrajectory

        from vla_ros.ros import qos

        self.ros = ros
        self.kinematics = Kinematics.of(load_contract(str(contract)))
        self.joints: dict[str, float] = {}
        self.status: dict[str, str] = {}
        self.values: dict[str, str] = {}  # of teleop_node
        self.commands: list[np.ndarray] = []
        node = ros.node
        node.create_subscription(JointState, "/joint_states", self._on_joints, qos.SENSOR)
        node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, qos.COMMAND)
        node.create_subscription(JointTrajectory, "/arm_controller/joint_trajectory", self._on_command, qos.COMMAND)

    def _on_joints(self, message: Any) -> None:
        self.joints = dict(zip(message.name, message.position, strict=True))

    def _on_diagnostics(self, message: Any) -> None:
        self.status |= {status.name: status.message for status in message.status}
        for status in message.status:
            if status.name == "teleop_node":
                self.values = {pair.key: pair.value for pair in status.values}

    def _on_command(self, message: Any) -> None:
        self.commands.append(np.array(message.points[0].positions))

    @property
    def tip(self) -> np.ndarray:
        """The tip's pose [7], as measured."""
        return self.kinematics.pose([self.joints[name] for name in self.kinematics.joint_names])

    def clutch(self, held: bool, hand: EmulatedHand | None = None) -> None:
        """Take or release the clutch: the hand's own, where one is given, otherwise the node's."""
        if hand is not None:
            hand.held = held
            return
        from std_srvs.srv import SetBool

        assert self.ros.call(SetBool, "/teleop_node/clutch", SetBool.Request(data=held)).success

    def says(self, node: str, text: str) -> None:
        self.status.pop(node, None)
        try:
            self.ros.wait_for(lambda: text in self.status.get(node, ""))
        except AssertionError:
            raise AssertionError(f"{node} did not say '{text}', it says '{self.status.get(node)}'") from None

    def engage_without_a_jump(self, hand: EmulatedHand | None = None) -> None:
        """Take the clutch with the hand at rest: the arm stays where it is."""
        start = self.commands[-1]
        self.status.clear()
        self.clutch(True, hand)
        self.ros.wait_for(lambda: self.taken_again() or "active" in self.status.get("gate_node", ""))
        first = len(self.commands)
        self.ros.wait_for(lambda: len(self.commands) >= first + WATCHED)
        begun = self.kinematics.pose(start)[:3]
        for position in self.commands[first : first + WATCHED]:
            assert (np.abs(position - start)[:-1] < 1.0 * DEGREE).all()
            assert np.linalg.norm(self.kinematics.pose(position)[:3] - begun) < 2.0 * MILLIMETRE

    def taken_again(self) -> bool:
        """Take the clutch again if a machine too busy has made it open; always False."""
        if "take the clutch again" in self.status.get("teleop_node", ""):
            self.status.clear()
            self.clutch(True)
        return False

    def follows(self, hand: EmulatedHand, away: np.ndarray) -> None:
        """Move the hand, and wait until the tip has moved as much, within 5 mm, and the live error says so."""
        begun = self.tip[:3]
        hand.rest = hand.rest + away

        def there() -> bool:
            return bool(np.linalg.norm(self.tip[:3] - begun - away) < 5.0 * MILLIMETRE)

        try:
            self.ros.wait_for(there)
        except AssertionError:
            moved = self.tip[:3] - begun
            raise AssertionError(f"the tip moved by {moved}, the hand by {away}; {self.status}") from None
        self.ros.wait_for(lambda: "retargeting_error_mm" in self.values)
        self.ros.wait_for(lambda: float(self.values["retargeting_error_mm"].split()[1].rstrip(",")) < 5.0)


@contextmanager
def leading(ros: RosTest, device: str, folder: Path) -> Iterator[HandOperator]:
    """Yield an operator at the simulated arm whose hand `device` sees; nothing moves yet."""
    from vla_ros.ros.graph import bring_up
    from vla_ros.ros.up import Graph

    contract = blind_contract(folder)
    with Graph(bring_up(str(contract), task="reach", teleop=device, source="teleop"), folder / "logs") as graph:
        operator = HandOperator(ros, contract)
        graph.wait_ready()
        ros.wait_for(lambda: operator.commands and operator.joints)
        yield operator
        graph.check()
