"""Cues for an operator whose eyes are on the arm: the terminal's bell, or a spoken word."""

from __future__ import annotations

import shutil
import subprocess
import sys
from contextlib import suppress
from typing import TextIO

from vla_ros.errors import DatasetError, unknown_name

NONE, BELL, VOICE = "none", "bell", "voice"
CUES = (NONE, BELL, VOICE)
PROGRAMS = ("spd-say", "espeak-ng", "espeak")  # each says its first argument
BELL_CODE = "\a"


class Cues:
    """Gives cues of a kind of `CUES`; the bell rings only on a terminal.

    Raises DatasetError for an unknown kind, or a voice without a program that speaks.
    """

    def __init__(self, kind: str = NONE, out: TextIO | None = None) -> None:
        if kind not in CUES:
            raise DatasetError(unknown_name("cues", kind, CUES))
        self._kind, self._out = kind, out or sys.stdout
        self._program = next(filter(None, map(shutil.which, PROGRAMS)), "") if kind == VOICE else ""
        self._speaking: list[subprocess.Popen[bytes]] = []
        if kind == VOICE and not self._program:
            raise DatasetError(
                f"cues 'voice' need {', '.join(PROGRAMS[:-1])} or {PROGRAMS[-1]}; valid here: none, bell"
            )

    def give(self, text: str) -> None:
        """Ring, or say `text`; does not wait for the end of it."""
        if self._kind == BELL and self._out.isatty():
            self._out.write(BELL_CODE)
            self._out.flush()
        if self._kind == VOICE:
            self._speaking = [one for one in self._speaking if one.poll() is None]
            with suppress(OSError):
                quiet = subprocess.DEVNULL
                said = subprocess.Popen([self._program, text], stdin=quiet, stdout=quiet, stderr=quiet)
                self._speaking.append(said)

    def close(self) -> None:
        """Let the last words be said, for at most 5 s."""
        for one in self._speaking:
            with suppress(subprocess.TimeoutExpired):
                one.wait(timeout=5.0)
