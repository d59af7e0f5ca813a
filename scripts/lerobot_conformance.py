"""Does LeRobot read what this package writes, and the other way round? Run by hand, in an environment with LeRobot.

    PYTHONPATH=. python3.12 scripts/lerobot_conformance.py DATASET     # Python 3.12, lerobot[dataset]==0.6.1

Works on a copy of the dataset: opens it with LeRobot's reader, compares every row and every frame with what our reader
gives, lets LeRobot append an episode, reads that back with ours, appends one more with ours where the dataset has a
contract, and opens the result with LeRobot again. Prints one line a step; exit code 1 at the first that fails.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from lerobot.datasets.lerobot_dataset import LeRobotDataset

from vla_ros.data import Dataset, DatasetWriter
from vla_ros.data.features import INDEX_FEATURES, MADE_AT_SAVE, Feature
from vla_ros.data.merge import merge_files

MEAN_LEVELS, MOST_LEVELS = 1.5, 8  # of 255: two roundings of the same colours
MOST_OF = 0.9999  # of the values: at sharp edges chroma is interpolated differently
METRES = 0.001  # LeRobot gives whole millimetres
APPENDED = 12  # rows


def main() -> int:
    """Run all steps on a copy of the dataset named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset", type=Path)
    given: Path = parser.parse_args().dataset
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch) / "copy"
        shutil.copytree(given, root, ignore=shutil.ignore_patterns(".vla_ros"))
        compare(root, "as recorded")
        merge_files(root)
        compare(root, "merged")
        appended(root)
        compare(root, "after LeRobot appended an episode")
        if (root / "meta/contract.yaml").is_file():
            ours_after_theirs(root)
            compare(root, "after ours appended behind LeRobot's")
            print(f"merge of both: {merge_files(root).text}")
            compare(root, "both merged")
    print("conforms")
    return 0


def compare(root: Path, what: str) -> None:
    """Read every row with both readers; stop with one line at the first difference."""
    ours, theirs = Dataset(root), LeRobotDataset("local/conformance", root=root, video_backend="pyav")
    expect(len(theirs) == len(ours), f"{what}: LeRobot has {len(theirs)} rows, we {len(ours)}")
    expect(theirs.meta.total_episodes == ours.num_episodes, f"{what}: {theirs.meta.total_episodes} episodes")
    columns = {key: ours.column(key) for key, f in ours.features.items() if not f.is_video}
    worst = 0.0
    for episode in ours.episodes:
        frames = {key: ours.frames(key, episode.index) for key in ours.cameras}
        for row in range(episode.length):
            item = theirs[episode.from_index + row]
            where = f"{what}: episode {episode.index} row {row}"
            expect(item["task"] in episode.tasks, f"{where}: task '{item['task']}', want {episode.tasks}")
            for key, values in columns.items():
                same = np.array_equal(np.asarray(item[key]).reshape(-1), values[episode.from_index + row].reshape(-1))
                expect(same, f"{where}: '{key}' differs")
            for key, feature in ((key, ours.features[key]) for key in ours.cameras):
                difference = far(np.asarray(item[key]), frames[key][row], feature)
                worst = max(worst, difference)
                expect(difference <= 1.0, f"{where}: '{key}' differs by {difference:.2f} times what is allowed")
    print(f"{what}: {len(ours)} rows of {ours.num_episodes} episodes equal; frames within {worst:.2f} of the bound")


def far(theirs: np.ndarray, ours: np.ndarray, feature: Feature) -> float:
    """Return the difference of two frames, 1.0 being the most that is allowed."""
    if not feature.is_depth:
        levels = np.abs(theirs.transpose(1, 2, 0) * 255.0 - ours)
        return max(float(levels.mean()) / MEAN_LEVELS, float(np.quantile(levels, MOST_OF)) / MOST_LEVELS)
    measured = ~np.isnan(ours)
    metres = theirs.reshape(ours.shape) / 1000.0
    return float(np.abs(metres - ours)[measured].max(initial=0.0)) / METRES


def appended(root: Path) -> None:
    """Let LeRobot append an episode, and check that our reader finds it."""
    before = Dataset(root)
    writer = LeRobotDataset.resume("local/conformance", root=root)
    for k in range(APPENDED):
        writer.add_frame(value_of(before.features, k) | {"task": "appended by LeRobot"})
    writer.save_episode()
    writer.finalize()
    after = Dataset(root)
    expect(after.num_episodes == before.num_episodes + 1, f"our reader sees {after.num_episodes} episodes")
    last = after.episodes[-1]
    expect((last.length, last.task) == (APPENDED, "appended by LeRobot"), f"our reader sees {last}")
    expect(np.array_equal(after.column("action", last.index)[:, 0], np.arange(APPENDED)), "its actions differ")
    for key in after.cameras:
        frames = after.frames(key, last.index)
        expect(len(frames) == APPENDED, f"'{key}' has {len(frames)} frames")
    print(f"LeRobot appended episode {last.index}; our reader has its {last.length} rows and frames")


def ours_after_theirs(root: Path) -> None:
    """Append an episode with our writer behind LeRobot's."""
    contract = Dataset(root).contract
    with DatasetWriter(root, contract) as writer:
        writer.start_episode("appended by us")
        for k in range(APPENDED):
            row = {key: value for key, value in value_of(writer.features, k).items() if key not in MADE_AT_SAVE}
            for key, value in row.items():
                if writer.features[key].is_depth:
                    row[key] = value[..., 0]
                elif writer.features[key].is_flat:
                    row[key] = value.reshape(writer.features[key].shape)
            writer.add_frame(row)
        writer.save_episode()


def value_of(features: dict[str, Feature], k: int) -> dict[str, Any]:
    """Return row k of a made-up episode, as LeRobot's add_frame takes it."""
    row: dict[str, Any] = {}
    for key, feature in features.items():
        if key in INDEX_FEATURES:
            continue
        if feature.is_depth:
            row[key] = np.full(feature.shape, 1.0 + 0.1 * k, dtype=np.float32)
        elif feature.is_video:
            row[key] = np.full(feature.shape, 100 + 5 * k, dtype=np.uint8)
        elif feature.dtype == "bool":
            row[key] = np.zeros(feature.shape, dtype=bool)
        else:
            row[key] = np.full(feature.stored_shape, k, dtype=feature.dtype)
    return row


def expect(truth: bool, message: str) -> None:
    """Stop the run with one line unless `truth`."""
    if not truth:
        print(f"FAILED: {message}")
        sys.exit(1)


if __name__ == "__main__":
    sys.exit(main())
