"""What a robot can repeat of a hand's motion: held to the robot's own limits, and replayed through the gate in simulation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from typer.testing import CliRunner

from vla_ros.cli import app
from vla_ros.contract import Contract, load_contract, parse_contract
from vla_ros.data import Dataset, DatasetWriter
from vla_ros.data.bags.conversion import from_bag
from vla_ros.data.bags.writing import to_bag
from vla_ros.data.tools.check import check_dataset
from vla_ros.data.tools.feasible import longest, retarget
from vla_ros.errors import DatasetError
from vla_ros.feasible import Placement, RobotReach
from vla_ros.pose import compose, distance, inverse

RATE = 30
TABLE = (0.1, -0.2, 0.05, 0.0, 0.0, float(np.sin(0.4)), float(np.cos(0.4)))  # the recording's frame on the robot
WRIST = "observation.images.wrist"


def motion(rows: int, speed: float = 1.0) -> np.ndarray:
    """Poses of the robot's tip in its root, [rows + 1, 7]: a top-down hand that circles over the table and turns."""
    t = speed * np.arange(rows + 1) / RATE
    position = np.stack([0.4 + 0.1 * np.sin(t), 0.15 * np.cos(t), 0.15 + 0.05 * np.sin(2 * t)], axis=1)
    turn = Rotation.from_quat([1, 0, 0, 0]) * Rotation.from_rotvec(
        np.stack([0.1 * np.sin(t), 0.2 * np.cos(t), 0.3 * np.sin(t)], axis=1)
    )
    return np.concatenate([position, turn.as_quat()], axis=1)


def hand_contract() -> Contract:
    return parse_contract(load_contract("umi_gripper").text.replace("[240, 320, 3]", "[48, 64, 3]"), "hand.yaml")


def robot_contract() -> Contract:
    """The tabletop arm as it sees what a hand records: its wrist camera, joints and the instruction."""
    lines = load_contract("tabletop_arm_ee").text.replace("[240, 320, 3]", "[48, 64, 3]").splitlines()
    unwanted = ("observation.images.front", "front_camera", "observation.wrench", "observation.tactile", "  wrench:")
    kept = [line for line in lines if not any(word in line for word in unwanted)]
    return parse_contract("\n".join(kept), "arm.yaml")


def record(root: Path, motions: list[np.ndarray], opening: float = 0.05) -> Dataset:
    """Write what a hand recorded of motions given in the robot's root, seen in the frame of the table."""
    with DatasetWriter(root, hand_contract()) as writer:
        for tips in motions:
            poses = compose(inverse(TABLE), tips)
            writer.start_episode("circle over the table")
            for row in range(len(poses) - 1):
                writer.add_frame(
                    {
                        WRIST: np.full((48, 64, 3), 10 + row % 200, dtype=np.uint8),
                        "observation.pose.tool": poses[row],
                        "observation.state": np.array([opening]),
                        "action": np.append(poses[row + 1], opening),
                        "sync.age": np.zeros(3),
                        "sync.stamp": np.full(3, round((row + 3) * 1e9 / RATE)),
                    }
                )
            writer.save_episode()
    return Dataset(root)


@pytest.fixture(scope="module")
def reach() -> RobotReach:
    return RobotReach(load_contract("tabletop_arm_ee"))


def test_a_motion_within_all_limits_is_feasible_and_its_joints_reach_it(reach: RobotReach):
    goals = motion(60)
    found = reach.check(goals, np.full(61, 0.04), RATE)
    assert (found.share, found.spans, found.slower) == (1.0, (), 1.0)
    far, turned = distance([reach.kinematics.pose(q) for q in found.joints], goals)
    assert far.max() < 1e-3
    assert turned.max() < 5e-3
    assert found.joints[:, -1] == pytest.approx(0.02)  # each finger makes half of the opening


def test_a_fast_motion_says_by_how_much_to_slow_it_down(reach: RobotReach):
    fast = reach.check(motion(40, speed=3.0), np.full(41, 0.04), RATE)
    assert 0.0 < fast.share < 1.0 < fast.slower
    assert all(span.reason.startswith("too fast: ") for span in fast.spans)
    limit = reach.contract.limits.velocity_for(reach.contract.joint_names)
    speed = np.abs(np.diff(fast.joints, axis=0)) * RATE / fast.slower
    sudden = np.abs(np.diff(fast.joints, n=2, axis=0)) * (RATE / fast.slower) ** 2
    allowed = 0.8 * reach.contract.limits.acceleration_for(reach.contract.joint_names)
    assert (speed <= limit * (1 + 1e-9)).all()
    assert (sudden <= allowed * (1 + 1e-9)).all()
    assert max((speed / limit).max(), (sudden / allowed).max()) == pytest.approx(1.0)


def test_what_is_out_of_reach_or_outside_the_workspace_is_told_with_its_rows(reach: RobotReach):
    goals = motion(60)
    goals[30:45, 0] += 0.6
    found = reach.check(goals, np.full(61, 0.04), RATE)
    lost = [span for span in found.spans if not span.reason.startswith("too fast")]
    assert (lost[0].start, lost[-1].stop) == (29, 45)
    assert "are missing" in lost[0].reason
    assert found.reached.sum() == 60 - 16
    low = motion(20)
    low[:, 2] -= 0.3
    below = reach.check(low, np.full(21, 0.04), RATE)
    assert all(span.reason for span in below.spans)
    assert not below.reached.any()
    wide = reach.check(motion(20), np.full(21, 0.1), RATE)
    assert [span.reason for span in wide.spans] == ["wider open than the gripper's 80 mm"]


def test_the_longest_stretch_is_found():
    assert longest([]) == range(0)
    assert longest([True, False, True, True, False, True]) == range(2, 4)


