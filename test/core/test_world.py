import threading

import numpy as np
import pinocchio as pin
import pytest
from sim_support import JOINTS, URDF, make_world

from vla_ros.errors import SimulationError
from vla_ros.kinematics import Kinematics
from vla_ros.sim.world import World

DOWN = [1.0, 0.0, 0.0, 0.0]
KINEMATICS = Kinematics(URDF, JOINTS)
SETTLE = 600  # [steps] 1 s


@pytest.fixture(scope="module")
def world() -> World:
    return make_world("pick_place")


@pytest.fixture(scope="module")
def table() -> World:
    """The world whose table nothing stands on."""
    return make_world("reach")


def settle(world: World, target: np.ndarray, steps: int = SETTLE) -> None:
    world.set_joint_targets(target)
    world.step(steps)


def over(x: float, y: float, z: float, gripper: float, yaw: float = 0.0) -> np.ndarray:
    q = KINEMATICS.solve([x, y, z, np.cos(yaw / 2), np.sin(yaw / 2), 0.0, 0.0], np.zeros(7))
    q[6] = gripper
    return q


def move(world: World, target: np.ndarray, seconds: float = 1.0) -> None:
    start = world.joint_state()[0]
    for part in np.linspace(0.0, 1.0, int(seconds * 100))[1:]:
        world.set_joint_targets(start + part * (target - start))
        world.step(6)


def grasp(world: World, name: str) -> None:
    x, y, z, *_, qz, qw = world.objects()[name]
    yaw = 2 * np.arctan2(qz, qw)
    for height, gripper in ((0.10, 0.04), (z, 0.04), (z, 0.0)):
        move(world, over(x, y, height, gripper, yaw))
    world.step(120)


# --- physics ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("x", "y", "z"), [(0.30, -0.15, 0.10), (0.48, 0.10, 0.05), (0.36, 0.26, 0.15)])
def test_the_servos_hold_the_arm_within_two_milliradians(table: World, x: float, y: float, z: float) -> None:
    table.reset(0)
    target = over(x, y, z, 0.02)
    move(table, target)
    settle(table, target)
    position, velocity, _ = table.joint_state()
    assert np.abs(position - target).max() < 2e-3
    assert np.abs(velocity).max() < 1e-3


def test_targets_with_velocities_are_followed_closely_at_one_and_a_half_radians_a_second(
    table: World,
) -> None:
    table.reset(0)
    start = table.joint_state()[0]
    amplitude = np.array([0.5, -0.3, -0.3, 0.5, 0.5, 0.5, 0.0])
    rate = 1.5 / np.maximum(np.abs(amplitude), 0.1)
    worst = 0.0
    for step in range(1200):
        t = step * table.dt
        target = start + amplitude * (1 - np.cos(rate * t))
        table.set_joint_targets(target, amplitude * rate * np.sin(rate * t))
        table.step()
        worst = max(worst, float(np.abs(table.joint_state()[0] - target).max()))
    assert worst < 0.015


def test_the_mimic_finger_follows_so_that_the_tip_stays_between_the_fingers(world: World) -> None:
    world.reset(3)
    grasp(world, "red_cube")
    tip, cube = world.tip_pose()[:3], world.objects()["red_cube"][:3]
    assert np.linalg.norm(tip - cube) < 3e-3
    assert world.joint_state()[0][6] == pytest.approx(0.02, abs=1e-3)


