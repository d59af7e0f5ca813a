"""A dataset becomes a bag: an MCAP bag of rosbag2 with the contract's topics, the gate's setpoints and the
recorder's events, from which `from_bag` makes the same rows again (pictures within the loss of one more encoding).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vla_ros.action import NANOSECONDS
from vla_ros.contract import POSITION_SUFFIX, Contract, StreamSpec
from vla_ros.data.bags.events import GATE_TOPIC, GATE_TYPE, TOPIC, TYPE, EpisodeEvent
from vla_ros.data.bags.schemas import typestore
from vla_ros.data.features import AGE, STAMP
from vla_ros.data.reader import Dataset, Episode
from vla_ros.data.tools.compose import staging
from vla_ros.data.tools.rows import EpisodeRows, load_rows
from vla_ros.errors import DatasetError
from vla_ros.messages import type_name

PAUSE = NANOSECONDS  # between two episodes that would overlap
Sample = tuple[int, str, Any]  # when it is sent [ns], topic, message


def to_bag(root: str | Path, output: str | Path, episodes: Sequence[int] | None = None) -> int:
    """Write a dataset, or some of its episodes, as the new bag `output`; return how many messages it holds.

    A window is sent as its samples; a compressed image topic as raw images. Episodes whose times overlap are
    moved by whole seconds. Raises DatasetError if the dataset carries no contract or no stamps, something
    cannot be read, or `output` exists.
    """
    dataset, path = Dataset(root), Path(output)
    if path.exists():
        raise DatasetError(f"'{path}' exists already; give a new folder")
    for key in (AGE, STAMP):
        if key not in dataset.features:
            raise DatasetError(f"dataset '{root}' has no '{key}': capture times are not known")
    unknown = [i for i in episodes or () if not 0 <= i < dataset.num_episodes]
    if unknown:
        raise DatasetError(f"dataset '{root}' has no episode {unknown[0]}; valid: 0..{dataset.num_episodes - 1}")
    chosen = dataset.episodes if episodes is None else [dataset.episodes[i] for i in episodes]
    with staging(path) as folder:
        count = _write(dataset, chosen, folder / path.name)
        (folder / path.name).rename(path)
    return count


def _write(dataset: Dataset, episodes: Sequence[Episode], path: Path) -> int:
    store = typestore()
    from rosbags.rosbag2 import StoragePlugin, Writer

    contract, count, end = dataset.contract, 0, 0
    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        topics = {spec.topic: type_name(spec.kind) for spec in contract.observation.values()}
        topics |= {GATE_TOPIC: GATE_TYPE, TOPIC: TYPE}
        connections = {topic: writer.add_connection(topic, kind, typestore=store) for topic, kind in topics.items()}
        for episode in episodes:
            rows = load_rows(dataset, episode)
            times = row_times(rows)
            samples = list(_samples(dataset, episode, rows, contract, times, _Messages(store)))
            earliest = min(time for time, _, _ in samples)
            shift = max(0, -(-(end - earliest) // NANOSECONDS) * NANOSECONDS)
            for time, topic, message in sorted(samples, key=lambda sample: sample[0]):
                _move(message, shift)
                data = store.serialize_cdr(message, topics[topic])
                writer.write(connections[topic], time + shift, data)
            count += len(samples)
            end = max(time for time, _, _ in samples) + shift + PAUSE
    return count


def row_times(rows: EpisodeRows) -> npt.NDArray[np.int64]:
    """Return each row's time [ns], int64 [T], on the exact grid that stamp and age of any stream lie on."""
    ages = rows.columns[AGE].reshape(rows.rows, -1)[0].astype(np.float64)
    stamps = rows.columns[STAMP].reshape(rows.rows, -1)[0]
    first = round(float(np.median(stamps + ages * NANOSECONDS)) * rows.fps / NANOSECONDS)
    steps = first + np.arange(rows.rows, dtype=np.int64)
    times: npt.NDArray[np.int64] = (2 * steps * NANOSECONDS + rows.fps) // (2 * rows.fps)
    return times


def _samples(
    dataset: Dataset,
    episode: Episode,
    rows: EpisodeRows,
    contract: Contract,
    times: npt.NDArray[np.int64],
    make: _Messages,
) -> Iterator[Sample]:
    step = NANOSECONDS // rows.fps
    last = int(times[-1]) + 2 * step
    start = EpisodeEvent("start", first=int(times[0]), task=episode.task)
    said = [dataset.tasks[i] for i in rows.columns["task_index"]]
    for spec in contract.streams("text"):
        yield int(times[0]) - NANOSECONDS, spec.topic, make.text(said[0])
        for row in range(1, rows.rows):
            if said[row] != said[row - 1]:
                yield int(times[row]), spec.topic, make.text(said[row])
    yield int(times[0]), TOPIC, make.text(start.to_text())
    for spec in contract.observation.values():
        if spec.kind != "text":
            values = (
                dataset.frames(spec.key, episode.index) if spec.kind in ("image", "depth") else rows.columns[spec.key]
            )
            for stamp, value in _stamped(rows, spec, values, times):
                yield stamp, spec.topic, make.sample(spec, stamp + round(spec.latency * NANOSECONDS), value)
            if contract.robot_free and spec.key in (contract.action.follows, contract.state.key):
                stamp, value = int(times[-1]) + step, _taken_to(spec, contract, value, rows.columns["action"][-1])
                yield stamp, spec.topic, make.sample(spec, stamp + round(spec.latency * NANOSECONDS), value)
            if contract.robot_free or int(times[-1]) > stamp:  # so that the last row is complete
                yield last, spec.topic, make.sample(spec, last + round(spec.latency * NANOSECONDS), value)
    reached = [*times[1:], times[-1] + step]
    for time, due, action in zip(times, reached, rows.columns["action"], strict=True):
        yield int(time), GATE_TOPIC, make.setpoint(int(time), int(due), contract.action.names, action)
    for note in dataset.notes.get(episode.index, ()):
        event = EpisodeEvent("note", text=note.text, time=note.time)
        yield min(last, int(times[0]) + round(note.time * NANOSECONDS)), TOPIC, make.text(event.to_text())
    success = episode.success is not False
    yield last, TOPIC, make.text(EpisodeEvent("save", rows=rows.rows, success=success).to_text())


