"""Windows for training: the right rows and frames, padded at an episode's ends and never across them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from recordings import DEPTH, FRONT, WRENCH, deep_contract, deep_row, depth, number_of, record

from vla_ros.data import Dataset, DatasetWriter
from vla_ros.data.merge import merge_files
from vla_ros.data.random_access import FrameReader
from vla_ros.data.training import EpisodeSampler, WindowDataset
from vla_ros.errors import DatasetError

LENGTHS = (9, 14, 6)


@pytest.fixture(scope="module", params=["one file each", "merged"])
def root(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("windows") / "set"
    record(folder, LENGTHS, tasks=("red", "blue"))
    if request.param == "merged":
        merge_files(folder)
    return folder


def seen(image: torch.Tensor) -> int:
    return number_of(image.permute(1, 2, 0).numpy())


def test_a_window_holds_past_observations_and_the_chunk_that_follows(root: Path) -> None:
    data = WindowDataset(root, chunk=4, history={FRONT: 3, "observation.state": 2})
    item = data[9 + 5]
    assert item["task"] == "blue" and int(item["episode_index"]) == 1 and int(item["frame_index"]) == 5
    assert item[FRONT].shape == (3, 3, 48, 64) and item[FRONT].dtype == torch.uint8
    assert [seen(image) for image in item[FRONT]] == [3, 4, 5]
    assert item["observation.state"][:, 0].tolist() == [4, 5]
    assert item["action"][:, 0].tolist() == [6, 7, 8, 9]
    assert item[WRENCH].shape == (4, 6)  # its own window, of one row
    assert not any(item[f"{key}_is_pad"].any() for key in (FRONT, "observation.state", "action"))


def test_at_an_episodes_ends_rows_are_repeated_and_marked(root: Path) -> None:
    data = WindowDataset(root, chunk=4, history={FRONT: 3})
    first, last = data[9], data[9 + 13]
    assert [seen(image) for image in first[FRONT]] == [0, 0, 0]
    assert first[f"{FRONT}_is_pad"].tolist() == [True, True, False]
    assert last["action"][:, 0].tolist() == [14, 14, 14, 14]
    assert last["action_is_pad"].tolist() == [False, True, True, True]


def test_workers_give_the_same_items_in_any_order(root: Path) -> None:
    data = WindowDataset(root, chunk=3, floats=True)
    sampler = EpisodeSampler(data.data, seed=3)
    loaded = {}
    for workers in (0, 2):
        loader = torch.utils.data.DataLoader(data, batch_size=5, sampler=sampler, num_workers=workers)
        sampler.set_epoch(7)
        loaded[workers] = list(loader)
    assert len(loaded[0]) == len(loaded[2]) == 6
    for one, two in zip(loaded[0], loaded[2], strict=True):
        assert all(torch.equal(one[key], two[key]) for key in one if key != "task") and one["task"] == two["task"]
    image = loaded[0][0][FRONT]
    assert image.dtype == torch.float32 and 0 < image.mean() < 1


def test_every_frame_in_any_order_is_that_of_the_reader(root: Path) -> None:
    data = Dataset(root)
    reader = FrameReader(data, open_files=1)
    whole = [data.frames(FRONT, e) for e in range(3)]
    order = np.random.default_rng(0).permutation([(e, k) for e, n in enumerate(LENGTHS) for k in range(n)])
    for episode, row in [*order, *order[:5]]:
        assert np.array_equal(reader.frames(FRONT, int(episode), [int(row)])[0], whole[episode][row])


def test_a_sampler_stays_in_its_episodes_and_repeats_by_seed(root: Path) -> None:
    data = Dataset(root)
    sampler = EpisodeSampler(data, episodes=[0, 2], skip_first=1, skip_last=2, seed=1)
    first, second = list(sampler), list(sampler)
    assert sorted(first) == sorted(second) == [*range(1, 7), *range(24, 27)] and first != second
    again = EpisodeSampler(data, episodes=[0, 2], skip_first=1, skip_last=2, seed=1)
    again.set_epoch(1)
    assert list(again) == second
    assert list(EpisodeSampler(data, episodes=[2], shuffle=False)) == [23, 24, 25, 26, 27, 28]


def test_depth_comes_as_metres(tmp_path: Path) -> None:
    with DatasetWriter(tmp_path / "set", deep_contract()) as writer:
        writer.start_episode("do it")
        for k in range(5):
            writer.add_frame(deep_row(k))
        writer.save_episode()
    item = WindowDataset(tmp_path / "set", chunk=1, keys=[DEPTH])[3]
    assert item[DEPTH].shape == (1, 48, 64) and set(item) >= {DEPTH, "action", "task"} and FRONT not in item
    assert np.nanmax(np.abs(item[DEPTH][0].numpy() - depth(3))) < 0.002


def test_mistakes_are_named(root: Path) -> None:
    with pytest.raises(DatasetError, match=r"unknown observation 'observation.images.up'"):
        WindowDataset(root, keys=["observation.images.up"])
    with pytest.raises(DatasetError, match=r"window of 'action' has no rows"):
        WindowDataset(root, chunk=0)
    with pytest.raises(DatasetError, match=r"no episode 3; valid: 0\.\.2"):
        EpisodeSampler(Dataset(root), episodes=[3])
    with pytest.raises(DatasetError, match=r"no rows are left of 1 episodes"):
        EpisodeSampler(Dataset(root), episodes=[2], skip_first=6)
    with pytest.raises(DatasetError, match=r"episode 2 has no row 6; valid: 0\.\.5"):
        FrameReader(Dataset(root)).frames(FRONT, 2, [6])
