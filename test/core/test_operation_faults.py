"""From a sample to a chunk when something is odd: joints in another order, no number, a clock set back, an arm that stays."""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import operation_support
import pytest
from changed_contract import contract_of_actions
from operation_support import HOME
from scipy.spatial.transform import Rotation
from servo_support import JOINTS

from vla_ros.contract import Contract, load_contract
from vla_ros.differential_ik import DifferentialIk
from vla_ros.drivers.address import Address
from vla_ros.errors import DeviceError
from vla_ros.kinematics import Kinematics
from vla_ros.self_collision import FLOOR
from vla_ros.teleop.device import TeleopSample
from vla_ros.teleop.paired import PairedLeaders
from vla_ros.teleop.topic import TopicLeader

MS = 1_000_000
operation = partial(operation_support.operation, mode="relative")
POSED = dict(zip(JOINTS, (-0.2, 0.0, 0.0, 0.0, 0.0, 0.0, 0.02), strict=True))


@pytest.fixture(scope="module")
def poses() -> Contract:
    return load_contract("tabletop_arm_ee")


def at(stamp: int, **joints: float) -> TeleopSample:
    return TeleopSample(stamp, dict.fromkeys(JOINTS, 0.0) | joints)


# Orders of joints


def into_the_base(contract: Contract, kinematics: Kinematics) -> list[dict[str, np.ndarray]]:
    """Lead the tip into the base at twice what the joints can do; return the chunks' targets [8] by joint."""
    made, joints, chunks = operation(contract, kinematics), dict(POSED), []
    start = kinematics.pose(list(POSED.values()))
    for k in range(140):
        made.see(k * 10 * MS, joints)
        pose = start + np.array([-0.005 * k, -0.0008 * k, -0.0013 * k, 0, 0, 0, 0])
        chunk = made.act(TeleopSample(k * 10 * MS, pose=pose, gripper=0.02))
        assert not chunk.empty, made.clutch.reason
        chunks.append({name.removesuffix(".pos"): chunk.values[:, i] for i, name in enumerate(chunk.names)})
        joints |= {name: float(targets[0]) for name, targets in chunks[-1].items()}
    return chunks


@pytest.mark.parametrize(
    "names",
    [
        ("gripper", "elbow", "wrist_1", "wrist_3", "wrist_2", "shoulder_lift", "shoulder_pan"),
        ("elbow", "shoulder_lift", "shoulder_pan", "wrist_1", "wrist_2", "wrist_3"),
    ],
)
def test_links_are_kept_apart_in_whatever_order_the_contract_has_its_actions(
    names: tuple[str, ...], contract: Contract, kinematics: Kinematics, tmp_path: Path
) -> None:
    watch = DifferentialIk.of(contract, kinematics, np.full(7, 1.0))
    nearest = np.inf
    for targets in into_the_base(contract_of_actions(tmp_path, *names), kinematics):
        rows = np.stack([targets[name] for name in kinematics.tip_joints], axis=1)
        nearest = min(nearest, *(watch.collision.distance(row) for row in rows))
    assert FLOOR <= nearest < 0.01, "it came near, and no nearer"


def test_a_joint_that_the_contract_does_not_move_may_be_far_from_its_leaders(
    kinematics: Kinematics, tmp_path: Path
) -> None:
    made = operation(contract_of_actions(tmp_path, "elbow", "gripper"), kinematics)
    made.act(at(10 * MS))
    chunk = made.act(at(20 * MS, wrist_3=0.9, elbow=0.01))
    assert chunk.values[0, 0] == pytest.approx(0.3 + 0.02) and made.clutch.engaged


# No numbers


@pytest.mark.parametrize(
    ("sample", "named"),
    [
        (at(20 * MS, elbow=float("nan")), "'elbow' is nan"),
        (TeleopSample(20 * MS, pose=np.array([0.0, np.inf, 0, 0, 0, 0, 1])), "'pose' is inf"),
        (TeleopSample(20 * MS, twist=np.array([0, 0, 0, 0, 0, np.nan])), "'twist' is nan"),
        (TeleopSample(20 * MS, twist=np.zeros(6), gripper=float("nan")), "'gripper' is nan"),
    ],
)
def test_what_is_no_number_is_refused_by_name_and_stays_in_no_filter(
    sample: TeleopSample, named: str, contract: Contract, kinematics: Kinematics
) -> None:
    made = operation(contract, kinematics, cutoff=4.0)
    made.act(at(10 * MS))
    with pytest.raises(DeviceError, match=f"the device's sample: {named}"):
        made.act(sample)
    assert np.isfinite(made.act(at(30 * MS)).values).all()


def test_a_leader_that_lacks_a_joint_for_a_moment_is_refused_by_name(
    contract: Contract, kinematics: Kinematics
) -> None:
    made = operation(contract, kinematics)
    made.act(at(10 * MS))
    with pytest.raises(DeviceError, match="unknown joint 'shoulder_pan'.*valid: elbow"):
        made.act(TeleopSample(20 * MS, {"elbow": 0.0}))


def topic_leader() -> TopicLeader:
    return TopicLeader(Address.parse("topic:///leader?joints=lead_elbow:elbow"))


