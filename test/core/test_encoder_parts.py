"""The parts of encoders: adapters, FiLM, learned tokens, vocabularies, pretrained weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from encoder_support import IMAGE, TASK, WIDTH, WORDS, contract, make_pretrained
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import nn

from vla_ros.encoders.bpe import BytePairs
from vla_ros.encoders.film import Film
from vla_ros.encoders.image import FilmCnnSettings
from vla_ros.encoders.lora import LoraLinear, Tower, TuneSettings, merge_lora, tune
from vla_ros.encoders.resnet import ResNetImage, ResNetSettings
from vla_ros.encoders.text_models import T5, TextModelSettings
from vla_ros.encoders.token_learner import TokenLearner, TokenLearnerSettings
from vla_ros.encoders.towers import Siglip, TowerSettings
from vla_ros.encoders.vit import Vit, VitSettings
from vla_ros.errors import PolicyError
from vla_ros.observation import Observation
from vla_ros.paths import share_path
from vla_ros.policy import load_policy
from vla_ros.policy.registry import Part

ROBOT = contract()
PAIRS = BytePairs.train(WORDS, 300)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("pretrained")
    make_pretrained(where)
    return where


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 7), nn.GELU(), nn.Sequential(nn.Linear(7, 3, bias=False)))


def test_an_adapted_network_begins_as_it_was_and_only_its_adapters_are_trained() -> None:
    plain, adapted, x = network(), network(), torch.randn(4, 5)
    tune(adapted, TuneSettings("lora", rank=2))
    assert torch.equal(plain(x), adapted(x))
    trained = [name for name, p in adapted.named_parameters() if p.requires_grad]
    assert trained == ["0.lora_a", "0.lora_b", "2.0.lora_a", "2.0.lora_b"]
    optimiser = torch.optim.SGD([p for p in adapted.parameters() if p.requires_grad], lr=0.1)
    for _ in range(2):
        adapted(x).square().sum().backward()
        optimiser.step()
    assert torch.equal(adapted[0].weight, plain[0].weight) and not torch.equal(plain(x), adapted(x))


def test_merged_adapters_give_the_same_and_leave_a_plain_network() -> None:
    adapted, x = network(), torch.randn(4, 5)
    tune(adapted, TuneSettings("lora", rank=2, alpha=3.0))
    for module in adapted.modules():
        if isinstance(module, LoraLinear):
            nn.init.normal_(module.lora_b)
    before = adapted(x)
    assert merge_lora(adapted) == 2 and merge_lora(adapted) == 0
    assert not any(isinstance(m, LoraLinear) for m in adapted.modules())
    torch.testing.assert_close(adapted(x), before, atol=1e-5, rtol=1e-5)
    assert list(adapted.state_dict()) == list(network().state_dict())


def test_a_frozen_network_stays_in_evaluation_mode_and_keeps_no_graph() -> None:
    frozen = Tower(nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.5)), TuneSettings("frozen")).train()
    x = torch.randn(8, 3, requires_grad=True)
    assert torch.equal(frozen(x), frozen(x)) and not frozen(x).requires_grad
    assert Tower(nn.Dropout(0.5), TuneSettings("full")).train().network.training


def test_adapters_need_linear_layers() -> None:
    with pytest.raises(PolicyError, match="changes linear layers, and this network has none"):
        tune(nn.Conv2d(3, 3, 1), TuneSettings("lora"))


def test_words_change_nothing_at_first_and_then_maps_and_tokens() -> None:
    film, words = Film(4, 3), torch.randn(2, 4)
    for x in (torch.randn(2, 3, 5, 6), torch.randn(2, 7, 3)):
        assert torch.equal(film(x, words), x) and torch.equal(film(x, None), x)
    nn.init.normal_(film.linear.weight)
    maps = torch.randn(2, 3, 5, 6)
    scale, shift = film.linear(words).chunk(2, dim=1)
    wanted = maps * (1 + scale[:, :, None, None]) + shift[:, :, None, None]
    torch.testing.assert_close(film(maps, words), wanted)
    tokens = maps.flatten(2).transpose(1, 2)
    torch.testing.assert_close(film(tokens, words), wanted.flatten(2).transpose(1, 2))


@pytest.mark.parametrize(
    "make",
    [
        lambda spec: ResNetImage(ResNetSettings((32, 32), 18, norm="group", stages=2), spec, WIDTH),
        lambda spec: Vit(VitSettings((32, 32), 16, 32, 1, 2), spec, WIDTH),
    ],
)
def test_an_image_encoder_sees_what_the_instruction_asks_for(make) -> None:
    torch.manual_seed(0)
    encoder = make(ROBOT.observation[IMAGE]).eval()
    image = torch.rand(1, 3, 32, 32)
    for film in (m for m in encoder.modules() if isinstance(m, Film)):
        nn.init.normal_(film.linear.weight, std=0.5)
    one, other = (encoder(image, sign * torch.ones(1, WIDTH)).tokens for sign in (1, -1))
    assert (one - other).abs().max() > 1e-2


def test_learned_tokens_are_as_many_as_asked_and_means_of_what_is_there() -> None:
    cnn = Part("film_cnn", FilmCnnSettings(size=(24, 32), channels=(8, 16), blocks=(0,), keypoints=0))
    encoder = TokenLearner(TokenLearnerSettings(cnn, tokens=5), ROBOT.observation[IMAGE], WIDTH).eval()
    image = torch.rand(2, 3, 24, 32)
    inside = encoder.inner(image).tokens
    tokens = encoder(image).tokens
    assert tokens.shape == (2, 5, WIDTH)
    assert (tokens <= inside.amax(dim=1, keepdim=True) + 1e-5).all()
    assert (tokens >= inside.amin(dim=1, keepdim=True) - 1e-5).all()
    nn.init.zeros_(encoder.scores[2].weight)
    torch.testing.assert_close(encoder(image).tokens, inside.mean(dim=1, keepdim=True).expand(-1, 5, -1))


@given(st.binary(max_size=64))
def test_any_bytes_come_back_as_they_were(data: bytes) -> None:
    assert PAIRS.decode(PAIRS.encode(data)) == data


def test_every_byte_and_every_script_come_back() -> None:
    everything = bytes(range(256)) * 2
    assert PAIRS.decode(PAIRS.encode(everything)) == everything
    for text in ("拿起红色方块", "Приве́т, мир", "pick  up\tthe\n cube", "", "🤖"):
        assert PAIRS.decode(PAIRS.encode(text)).decode() == text


def test_frequent_words_become_one_entry_and_the_vocabulary_survives_json(tmp_path: Path) -> None:
    assert len(PAIRS) <= 300 and len(PAIRS.encode(WORDS[0])) <= len(WORDS[0]) / 2
    assert b" the" in PAIRS.entries
    PAIRS.save(tmp_path / "v.json")
    again = BytePairs.from_json((tmp_path / "v.json").read_text(), "v.json")
    assert again.merges == PAIRS.merges and again.encode(WORDS[0]) == PAIRS.encode(WORDS[0])
    assert BytePairs.train(WORDS, 300).merges == PAIRS.merges
    assert BytePairs.train(["abc"], 300).merges == []  # nothing is seen twice


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not JSON"),
        ("[1]", "format is 'list'"),
        ('{"format": "other"}', "format is 'other', want 'vla_ros byte pairs 1'"),
        ('{"format": "vla_ros byte pairs 1", "merges": [[1]]}', "want merges, a list of pairs"),
        ('{"format": "vla_ros byte pairs 1", "merges": [[1, 256]]}', "merge 0 is of 1 and 256, want 0 to 255"),
    ],
)
def test_a_wrong_vocabulary_is_refused(text: str, message: str) -> None:
    with pytest.raises(PolicyError, match=message):
        BytePairs.from_json(text, "v.json")


def test_a_pretrained_vision_tower_gives_what_its_library_gives(folder: Path) -> None:
    import transformers

    encoder = Siglip(TowerSettings(str(folder / "siglip"), (32, 32)), ROBOT.observation[IMAGE], WIDTH).eval()
    reference = transformers.SiglipVisionModel.from_pretrained(folder / "siglip").eval()
    image = 2 * torch.rand(2, 3, 32, 32) - 1
    torch.testing.assert_close(encoder.tower(image), reference(image).last_hidden_state)


def test_a_pretrained_language_model_reads_only_the_words(folder: Path) -> None:
    import transformers

    settings = TextModelSettings(str(folder / "t5"), length=12)
    encoder = T5(settings, ROBOT.observation[TASK], WIDTH).eval()
    tokens = torch.from_numpy(settings.text_step(ROBOT.observation[TASK])("Pick up the  red cube")).unsqueeze(0)
    reference = transformers.T5EncoderModel.from_pretrained(folder / "t5").eval()
    wanted = reference(input_ids=tokens[:, :5] - 1).last_hidden_state
    features, mask = encoder.features(tokens)
    assert mask[0].tolist() == [True] * 5 + [False] * 7
    torch.testing.assert_close(features[:, :5], wanted, atol=1e-5, rtol=1e-5)
    empty = encoder(torch.zeros(1, 12, dtype=torch.int64))
    assert torch.isfinite(empty.tokens).all() and empty.mask is not None and not empty.mask.any()


def test_a_missing_pretrained_folder_is_named_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(PolicyError, match=r"'observation.images.front' cannot be loaded from '.*empty'") as error:
        Siglip(TowerSettings(str(tmp_path / "empty"), (32, 32)), ROBOT.observation[IMAGE], WIDTH)
    assert "\n" not in str(error.value)


def test_weights_of_another_network_are_refused(folder: Path) -> None:
    with pytest.raises(PolicyError, match=r"cannot be loaded from '.*dinov2': .*no tensor"):
        Siglip(TowerSettings(str(folder / "dinov2"), (32, 32)), ROBOT.observation[IMAGE], WIDTH)


def names_of_torchvision(layers: int) -> set[str]:
    """The tensors of torchvision's ResNet, as its documentation of the architecture implies them."""
    blocks, convolutions = {18: ((2, 2, 2, 2), 2), 50: ((3, 4, 6, 3), 3)}[layers]
    norm = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    names = {"conv1.weight", "fc.weight", "fc.bias", *(f"bn1.{n}" for n in norm)}
    for stage, count in enumerate(blocks, start=1):
        for block in range(count):
            at = f"layer{stage}.{block}"
            for i in range(1, convolutions + 1):
                names |= {f"{at}.conv{i}.weight", *(f"{at}.bn{i}.{n}" for n in norm)}
            if block == 0 and (stage > 1 or layers == 50):
                names |= {f"{at}.downsample.0.weight", *(f"{at}.downsample.1.{n}" for n in norm)}
    return names


