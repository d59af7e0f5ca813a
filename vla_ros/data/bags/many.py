"""Many bags, or one of many episodes, become one dataset: converted side by side into parts, whose episodes are then
taken over in order.

Nothing is encoded twice: an episode is committed to the dataset with the very video files of its part.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

from vla_ros.contract import Contract, parse_contract
from vla_ros.data import layout
from vla_ros.data.bags.conversion import Converted, count_episodes, from_bag
from vla_ros.data.features import MADE_AT_SAVE
from vla_ros.data.finished import FinishedEpisode
from vla_ros.data.reader import Dataset
from vla_ros.data.tools import metadata
from vla_ros.data.tools.compose import staging
from vla_ros.data.tools.engine import run
from vla_ros.data.writer import DatasetWriter
from vla_ros.errors import DatasetError

Work = tuple[
    str, slice, str, str, str, str, bool
]  # bag, which episodes, contract's text and source, part, task, success


def from_bags(
    bags: Sequence[str | Path],
    contract: Contract,
    output: str | Path,
    task: str = "",
    success: bool = True,
    jobs: int = 1,
    engine: str = "processes",
    say: Callable[[str], None] = lambda line: None,
) -> list[Converted]:
    """Append the episodes of bags, in their order; see `conversion.from_bag`, and `tools.engine` for `jobs`.

    With more jobs than bags, a bag is converted in several pieces, each of which reads it up to its last episode.
    Side by side, nothing is appended if one of the bags is refused; otherwise the episodes before it are.
    """
    output = Path(output)
    if engine == "processes" and jobs == 1:
        return [one for bag in bags for one in from_bag(bag, contract, output, task, success, say=say)]
    with DatasetWriter(output, contract) as writer, staging(output.absolute()) as folder:
        for note in writer.notes:
            say(f"{output}: {note}")
        pieces = [(str(Path(bag).absolute()), piece) for bag in bags for piece in _pieces(bag, -(-jobs // len(bags)))]
        parts = [folder / f"{number:05d}" for number in range(len(pieces))]
        work: list[Work] = [
            (bag, piece, contract.text, str(contract.source), str(part), task, success)
            for (bag, piece), part in zip(pieces, parts, strict=True)
        ]
        converted: list[Converted] = []
        for part, found in zip(parts, run(convert, work, jobs, engine), strict=True):
            dataset = Dataset(part)
            converted += [replace(one, episode=take_over(writer, dataset, one.episode)) for one in found]
        return converted


def convert(work: Work) -> list[Converted]:
    """Convert episodes of a bag into a dataset of their own; for a worker."""
    bag, piece, text, source, part, task, success = work
    return from_bag(bag, parse_contract(text, source), part, task, success, part=piece)


def _pieces(bag: str | Path, wanted: int) -> list[slice]:
    """Return the episodes of a bag in at most `wanted` pieces of about the same number."""
    if wanted <= 1:
        return [slice(None)]
    episodes = count_episodes(bag)
    ends = [round(episodes * k / wanted) for k in range(wanted + 1)]
    return [slice(first, end) for first, end in pairwise(ends) if first < end]


def take_over(writer: DatasetWriter, dataset: Dataset, index: int) -> int:
    """Move an episode that has files of its own to the dataset of `writer`; return its index there.

    Raises DatasetError if the disk does not take it; what was saved before stays.
    """
    recording = layout.recording_folder(writer.root)
    tree, episode = recording / layout.TREE, dataset.episodes[index]
    stats = metadata.stats_of(metadata.metadata_rows(dataset)[index], dataset.cameras, f"'{dataset.root}'")
    keys = [key for key, one in dataset.features.items() if not one.is_video and key not in MADE_AT_SAVE]
    columns = {key: dataset.column(key, index) for key in keys}
    tasks = [dataset.tasks[number] for number in dataset.column("task_index", index)]
    try:
        tree.mkdir(parents=True)
        for camera in dataset.cameras:
            target = tree / layout.video_file(camera, writer.num_episodes)
            target.parent.mkdir(parents=True)
            shutil.move(dataset.video(camera, index)[0], target)
        notes = dataset.notes.get(index, ())
        finished = FinishedEpisode(tree, writer.features, writer.fps, columns, tasks, stats, notes)
        return writer.commit(finished, bool(episode.success))
    except OSError as error:
        shutil.rmtree(recording, ignore_errors=True)
        raise DatasetError(f"dataset '{writer.root}' cannot be written: {error}") from None
