"""Reading a bag without ROS: a rosbag2 folder (sqlite3 or MCAP), or a single .mcap or .db3 file."""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

from vla_ros.errors import DatasetError


class BagReader:
    """The messages of a bag, as objects with the fields of their ROS messages.

    A context manager. types: topic to ROS type. Raises DatasetError naming the bag when it is missing,
    corrupt or holds messages that cannot be read, or when the library for it is not installed.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not self.path.exists():
            raise DatasetError(f"bag '{self.path}' does not exist")
        with _readable(self.path):
            self._reader = _opened(self.path)
        self.types = {one.topic: str(one.msgtype) for one in self._reader.connections}
        self.counts = {one.topic: int(one.msgcount) for one in self._reader.connections}

    def __enter__(self) -> BagReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with _readable(self.path):
            self._reader.close()

    def messages(self, topics: Collection[str]) -> Iterator[tuple[str, int, Any]]:
        """Give (topic, time of recording [ns], message) of these topics, in the order of recording."""
        connections = [one for one in self._reader.connections if one.topic in topics]
        if not connections:
            return
        with _readable(self.path):
            for connection, time, data in self._reader.messages(connections=connections):
                yield connection.topic, time, self._reader.deserialize(data, connection.msgtype)


class _readable:
    """Turns what reading a bag may raise into one DatasetError that names the bag."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if error is None or isinstance(error, (DatasetError, GeneratorExit)):
            return
        if isinstance(error, ImportError):
            raise DatasetError(f"bags need the package rosbags: pip install rosbags ({error})") from None
        foreign = type(error).__module__.partition(".")[0] in (
            "rosbags",
            "sqlite3",
            "apsw",
            "lz4",
            "backports",
            "zstandard",
        )
        if foreign or isinstance(error, (OSError, ValueError, KeyError, AssertionError, IndexError, struct.error)):
            reason = " ".join(str(error).split()) or type(error).__name__
            raise DatasetError(f"bag '{self._path}' cannot be read: {reason}") from None


def _opened(path: Path) -> Any:
    from rosbags.highlevel import AnyReader
    from rosbags.typesys import Stores, get_typestore

    reader = AnyReader([path], default_typestore=get_typestore(Stores.ROS2_JAZZY))
    reader.open()
    return reader
