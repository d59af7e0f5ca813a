"""Encoders: streams to tokens, and the masks of what is missing."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from picture_world import picture_contract

from vla_ros.encoders import (
    ENCODERS,
    ByteInstruction,
    ByteInstructionSettings,
    FilmCnn,
    FilmCnnSettings,
    TaxelMlp,
    TaxelMlpSettings,
    TokenGroup,
    WrenchWindow,
    WrenchWindowSettings,
)
from vla_ros.encoders.image import SpatialSoftmax
from vla_ros.encoders.positions import grid_positions, sine_positions
from vla_ros.errors import PolicyError
from vla_ros.policy.preprocess import Bytes, Resize

CONTRACT = picture_contract((60, 80), touch=True)
SMALL = FilmCnnSettings(size=(60, 80), channels=(8, 16, 16), blocks=(1, 1), keypoints=4)


def stream(key: str):
    return CONTRACT.observation[key]


def test_an_image_becomes_one_token_a_cell_and_one_of_keypoints():
    encoder = FilmCnn(SMALL, stream("observation.images.front"), 32)
    group = encoder(torch.zeros(2, 3, 60, 80), torch.zeros(2, 32))
    assert group.tokens.shape == (2, 8 * 10 + 1, 32)


def test_the_instruction_changes_what_the_image_encoder_sees():
    encoder = FilmCnn(SMALL, stream("observation.images.front"), 32)
    for module in encoder.modules():
        if getattr(module, "film", None) is not None:
            torch.nn.init.normal_(module.film.weight)
    image = torch.rand(1, 3, 60, 80)
    one = encoder(image, torch.ones(1, 32)).tokens
    other = encoder(image, -torch.ones(1, 32)).tokens
    assert (one - other).abs().max() > 1e-2


def test_a_keypoint_lies_where_its_feature_is():
    points = SpatialSoftmax(1, 1, 9, 11)
    torch.nn.init.constant_(points.heat.weight, 100.0)
    feature = torch.zeros(1, 1, 9, 11)
    feature[0, 0, 2, 10] = 1.0
    where, peak = points(feature)
    np.testing.assert_allclose(where[0, 0].detach(), [1.0, -0.5], atol=1e-3)
    assert peak[0, 0] > 0.99


def test_keypoints_are_noisy_in_training_alone_and_as_much_as_is_said():
    encoder = FilmCnn(dataclasses.replace(SMALL, keypoint_noise=0.1), stream("observation.images.front"), 32)
    image, words = torch.rand(1, 3, 60, 80), torch.zeros(1, 32)

    def spread() -> float:
        return float((encoder(image, words).tokens[:, -1] - encoder(image, words).tokens[:, -1]).abs().max())

    assert spread() > 0.0
    encoder.disturb(0.0)
    assert spread() == 0.0
    encoder.disturb(1.0)
    assert spread() > 0.0
    assert encoder.eval() and spread() == 0.0


def test_the_wrench_is_read_over_its_whole_window():
    encoder = WrenchWindow(WrenchWindowSettings(), stream("observation.wrench.tool"), 32)
    window = torch.zeros(1, 4, 6)
    before = encoder(window).tokens
    window[0, 0, 2] = 5.0  # the oldest sample
    assert before.shape == (1, 1, 32)
    assert (encoder(window).tokens - before).abs().max() > 1e-4


def test_a_pad_becomes_one_token():
    encoder = TaxelMlp(TaxelMlpSettings(), stream("observation.tactile.left"), 32)
    assert encoder(torch.zeros(3, 2, 2, 3)).tokens.shape == (3, 1, 32)


def test_padding_after_the_instruction_changes_nothing():
    torch.manual_seed(0)
    encoder = ByteInstruction(ByteInstructionSettings(), stream("task"), 32).eval()
    short, long = (torch.from_numpy(Bytes(n)("pick up the red cube")).unsqueeze(0) for n in (32, 96))
    torch.testing.assert_close(encoder(short).pooled, encoder(long).pooled, atol=1e-5, rtol=1e-5)


def test_case_and_spaces_do_not_matter_and_other_scripts_are_read():
    step = Bytes(32)
    assert (step("Pick  up\tthe RED cube ") == step("pick up the red cube")).all()
    assert step("拿起红色方块").tolist() != step("拿起蓝色方块").tolist()
    assert step("x" * 100).shape == (32,)


def test_images_are_resized_by_area():
    image = np.zeros((4, 4, 3), dtype=np.uint8)
    image[:2, :2] = (100, 200, 40)
    image[0, 0] = (20, 0, 0)
    small = Resize((2, 2))(image)
    assert small.dtype == np.uint8
    assert small[0, 0].tolist() == [80, 150, 30]


def test_joined_groups_keep_their_masks():
    whole = TokenGroup(torch.ones(2, 3, 4))
    part = TokenGroup(torch.ones(2, 1, 4), torch.tensor([[True], [False]]))
    assert TokenGroup.join([whole, whole]).mask is None
    joined = TokenGroup.join([whole, part])
    assert joined.tokens.shape == (2, 4, 4)
    assert joined.mask is not None
    assert joined.mask.tolist() == [[True] * 4, [True, True, True, False]]


def test_positions_tell_every_cell_apart():
    for table in (grid_positions(8, 10, 64), sine_positions(80, 64)):
        distance = torch.cdist(table, table) + 10 * torch.eye(80)
        assert distance.min() > 0.1


def test_a_wrong_encoder_name_suggests_the_right_one():
    with pytest.raises(PolicyError, match="film_cn.*did you mean 'film_cnn'"):
        ENCODERS.parse({"type": "film_cn"}, "act.yaml: encoders.front")


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"type": "film_cnn", "sise": [60, 80]}, "unknown key 'sise' .did you mean 'size'"),
        ({"type": "film_cnn", "size": [60]}, "want 2 values"),
        ({"type": "film_cnn", "keypoints": "many"}, "keypoints: want int, got 'many'"),
        ({"type": "film_cnn", "blocks": [1]}, "blocks has 1 values, want 3"),
        ({"type": "film_cnn", "channels": [10, 16, 16, 16]}, "multiples of 8"),
        ({"size": [60, 80]}, "want a mapping with 'type'"),
    ],
)
def test_a_wrong_setting_is_refused_with_its_name(section, message):
    with pytest.raises(PolicyError, match=message):
        ENCODERS.parse(section, "act.yaml: encoders.front")


def test_settings_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        SMALL.keypoints = 3  # type: ignore[misc]