def test_a_topic_whose_joints_are_no_numbers_is_silent_and_says_which() -> None:
    leader, heard, told = topic_leader(), [], []
    leader.on_sample, leader.on_change = heard.append, told.append
    leader.hear({"lead_elbow": float("nan"), "lead_wrist": 0.0})
    with pytest.raises(DeviceError, match=r"^joint states on /leader: 'lead_elbow' is nan$"):
        leader.read()
    assert heard == [] and leader.lost and told == ["joint states on /leader: 'lead_elbow' is nan"]
    leader.hear({"lead_elbow": 0.5})
    assert leader.read() is heard[0] and told[1:] == [""]
    leader.hear({"lead_elbow": float("inf")})
    assert leader.read(heard[0].stamp) is heard[0], "one is a hiccup"
    with pytest.raises(DeviceError, match="'lead_elbow' is inf"):
        leader.read(heard[0].stamp + 200 * MS)
    assert told[2:] == [], "late"


def test_a_topic_that_falls_silent_is_told_once_and_when_it_is_back() -> None:
    leader, told = topic_leader(), []
    leader.on_change = told.append
    leader.hear({"elbow": 0.5})
    assert told == [], "never lost"
    newest = leader.read()
    for age in (0.2, 1.2, 1.3):
        with pytest.raises(DeviceError, match="old$"):
            leader.read(newest.stamp + round(age * 1e9))
    assert told == ["joint states on /leader are 1.2 s old"]
    leader.hear({"elbow": 0.5})
    assert told[1:] == [""]


def test_a_topic_of_two_that_falls_silent_is_told_with_its_arm() -> None:
    pair, told = PairedLeaders({"left": topic_leader(), "right": topic_leader()}), []
    pair.on_change = told.append
    for leader in pair.leaders.values():
        leader.hear({"elbow": 0.5})  # type: ignore[union-attr]
    newest = pair.read()
    assert newest is not None and told[-1] == ""
    told.clear()
    with pytest.raises(DeviceError, match="^left: joint states on /leader are"):
        pair.read(newest.stamp + 1500 * MS)
    assert told == ["left: joint states on /leader are 1.5 s old"]


# Quaternions: q and -q are one turn


@pytest.mark.parametrize("signs", [(1, -1), (1, 1, 1, -1, -1)])
def test_a_quaternion_that_changes_its_sign_does_not_kick(
    signs: tuple[int, ...], poses: Contract, kinematics: Kinematics
) -> None:
    made = operation(poses, kinematics, cutoff=4.0)
    turned = []
    for k in range(60):
        made.see(k * 10 * MS, HOME)
        quaternion = Rotation.from_rotvec([0.0, 0.0, 3.1 + 0.002 * k]).as_quat() * signs[k % len(signs)]
        chunk = made.act(TeleopSample(k * 10 * MS, pose=np.concatenate([np.zeros(3), quaternion]), gripper=0.02))
        turned.append(Rotation.from_quat(chunk.values[0, 3:7]))
    steps = [(after * before.inv()).magnitude() for before, after in pairwise(turned)]
    assert max(steps) < 0.004, "no more than the hand turns, 0.2 rad/s"
    assert (turned[-1] * turned[0].inv()).magnitude() == pytest.approx(0.002 * 59, abs=0.03)


# Poses that the arm does not follow


@pytest.mark.parametrize(
    ("turn", "move", "told"), [(0.0, 0.011, "the arm is 0.15 m behind"), (0.04, 0.0, "the arm is 0.64 rad behind")]
)
def test_an_arm_that_does_not_come_along_to_a_pose_is_not_made_to_dash(
    turn: float, move: float, told: str, poses: Contract, kinematics: Kinematics
) -> None:
    made = operation(poses, kinematics)
    for k in range(17):
        made.see(k * 10 * MS, HOME)
        quaternion = Rotation.from_rotvec([turn * k, 0.0, 0.0]).as_quat()
        chunk = made.act(TeleopSample(k * 10 * MS, pose=np.array([0.0, move * k, 0.0, *quaternion]), gripper=0.02))
        if made.clutch.lost:
            break
    assert chunk.empty and k > 10
    assert made.clutch.reason == f"{told} its leader; take the clutch again"


# A clock that is set back


@pytest.mark.parametrize("back", [2000, 300])
def test_a_clock_that_is_set_back_neither_stops_the_arm_nor_makes_it_jump(
    back: int, contract: Contract, kinematics: Kinematics
) -> None:
    made, stamp, leader, elbows = operation(contract, kinematics, cutoff=4.0), 5000 * MS, 0.0, []
    elbow = JOINTS.index("elbow")
    arm = list(HOME.values())
    for k in range(300):
        stamp += 10 * MS - (back * MS if k == 100 else 0)
        leader += 0.002  # 0.2 rad/s
        made.see(stamp, dict(zip(JOINTS, arm, strict=True)))
        arm = made.act(at(stamp, elbow=leader)).values[0].tolist()
        elbows.append(arm[elbow])
    assert np.abs(np.diff(elbows)).max() < 0.006, "no jump"
    assert elbows[150] - elbows[110] == pytest.approx(0.08, abs=0.01), "it goes on"


def test_a_sample_that_comes_a_little_late_changes_nothing(contract: Contract, kinematics: Kinematics) -> None:
    made = operation(contract, kinematics, cutoff=4.0)
    for k in range(20):
        made.see(k * 10 * MS, HOME)
        made.act(at(k * 10 * MS, elbow=0.002 * k))
    before = made.act(at(190 * MS, elbow=0.038)).values[0]
    assert made.act(at(170 * MS, elbow=0.5)).values[0] == pytest.approx(before, abs=1e-3)
