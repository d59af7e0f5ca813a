"""Many small files become few: episodes' files put together up to the sizes that the dataset states.

Nothing is encoded again: tables are copied row group by row group, videos packet by packet. The merged files are
built in ``.vla_ros/merging``; its rename to ``.vla_ros/merged`` is the commit, after which `layout.finish_merge`
puts them in the old ones' place. A crash leaves the old dataset or the new one, and readers see either.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from vla_ros.data import layout
from vla_ros.data.features import Feature
from vla_ros.data.remux import concatenate, frame_numbers, require_frames, video_kind
from vla_ros.data.tables import read_table, write_table
from vla_ros.errors import DatasetError

MB = 1e6
EPISODES = "meta/episodes"


@dataclass(frozen=True)
class Merged:
    """What a merge did: how many files of data, video and episodes there were, and how many there are."""

    before: int
    after: int

    @property
    def text(self) -> str:
        """The merge in one line."""
        return f"{self.before} files are now {self.after}" if self.before != self.after else "nothing to merge"


def merge_files(root: str | Path) -> Merged:
    """Merge the files of a dataset to at most ``data_files_size_in_mb`` and ``video_files_size_in_mb``.

    Merging again does nothing. Raises DatasetError if the dataset is being written, or naming a file that does not
    hold what its episodes say; the dataset is then as it was.
    """
    root = Path(root)
    if not (root / layout.INFO).is_file():
        raise DatasetError(f"'{root}' is not a dataset: it has no {layout.INFO}")
    lock = layout.FolderLock(root)
    try:
        layout.clean(root)
        return _Merge(root).go()
    except OSError as error:
        raise DatasetError(f"dataset '{root}' cannot be merged: {error}") from None
    finally:
        shutil.rmtree(layout.merging_folder(root), ignore_errors=True)
        lock.release()


class _Merge:
    def __init__(self, root: Path) -> None:
        self.root = root
        info = layout.read_json(root / layout.INFO)
        self.fps, self.episodes = int(info["fps"]), int(info["total_episodes"])
        self.frames = int(info["total_frames"])
        self.data_limit = float(info.get("data_files_size_in_mb", 100)) * MB
        self.video_limit = float(info.get("video_files_size_in_mb", 200)) * MB
        features = {key: Feature.from_json(key, value) for key, value in info["features"].items()}
        self.cameras = [key for key, feature in features.items() if feature.is_video]
        self.new = layout.merging_folder(root) / layout.NEW
        self.before = self.after = 0

    def go(self) -> Merged:
        if not self.episodes:
            return Merged(0, 0)
        tables = sorted((self.root / EPISODES).glob("chunk-*/file-*.parquet"))
        parts = [read_table(path) for path in tables]
        schema = parts[0].schema
        table = pa.concat_tables([_cast(part, schema) for part in parts]).sort_by("episode_index")
        columns = {name: table[name] for name in table.column_names}
        if columns["episode_index"].to_pylist() != list(range(self.episodes)):
            raise DatasetError(f"'{self.root}/{EPISODES}' has {table.num_rows} episodes, want {self.episodes}")
        shutil.rmtree(self.new.parent, ignore_errors=True)
        moved = self._place(columns, "data", layout.data_file, self.data_limit, self._join_tables)
        for key in self.cameras:
            moved |= self._place(
                columns, f"videos/{key}", partial(layout.video_file, key), self.video_limit, self._join_videos
            )
        pieces = min(self.episodes, -(-table.nbytes // int(self.data_limit)))
        self.before, self.after = self.before + len(tables), self.after + pieces
        if moved or len(tables) > pieces:
            self._write_episodes(pa.table(columns, schema=table.schema), pieces)
            self._check()
            layout.commit_merge(self.root)
        else:
            self.after = self.before
        return Merged(self.before, self.after)

    def _place(
        self,
        columns: dict[str, Any],
        place: str,
        path: Callable[[int], str],
        limit: float,
        join: Callable[[list[Path], Path], list[int]],
    ) -> bool:
        """Build the merged files of one place and correct its columns; return whether any file changes."""
        at = [f"{place}/chunk_index", f"{place}/file_index"]
        where = list(zip(*(columns[name].to_pylist() for name in at), strict=True))
        numbers = list(dict.fromkeys(chunk * layout.CHUNK_FILES + file for chunk, file in where))
        files = [self.root / path(number) for number in numbers]
        groups = _groups([file.stat().st_size for file in files], limit, self._kinds(place, files))
        self.before, self.after = self.before + len(files), self.after + len(groups)
        target = {}  # old number to (new number, rows or frames in front of it in the new file)
        for new, group in enumerate(groups):
            lengths = join([files[i] for i in group], self.new / path(new))
            for i, before in zip(group, accumulate([0, *lengths]), strict=False):
                target[numbers[i]] = (new, before)
        moves = [target[chunk * layout.CHUNK_FILES + file] for chunk, file in where]
        for name, values in zip(
            at, zip(*(divmod(new, layout.CHUNK_FILES) for new, _ in moves), strict=True), strict=True
        ):
            columns[name] = pa.chunked_array([pa.array(values, pa.int64())])
        for end in ("from_timestamp", "to_timestamp") if place != "data" else ():
            old = np.rint(columns[f"{place}/{end}"].to_numpy() * self.fps)
            shifted = (old + np.array([before for _, before in moves])) / self.fps
            columns[f"{place}/{end}"] = pa.chunked_array([pa.array(shifted, pa.float64())])
        return len(groups) < len(files) or numbers != list(range(len(files)))

    def _kinds(self, place: str, files: list[Path]) -> list[Any]:
        return [video_kind(file) for file in files] if place != "data" else [None] * len(files)

    def _join_tables(self, parts: list[Path], out: Path) -> list[int]:
        if len(parts) == 1:
            return [_link(parts[0], out)]
        out.parent.mkdir(parents=True, exist_ok=True)
        with pq.ParquetFile(parts[0]) as first:
            schema = first.schema_arrow
        with pq.ParquetWriter(out, schema, compression="snappy") as writer:
            for part in parts:
                with pq.ParquetFile(part) as file:
                    for group in range(file.num_row_groups):
                        rows = file.read_row_group(group)
                        writer.write_table(_cast(rows, schema), row_group_size=max(1, rows.num_rows))
        return [0] * len(parts)  # nobody counts rows from a file's beginning

    def _join_videos(self, parts: list[Path], out: Path) -> list[int]:
        if len(parts) == 1:
            return [_link(parts[0], out)]
        lengths = [len(frame_numbers(part, self.fps)) for part in parts]
        for part, length in zip(parts, lengths, strict=True):
            require_frames(part, self.fps, length)
        concatenate(list(zip(parts, lengths, strict=True)), out, self.fps)
        return lengths

    def _write_episodes(self, table: pa.Table, pieces: int) -> None:
        size = -(-self.episodes // pieces)
        for number in range(pieces):
            piece = table.slice(number * size, size)
            for name, value in zip(("chunk_index", "file_index"), layout.file_location(number), strict=True):
                column = pa.array([value] * piece.num_rows, pa.int64())
                where = piece.schema.get_field_index(f"{EPISODES}/{name}")
                piece = piece.set_column(where, f"{EPISODES}/{name}", column)
            write_table(piece, self.new / layout.episodes_file(number))

    def _check(self) -> None:
        rows = sum(pq.read_metadata(file).num_rows for file in (self.new / "data").rglob("*.parquet"))
        if rows != self.frames:
            raise DatasetError(f"the data files of '{self.root}' hold {rows} rows, want {self.frames}; not merged")


def _cast(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Return a table with the columns of `schema`, whoever wrote it."""
    return table.select(schema.names).cast(schema)


def _groups(sizes: Sequence[int], limit: float, kinds: Sequence[Any]) -> list[list[int]]:
    """Return which files, by position, become one: neighbours of one kind, up to `limit` bytes together."""
    groups: list[list[int]] = []
    total = 0
    for i, size in enumerate(sizes):
        if groups and total + size <= limit and kinds[i] == kinds[groups[-1][0]]:
            groups[-1].append(i)
            total += size
        else:
            groups.append([i])
            total = size
    return groups


def _link(source: Path, target: Path) -> int:
    """Give a file that stays as it is a second name; copy it where the file system cannot."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
    return 0
