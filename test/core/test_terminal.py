"""The operator's terminal: real key bytes on a pseudo terminal, bells, spoken words, the progress line."""

from __future__ import annotations

import io
import os
import pty
import select
import termios
import tty
from collections.abc import Iterator
from pathlib import Path

import pytest
from ros_support import wait_until

from vla_ros.errors import DatasetError
from vla_ros.terminal.cues import PROGRAMS, Cues
from vla_ros.terminal.keys import DISCARD, FAIL, NOTE, QUIT, RERECORD, SAVE, Keys
from vla_ros.terminal.progress import Progress


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    """The two ends of a pseudo terminal: the operator's and the program's."""
    operator, program = pty.openpty()
    yield operator, program
    for end in (operator, program):
        os.close(end)


def typed(operator: int, keys: Keys, data: bytes, wanted: int) -> list[tuple[str, str]]:
    os.write(operator, data)
    found: list[tuple[str, str]] = []
    wait_until(lambda: found.extend(keys.pressed()) or len(found) >= wanted, what=f"{wanted} commands")
    return found


def test_each_key_is_a_command_at_once_and_unknown_ones_are_nothing(terminal: tuple[int, int]) -> None:
    operator, program = terminal
    with Keys(program) as keys:
        found = typed(operator, keys, b"sfx\x1b[A dRq", 5)
    assert [command for command, _ in found] == [SAVE, FAIL, DISCARD, RERECORD, QUIT]


def test_a_note_is_a_line_that_can_be_corrected_or_dropped(terminal: tuple[int, int]) -> None:
    operator, program = terminal
    with Keys(program) as keys:
        assert typed(operator, keys, "nqüs\x7f grip slipped\rs".encode(), 2) == [(NOTE, "qü grip slipped"), (SAVE, "")]
        assert typed(operator, keys, b"n\rnabc\x1bd", 1) == [(DISCARD, "")]
        os.write(operator, b"nhalf")
        wait_until(lambda: not keys.pressed() and keys.line == "half", what="the note being typed")


def test_the_terminal_is_left_as_it_was_and_what_was_typed_before_is_dropped(terminal: tuple[int, int]) -> None:
    operator, program = terminal
    before = termios.tcgetattr(program)
    os.write(operator, b"s\n")
    wait_until(lambda: select.select([program], [], [], 0.0)[0], what="what was typed before")
    with Keys(program) as keys:
        assert not termios.tcgetattr(program)[tty.LFLAG] & (termios.ICANON | termios.ECHO)
        assert termios.tcgetattr(program)[tty.LFLAG] & termios.ISIG, "Ctrl-C stays what it is"
        assert typed(operator, keys, b"d", 1) == [(DISCARD, "")]
    assert termios.tcgetattr(program) == before


def test_without_a_terminal_there_are_no_keys(tmp_path: Path) -> None:
    (tmp_path / "input").write_text("sdrq")
    with (tmp_path / "input").open() as file, Keys(file.fileno()) as keys:
        assert not keys.active and keys.pressed() == []
        assert file.read() == "sdrq"


def test_a_terminal_that_goes_away_ends_the_keys() -> None:
    operator, program = pty.openpty()
    with Keys(program) as keys:
        os.close(operator)
        wait_until(lambda: not keys.pressed() and not keys.active, what="the end of the terminal")
    os.close(program)


def test_the_bell_rings_on_a_terminal_alone(terminal: tuple[int, int]) -> None:
    operator, program = terminal
    with os.fdopen(os.dup(program), "w") as out:
        Cues("bell", out).give("go")
    assert os.read(operator, 100) == b"\a"
    plain = io.StringIO()
    Cues("bell", plain).give("go")
    Cues("none", plain).give("go")
    assert plain.getvalue() == ""


def test_a_voice_says_the_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "espeak"
    program.write_text(f'#!/bin/sh\necho "$1" >> {tmp_path}/said\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin")
    cues = Cues("voice")
    cues.give("saved; it's done")
    cues.close()
    assert (tmp_path / "said").read_text() == "saved; it's done\n"


def test_cues_that_cannot_be_given_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DatasetError, match=r"unknown cues 'horn'.*bell"):
        Cues("horn")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DatasetError, match=f"cues 'voice' need .*{PROGRAMS[-1]}; valid here: none, bell"):
        Cues("voice")


def test_the_line_tells_episode_time_rate_backlog_and_disk() -> None:
    progress = Progress(wanted=50, fps=30)
    progress.begin(3, "reach, seed 7", "recording")
    for k in range(5):
        progress.filled(10.0 + k, 60 * k)
    progress.failed, progress.backlog, progress.disk_left = 1, 4, 46.94
    line = "reach, seed 7: recording episode 3 of 50, 8.0 s, 60 rows/s, 1 failed, backlog 4, 46.9 GB disk left"
    assert progress.line() == line
    progress.begin(4, "reach, seed 8", "before")
    assert progress.line().startswith("reach, seed 8: before episode 4 of 50, 0.0 s, 0 rows/s")
