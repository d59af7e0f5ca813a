"""gate_node with another command interface, in lockstep, and at its end."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2")

from changed_contract import changed_contract
from gate_graph import HOME, GateGraph
from ros_support import RosTest
from std_msgs.msg import Float64MultiArray

from vla_ros.contract import load_contract
from vla_ros.errors import GraphError
from vla_ros.kinematics import Kinematics
from vla_ros.ros.convert import from_time
from vla_ros.ros.graph import NodeSpec
from vla_ros.ros.up import Graph

MS = 1_000_000
FASTEST = 4.0  # [m/s] of the tip with several joints at their 1.5 rad/s


def test_a_forward_controller_gets_positions_in_the_contracts_order(ros: RosTest, tmp_path: Path) -> None:
    text = load_contract("tabletop_arm").text
    text = text.replace("{interface: joint_trajectory, topic: /arm_controller/joint_trajectory}",
                        "{interface: forward, topic: /arm_controller/commands}")  # fmt: skip
    contract = tmp_path / "forward.yaml"
    contract.write_text(text)
    with GateGraph(ros, contract) as gate:
        gate.start_feeding()
        assert isinstance(gate.commands[0], Float64MultiArray)
        assert list(gate.commands[0].data) == pytest.approx(HOME.tolist())


def test_a_cartesian_controller_gets_bounded_poses_and_the_gripper_beside_them(ros: RosTest, tmp_path: Path) -> None:
    """The arm follows by solving the poses, as MoveIt Servo or a Cartesian controller does."""
    contract = changed_contract(
        tmp_path, {"action/command": {"interface": "pose", "topic": "/servo/pose", "joints": "/gripper/commands"}}
    )
    kinematics = Kinematics.of(load_contract(contract))
    with GateGraph(ros, contract) as gate:
        grippers = ros.collect(Float64MultiArray, "/gripper/commands", 100)

        def follow() -> None:
            if gate.commands and grippers:
                p, o = gate.commands[-1].pose.position, gate.commands[-1].pose.orientation
                gate.q = kinematics.solve([p.x, p.y, p.z, o.x, o.y, o.z, o.w], gate.q)
                gate.q[6] = grippers[-1].data[0]

        gate.start_feeding()
        assert gate.commands[0].header.frame_id == "base_link"
        assert gate.set_source("policy").successful
        ros.node.create_timer(0.01, follow)
        goal = HOME + np.array([0.2, 0.1, -0.1, 0.0, 0.0, 0.1, -0.02])
        ros.node.create_timer(0.2, lambda: gate.send_chunk(np.tile(goal, (60, 1))))
        ros.wait_for(lambda: np.abs(gate.q - goal).max() < 1e-3, what="the arm at the goal")
        path = np.array([[c.pose.position.x, c.pose.position.y, c.pose.position.z] for c in gate.commands])
        passed = np.diff([from_time(c.header.stamp) for c in gate.commands]) / 1e9
        assert (np.linalg.norm(np.diff(path, axis=0), axis=1) < FASTEST * passed + 0.02).all(), "bounded, not at once"
        assert grippers[-1].data[0] == pytest.approx(0.01, abs=1e-3) and len(grippers[-1].data) == 1


def test_joints_that_a_pose_does_not_move_need_a_topic(ros: RosTest, tmp_path: Path) -> None:
    contract = changed_contract(tmp_path, {"action/command": {"interface": "pose", "topic": "/servo/pose"}})
    with Graph([NodeSpec("gate_node", "vla_ros.ros.nodes.gate_node", {"contract": str(contract)})]) as graph:
        with pytest.raises(GraphError, match=r"action\.command\.joints: want a topic for gripper"):
            graph.wait_ready()


def test_on_ctrl_c_it_brakes_and_then_ends_with_exit_code_0(ros: RosTest) -> None:
    with GateGraph(ros) as gate:
        gate.start_feeding()
        assert gate.set_source("policy").successful
        ros.node.create_timer(0.2, lambda: gate.send_chunk(np.tile(HOME + 0.3, (60, 1))))
        gate.wait_motion()
        stop = threading.Thread(target=gate.graph.stop)
        stop.start()
        ros.wait_for(lambda: not any(gate.commands[-1].points[0].velocities), what="a last command, at rest")
        ros.wait_for(lambda: not stop.is_alive(), what="the end of the gate")
        assert gate.graph.exit_codes == {"gate_node": 0}


def test_a_contract_with_an_unknown_key_ends_it_with_one_line(ros: RosTest, tmp_path: Path) -> None:
    contract = tmp_path / "wrong.yaml"
    contract.write_text(load_contract("tabletop_arm").text.replace("robot: tabletop_arm", "robt: tabletop_arm"))
    with Graph([NodeSpec("gate_node", "vla_ros.ros.nodes.gate_node", {"contract": str(contract)})]) as graph:
        with pytest.raises(GraphError, match=r"gate_node ended with exit code 1: .*robt"):
            graph.wait_ready()


def test_in_lockstep_each_tick_is_answered_once_and_waits_for_the_due_chunk(ros: RosTest) -> None:
    with GateGraph(ros, use_sim_time=True, lockstep=True) as gate:
        ros.wait_for(
            lambda: gate._joints.get_subscription_count() and gate._wrench.get_subscription_count(),
            what="the gate",
        )
        ros.wait_for(
            lambda: gate.ros.node.count_publishers(gate.contract.action.command.topic) == 1,
            what="its publisher",
        )

        def answered(stamp: int) -> bool:
            return bool(gate.commands) and gate.last_stamp() == stamp

        gate.publish_sensors(0)
        ros.wait_for(lambda: answered(0), what="the answer at 0 without a source")
        assert gate.set_source("policy").successful
        gate.publish_sensors(10 * MS)
        ros.spin_for(0.2)
        assert answered(0)  # it waits for the chunk stamped 0
        gate.send_chunk(np.tile(HOME + 0.1, (30, 1)), stamp=0)
        ros.wait_for(lambda: answered(10 * MS), what="the answer at 10 ms")
        for tick in (20, 30):
            gate.publish_sensors(tick * MS)
            ros.wait_for(lambda tick=tick: answered(tick * MS), what=f"the answer at {tick} ms")
        gate.publish_sensors(40 * MS)
        ros.spin_for(0.2)
        assert answered(30 * MS)
        gate.send_chunk(np.full((30, 7), np.nan), stamp=33_333_333)  # refused, but it is the source's answer
        ros.wait_for(lambda: answered(40 * MS), what="the answer at 40 ms")
        assert len(gate.commands) == 5
        assert any(gate.commands[-1].points[0].velocities)

        assert gate.set_source("").successful
        gate.q = HOME + [0.4, 0, 0, 0, 0, 0, 0]
        gate.publish_sensors(0)  # the simulator was reset
        ros.wait_for(lambda: answered(0), what="the answer after the reset")
        assert list(gate.commands[-1].points[0].positions) == pytest.approx((HOME + [0.4, 0, 0, 0, 0, 0, 0]).tolist())
