"""From a sample to a chunk: held without an arm or a device, tied by the clutch, mapped by joints or by the tip."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from operation_support import HOME, operation
from servo_support import JOINTS, calibration

from vla_ros.action import ActionChunk
from vla_ros.contract import Contract, load_contract
from vla_ros.errors import DeviceError
from vla_ros.kinematics import Kinematics
from vla_ros.robot import load_urdf
from vla_ros.teleop.device import TeleopSample
from vla_ros.teleop.operation import Operation
from vla_ros.teleop.registry import DEVICES, clutch_of, is_live, make_device
from vla_ros.teleop.streamed import StreamedLeader
from vla_ros.teleop.topic import TopicLeader

MS = 1_000_000


def at(k: int, **joints: float) -> TeleopSample:
    return TeleopSample(k * 10 * MS, dict.fromkeys(JOINTS, 0.0) | joints)


def drive(made: Operation, samples: list[TeleopSample]) -> ActionChunk:
    """Let an arm that follows at once follow the samples; return the last chunk."""
    for sample in samples:
        chunk = made.act(sample)
        assert not chunk.empty
        made.see(sample.stamp, dict(zip(JOINTS, chunk.values[0].tolist(), strict=True)))
    return chunk


def test_the_first_chunk_is_where_the_arm_is(contract: Contract, kinematics: Kinematics) -> None:
    chunk = operation(contract, kinematics).act(at(1, elbow=1.0))
    assert chunk.values == pytest.approx(np.tile(list(HOME.values()), (8, 1)), abs=1e-9)


def test_the_chunk_goes_on_with_the_leaders_motion(contract: Contract, kinematics: Kinematics) -> None:
    made = operation(contract, kinematics, mode="relative")
    chunk = drive(made, [at(k, elbow=0.005 * k) for k in range(1, 20)])
    elbow = chunk.values[:, JOINTS.index("elbow")]
    assert np.diff(elbow) == pytest.approx(np.full(7, 0.005))
    assert elbow[0] == pytest.approx(0.3 + 0.005 * 18 + 0.005), "where the leader will be when it is to be reached"


def test_a_leader_that_jumps_is_not_taken_to_go_on_so(contract: Contract, kinematics: Kinematics) -> None:
    made = operation(contract, kinematics, mode="relative")
    made.act(at(1))
    elbow = made.act(at(2, elbow=0.3)).values[:, JOINTS.index("elbow")]
    assert (np.abs(np.diff(elbow)) <= 1.5 * 0.01 + 1e-9).all()
    assert np.abs(elbow - 0.6).max() <= 1.5 * 0.08 + 1e-9


@pytest.mark.parametrize("missing", ["never", "old"])
def test_without_the_arms_joints_it_holds(missing: str, contract: Contract, kinematics: Kinematics) -> None:
    made = Operation(contract, kinematics)
    made.clutch.take()
    if missing == "old":
        made.see(0, HOME)
    assert made.act(at(150)).empty


def test_a_lost_device_holds_until_the_clutch_is_taken_again(contract: Contract, kinematics: Kinematics) -> None:
    made = operation(contract, kinematics)
    assert not made.act(at(1)).empty
    assert made.hold(20 * MS, "cable pulled").empty and made.act(at(3)).empty
    assert made.clutch.reason == "cable pulled; take the clutch again"
    made.clutch.take()
    assert made.act(at(4, elbow=1.0)).values[0] == pytest.approx(list(HOME.values()))


def test_a_late_device_goes_on_from_where_the_arm_is(contract: Contract, kinematics: Kinematics) -> None:
    made = operation(contract, kinematics)
    made.act(at(1))
    assert made.pause(20 * MS).empty
    assert made.act(at(30, elbow=1.0)).values[0] == pytest.approx(list(HOME.values()))
    made.pause(310 * MS)
    made.hold(320 * MS, "silent")
    assert made.act(at(33)).empty, "late turned into lost"


def test_an_arm_that_does_not_come_along_is_not_made_to_dash(contract: Contract, kinematics: Kinematics) -> None:
    made = operation(contract, kinematics, mode="relative")
    made.act(at(1))
    assert not made.act(at(2, elbow=0.5)).empty
    assert made.act(at(3, elbow=0.7)).empty
    assert "the arm is 0.70 behind its leader at 'elbow'" in made.clutch.reason


def posed(k: int, move: tuple[float, float, float]) -> TeleopSample:
    return TeleopSample(k * 10 * MS, pose=np.array([*move, 0.0, 0.0, 0.0, 1.0]), gripper=0.03)


def test_a_hand_moves_the_tip_by_inverse_kinematics(contract: Contract, kinematics: Kinematics) -> None:
    made = operation(contract, kinematics, scale=0.5)
    start = kinematics.pose(list(HOME.values()))
    moves = [(0.04 * min(k / 50, 1.0), -0.02 * min(k / 50, 1.0), 0.0) for k in range(80)]
    chunk = drive(made, [posed(k, move) for k, move in enumerate(moves)])
    reached = kinematics.pose(chunk.values[0])
    assert reached[:3] == pytest.approx(start[:3] + [0.02, -0.01, 0.0], abs=1e-3)
    assert reached[3:] == pytest.approx(start[3:], abs=5e-3)
    assert chunk.values[0][-1] == pytest.approx(0.03)


def test_a_contract_of_poses_gets_poses() -> None:
    contract = load_contract("tabletop_arm_ee")
    kinematics = Kinematics.of(contract)
    made = operation(contract, kinematics)
    start = kinematics.pose([HOME[name] for name in kinematics.joint_names])
    made.act(posed(1, (0.5, 0.5, 0.5)))
    chunk = made.act(posed(2, (0.51, 0.5, 0.5)))
    assert chunk.space == "ee_pose" and chunk.frame == "base_link"
    assert chunk.values[0][:7] == pytest.approx(start + [0.01, 0, 0, 0, 0, 0, 0])


def test_a_leader_of_other_kinematics_leads_with_its_tip(contract: Contract, kinematics: Kinematics) -> None:
    leader = Kinematics(load_urdf(contract.urdf), kinematics.tip_joints, "tool0")
    made = operation(contract, kinematics, leader)
    start = kinematics.pose(list(HOME.values()))
    chunk = drive(made, [at(k, shoulder_pan=0.002 * min(k, 50)) for k in range(120)])
    q = np.zeros(6)
    before = leader.pose(q)
    q[0] = 0.1
    assert kinematics.pose(chunk.values[0])[:3] - start[:3] == pytest.approx((leader.pose(q) - before)[:3], abs=1e-3)


# Devices by address


def test_every_device_of_the_list_has_a_valid_address() -> None:
    for name, kind in DEVICES.items():
        assert is_live(kind.address) == (name != "scripted")
    assert clutch_of("keyboard:///dev/pts/0") == "the space bar" and clutch_of("topic:///leader") == ""


def test_grippers_of_a_calibration_go_between_the_robots_limits(
    contract: Contract, kinematics: Kinematics, tmp_path: Path
) -> None:
    file = calibration(tmp_path / "leader.yaml", [*JOINTS[:-1], "jaw"])
    device = make_device(f"feetech:///dev/x?calibration={file}&joints=jaw:gripper", contract, kinematics, "reach", 0)
    assert isinstance(device, StreamedLeader)
    joint = device.driver.calibration.joints["gripper"]  # type: ignore[attr-defined]
    assert joint.position(1000) == kinematics.lower[-1] and joint.position(3000) == kinematics.upper[-1]
    with pytest.raises(
        DeviceError, match=r"leader.yaml: unknown joint 'gripper'; valid: .*; rename by joints=leader:gripper"
    ):
        make_device(f"feetech:///dev/x?calibration={file}", contract, kinematics, "reach", 0)


def test_a_topic_is_a_leader(contract: Contract, kinematics: Kinematics) -> None:
    device = make_device("topic:///leader/joint_states?joints=lead_elbow:elbow", contract, kinematics, "reach", 0)
    assert isinstance(device, TopicLeader) and device.topic == "/leader/joint_states"
    with pytest.raises(DeviceError, match="no joint states yet on /leader/joint_states"):
        device.read()
    heard: list[TeleopSample] = []
    device.on_sample = heard.append
    device.hear({"lead_elbow": 0.5, "other": 1.0})
    assert heard[0].joints == {"elbow": 0.5, "other": 1.0} and device.read(heard[0].stamp) is heard[0]
    with pytest.raises(DeviceError, match=r"joint states on /leader/joint_states are 0.2 s old"):
        device.read(heard[0].stamp + 200 * MS)


def test_a_session_corrects_a_policy_where_it_is_given_one() -> None:
    pytest.importorskip("rclpy")
    from vla_ros.paths import share_path
    from vla_ros.ros.teleop import Session

    def parameters(session: Session) -> dict[str, dict[str, object]]:
        return {spec.name: dict(spec.parameters) for spec in session.specs()}

    alone = parameters(Session("topic:///leader", parameters={"mode": "relative"}))
    assert sorted(alone) == ["gate_node", "mujoco_node", "teleop_node"]
    assert alone["gate_node"]["source"] == "teleop" and "intervention" not in alone["gate_node"]
    assert alone["teleop_node"]["mode"] == "relative"
    checkpoint = str(share_path("config/checkpoints/tabletop_act"))
    both = parameters(Session("topic:///leader", checkpoint=checkpoint, record="corrections"))
    assert sorted(both) == ["gate_node", "mujoco_node", "policy_node", "recorder_node", "teleop_node"]
    assert both["gate_node"]["source"] == "policy" and both["gate_node"]["intervention"] is True
