"""Operator notes: kept with their episode through saving, a kill, merging and removing, and shown."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from recordings import record, row, small_contract
from typer.testing import CliRunner

from vla_ros.cli import app
from vla_ros.data import Dataset, DatasetWriter
from vla_ros.data.notes import Note
from vla_ros.data.recovery import recover
from vla_ros.data.tools.rearrange import merge, remove
from vla_ros.errors import DatasetError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three episodes; the first has a note, the last two."""
    with DatasetWriter(tmp_path / "set", small_contract()) as writer:
        for episode in range(3):
            writer.start_episode("do it")
            for k in range(15):
                writer.add_frame(row(k))
            if episode != 1:
                writer.add_note(f"note of {episode}")
            writer.save_episode()
        writer.add_note("afterwards", 0.5, episode=2)
    return tmp_path / "set"


def test_notes_come_back_with_their_episode_and_time(root: Path) -> None:
    notes = {0: (Note(0.5, "note of 0"),), 2: (Note(0.5, "note of 2"), Note(0.5, "afterwards"))}
    assert Dataset(root).notes == notes
    record(root, (4,))
    assert Dataset(root).notes == notes


def test_notes_move_with_their_episodes(root: Path, tmp_path: Path) -> None:
    assert remove(root, [1]) == []
    assert [n.text for n in Dataset(root).notes[1]] == ["note of 2", "afterwards"]
    assert merge([root, root], tmp_path / "both") == []
    assert {i: len(notes) for i, notes in Dataset(tmp_path / "both").notes.items()} == {0: 1, 1: 2, 2: 1, 3: 2}


def test_notes_of_an_interrupted_episode_are_recovered_with_it(root: Path) -> None:
    with DatasetWriter(root, small_contract()) as writer:
        writer.start_episode("do it")
        for k in range(30):
            writer.add_frame(row(k))
        writer.add_note("half way")
    assert 3 not in Dataset(root).notes
    assert recover(root) == [3]
    assert Dataset(root).notes[3] == (Note(1.0, "half way"),)


def test_notes_are_shown(root: Path) -> None:
    shown = CliRunner().invoke(app, ["dataset", "info", str(root)]).output
    assert "  notes:\n    episode 0, 0.5 s: note of 0\n    episode 2, 0.5 s: note of 2\n" in shown
    told = json.loads(CliRunner().invoke(app, ["dataset", "info", str(root), "--json"]).output)
    assert told["notes"]["2"][1] == {"time": 0.5, "text": "afterwards"}
    assert CliRunner().invoke(app, ["dataset", "view", str(root)]).exit_code == 0
    assert '"notes":[{"time":0.5,"text":"note of 0"}]' in (root / "view.html").read_text()


def test_what_is_no_note_is_refused(root: Path) -> None:
    with DatasetWriter(root, small_contract()) as writer:
        with pytest.raises(DatasetError, match="no episode is running"):
            writer.add_note("nothing runs")
        writer.start_episode("do it")
        with pytest.raises(DatasetError, match="a note has 1 to 2000 characters, this one 0"):
            writer.add_note(" ")
        with pytest.raises(DatasetError, match="no open episode 7"):
            writer.add_note("to nobody", episode=7)
    (root / "meta/notes.json").write_text('{"0": [{"text": 1}]}')
    with pytest.raises(DatasetError, match="notes.json' is malformed"):
        _ = Dataset(root).notes
