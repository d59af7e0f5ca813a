"""Reads in a thread of its own what can only be read by a call that waits as long as it likes, such as a video stream."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

from vla_ros.errors import DeviceError

T = TypeVar("T")
WAITING = 2  # samples that wait to be taken; of older ones the oldest is let go, so that what is taken is new


class BackgroundReader(Generic[T]):
    """Calls `read` again and again until it raises DeviceError or returns None for the end.

    close: called in the reading thread once it has ended, also when it was abandoned in a call that waits.
    """

    def __init__(self, read: Callable[[], T | None], close: Callable[[], None], name: str) -> None:
        self._read, self._close, self._name = read, close, name
        self._samples: deque[T] = deque(maxlen=WAITING)
        self._news = threading.Condition()
        self._end: DeviceError | None = None
        self._failure: Exception | None = None
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name=f"receive {name}", daemon=True)
        self._thread.start()

    def take(self, timeout: float) -> T | None:
        """Return the oldest sample that waits; None after `timeout` [s]. Raises DeviceError once all are taken."""
        with self._news:
            self._news.wait_for(lambda: self._samples or self._end or self._failure, timeout)
            if self._samples:
                return self._samples.popleft()
            if self._failure:
                raise self._failure
            if self._end:
                raise self._end
            return None

    def stop(self, patience: float = 1.0) -> None:
        """End the reading; a call that waits for longer than `patience` [s] is left alone with its resources."""
        self._stopped = True
        self._thread.join(patience)

    def _run(self) -> None:
        try:
            while not self._stopped:
                sample = self._read()
                if sample is None:
                    raise DeviceError(f"{self._name}: the stream has ended")
                with self._news:
                    self._samples.append(sample)
                    self._news.notify_all()
        except DeviceError as error:
            with self._news:
                self._end = error
                self._news.notify_all()
        except Exception as error:  # noqa: BLE001 - a defect goes to who takes
            with self._news:
                self._failure = error
                self._news.notify_all()
        finally:
            self._close()
