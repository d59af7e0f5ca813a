"""Statistics made anew from the data, compared with those that are stored, and put in their place."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from vla_ros.data import layout
from vla_ros.data.features import STATS, episode_schema
from vla_ros.data.pictures import pictures_of
from vla_ros.data.reader import Dataset
from vla_ros.data.stats import Stats, column_stats, merge_stats, stats_to_json
from vla_ros.data.tables import write_table
from vla_ros.data.tools import metadata
from vla_ros.data.tools.engine import run
from vla_ros.data.tools.rows import load_rows
from vla_ros.errors import DatasetError

EXACT = 1e-5  # relative; quantiles and sums differ a little with the order of summation
PICTURES = 0.03  # of [0, 1], or metres: stored ones are of the pictures before encoding
COMPARED = tuple(name for name in STATS if name not in ("min", "max"))  # of pictures: extremes are single pixels


def episode_stats(dataset: Dataset, index: int, video: bool) -> dict[str, Stats]:
    """Return an episode's statistics, computed from its rows and, with `video`, from its decoded frames."""
    rows = load_rows(dataset, dataset.episodes[index])
    columns = {key: dataset.features[key].stored(v) for key, v in rows.columns.items() if v.dtype.kind in "biuf"}
    stats = {key: column_stats(values) for key, values in columns.items()}
    for camera in dataset.cameras if video else ():
        pictures = pictures_of(dataset.features[camera])
        counted = pictures.stats()
        for frame in dataset.frames(camera, index):
            pictures.encode(frame, counted)
        stats[camera] = counted.stats()
    return stats


def restat(
    root: str | Path, repair: bool = False, video: bool = False, jobs: int = 1, engine: str = "processes"
) -> list[str]:
    """Return one line about each stored statistic that the data contradict or that is missing.

    video: also look at the pictures, which must be decoded. repair: put right what is wrong, atomically.
    jobs, engine: see `engine`. Raises DatasetError if the dataset cannot be read, or is being written.
    """
    dataset = Dataset(root)
    place = Path(root) if engine == "processes" else Path(root).absolute()  # workers elsewhere have other folders
    work = [(str(place), index, video) for index in range(dataset.num_episodes)]
    computed = run(_one, work, jobs, engine)
    rows = metadata.metadata_rows(dataset)
    differences, merged = [], {}  # type: ignore[var-annotated]
    for index, (row, stats) in enumerate(zip(rows, computed, strict=True)):
        found = _compare(_stored(row, dataset), stats, dataset)
        differences += [f"episode {index}: {line}" for line in found]
        if found:
            metadata.put_stats(row, stats)
        merged = merge_stats(merged, _stored(row, dataset))
    whole = _compare(dataset.stats, merged, dataset)
    differences += [f"{layout.STATS_FILE}: {line}" for line in whole]
    if repair and differences:
        _write(dataset, rows, merged)
    return differences


def _one(work: tuple[str, int, bool]) -> dict[str, Stats]:
    root, index, video = work
    return episode_stats(Dataset(root), index, video)


def _stored(row: metadata.Row, dataset: Dataset) -> dict[str, Stats]:
    """Return the statistics that an episode's metadata has in full."""
    stats = {}
    for key in dataset.features:
        values = {name: row.get(f"stats/{key}/{name}") for name in STATS}
        if all(value is not None for value in values.values()):
            stats[key] = {name: np.asarray(value) for name, value in values.items()}
    return stats


def _compare(stored: Mapping[str, Stats], computed: Mapping[str, Stats], dataset: Dataset) -> list[str]:
    lines = []
    for key, right in computed.items():
        camera = dataset.features[key].is_video
        for name in COMPARED if camera else STATS:
            have = stored.get(key, {}).get(name)
            if have is None:
                lines.append(f"'{key}' has no {name}")
                break
            if not _equal(have, right[name], PICTURES if camera and name != "count" else None):
                lines.append(f"'{key}' {name} is {_short(have)}, the data say {_short(right[name])}")
                break
    return lines


def _equal(a: np.ndarray, b: np.ndarray, tolerance: float | None) -> bool:
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if a.shape != b.shape:
        return False
    scale = max(1.0, float(np.abs(b[np.isfinite(b)]).max(initial=0.0)))
    return bool(np.allclose(a, b, rtol=0.0, atol=tolerance or EXACT * scale, equal_nan=True))


def _short(values: np.ndarray) -> str:
    flat = np.asarray(values).ravel()
    return "[" + ", ".join(f"{value:.4g}" for value in flat[:4]) + (", ...]" if len(flat) > 4 else "]")


def _write(dataset: Dataset, rows: list[metadata.Row], stats: Mapping[str, Stats]) -> None:
    """Commit new metadata files in place of the old ones, as a recorder commits an episode."""
    lock = layout.FolderLock(dataset.root)
    folder = layout.recording_folder(dataset.root)
    try:
        layout.clean(dataset.root)
        if folder.exists():
            raise DatasetError(f"dataset '{dataset.root}' has an unfinished recording: open it for recording first")
        files: dict[tuple[int, int], list[metadata.Row]] = {}
        for row in rows:
            place = (int(row["meta/episodes/chunk_index"]), int(row["meta/episodes/file_index"]))
            files.setdefault(place, []).append(row)
        for (chunk, file), here in files.items():
            path = folder / layout.TREE / layout.EPISODES_PATH.format(chunk_index=chunk, file_index=file)
            write_table(metadata.table(here, episode_schema(dataset.features)), path)
        layout.write_json(folder / layout.TREE / layout.STATS_FILE, stats_to_json(stats))
        layout.commit(dataset.root)
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise DatasetError(f"dataset '{dataset.root}' cannot be written: {error}") from None
    finally:
        lock.release()
