"""A raw recording: an MCAP file with every message as it arrived, and the definitions to read it by.

Profile ``ros2``, schemas ``ros2msg``, messages in CDR: rosbag2, Foxglove and PlotJuggler read it
(https://mcap.dev/spec). Writing happens in a thread behind a queue, so that callbacks do not wait for the disk.
"""

from __future__ import annotations

import queue
import threading
from contextlib import suppress
from pathlib import Path

from vla_ros.data.bags.schemas import definition, typestore
from vla_ros.errors import DatasetError

CHUNK = 64 << 10  # [bytes], what LZ4 looks back on; the last one is what a kill costs
WAITING = 256 << 20  # [bytes] that may wait for the disk; then the sender waits


class RawFile:
    """The raw recording of one episode at `path`.

    close() ends the file and returns how many messages it holds. It, add() and write() raise DatasetError if
    the disk did not take what came before; abandon() gives the file up.
    """

    @staticmethod
    def require() -> None:
        """Raise DatasetError unless the libraries that this needs are installed."""
        try:
            import mcap.writer  # noqa: F401
        except ImportError as error:
            raise DatasetError(f"raw recordings need the package mcap: pip install mcap ({error})") from None
        typestore()

    def __init__(self, path: Path) -> None:
        self.require()
        from mcap.writer import CompressionType, Writer

        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("wb")
        except OSError as error:
            raise DatasetError(f"raw recording '{path}' cannot be written: {error}") from None
        self._writer = Writer(self._file, chunk_size=CHUNK, compression=CompressionType.LZ4)
        self._writer.start(profile="ros2", library="vla_ros")
        self._channels: dict[str, int] = {}
        self._schemas: dict[str, int] = {}
        self._waiting: queue.Queue[tuple[int, int, bytes] | None] = queue.Queue()
        self._room = threading.Condition()
        self._writing = threading.Lock()  # the library's writer is for one thread at a time
        self._bytes = 0
        self._error: OSError | None = None
        self.messages = 0
        self._thread = threading.Thread(target=self._run, name="raw recording", daemon=True)
        self._thread.start()

    def add(self, topic: str, type_name: str) -> None:
        """Announce a topic of a ROS type such as ``sensor_msgs/msg/Image``; before its first message."""
        with self._writing:
            if type_name not in self._schemas:
                text = definition(type_name).encode()
                self._schemas[type_name] = self._writer.register_schema(type_name, "ros2msg", text)
            channel = self._writer.register_channel(topic, "cdr", self._schemas[type_name])
        self._channels[topic] = channel

    def write(self, topic: str, time: int, data: bytes) -> None:
        """Take a serialized message of an announced topic, received at `time` [ns]."""
        self._check()
        with self._room:
            self._room.wait_for(lambda: self._bytes < WAITING or self._error is not None)
            self._bytes += len(data)
        self._waiting.put((self._channels[topic], time, data))

    def close(self) -> int:
        """Write what waits and end the file; return how many messages it holds."""
        self._waiting.put(None)
        self._thread.join()
        try:
            if self._error is None:
                self._writer.finish()
            self._file.close()
        except OSError as error:
            self._error = error
        self._check()
        return self.messages

    def abandon(self) -> None:
        """Stop without finishing the file, which is left to whoever removes its folder."""
        self._waiting.put(None)
        self._thread.join()
        with suppress(OSError):  # a full disk
            self._file.close()

    def _run(self) -> None:
        while (item := self._waiting.get()) is not None:
            channel, time, data = item
            try:
                if self._error is None:
                    with self._writing:
                        self._writer.add_message(channel, log_time=time, publish_time=time, data=data)
                        self._file.flush()
                    self.messages += 1
            except OSError as error:
                self._error = error
            with self._room:
                self._bytes -= len(data)
                self._room.notify_all()

    def _check(self) -> None:
        if self._error is not None:
            raise DatasetError(f"raw recording '{self.path}' cannot be written: {self._error}")
