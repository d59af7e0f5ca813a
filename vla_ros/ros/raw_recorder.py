"""Every message of the recorded topics as it arrived, beside each episode: raw subscriptions into an MCAP file."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

from rclpy.node import Node

from vla_ros.action import NANOSECONDS
from vla_ros.contract import Contract
from vla_ros.data import layout
from vla_ros.data.bags.events import GATE_TOPIC, GATE_TYPE, TOPIC, TYPE, EpisodeEvent
from vla_ros.data.bags.raw import RawFile
from vla_ros.data.tools.extras import raw_path
from vla_ros.errors import DatasetError
from vla_ros.messages import type_name
from vla_ros.ros import qos
from vla_ros.ros.convert import class_of
from vla_ros.ros.subscribe import stream_profile

BEFORE = NANOSECONDS  # [ns] of messages before the start that the file holds: windows and latched text reach back
MOST_WAITING = 1000  # messages of a topic, far beyond any queue's depth


class RawRecorder:
    """Subscribes to the contract's topics and the gate's, and writes them while an episode runs.

    The file is built in the episode's folder, so that it is committed or discarded with it. Raises
    DatasetError if the library for MCAP is missing.
    """

    def __init__(self, node: Node, contract: Contract, root: Path, lockstep: bool) -> None:
        self._node, self._root = node, root
        self._failed = False  # the disk has refused the running episode's file
        self._file: RawFile | None = None
        self._recent: deque[tuple[int, str, bytes]] = deque()
        self._text: dict[str, bytes] = {}
        self._types = {spec.topic: type_name(spec.kind, spec.topic) for spec in contract.observation.values()}
        self._types[GATE_TOPIC] = GATE_TYPE
        self._latched = {spec.topic for spec in contract.streams("text")}
        simulated = bool(node.get_parameter("use_sim_time").value)
        profiles = {s.topic: stream_profile(s, simulated, lockstep) for s in contract.observation.values()}
        profiles[GATE_TOPIC] = qos.exchanged(100, lockstep)
        self._subscriptions = [
            node.create_subscription(class_of(name), topic, self._receiver(topic), profiles[topic], raw=True)
            for topic, name in self._types.items()
        ]
        RawFile.require()

    def start(self, episode: int, event: EpisodeEvent) -> None:
        """Begin the file of an episode that has just been started, with what was received shortly before.

        Raises DatasetError if the disk does not take it.
        """
        file = RawFile(raw_path(layout.recording_folder(self._root) / layout.TREE, episode))
        for topic, name in {**self._types, TOPIC: TYPE}.items():
            file.add(topic, name)
        now = time.time_ns()
        first = self._recent[0][0] if self._recent else now
        for topic, data in self._text.items():
            file.write(topic, first, data)
        for stamp, topic, data in self._recent:
            file.write(topic, stamp, data)
        file.write(TOPIC, now, event.to_cdr())
        self._file, self._failed = file, False

    def tell(self, event: EpisodeEvent) -> None:
        """Write what became known of the running episode; without a file do nothing."""
        self._write(TOPIC, time.time_ns(), event.to_cdr())

    def stop(self, event: EpisodeEvent) -> int:
        """End the file, before the episode is committed; return how many messages it holds.

        What waits in the subscriptions is taken first: the recorder, which has its own, may have filled the last row
        from it. Call it from the executor's thread. Raises DatasetError if the disk did not take them; the file is
        then removed, so that the episode can be saved without it.
        """
        if self._file is not None:
            self._take_waiting()
        file, self._file = self._file, None
        if file is None:
            return 0
        try:
            file.write(TOPIC, time.time_ns(), event.to_cdr())
            return file.close()
        except BaseException:
            file.path.unlink(missing_ok=True)
            raise

    def abandon(self) -> None:
        """Give the file up; without one, do nothing."""
        file, self._file = self._file, None
        if file is not None:
            file.abandon()

    def _take_waiting(self) -> None:
        for subscription in self._subscriptions:
            for _ in range(MOST_WAITING):  # a publisher faster than this loop cannot hold it up
                with subscription.handle:
                    taken = subscription.handle.take_message(subscription.msg_type, subscription.raw)
                if taken is None:
                    break
                subscription.callback(taken[0])

    def _write(self, topic: str, now: int, data: bytes) -> None:
        if self._file is None or self._failed:
            return
        try:
            self._file.write(topic, now, data)
        except DatasetError as error:  # the episode goes on without it; stop() removes the file
            self._failed = True
            self._node.get_logger().error(str(error))

    def _receiver(self, topic: str) -> Callable[[bytes], None]:
        def receive(data: bytes) -> None:
            now = time.time_ns()
            if topic in self._latched:
                self._text[topic] = data
            else:
                self._recent.append((now, topic, data))
            while self._recent and self._recent[0][0] < now - BEFORE:
                self._recent.popleft()
            self._write(topic, now, data)

        return receive
