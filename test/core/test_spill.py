"""The queue in front of an encoder: order, nothing lost, bounded memory, and what a dead process leaves."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vla_ros.data.spill import FrameQueue, spilled_frames

SHAPE = (3, 4)


def frame(k: int) -> np.ndarray:
    return np.full(SHAPE, k, dtype=np.uint16)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.booleans(), max_size=80), st.integers(1, 5), st.integers(0, 6))
def test_any_interleaving_gives_every_frame_once_and_in_order(
    tmp_path: Path, turns: list[bool], memory: int, owed: int
) -> None:
    file = tmp_path / "spill"
    queue = FrameQueue(file, SHAPE, "uint16", memory, owed)
    put = got = 0
    for wants_put in turns:
        if wants_put or put == got:
            queue.reserve()
            queue.put(frame(put))
            put += 1
        else:
            taken = queue.get()
            assert taken is not None and (taken == got).all()
            got += 1
        assert len(queue) == put - got
        if put - got > memory:  # then whoever dies now leaves all that wait, and what was owed, on disk
            left = spilled_frames(file, SHAPE, "uint16", max(0, got - owed))
            first = next(left, None)
            if first is not None and first[0, 0] == max(0, got - owed):
                assert [int(f[0, 0]) for f in left][-1] == put - 1
            assert [int(f[0, 0]) for f in spilled_frames(file, SHAPE, "uint16", got)] == list(range(got, put))
    queue.close()
    rest = []
    while (taken := queue.get()) is not None:
        rest.append(int(taken[0, 0]))
    assert rest == list(range(got, put))
    queue.release()
    assert not file.exists()


def test_a_consumer_in_another_thread_gets_everything(tmp_path: Path) -> None:
    queue = FrameQueue(tmp_path / "spill", SHAPE, "uint16", 2, 3)
    got: list[int] = []

    def consume() -> None:
        while (taken := queue.get()) is not None:
            got.append(int(taken[0, 0]))

    thread = threading.Thread(target=consume)
    thread.start()
    for k in range(2000):
        queue.put(frame(k))
    queue.close()
    thread.join(timeout=60)
    assert got == list(range(2000))
    queue.release()


def test_a_full_disk_is_told_before_the_frame_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    queue = FrameQueue(tmp_path / "spill", SHAPE, "uint16", 1)
    queue.put(frame(0))

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match="No space left"):
        queue.reserve()
    monkeypatch.undo()
    assert len(queue) == 1
    taken = queue.get()
    assert taken is not None and (taken == 0).all()
    queue.abandon()
    assert queue.get() is None
    queue.release()


def test_a_torn_last_frame_is_not_read(tmp_path: Path) -> None:
    queue = FrameQueue(tmp_path / "spill", SHAPE, "uint16", 1)
    for k in range(5):
        queue.put(frame(k))
    queue.abandon()
    queue.release(keep=True)
    content = (tmp_path / "spill").read_bytes()
    (tmp_path / "spill").write_bytes(content[:-3])
    assert [int(f[0, 0]) for f in spilled_frames(tmp_path / "spill", SHAPE, "uint16", 2)] == [2, 3]
    assert list(spilled_frames(tmp_path / "spill", SHAPE, "uint16", 9)) == []
