"""What a page shows of an episode: curves thinned out to what a screen can show, pictures, findings."""

from __future__ import annotations

import base64
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import numpy.typing as npt

from vla_ros.data.features import AGE, INTERVENTION
from vla_ros.data.reader import Dataset, Episode
from vla_ros.data.tools.check import check_rows
from vla_ros.data.tools.rows import ACTION, STATE, EpisodeRows, load_rows

POINTS = 600  # of a curve
DIGITS = 4  # significant ones


def episode_content(dataset: Dataset, episode: Episode, page: Path, embed: bool) -> dict[str, Any]:
    """Return an episode as the page's script takes it: JSON without arrays.

    page: the file that will show it; videos are named relative to it, or with `embed` carried in it.
    Raises DatasetError naming what cannot be read.
    """
    rows = load_rows(dataset, episode)
    step = max(1, -(-rows.rows // POINTS))
    return {
        "index": episode.index,
        "task": " / ".join(episode.tasks),
        "success": episode.success,
        "rows": rows.rows,
        "seconds": rows.rows / dataset.fps,
        "step": step / dataset.fps,
        "panels": [panel for panel in _panels(dataset, rows, step) if panel["curves"]],
        "videos": [_video(dataset, episode, camera, page, embed) for camera in dataset.cameras],
        "notes": [vars(note) for note in dataset.notes.get(episode.index, ())],
        "findings": [f.to_json() for f in sorted(check_rows(rows), key=lambda finding: finding.time)],
    }


def _panels(dataset: Dataset, rows: EpisodeRows, step: int) -> list[dict[str, Any]]:
    panels = []
    for key in (STATE, ACTION):
        if key in rows.columns:
            panels.append(_panel(key, _names(dataset, key), rows.columns[key], step))
    for key, values in rows.columns.items():
        if key.startswith("observation.") and key != STATE and values.dtype.kind == "f":
            panels.append(_panel(*_reduced(key, _names(dataset, key), values), step))
    if AGE in rows.columns:
        ages = rows.columns[AGE].reshape(rows.rows, -1) * 1e3
        limits = [spec.max_age * 1e3 if (spec := rows.spec(stream)) else None for stream in rows.sync]
        short = tuple(name.removeprefix("observation.") for name in rows.sync)
        panels.append(_panel("age of the samples [ms]", short, ages, step) | {"limits": limits})
    if INTERVENTION in rows.columns and rows.columns[INTERVENTION].any():
        panels.append(_panel(INTERVENTION, ("intervention",), rows.columns[INTERVENTION].astype(np.float32), step))
    return panels


def _reduced(
    key: str, names: tuple[str, ...], values: npt.NDArray[Any]
) -> tuple[str, tuple[str, ...], npt.NDArray[Any]]:
    """Return what is drawn of a stream: of a window its newest sample, of taxels the largest force and the sum."""
    if values.ndim == 3 and values.shape[2] == 6:
        return f"{key} [N, Nm]", names, values[:, -1]
    if values.ndim >= 4:
        force = np.linalg.norm(values.reshape(len(values), -1, values.shape[-1]), axis=2)
        return f"{key} [N]", ("largest", "sum"), np.stack([force.max(axis=1), force.sum(axis=1)], axis=1)
    return key, names, values.reshape(len(values), -1)


def _names(dataset: Dataset, key: str) -> tuple[str, ...]:
    feature = dataset.features[key]
    return feature.names or tuple(str(i) for i in range(feature.shape[-1]))


def _panel(title: str, names: Sequence[str], values: npt.NDArray[Any], step: int) -> dict[str, Any]:
    columns = values.reshape(len(values), -1)[::step].T
    curves = [
        {"name": name, "values": [_number(v) for v in column]} for name, column in zip(names, columns, strict=False)
    ]
    return {"title": title, "curves": curves, "limits": []}


def _number(value: float) -> float | None:
    return float(f"{value:.{DIGITS}g}") if np.isfinite(value) else None


def _video(dataset: Dataset, episode: Episode, camera: str, page: Path, embed: bool) -> dict[str, Any]:
    path, start = dataset.video(camera, episode.index)
    if embed and path.is_file():
        source = "data:video/mp4;base64," + base64.b64encode(path.read_bytes()).decode("ascii")
    else:
        source = quote(Path(os.path.relpath(path.absolute(), page.absolute().parent)).as_posix())
    return {"name": camera, "source": source, "start": start, "end": start + episode.length / dataset.fps}