def test_the_commands_report_and_replay_within_3_mm_and_1_degree(tmp_path: Path):
    pytest.importorskip("mujoco")
    apart = motion(50)
    apart[35:] += [0.8, 0, 0, 0, 0, 0, 0]
    record(tmp_path / "hand", [motion(50), motion(40, speed=4.0), apart])
    place = ["--robot", "tabletop_arm_ee", "--place", ",".join(map(str, TABLE))]
    report = CliRunner().invoke(app, ["dataset", "feasible", str(tmp_path / "hand"), *place])
    print(report.output)
    assert report.exit_code == 1
    assert "episode 0: 100% of 50 rows as recorded\n" in report.output
    assert "1 of 3 episodes whole" in report.output
    enough = CliRunner().invoke(app, ["dataset", "feasible", str(tmp_path / "hand"), *place, "--least", "0.3"])
    assert enough.exit_code == 0
    replayed = CliRunner().invoke(app, ["dataset", "replay", str(tmp_path / "hand"), *place])
    print(replayed.output)
    assert replayed.exit_code == 0, replayed.output
    assert "3 of 3 episodes within 3 mm and 1 degree" in replayed.output


def test_what_a_hand_recorded_passes_the_checks_and_is_the_same_after_a_bag(tmp_path: Path):
    hand = record(tmp_path / "hand", [motion(70), motion(30)])
    report = check_dataset(tmp_path / "hand")
    motions = {"jump", "lag", "idle", "far"}
    assert [finding.line() for finding in report.findings if finding.kind in motions] == []
    to_bag(tmp_path / "hand", tmp_path / "bag")
    from_bag(tmp_path / "bag", hand_contract(), tmp_path / "back")
    back = Dataset(tmp_path / "back")
    assert [episode.length for episode in back.episodes] == [70, 30]
    for key in ("action", "observation.pose.tool"):
        far, turned = distance(
            back.column(key)[:, :7], hand.column(key)[:, :7]
        )  # of opposite quaternions either will do
        assert far.max() < 1e-6
        assert turned.max() < 1e-3
    np.testing.assert_allclose(back.column("observation.state"), hand.column("observation.state"), atol=1e-7)
    np.testing.assert_allclose(back.column("action")[:, 7], hand.column("action")[:, 7], atol=1e-7)


def test_a_robots_own_dataset_is_made_of_what_it_can_repeat(tmp_path: Path):
    hand = record(tmp_path / "hand", [motion(30), motion(30, speed=8.0), motion(20)])
    robot = robot_contract()
    assert retarget(hand, robot, Placement(TABLE), tmp_path / "arm") == 2
    arm = Dataset(tmp_path / "arm")
    assert [episode.length for episode in arm.episodes] == [30, 20]
    kinematics = RobotReach(robot).kinematics
    far, _ = distance([kinematics.pose(q) for q in arm.column("observation.state", 0)], motion(30)[:-1])
    assert far.max() < 1e-3
    far, turned = distance(arm.column("action", 0)[:, :7], motion(30)[1:])
    assert far.max() < 1e-6
    assert turned.max() < 1e-3
    assert arm.frames(WRIST, 1).shape == (20, 48, 64, 3)
    with pytest.raises(DatasetError, match="wants 'observation.images.front'"):
        retarget(hand, load_contract("tabletop_arm_ee"), Placement(TABLE), tmp_path / "other")
    with pytest.raises(DatasetError, match="was recorded with a robot, 'tabletop_arm'"):
        retarget(arm, robot, Placement(TABLE), tmp_path / "again")


def test_the_pose_that_the_robot_observes_is_in_its_own_root(tmp_path: Path):
    hand = record(tmp_path / "hand", [motion(20)])
    stream = (
        "  observation.pose.tool: {topic: /tool, kind: pose, frame: base_link, align: interpolate, rate: 100}\n  task:"
    )
    text = robot_contract().text
    retarget(hand, parse_contract(text.replace("  task:", stream), "arm.yaml"), Placement(TABLE), tmp_path / "arm")
    far, turned = distance(Dataset(tmp_path / "arm").column("observation.pose.tool", 0), motion(20)[:-1])
    assert far.max() < 1e-6 and turned.max() < 1e-3
    other = parse_contract(text.replace("  task:", stream.replace("pose.tool", "pose.cup")), "arm.yaml")
    with pytest.raises(DatasetError, match=r"wants 'observation.pose.cup'.* only 'observation.pose.tool' can be had"):
        retarget(hand, other, Placement(TABLE), tmp_path / "other")


def test_fingers_are_told_to_close_further_the_more_closed_they_are(tmp_path: Path):
    hand, robot = record(tmp_path / "hand", [motion(20)]), robot_contract()
    retarget(hand, robot, Placement(TABLE), tmp_path / "plain")
    retarget(hand, robot, Placement(TABLE), tmp_path / "pressed", squeeze=0.01)
    plain, pressed = Dataset(tmp_path / "plain"), Dataset(tmp_path / "pressed")
    names = list(robot.action.names)
    gripper = names.index("gripper.pos")
    upper = RobotReach(robot).kinematics.upper[robot.joint_names.index("gripper")]
    opening = plain.column("action")[:, gripper]
    told = np.maximum(opening - 0.01 * (1.0 - opening / upper), 0.0)
    np.testing.assert_allclose(pressed.column("action")[:, gripper], told, atol=1e-6)
    others = [i for i in range(len(names)) if i != gripper]
    np.testing.assert_array_equal(pressed.column("action")[:, others], plain.column("action")[:, others])
    np.testing.assert_array_equal(pressed.column("observation.state"), plain.column("observation.state"))