def test_the_same_seed_and_targets_repeat_the_same_motion_exactly(world: World) -> None:
    def run(burst: int) -> tuple[np.ndarray, ...]:
        world.reset(11)
        world.set_joint_targets(over(0.4, 0.0, 0.03, 0.02))
        for _ in range(480 // burst):
            world.step(burst)
        return (*world.joint_state(), world.wrench(), *world.objects().values())

    first, again, single = run(6), run(6), run(1)
    for a, b, c in zip(first, again, single, strict=True):
        assert np.array_equal(a, b) and np.array_equal(a, c)


def test_another_world_of_the_same_urdf_repeats_it_too(world: World) -> None:
    other = make_world("pick_place")
    for each in (world, other):
        each.reset(12)
        settle(each, over(0.4, 0.0, 0.03, 0.02), 300)
    assert np.array_equal(world.joint_state()[0], other.joint_state()[0])


def test_a_reset_forgets_everything_that_happened(world: World) -> None:
    world.reset(5)
    before = world.joint_state()[0], world.objects()
    grasp(world, "green_cube")
    world.reset(5)
    assert world.time == 0 and np.array_equal(world.joint_state()[0], before[0])
    for name, pose in world.objects().items():
        assert np.array_equal(pose, before[1][name])


def test_the_true_tip_pose_is_what_the_kinematics_say(table: World) -> None:
    table.reset(0)
    settle(table, over(0.42, 0.12, 0.12, 0.0))
    expected = KINEMATICS.pose(table.joint_state()[0])
    pose = table.tip_pose()
    assert pose[:3] == pytest.approx(expected[:3], abs=1e-5)
    assert abs(pose[3:] @ expected[3:]) == pytest.approx(1.0, abs=1e-6)


# --- touch -----------------------------------------------------------------------------------------------


def test_the_tool_in_free_air_feels_nothing_however_it_is_turned(table: World) -> None:
    table.reset(0)
    for wrist in (-0.8, 0.0, 0.8):
        target = over(0.38, 0.0, 0.25, 0.0)
        target[4] = wrist
        move(table, target)
        settle(table, target)
        assert np.abs(table.wrench()).max() < 0.05


def test_pressing_the_tip_on_the_table_pushes_back_along_minus_z(table: World) -> None:
    table.reset(0)
    move(table, over(0.38, 0.0, 0.03, 0.0))
    move(table, over(0.38, 0.0, 0.004, 0.0))
    table.step(SETTLE)
    wrench = table.wrench()
    assert -60.0 < wrench[2] < -2.0
    assert np.abs(wrench[:2]).max() < 0.5 * abs(wrench[2])


def test_a_lifted_cube_weighs_on_the_tool(world: World) -> None:
    world.reset(3)
    grasp(world, "red_cube")
    x, y = world.tip_pose()[:2]
    move(world, over(x, y, 0.15, 0.0, yaw=0.0))
    world.step(SETTLE)
    assert world.objects()["red_cube"][2] > 0.12
    assert world.wrench()[2] == pytest.approx(0.05 * 9.81, abs=0.05)  # 50 g, and z points down


def test_the_taxels_share_out_the_grasp_force_and_read_zero_without_contact(world: World) -> None:
    world.reset(3)
    assert not world.taxels("left").any() and not world.taxels("right").any()
    grasp(world, "red_cube")
    left, right = world.taxels("left"), world.taxels("right")
    assert left.shape == (4, 4, 3) and left.dtype == np.float32
    assert left[..., 2].min() >= 0.0
    assert left[..., 2].sum() == pytest.approx(right[..., 2].sum(), rel=0.1)
    assert left[..., 2].sum() == pytest.approx(-world.joint_state()[2][6], rel=0.1)


def test_holding_a_cube_up_shears_the_pads_towards_the_finger_tips(world: World) -> None:
    world.reset(3)
    grasp(world, "red_cube")
    x, y = world.tip_pose()[:2]
    move(world, over(x, y, 0.15, 0.0))
    world.step(SETTLE)
    shear = sum(world.taxels(side)[..., 1].sum() for side in ("left", "right"))
    assert shear == pytest.approx(0.05 * 9.81, abs=0.05)  # pad y points to the finger tips, here down


# --- cameras ---------------------------------------------------------------------------------------------


def base_to_optical(world: World, camera: str) -> np.ndarray:
    """T_base_optical at the measured joints, from the URDF alone."""
    model = pin.buildModelFromXML(URDF)
    data, q = model.createData(), pin.neutral(model)
    for name, value in zip(world.joint_names, world.joint_state()[0], strict=True):
        q[model.joints[model.getJointId(name)].idx_q] = value
    pin.framesForwardKinematics(model, data, q)
    return data.oMf[model.getFrameId(world.camera_info(camera)["frame"])].homogeneous


@pytest.mark.parametrize("camera", ["front", "wrist"])
def test_depth_and_camera_info_put_the_cubes_where_they_are(world: World, camera: str) -> None:
    """Seeing a cube's pixels, a user of the pictures finds the cube in base_link."""
    world.reset(21)
    world.step(60)
    rgb, depth, info = world.render(camera), world.render(camera, depth=True), world.camera_info(camera)
    assert rgb.shape == (240, 320, 3) and rgb.dtype == np.uint8
    assert depth.shape == (240, 320) and depth.dtype == np.float32
    found = 0
    for channel, name in enumerate(("red_cube", "green_cube", "blue_cube")):
        others = np.delete(rgb.astype(int), channel, axis=2).max(axis=2)
        rows, columns = np.nonzero(rgb[..., channel] > 2 * others + 20)
        if len(rows) < 60:
            continue  # out of this picture
        z = depth[rows, columns]
        rays = np.stack([(columns - info["cx"]) / info["fx"], (rows - info["cy"]) / info["fy"], np.ones(len(z))])
        points = base_to_optical(world, camera) @ np.vstack([rays * z, np.ones(len(z))])
        cube = world.objects()[name]
        inside = np.abs(points[:3] - cube[:3, None]).max(axis=0) < 0.02 * 1.42 + 0.004
        assert inside.mean() > 0.95, name
        found += 1
    assert found >= 2


def test_a_snapshot_is_rendered_by_another_thread_while_the_world_moves_on(world: World) -> None:
    world.reset(4)
    snapshot = world.snapshot()
    expected = world.render("front", snapshot=snapshot)
    pictures: list[np.ndarray] = []
    thread = threading.Thread(target=lambda: pictures.append(world.render("front", snapshot=snapshot)))
    thread.start()
    settle(world, over(0.4, 0.1, 0.05, 0.0))
    thread.join(timeout=60)
    assert np.array_equal(pictures[0], expected)
    assert not np.array_equal(world.render("front"), expected)


def test_the_picture_size_is_the_one_asked_for() -> None:
    small = make_world("reach", width=96, height=64)
    assert small.render("wrist").shape == (64, 96, 3)
    info = small.camera_info("wrist")
    assert (info["width"], info["height"], info["cx"], info["cy"]) == (96, 64, 47.5, 31.5)


# --- refusals --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda w: w.render("fornt"), "unknown camera 'fornt'.*did you mean 'front'.*wrist"),
        (lambda w: w.camera_info("top"), "unknown camera 'top'.*front, wrist"),
        (lambda w: w.taxels("middle"), "unknown taxel pad 'middle'.*left, right"),
        (lambda w: w.set_joint_targets([0.0] * 6), r"shape \(6,\); expected 7"),
        (lambda w: w.set_joint_targets([0.0] * 6 + [float("nan")]), "not finite"),
        (lambda w: w.reset(1, "pick up the yellow cube"), "exactly one colour of red, green, blue"),
    ],
)
def test_wrong_requests_are_refused_with_the_valid_ones(world: World, call, message: str) -> None:
    with pytest.raises(SimulationError, match=message):
        call(world)


def test_targets_beyond_the_joint_limits_are_clipped(table: World) -> None:
    table.reset(0)
    target = table.joint_state()[0]
    target[6] = 1.0
    settle(table, target)
    assert table.joint_state()[0][6] == pytest.approx(0.04, abs=1e-3)


@pytest.mark.parametrize(
    ("urdf", "message"),
    [
        ("<robot name='r'><link name='a'/><link name='b'/></robot>", "force_torque"),
        (
            URDF.replace("<gz_frame_id>front_camera_optical", "<gz_frame_id>nowhere"),
            "frame 'nowhere' is not a link",
        ),
    ],
)
def test_a_robot_without_what_the_world_needs_is_refused(urdf: str, message: str) -> None:
    from vla_ros.sim.tasks import get_task

    with pytest.raises(SimulationError, match=message):
        World(urdf, get_task("reach"))
