"""What can be saved of a raw recording whose writer died: its whole messages, in a file that ends as it should."""

from __future__ import annotations

import shutil
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vla_ros.data.bags.events import TOPIC, TYPE, EpisodeEvent
from vla_ros.data.bags.raw import RawFile
from vla_ros.errors import DatasetError


def salvage(broken: Path, target: Path, event: EpisodeEvent) -> int:
    """Write the whole messages of the MCAP file `broken` to the new file `target`, and `event` at their end.

    Returns how many messages `target` holds. Where the library for MCAP is missing, the file is copied as it is, and 0
    returned. Raises DatasetError if the disk does not take it.
    """
    try:
        RawFile.require()
    except DatasetError:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(broken, target)
        return 0
    file = RawFile(target)
    known: set[str] = set()
    last, ended = 0, False
    for topic, kind, time, data in whole_messages(broken):
        if topic not in known:
            file.add(topic, kind)
            known.add(topic)
        file.write(topic, time, data)
        last = max(last, time)
        ended = ended or (topic == TOPIC and b'"save"' in data)
    if not ended:  # it may have died after the end of the file and before the commit
        if TOPIC not in known:
            file.add(TOPIC, TYPE)
        file.write(TOPIC, last, event.to_cdr())
    return file.close()


def whole_messages(path: Path) -> Iterator[tuple[str, str, int, bytes]]:
    """Yield (topic, type, time of recording [ns], data) up to the first part of an MCAP file that is not whole."""
    from mcap.records import Channel, Message, Schema
    from mcap.stream_reader import StreamReader

    schemas: dict[int, str] = {}
    channels: dict[int, tuple[str, str]] = {}
    with path.open("rb") as stream:
        for record in _until_torn(StreamReader(stream, validate_crcs=True).records):
            if isinstance(record, Schema):
                schemas[record.id] = record.name
            elif isinstance(record, Channel):
                channels[record.id] = (record.topic, schemas[record.schema_id])
            elif isinstance(record, Message):
                yield *channels[record.channel_id], record.log_time, record.data


def _until_torn(found: Iterator[Any]) -> Iterator[Any]:
    from mcap.exceptions import McapError

    while True:
        try:
            yield next(found)
        except (StopIteration, McapError, RuntimeError, ValueError, KeyError, EOFError, struct.error):
            return  # torn: what MCAP, the decompressors and struct say of it
