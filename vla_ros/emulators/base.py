"""What emulated devices have in common: they start, say where they are, do wrong on request, and stop."""

from __future__ import annotations

import os
import tempfile
import threading
import tty
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import TypeVar

S = TypeVar("S", bound="Emulator")  # typing.Self is not in Python 3.10
FAULTS = {
    "none": "works as it should",
    "silence": "is there, but sends nothing",
    "garbage": "sends random bytes instead of packets",
    "partial": "sends packets cut short",
    "unplug": "is gone: the port or socket is closed until the fault is 'none' again",
}


class Emulator(ABC):
    """An emulated device; also a context manager.

    Its own threads are daemons that end with `stop`. `fault` is one of FAULTS and may be set while it runs. One that works
    in a loop begins it with `_start_loop` and ends it with `_end_loop`; meanwhile `_stop` is not set.
    """

    name: str  # as in the registry

    def __init__(self) -> None:
        self.fault = "none"
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    @abstractmethod
    def address(self) -> str:
        """The address that a driver takes; valid once started."""

    @abstractmethod
    def start(self) -> None:
        """Open the port or socket, on the loopback interface, and answer."""

    @abstractmethod
    def stop(self) -> None:
        """Close it; harmless when not started."""

    def _start_loop(self, run: Callable[[], None]) -> None:
        """Run the loop `run` in a thread of its own; it returns soon after `_stop` is set."""
        self._stop.clear()
        self._thread = threading.Thread(target=run, name=f"emulate {self.name}", daemon=True)
        self._thread.start()

    def _end_loop(self) -> bool:
        """End the loop; return False if there was none."""
        self._stop.set()
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.join(timeout=5.0)
        return thread is not None

    def wait(self) -> None:
        """Return never; for a program that only emulates and is ended by a signal."""
        threading.Event().wait()

    def __enter__(self: S) -> S:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


class SerialPort:
    """A pseudo-terminal whose far end, `path`, is opened like a serial port.

    `path` is a link that `unplug` removes and `plug` makes anew, as udev does.
    """

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="vla_ros_emulated_")
        self.path = str(Path(self._folder.name) / "tty")
        self.descriptor = -1  # of the device's end
        self._far = -1

    def plug(self) -> None:
        """Make the port appear."""
        self.descriptor, self._far = os.openpty()
        tty.setraw(self._far)
        os.set_blocking(self.descriptor, False)
        os.symlink(os.ttyname(self._far), self.path)

    def unplug(self) -> None:
        """Make the port disappear: whoever has it open gets an error or an end of file."""
        if self.descriptor < 0:
            return
        os.unlink(self.path)
        os.close(self._far)
        os.close(self.descriptor)
        self.descriptor = self._far = -1

    def remove(self) -> None:
        """Unplug it for good."""
        self.unplug()
        self._folder.cleanup()
