"""Making an episode of a recording that was cut short: all rows that are whole, each with its frames, the operator's
notes, and of a raw recording all messages that are whole.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from vla_ros.contract import load_contract
from vla_ros.data import layout
from vla_ros.data.bags.events import EpisodeEvent
from vla_ros.data.bags.salvage import salvage
from vla_ros.data.features import Feature
from vla_ros.data.finished import FinishedEpisode
from vla_ros.data.interrupted import SOURCE, Interrupted, find, journaled_rows, recorded_video, recoverable
from vla_ros.data.journal import TASK
from vla_ros.data.notes import noted
from vla_ros.data.pictures import pictures_of
from vla_ros.data.remux import concatenate, readable_frames, video_kind
from vla_ros.data.spill import spilled_frames
from vla_ros.data.tables import to_numpy
from vla_ros.data.tools.extras import raw_path
from vla_ros.data.video import VideoEncoder, VideoSettings
from vla_ros.data.writer import DatasetWriter
from vla_ros.errors import DatasetError

__all__ = ["Interrupted", "recover", "recoverable"]


def recover(root: str | Path, name: str | None = None, success: bool = False) -> list[int]:
    """Commit interrupted recordings of a dataset as episodes; return their indices.

    name: of the one wanted; all of them without. success: the outcome they are labelled with, which nobody has
    told. What was recorded is removed only when the episode is committed. Raises DatasetError for an unknown name,
    a recording without a whole row, or a dataset in use.
    """
    root = Path(root)
    if not (root / layout.INFO).is_file():
        raise DatasetError(f"'{root}' is not a dataset: it has no {layout.INFO}")
    with DatasetWriter(root, load_contract(root / layout.CONTRACT)) as writer:
        chosen = recoverable(root) if name is None else [find(root, name)]
        return [_recover(writer, one, success) for one in chosen]


def _recover(writer: DatasetWriter, one: Interrupted, success: bool) -> int:
    recording = layout.recording_folder(writer.root)
    source, tree = recording / SOURCE, recording / layout.TREE
    try:
        tree.mkdir(parents=True)
        os.rename(one.folder, source)  # the commit takes it away together with the recording folder
        episode = _rebuilt(source, tree, writer.features, writer.fps, writer.num_episodes)
        for raw in (source / layout.TREE).glob("raw/chunk-*/file-*.mcap"):
            end = EpisodeEvent("save", rows=episode.rows, success=success)
            salvage(raw, raw_path(tree, writer.num_episodes), end)
        return writer.commit(episode, success)
    except (OSError, DatasetError) as error:
        if source.exists() and tree.exists():
            os.rename(source, one.folder)
            shutil.rmtree(recording, ignore_errors=True)
        raise DatasetError(f"recording '{one.name}' of '{writer.root}' cannot be recovered: {error}") from None


def _rebuilt(source: Path, tree: Path, features: dict[str, Feature], fps: int, index: int) -> FinishedEpisode:
    table = journaled_rows(source, features)
    rows, stats = table.num_rows, {}
    sources: dict[str, list[tuple[Path, int]]] = {}
    for key, feature in features.items():
        if feature.is_video:
            sources[key] = _sources(source, tree.parent, key, feature, fps, rows)
            rows = min(rows, sum(count for _, count in sources[key]))
    if not rows:
        raise DatasetError("it holds no whole row; valid: discard")
    for key, parts in sources.items():
        target = tree / layout.video_file(key, index)
        concatenate(_first(parts, rows), target, fps)
        counted, found = readable_frames(target, rows, pictures_of(features[key]))
        if counted != rows or found is None:
            raise DatasetError(f"'{key}' has {counted} readable frames for {rows} rows")
        stats[key] = found
    columns = {key: to_numpy(table[key], features[key])[:rows] for key in table.column_names if key != TASK}
    return FinishedEpisode(tree, features, fps, columns, table[TASK].to_pylist()[:rows], stats, list(noted(source)))


def _sources(folder: Path, scratch: Path, key: str, feature: Feature, fps: int, rows: int) -> list[tuple[Path, int]]:
    """Return (file, frames) of what was encoded and of what still waited, encoded now."""
    pictures, video = pictures_of(feature), recorded_video(folder, key)
    encoded, _ = readable_frames(video, rows, pictures) if video is not None else (0, None)
    parts = [(video, encoded)] if video is not None and encoded else []
    waiting = folder / layout.SPILL / f"{key}.frames"
    rest = scratch / f"{key}.mp4"
    encoder: VideoEncoder | None = None
    for number, frame in enumerate(spilled_frames(waiting, pictures.shape, pictures.dtype, encoded), encoded):
        if number == rows:
            break
        if encoder is None:
            codec = str(layout.read_json(folder / layout.EPISODE_NOTE).get("codec", "libx264"))
            encoder = VideoEncoder(rest, scratch / f"{key}.frames", fps, pictures, VideoSettings(codec=codec))
        encoder.reserve()
        encoder.put(frame)
    if encoder is not None:
        late = encoder.close()
        if not parts or video_kind(rest) == video_kind(parts[0][0]):
            parts.append((rest, late))
    return parts


def _first(parts: list[tuple[Path, int]], rows: int) -> list[tuple[Path, int]]:
    out = []
    for path, count in parts:
        if rows > 0:
            out.append((path, min(count, rows)))
        rows -= count
    return out
