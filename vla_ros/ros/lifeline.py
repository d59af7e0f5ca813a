"""The lifeline: a node ends when the process that started it does, however that one ended.

The starter holds the write end of a pipe, and every process it starts the read end. Nobody ever writes: the read end
reaches its end when the starter is gone. Unlike a signal on the parent's death this works on every POSIX system and
in every sandbox. A node started by hand or by ``ros2 launch`` has no lifeline.

Imports nothing of ROS, so that it holds while a node is still importing.
"""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import threading
from collections.abc import Mapping, Sequence
from typing import Any

LIFELINE = "VLA_ROS_LIFELINE"  # in the environment of a started process: the descriptor of the read end

_ends: tuple[int, int] | None = None  # of this process's pipe: read, write
_opening = threading.Lock()
_holding = threading.Event()


def start(command: Sequence[str], environment: Mapping[str, str], **options: Any) -> subprocess.Popen[Any]:
    """Start a process that ends with this one, provided that it calls `hold`; `options` are Popen's."""
    read_end = _read_end()
    return subprocess.Popen(command, env={**environment, LIFELINE: str(read_end)}, pass_fds=(read_end,), **options)


def hold() -> None:
    """From now on, have this process get SIGTERM when the one that started it is gone. Without a lifeline do nothing.

    `vla_ros.ros.nodes` calls this when it is imported, before the node's own imports.
    """
    descriptor = os.environ.get(LIFELINE, "")
    if _holding.is_set() or not descriptor.isdecimal() or not _is_pipe(int(descriptor)):
        return
    _holding.set()
    threading.Thread(target=_wait, args=(int(descriptor),), name="lifeline", daemon=True).start()


def disown() -> None:
    """Take the lifeline out of the environment: it is this process's, not that of processes it starts."""
    os.environ.pop(LIFELINE, None)


def _wait(read_end: int) -> None:
    while os.read(read_end, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def _read_end() -> int:
    """Return the read end of this process's pipe, opened once; both ends are closed in whatever is executed."""
    global _ends
    with _opening:
        if _ends is None:
            _ends = os.pipe()
        return _ends[0]


def _after_fork() -> None:
    """Let go of the write end in a fork of this process, which would else keep the nodes alive."""
    global _ends
    if _ends is not None:
        for end in _ends:
            os.close(end)
        _ends = None


def _is_pipe(descriptor: int) -> bool:
    try:
        return stat.S_ISFIFO(os.fstat(descriptor).st_mode)
    except OSError:
        return False


os.register_at_fork(after_in_child=_after_fork)