@pytest.mark.parametrize(("layers", "count"), [(18, 122), (50, 320)])
def test_a_residual_network_takes_the_names_of_torchvision(layers: int, count: int) -> None:
    theirs = names_of_torchvision(layers)
    ours = set(ResNetImage(ResNetSettings((32, 32), layers), ROBOT.observation[IMAGE], 8).tower.state_dict())
    assert len(theirs) == count  # of torchvision 0.29's state dict
    assert theirs - ours == {n for n in theirs if n.startswith("fc.") or n.endswith("num_batches_tracked")}
    assert ours - theirs == set()


def test_weights_of_a_residual_network_are_read_from_safetensors(tmp_path: Path) -> None:
    torch.manual_seed(1)
    spec = ROBOT.observation[IMAGE]
    tensors = ResNetImage(ResNetSettings((32, 32), 18), spec, 8).tower.state_dict()
    file = tmp_path / "resnet18.safetensors"
    save_file({**tensors, "fc.weight": torch.zeros(3, 3), "bn1.num_batches_tracked": torch.tensor(1)}, file)
    loaded = ResNetImage(ResNetSettings((32, 32), 18, str(file), stages=3), spec, 8).tower.state_dict()
    assert all(torch.equal(tensor, tensors[name]) for name, tensor in loaded.items())
    with pytest.raises(PolicyError, match=r"tensor 'layer1.0.conv1.weight' is \[64, 64, 3, 3\], .*\[64, 64, 1, 1\]"):
        ResNetImage(ResNetSettings((32, 32), 50, str(file)), spec, 8)


def test_the_shipped_policy_does_what_it_did_when_it_was_shipped() -> None:
    policy = load_policy(share_path("config/checkpoints/tabletop_act"))
    rng = np.random.default_rng(0)
    values: dict[str, object] = {}
    for s in policy.contract.streams():
        if s.kind == "image":
            ramp = np.add.outer(np.arange(s.shape[0]), np.arange(s.shape[1]))[..., None] * np.array([1, 2, 3])
            values[s.key] = (ramp % 256).astype(np.uint8)
        elif s.kind == "text":
            values[s.key] = "place the red cube into the bin"
        else:
            values[s.key] = rng.normal(size=s.value_shape).astype(np.float32)
    chunk = policy.predict(Observation(7, values)).values
    recorded = [
        [-0.0699551, 0.2499415, 0.5070665, -0.6807712, 4.77e-05, -0.5180262, 0.0142162],
        [-0.0267256, 0.040414, 0.3032123, -0.3282571, -0.0002808, -0.4890058, -0.001692],
        [0.3349338, 0.203278, 0.0473372, -0.2691514, 1.46e-05, 0.1821637, 0.0131855],
    ]
    np.testing.assert_allclose(chunk[[0, 20, 44]], recorded, atol=2e-5)
