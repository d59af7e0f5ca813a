"""An episode as a Rerun recording (https://rerun.io): curves, videos and the instruction on one time line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vla_ros.data.features import AGE
from vla_ros.data.reader import Dataset, Episode
from vla_ros.data.tools.rows import load_rows
from vla_ros.errors import DatasetError


def write_rerun(root: str | Path, output: str | Path, episodes: Sequence[int] | None = None) -> Path:
    """Write a dataset, or some of its episodes, as the Rerun recording `output`; return its path.

    Each episode is a branch ``episode_N`` of the entity tree, at the time ``time`` since its start [s].
    Raises DatasetError naming what cannot be read or written, or that rerun-sdk is missing.
    """
    try:
        import rerun as rr
    except ImportError:
        raise DatasetError("a Rerun recording needs the package rerun-sdk: pip install rerun-sdk") from None
    dataset, path = Dataset(root), Path(output)
    unknown = [index for index in episodes or () if not 0 <= index < dataset.num_episodes]
    if unknown:
        raise DatasetError(f"dataset '{root}' has no episode {unknown[0]}; valid: 0..{dataset.num_episodes - 1}")
    chosen = [dataset.episodes[i] for i in (range(dataset.num_episodes) if episodes is None else episodes)]
    path.parent.mkdir(parents=True, exist_ok=True)
    with rr.RecordingStream(f"vla_ros {Path(root).absolute().name}") as stream:
        try:
            stream.save(str(path))
        except (OSError, RuntimeError) as error:
            raise DatasetError(f"recording '{path}' cannot be written: {error}") from None
        for episode in chosen:
            _log(rr, stream, dataset, episode)
        stream.flush()
    return path


def _log(rr: Any, stream: Any, dataset: Dataset, episode: Episode) -> None:
    rows, branch = load_rows(dataset, episode), f"episode_{episode.index}"
    times = np.arange(rows.rows) / dataset.fps
    stream.log(f"{branch}/task", rr.TextDocument(" / ".join(episode.tasks)), static=True)
    for note in dataset.notes.get(episode.index, ()):
        column = rr.TextLog.columns(text=[note.text])
        rr.send_columns(f"{branch}/notes", [rr.TimeColumn("time", duration=[note.time])], column, recording=stream)
    for key, values in rows.columns.items():
        if not (key.startswith(("observation.", "action")) or key == AGE):
            continue
        names = dataset.features[key].names or ()
        flat = values[:, -1] if values.ndim == 3 else values.reshape(len(values), -1)
        entity = f"{branch}/{key.replace('.', '/')}"
        if len(names) == flat.shape[1]:
            stream.log(entity, rr.SeriesLines(names=list(names)), static=True)
        columns = rr.Scalars.columns(scalars=flat.astype(np.float64))
        rr.send_columns(entity, [rr.TimeColumn("time", duration=times)], columns, recording=stream)
    for camera in dataset.cameras:
        _log_video(rr, stream, dataset, episode, camera, f"{branch}/{camera.replace('.', '/')}")


def _log_video(rr: Any, stream: Any, dataset: Dataset, episode: Episode, camera: str, entity: str) -> None:
    path, start = dataset.video(camera, episode.index)
    if not path.is_file():
        raise DatasetError(f"video '{path}' is missing")
    stream.log(entity, rr.AssetVideo(path=path), static=True)
    times = np.arange(episode.length) / dataset.fps
    shown = ((start + times) * 1e9).round().astype(np.int64)
    rr.send_columns(
        entity,
        [rr.TimeColumn("time", duration=times)],
        rr.VideoFrameReference.columns_nanos(shown),
        recording=stream,
    )
