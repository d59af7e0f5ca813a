"""Leader devices: joints by name, poses by kinematics, and the scripted leader's repeatability."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from vla_ros.contract import Contract, load_contract, parse_contract
from vla_ros.errors import DeviceError
from vla_ros.kinematics import Kinematics
from vla_ros.teleop import LeaderFollower, ScriptedLeader, TeleopSample, WorldWatcher
from vla_ros.teleop.registry import make_device

SECOND = 1_000_000_000
STEP = 33_333_333


def sample(contract: Contract, k: int, speed: float = 0.3) -> TeleopSample:
    joints = {name: 0.1 * i + speed * k * STEP / SECOND for i, name in enumerate(contract.joint_names)}
    return TeleopSample(k * STEP, dict(reversed(joints.items())))


def test_joints_are_matched_by_name_and_go_on_with_the_leaders_velocity(contract: Contract) -> None:
    follower = LeaderFollower(contract, points=3)
    follower.chunk(0, sample(contract, 0))
    chunk = follower.chunk(STEP, sample(contract, 1))
    assert chunk.names == contract.action.names and chunk.stamp == STEP and chunk.values.shape == (3, 7)
    assert chunk.dt == pytest.approx(1 / 30)
    assert chunk.values[0] == pytest.approx(0.1 * np.arange(7) + 0.01, abs=1e-6)
    assert np.diff(chunk.values, axis=0) == pytest.approx(np.full((2, 7), 0.01), abs=1e-6)
    assert chunk.sequence == 2


def test_the_first_sample_and_one_after_a_pause_stand_still(contract: Contract) -> None:
    follower = LeaderFollower(contract)
    first = follower.chunk(0, sample(contract, 0))
    late = follower.chunk(9 * STEP, sample(contract, 9))
    for chunk in (first, late):
        assert np.ptp(chunk.values, axis=0) == pytest.approx(np.zeros(7))


def test_an_open_clutch_or_no_sample_says_hold(contract: Contract) -> None:
    follower = LeaderFollower(contract)
    assert follower.chunk(5, None).empty
    assert follower.chunk(6, TeleopSample(6, {"elbow": 1.0}, clutch=False)).empty


def test_a_joint_that_the_device_lacks_is_named(contract: Contract) -> None:
    joints = {name: 0.0 for name in contract.joint_names if name != "elbow"}
    with pytest.raises(DeviceError, match=r"unknown joint 'elbow'.*valid: gripper, shoulder_lift"):
        LeaderFollower(contract).chunk(0, TeleopSample(0, joints))


def test_a_leader_arm_drives_a_contract_of_poses(kinematics: Kinematics) -> None:
    contract = load_contract("tabletop_arm_ee")
    joints = dict(zip(kinematics.joint_names, [0.2, -0.4, 0.9, -0.5, 0.3, 0.1, 0.03], strict=True))
    chunk = LeaderFollower(contract, kinematics).chunk(0, TeleopSample(0, joints))
    assert chunk.space == "ee_pose" and chunk.frame == "base_link"
    assert chunk.values[0] == pytest.approx([*kinematics.pose(list(joints.values())), 0.03])
    with pytest.raises(DeviceError, match="wants poses"):
        LeaderFollower(contract).chunk(0, TeleopSample(0, joints))


def test_a_pose_device_is_refused_by_a_contract_of_joints_and_obeyed_by_one_of_poses(
    contract: Contract,
) -> None:
    pose = np.array([0.3, 0.0, 0.2, 0.0, 0.0, 0.0, 1.0])
    asked = TeleopSample(0, pose=pose, gripper=0.02)
    with pytest.raises(DeviceError, match="gives a pose"):
        LeaderFollower(contract).chunk(0, asked)
    chunk = LeaderFollower(load_contract("tabletop_arm_ee")).chunk(0, asked)
    assert chunk.values[0] == pytest.approx([*pose, 0.02])


def test_an_unknown_device_is_refused_with_the_valid_ones(contract: Contract, kinematics: Kinematics) -> None:
    with pytest.raises(DeviceError, match="unknown teleoperation device 'gamepud'.*valid: .*scripted"):
        make_device("gamepud", contract, kinematics, "reach", 0)


class Echo:
    """An operator that says what it was asked."""

    def __init__(self) -> None:
        self.begun: list[tuple[int, str]] = []

    def reset(self, seed: int, instruction: str) -> None:
        self.begun.append((seed, instruction))

    def act(self, t: float, q: np.ndarray, objects: Mapping[str, np.ndarray]) -> np.ndarray:
        return np.array([t, q[0], objects["cube"][0]])


def watching() -> tuple[ScriptedLeader, Echo]:
    operator = Echo()
    leader = ScriptedLeader(operator, ("a", "b", "c"), seed=3)
    leader.hear("go")
    return leader, operator


def see(leader: ScriptedLeader, stamp: int, value: float) -> None:
    leader.see_objects(stamp, {"cube": np.full(7, value)})
    leader.see_joints(stamp, {"c": 0.0, "b": 0.0, "a": value})


def test_the_scripted_leader_watches_the_world(contract: Contract, kinematics: Kinematics) -> None:
    device = make_device("scripted", contract, kinematics, "reach", 0)
    assert isinstance(device, WorldWatcher)
    assert device.read(0) is None and device.reason == "no instruction yet"  # type: ignore[attr-defined]


def test_the_scripted_leader_decides_from_what_was_seen_at_the_asked_time() -> None:
    leader, operator = watching()
    assert not leader.informed(10_000_000)
    for k in range(4):
        see(leader, k * 10_000_000, float(k))
    assert leader.informed(30_000_000) and not leader.informed(30_000_001)
    asked = leader.read(19_999_999)
    assert asked is not None and asked.joints == {"a": 0.0, "b": 1.0, "c": 1.0}
    later = leader.read(30_000_000)
    assert later is not None and later.joints["a"] == pytest.approx(0.010000001) and later.joints["b"] == 3.0
    assert operator.begun == [(3, "go")]


@pytest.mark.parametrize("event", ["restart", "new instruction", "clock back"])
def test_the_scripted_leader_begins_anew(event: str) -> None:
    leader, operator = watching()
    see(leader, 50_000_000, 0.0)
    leader.read(50_000_000)
    stamp = 60_000_000
    if event == "restart":
        leader.restart(7)
    elif event == "new instruction":
        leader.hear("stop")
    else:
        stamp = 0
    see(leader, stamp, 1.0)
    again = leader.read(stamp)
    assert again is not None and again.joints["a"] == 0.0 and len(operator.begun) == 2
    assert operator.begun[1] == {"restart": (7, "go"), "new instruction": (3, "stop"), "clock back": (3, "go")}[event]


@pytest.mark.parametrize("first", ["joints", "objects"])
def test_after_a_reset_the_scripted_leader_waits_for_the_new_scene(first: str) -> None:
    leader, operator = watching()
    for k in range(5):
        see(leader, k * 10_000_000, 1.0)
        leader.read(k * 10_000_000)
    joints = lambda: leader.see_joints(0, {"a": 2.0, "b": 0.0, "c": 0.0})
    objects = lambda: leader.see_objects(0, {"cube": np.full(7, 2.0)})
    one, other = (joints, objects) if first == "joints" else (objects, joints)
    one()
    assert not leader.informed(0)
    other()
    assert leader.informed(0)
    asked = leader.read(0)
    assert asked is not None and asked.joints == {"a": 0.0, "b": 2.0, "c": 2.0} and len(operator.begun) == 2


def test_the_scripted_leader_does_not_act_on_what_is_old() -> None:
    leader, _ = watching()
    see(leader, 0, 0.0)
    assert leader.read(SECOND) is None and leader.reason == "no joint states within 0.1 s"


def test_a_contract_with_fewer_joints_takes_what_it_names() -> None:
    text = load_contract("tabletop_arm").text.replace(
        f"names: [{', '.join(load_contract('tabletop_arm').action.names)}]\n  tip",
        "names: [elbow.pos]\n  tip",
    )
    contract = parse_contract(text, "elbow.yaml")
    chunk = LeaderFollower(contract).chunk(0, TeleopSample(0, {"gripper": 0.0, "elbow": 0.7}))
    assert chunk.values[0] == pytest.approx([0.7])
