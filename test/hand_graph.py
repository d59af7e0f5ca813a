"""A tracked hand on the running graph, as an operator sees it: what the devices of motion capture are tested with."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from changed_contract import blind_contract
from ros_support import RosTest

from vla_ros.contract import load_contract
from vla_ros.emulators.hand import EmulatedHand
from vla_ros.kinematics import Kinematics

DEGREE, MILLIMETRE = np.pi / 180.0, 0.001
RECENT = 100  # joint states
WATCHED = 60  # commands of the gate, of 10 ms each, after engaging
PACE = 0.002  # [m] that the hand moves at once: further is no motion of a hand
AWAY = np.array([0.0, 0.04, 0.03])  # [m] that the hand moves


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
        self.recent: deque[list[float]] = deque(maxlen=RECENT)  # joint positions
        node = ros.node
        node.create_subscription(JointState, "/joint_states", self._on_joints, qos.SENSOR)
        node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, qos.COMMAND)
        node.create_subscription(JointTrajectory, "/arm_controller/joint_trajectory", self._on_command, qos.COMMAND)

    def _on_joints(self, message: Any) -> None:
        self.joints = dict(zip(message.name, message.position, strict=True))
        self.recent.append(list(message.position))

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
        self.ros.wait_for(lambda: self.taken_again(hand) or "active" in self.status.get("gate_node", ""))
        first = len(self.commands)
        self.ros.wait_for(lambda: len(self.commands) >= first + WATCHED)
        begun = self.kinematics.pose(start)[:3]
        for position in self.commands[first : first + WATCHED]:
            assert (np.abs(position - start)[:-1] < 1.0 * DEGREE).all()
            assert np.linalg.norm(self.kinematics.pose(position)[:3] - begun) < 2.0 * MILLIMETRE

    def taken_again(self, hand: EmulatedHand | None = None) -> bool:
        """Take the clutch again if a machine too busy has made it open; always False."""
        status = self.status.get("teleop_node", "")
        if hand is not None and "the clutch is open" in status:
            hand.held = True
        elif "take the clutch again" in status:
            self.status.clear()
            self.clutch(hand is None, hand)  # the hand's own has to be let go first
        return False

    def follows(self, hand: EmulatedHand, away: np.ndarray, own_clutch: bool = False, trembling: float = 1e-4) -> None:
        """Move the tip by `away` by moving the hand, as a person does who looks at the tip: within 5 mm, told live.

        trembling: of the joints [rad] that counts as rest, for a tracker that trembles.
        Where a busy machine has tied the hand anew in mid-motion the tip has come less far, and the hand goes on.
        """
        target, goal = self.tip[:3] + away, hand.rest + away

        def there() -> bool:
            nonlocal goal
            self.taken_again(hand if own_clutch else None)
            left = goal - hand.rest
            hand.rest = hand.rest + left * min(1.0, PACE / max(float(np.linalg.norm(left)), 1e-9))
            missing = target - self.tip[:3]
            if np.linalg.norm(left) < 1e-6 and self.still(trembling):
                goal = hand.rest + missing
                self.recent.clear()
            return bool(np.linalg.norm(missing) < 5.0 * MILLIMETRE)

        try:
            self.ros.wait_for(there)
        except AssertionError:
            raise AssertionError(f"the tip is {target - self.tip[:3]} from {target}; {self.status}") from None
        self.ros.wait_for(lambda: float(self.values.get("retargeting_error_mm", "p50 9").split()[1].rstrip(",")) < 5.0)

    def still(self, trembling: float) -> bool:
        """Whether the tip has not moved for the last RECENT joint states."""
        return len(self.recent) == RECENT and bool(np.ptp(np.array(self.recent), axis=0).max() < trembling)


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
