"""Aiming: where a camera of the URDF sees the next keyframe, and that an encoder learns from few pictures what words name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from encoder_support import IMAGE, TASK, WIDTH
from encoder_support import contract as senses

from vla_ros.camera_geometry import CameraSpec, cameras_of
from vla_ros.contract import Contract, load_contract
from vla_ros.encoders import ByteInstruction, ByteInstructionSettings
from vla_ros.encoders.aim import AimCnn, AimCnnSettings
from vla_ros.encoders.base import Aim
from vla_ros.errors import KinematicsError, PolicyError
from vla_ros.kinematics import Kinematics, frame_poses
from vla_ros.policy.config import PolicyConfig, parse_policy, read_policy_file
from vla_ros.policy.model import ActionModel
from vla_ros.policy.preprocess import Bytes
from vla_ros.robot import load_urdf
from vla_ros.sim.tasks import get_task
from vla_ros.sim.world import World
from vla_ros.train.aims import aims

RIGHT_ANGLE = CameraSpec("wide_camera", "wide_optical", np.pi / 2)  # half a picture's width away at a depth of the same
COLOURS = {"red": (1.0, -1.0, -1.0), "green": (-1.0, 1.0, -1.0), "blue": (-1.0, -1.0, 1.0)}


@pytest.fixture(scope="module")
def arm() -> Contract:
    return load_contract("tabletop_arm")


@pytest.mark.parametrize(
    ("point", "place"),
    [
        ((0.0, 0.0, 1.0), (0.0, 0.0)),
        ((0.5, 0.0, 1.0), (0.5, 0.0)),
        ((0.0, -0.3, 0.6), (0.0, -1.0 * 320 / 240 / 2)),
    ],
)
def test_a_point_is_seen_right_and_down_of_the_middle(point: tuple[float, ...], place: tuple[float, float]) -> None:
    assert RIGHT_ANGLE.places([point], (240, 320))[0] == pytest.approx(place, abs=1e-9)


@pytest.mark.parametrize("point", [(0.0, 0.0, -1.0), (0.0, 0.0, 0.0), (1.1, 0.0, 1.0), (0.0, 0.8, 1.0)])
def test_what_is_behind_the_camera_or_out_of_the_picture_is_not_seen(point: tuple[float, ...]) -> None:
    assert np.isnan(RIGHT_ANGLE.places([point], (240, 320))).all()


def test_cubes_are_where_the_urdfs_cameras_are_said_to_see_them(arm: Contract) -> None:
    urdf = load_urdf(arm.urdf)
    world = World(urdf, get_task("pick_place"), 320, 240)
    world.reset(0)
    for name, camera in cameras_of(urdf).items():
        T_root_camera = frame_poses(urdf, world.joint_names, camera.frame, world.joint_state()[0])[0]
        picture = world.render(name)
        for colour, channel in (("red", 0), ("green", 1), ("blue", 2)):
            centre = world.objects()[f"{colour}_cube"][:3]
            point = T_root_camera[:3, :3].T @ (centre - T_root_camera[:3, 3])
            x, y = camera.places([point], (240, 320))[0]
            pixel = picture[int((y + 1) * 120), int((x + 1) * 160)]
            assert pixel.argmax() == channel and pixel[channel] > 2 * np.delete(pixel, channel).max(), (name, colour)


def test_a_link_that_no_joint_moves_has_one_pose_and_the_tip_as_many_as_there_are_rows(arm: Contract) -> None:
    urdf, rows = load_urdf(arm.urdf), np.zeros((3, 7))
    rows[:, 0] = [0.0, 0.1, 0.2]
    assert frame_poses(urdf, arm.joint_names, "front_camera_optical", rows).shape == (1, 4, 4)
    tips = frame_poses(urdf, arm.joint_names, "tool0", rows)
    assert tips[2] == pytest.approx(Kinematics.of(arm).forward(rows[2]))
    with pytest.raises(KinematicsError, match="frame 'tool1'.*did you mean 'tool0'"):
        frame_poses(urdf, arm.joint_names, "tool1", rows)


def _policy(arm: Contract, camera: str = "*") -> PolicyConfig:
    config, _, _ = read_policy_file("act_aim")
    plain = config.plain()
    plain["encoders"] = {f"observation.images.{camera}": {"type": "aim_cnn"}} | {
        key: value for key, value in plain["encoders"].items() if "images" not in key
    }
    return parse_policy(plain, "test")


def test_the_goal_of_a_row_is_seen_by_the_fixed_camera_at_one_place_and_by_the_moving_one_where_the_arm_is(
    arm: Contract,
) -> None:
    goal = np.tile(np.array([0.1, -0.2, 0.5, 0.1, 0.0, 0.0, 0.04], np.float32), (3, 1))
    rows = np.zeros((3, 7))
    rows[:, 0] = [0.1, 0.15, 0.2]
    found = aims(_policy(arm), arm, goal, lambda key: rows)
    front, wrist = found["observation.images.front"], found["observation.images.wrist"]
    assert front.shape == (3, 2) and np.isfinite(front).all() and (front == front[0]).all()
    assert not np.array_equal(wrist[0], wrist[1], equal_nan=True)


def test_who_aims_needs_a_robot_and_a_camera_of_its_urdf(arm: Contract, tmp_path: Path) -> None:
    hand = load_contract("umi_gripper")
    camera = hand.streams("image")[0].key.rsplit(".", 1)[-1]
    with pytest.raises(PolicyError, match="aims, which takes a robot"):
        aims(_policy(arm, camera), hand, np.zeros((1, 8), np.float32), lambda key: np.zeros((1, 1)))
    text = arm.text.replace("observation.images.front:", "observation.images.side:")
    file = tmp_path / "side.yaml"
    file.write_text(text)
    with pytest.raises(PolicyError, match="unknown camera 'side'.*front, wrist"):
        aims(_policy(arm), load_contract(file), np.zeros((1, 7), np.float32), lambda key: np.zeros((1, 7)))


def _scene(rng: np.random.Generator) -> tuple[np.ndarray, str, np.ndarray]:
    """Return a picture [3, 36, 48] of three squares of 4 pixels, an instruction, and where the named square is."""
    picture = np.full((3, 36, 48), 0.6, np.float32) + rng.normal(0.0, 0.02, (3, 36, 48)).astype(np.float32)
    columns = rng.permutation(4)[:3] * 11 + rng.integers(1, 7, 3)
    rows = rng.integers(1, 30, 3)
    named = int(rng.integers(3))
    for (_, colour), row, column in zip(COLOURS.items(), rows, columns, strict=True):
        picture[:, row : row + 4, column : column + 4] = np.array(colour, np.float32)[:, None, None]
    place = np.array([(columns[named] + 2) / 24 - 1, (rows[named] + 2) / 18 - 1], np.float32)
    return picture, f"put the {list(COLOURS)[named]} cube away", place


def test_sixty_pictures_are_enough_to_learn_what_the_words_name() -> None:
    torch.manual_seed(0)
    streams = {spec.key: spec for spec in senses().streams()}
    text = ByteInstruction(ByteInstructionSettings(max_bytes=32, hidden=24), streams[TASK], WIDTH)
    encoder = AimCnn(AimCnnSettings(size=(36, 48), channels=(16, 16)), streams[IMAGE], WIDTH)
    rng = np.random.default_rng(0)
    pictures, words, places = zip(*[_scene(rng) for _ in range(120)], strict=True)
    images, wanted = torch.from_numpy(np.stack(pictures)), torch.from_numpy(np.stack(places))
    said = torch.from_numpy(np.stack([Bytes(32)(one) for one in words]))
    wanted[5] = torch.nan  # out of the picture
    optimiser = torch.optim.AdamW([*text.parameters(), *encoder.parameters()], lr=3e-3)
    for _ in range(120):
        rows = torch.randint(60, (24,))
        group = encoder(images[rows], text(said[rows]).pooled)
        assert isinstance(group.aim, Aim)
        loss = encoder.aim_loss(group.aim, wanted[rows])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    encoder.eval()
    with torch.no_grad():
        aim = encoder(images[60:], text(said[60:]).pooled).aim
        assert aim is not None
        off = (aim.place - wanted[60:]).abs() * torch.tensor([24.0, 18.0])  # [pixels]
    assert off.median() < 1.5 and (off.amax(dim=1) < 4.0).float().mean() > 0.9


def test_places_that_are_not_seen_count_for_nothing() -> None:
    encoder = AimCnn(AimCnnSettings(size=(24, 32), channels=(8, 8)), senses().observation[IMAGE], WIDTH)
    aim = encoder(torch.zeros(2, 3, 24, 32)).aim
    assert aim is not None
    assert float(encoder.aim_loss(aim, torch.full((2, 2), torch.nan)).detach()) == 0.0
    half = torch.tensor([[0.1, 0.2], [torch.nan, torch.nan]])
    alone = encoder.aim_loss(Aim(aim.heat[:1], aim.place[:1]), half[:1]).detach()
    assert float(encoder.aim_loss(aim, half).detach()) == pytest.approx(float(alone), rel=1e-5)


def test_joints_steer_the_heat_map_where_they_are_asked_and_present(arm: Contract) -> None:
    torch.manual_seed(0)
    plain = _policy(arm).plain()
    plain["encoders"]["observation.images.*"]["joints"] = True
    model = ActionModel(parse_policy(plain, "test"), arm).eval()
    inputs = {
        "observation.images.front": torch.rand(1, 3, 72, 96) * 2 - 1,
        "observation.state": torch.randn(1, 7),
        "task": torch.from_numpy(Bytes(64)("put the red cube in the bin"))[None],
    }

    def heat(here: bool = True, **changes: torch.Tensor) -> torch.Tensor:
        aim = model._encode(inputs | changes, {"observation.state": torch.tensor([here])}, {})[
            "observation.images.front"
        ].aim
        assert aim is not None
        return aim.heat.detach()

    other = {"observation.state": torch.randn(1, 7)}
    assert not torch.equal(heat(), heat(**other))
    assert torch.equal(heat(here=False), heat(here=False, **other)), "hidden joints say nothing"
    assert _policy(arm).encoders["observation.images.*"].settings.joints is False