def _taken_to(
    spec: StreamSpec, contract: Contract, value: npt.NDArray[Any], action: npt.NDArray[Any]
) -> npt.NDArray[Any]:
    """Return the value of the tool's pose or of the state where the last action of a hand's episode takes it."""
    if spec.key == contract.action.follows:
        return action[:7]
    taken = np.array(value, dtype=np.float64).reshape(-1)
    for name, wanted in zip(contract.action.names[7:], action[7:], strict=True):
        taken[spec.names.index(name)] = wanted
    return taken


def _stamped(
    rows: EpisodeRows, spec: StreamSpec, values: npt.NDArray[Any], times: npt.NDArray[np.int64]
) -> Iterator[tuple[int, Any]]:
    """Give the (capture stamp [ns], value) of a stream's samples: each once, though windows and rows share some."""
    stamps = rows.sync_column(STAMP, spec.key)
    assert stamps is not None
    period, newest = NANOSECONDS / spec.rate, -1
    for row, stamp in enumerate(stamps):
        if spec.align == "interpolate":
            yield int(times[row]), values[row]
        elif spec.history == 1:
            if stamp > newest:
                yield int(stamp), values[row]
        else:
            for back in reversed(range(spec.history)):
                at = int(stamp) - round(back * period)
                if at > newest + period / 2:
                    yield at, values[row][spec.history - 1 - back]
                    newest = at
        newest = max(newest, int(stamp))


def _move(message: Any, shift: int) -> None:
    if shift and hasattr(message, "header"):
        stamp = message.header.stamp
        stamp.sec += shift // NANOSECONDS
    elif shift and message.data.startswith("{"):
        event = EpisodeEvent.from_text(message.data)
        message.data = replace(event, first=event.first + shift).to_text()


class _Messages:
    """Builds messages of the types of a store."""

    def __init__(self, store: Any) -> None:
        self._types = store.types

    def text(self, text: str) -> Any:
        return self._types[TYPE](data=text)

    def sample(self, spec: StreamSpec, stamp: int, value: npt.NDArray[Any]) -> Any:
        """Return the message of one sample of a stream."""
        header = self._header(stamp, spec.frame)
        if spec.kind == "joints":
            names = [name.removesuffix(POSITION_SUFFIX) for name in spec.names]
            none = np.zeros(0)
            position = np.asarray(value, dtype=np.float64).reshape(-1)  # a single joint's is no array in the table
            return self._types[type_name("joints")](header, names, position, none, none)
        if spec.kind == "wrench":
            vector, wrench = self._types["geometry_msgs/msg/Vector3"], self._types["geometry_msgs/msg/Wrench"]
            f = [float(v) for v in value]
            return self._types[type_name("wrench")](header, wrench(vector(*f[:3]), vector(*f[3:])))
        if spec.kind == "pose":
            point, turn, pose = (self._types[f"geometry_msgs/msg/{name}"] for name in ("Point", "Quaternion", "Pose"))
            numbers = [float(v) for v in value]
            return self._types[type_name("pose")](header, pose(point(*numbers[:3]), turn(*numbers[3:])))
        return self._image(header, value, {"image": "rgb8", "depth": "32FC1", "taxels": "32FC3"}[spec.kind])

    def setpoint(self, stamp: int, reached: int, names: Sequence[str], values: npt.NDArray[Any]) -> Any:
        """Return a gate's setpoint that is to be reached at `reached` [ns]."""
        none = np.zeros(0)
        sec, nanosec = divmod(reached - stamp, NANOSECONDS)
        wait = self._types["builtin_interfaces/msg/Duration"](sec, nanosec)
        point = self._types["trajectory_msgs/msg/JointTrajectoryPoint"]
        points = [point(np.asarray(values, dtype=np.float64), none, none, none, wait)]
        return self._types[GATE_TYPE](self._header(stamp, ""), list(names), points)

    def _header(self, stamp: int, frame: str) -> Any:
        time = self._types["builtin_interfaces/msg/Time"](*divmod(stamp, NANOSECONDS))
        return self._types["std_msgs/msg/Header"](time, frame)

    def _image(self, header: Any, pixels: npt.NDArray[Any], encoding: str) -> Any:
        pixels = np.ascontiguousarray(pixels)
        data = pixels.reshape(-1).view(np.uint8)
        height, width = pixels.shape[:2]
        big = int(sys.byteorder == "big")
        return self._types["sensor_msgs/msg/Image"](header, height, width, encoding, big, data.size // height, data)
