"""A raw recording is an MCAP file that others can read, and a full disk is said in one line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vla_ros.data.bags.raw import RawFile
from vla_ros.data.bags.reading import BagReader
from vla_ros.data.bags.schemas import definition, typestore
from vla_ros.errors import DatasetError

WRENCH = "geometry_msgs/msg/WrenchStamped"


def message(k: int) -> bytes:
    store = typestore()
    types = store.types
    time = types["builtin_interfaces/msg/Time"](1, k)
    vector = types["geometry_msgs/msg/Vector3"](1.0 * k, 0.0, 0.0)
    wrench = types["geometry_msgs/msg/Wrench"](vector, vector)
    return bytes(store.serialize_cdr(types[WRENCH](types["std_msgs/msg/Header"](time, "tool0"), wrench), WRENCH))


def test_every_message_comes_back_with_its_time(tmp_path: Path) -> None:
    file = RawFile(tmp_path / "deep/raw.mcap")
    file.add("/wrench", WRENCH)
    for k in range(500):
        file.write("/wrench", 1000 + k, message(k))
    assert file.close() == 500
    with BagReader(tmp_path / "deep/raw.mcap") as reader:
        got = [(time, m.wrench.force.x, m.header.frame_id) for _, time, m in reader.messages(["/wrench"])]
    assert got == [(1000 + k, 1.0 * k, "tool0") for k in range(500)]


def test_a_file_says_how_to_read_itself(tmp_path: Path) -> None:
    from mcap.reader import make_reader

    file = RawFile(tmp_path / "raw.mcap")
    file.add("/wrench", WRENCH)
    file.write("/wrench", 1, message(1))
    file.close()
    with (tmp_path / "raw.mcap").open("rb") as stream:
        reader = make_reader(stream)
        assert reader.get_header().profile == "ros2"
        ((schema, channel, one),) = list(reader.iter_messages())
    assert schema is not None and (schema.name, schema.encoding) == (WRENCH, "ros2msg")
    text = schema.data.decode()
    assert (
        "geometry_msgs/Wrench wrench" in text
        and "MSG: geometry_msgs/Vector3" in text
        and "MSG: std_msgs/Header" in text
    )
    assert (channel.topic, channel.message_encoding, one.data) == ("/wrench", "cdr", message(1))


def test_a_full_disk_is_one_clear_error() -> None:
    file = RawFile(Path("/dev/full"))
    file.add("/wrench", WRENCH)
    with pytest.raises(DatasetError, match="raw recording '/dev/full' cannot be written: .*No space left"):
        for _ in range(3):
            file.write("/wrench", 1, np.random.default_rng(0).bytes(9 << 20))
        file.close()
    file.abandon()


def test_an_unknown_type_and_a_folder_that_is_a_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="'my_msgs/msg/Thing'"):
        definition("my_msgs/msg/Thing")
    (tmp_path / "raw").write_text("in the way")
    with pytest.raises(DatasetError, match="cannot be written"):
        RawFile(tmp_path / "raw/one.mcap")
