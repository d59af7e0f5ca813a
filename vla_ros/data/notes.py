"""What an operator said of episodes: ``meta/notes.json``, an object of episode index to a list of {time, text}."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vla_ros.data import layout
from vla_ros.data.records import RecordFile, records
from vla_ros.errors import DatasetError

NOTES = "meta/notes.json"
RUNNING = "notes"  # in a recording folder: the running episode's, as `records`
LONGEST = 2000  # characters


@dataclass(frozen=True)
class Note:
    """A line of text about the moment `time` [s] after an episode's first row."""

    time: float
    text: str

    def __post_init__(self) -> None:
        if not self.text.strip() or len(self.text) > LONGEST:
            raise DatasetError(f"a note has 1 to {LONGEST} characters, this one {len(self.text.strip())}")


Notes = Mapping[int, Sequence[Note]]  # of episodes, by index


def read_notes(root: Path) -> dict[int, tuple[Note, ...]]:
    """Return the notes of a dataset's episodes; DatasetError naming the file if it is malformed."""
    path = root / NOTES
    if not path.is_file():
        return {}
    try:
        told = layout.read_json(path)
        return {int(index): tuple(_note(one) for one in notes) for index, notes in told.items()}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DatasetError(f"'{path}' is malformed: {error!r}") from None


def write_notes(root: Path, notes: Notes) -> None:
    """Replace the notes of a dataset, or of a tree that will be committed to one."""
    layout.write_json(root / NOTES, {str(i): [vars(note) for note in notes[i]] for i in sorted(notes) if notes[i]})


class NoteFile:
    """The notes of a running episode, in its recording folder; what is in it survives the death of the process."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file: RecordFile | None = None
        self.notes: list[Note] = []

    def add(self, note: Note) -> None:
        """Append a note. Raises OSError when the disk is full."""
        if self._file is None:
            self._file = RecordFile(self._folder / RUNNING)
        self._file.append(len(self.notes), json.dumps(vars(note)).encode())
        self.notes.append(note)

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()


def noted(folder: Path) -> Iterator[Note]:
    """Yield the whole notes of a recording folder."""
    return (_note(json.loads(data)) for _, data in records(folder / RUNNING))


def _note(told: Any) -> Note:
    return Note(float(told["time"]), str(told["text"]))
