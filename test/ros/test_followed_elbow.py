"""A tracked arm on the running graph: the elbow of a redundant arm turns as the operator's, and the tip does not feel it."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
from gate_graph import GateGraph
from hand_graph import MILLIMETRE, HandOperator
from ros_support import RosTest
from seven_joints import elbow_of, seven_contract

from vla_ros.emulators.natnet import NatNetEmulator
from vla_ros.ros.graph import NodeSpec

BENT = np.array([0.2, 0.7, 0.1, 1.2, -0.1, 0.8, 0.0])
TURN, SPEED = 0.5, 0.3  # [rad] of the operator's elbow, [rad/s]


def test_the_elbow_follows_the_operators_and_the_tip_stays(ros: RosTest, tmp_path: Path) -> None:
    contract = str(seven_contract(tmp_path).source)
    with NatNetEmulator() as motive:
        motive.hand.amplitude = motive.hand.swing = 0.0
        device = f"{motive.address.split('?')[0]}?body=Hand&follow=arm&shoulder=Shoulder&elbow=Elbow"
        told = {"contract": contract, "device": device, "arm_joints": "joint_2,joint_4,joint_6"}
        teleop = NodeSpec("teleop_node", "vla_ros.ros.nodes.teleop_node", told)
        with GateGraph(ros, contract, BENT, [teleop], source="teleop") as robot:
            operator = HandOperator(ros, Path(contract))
            robot.start_feeding()
            ros.wait_for(lambda: operator.commands and operator.joints)
            operator.engage_without_a_jump()
            begun, tip = elbow_of(robot.q), operator.tip

            last = time.monotonic()

            def turned() -> bool:
                """Whether the elbow has; where a busy machine has tied the arms anew the operator's goes on."""
                nonlocal last
                operator.taken_again()
                step, last = SPEED * (time.monotonic() - last), time.monotonic()
                far = begun.turned(elbow_of(robot.q)) > TURN
                motive.hand.swivel += 0.0 if far else min(step, 0.05)
                return far and operator.still(1e-4) and np.linalg.norm(operator.tip[:3] - tip[:3]) < 2.0 * MILLIMETRE

            ros.wait_for(turned, what="the turn of the elbow about a resting tip")
            ahead = begun.turned(elbow_of(robot.q))
            motive.hand.seen = False
            operator.says("teleop_node", "is not tracked")
            operator.says("gate_node", "hold: source 'teleop' asks to hold")
            assert begun.turned(elbow_of(robot.q)) - ahead < 0.1
            robot.graph.check()
