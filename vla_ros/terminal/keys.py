"""Keys pressed on a terminal, one by one, and the line of a note; without a terminal there are none."""

from __future__ import annotations

import codecs
import os
import select
import sys
import termios
import tty
from contextlib import suppress
from types import TracebackType
from typing import Any

SAVE, FAIL, DISCARD, RERECORD, NOTE, QUIT = "save", "fail", "discard", "rerecord", "note", "quit"
KEYS = {"s": SAVE, "f": FAIL, "d": DISCARD, "r": RERECORD, "n": NOTE, "q": QUIT}
HELP = "s save, f save as failed, d discard, r rerecord, n note, q quit"
_ENTER, _ERASE, _CANCEL = "\r\n", "\x7f\x08", "\x1b"


class Keys:
    """The keys of the terminal behind a descriptor, by default standard input. Use as a context manager.

    Meanwhile keys are not shown and need no Enter (Ctrl-C stays what it is); what had been typed before is dropped.
    `active`: there is a terminal. `line`: the note that is being typed; None while none is.
    """

    def __init__(self, descriptor: int | None = None) -> None:
        self._descriptor = _standard_input() if descriptor is None else descriptor
        self.active = self._descriptor >= 0 and os.isatty(self._descriptor)
        self.line: str | None = None
        self._before: list[Any] = []
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def __enter__(self) -> Keys:
        if self.active:
            self._before = termios.tcgetattr(self._descriptor)
            tty.setcbreak(self._descriptor, termios.TCSAFLUSH)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._before:
            with suppress(termios.error):  # the terminal is gone
                termios.tcsetattr(self._descriptor, termios.TCSADRAIN, self._before)

    def pressed(self) -> list[tuple[str, str]]:
        """Return the commands of the keys pressed since the last call, each with its text, which only a note has.

        Never waits. A note begins with its key, and is told when Enter ends it; Escape drops it.
        """
        found = []
        while self.active and select.select([self._descriptor], [], [], 0.0)[0]:
            data = _read(self._descriptor)
            self.active = bool(data)  # the terminal is gone
            for key in self._decoder.decode(data):
                if (told := self._take(key)) is not None:
                    found.append(told)
        return found

    def _take(self, key: str) -> tuple[str, str] | None:
        if self.line is None:
            command = KEYS.get(key.lower())
            if command == NOTE:
                self.line = ""
                return None
            return (command, "") if command else None
        if key in _ENTER:
            text, self.line = self.line.strip(), None
            return (NOTE, text) if text else None
        if key == _CANCEL:
            self.line = None
        elif key in _ERASE:
            self.line = self.line[:-1]
        elif key.isprintable():
            self.line += key
        return None


def _standard_input() -> int:
    try:
        return sys.stdin.fileno()
    except (AttributeError, OSError, ValueError):  # closed, or a stand-in without a descriptor
        return -1


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 1024)
    except OSError:  # the other end of a pseudo terminal was closed
        return b""
