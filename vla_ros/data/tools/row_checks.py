"""Checks of one episode's numbers: are they there, finite, in order and fresh?"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from vla_ros.data.features import AGE, STAMP
from vla_ros.data.tools.findings import NOTICE, SERIOUS, Finding, runs
from vla_ros.data.tools.rows import EpisodeRows

STALE_ROWS = 5  # so many rows in a row with an old sample are serious
STALE_SHARE = 0.05  # and so is this share of an episode's rows
MOVING = 0.1  # [rad/s, m/s] speed above which the arm certainly moves


def row_count(episode: EpisodeRows) -> Iterator[Finding]:
    """Find fewer rows than the metadata promises, and index columns that do not count up."""
    if episode.rows != episode.length:
        text = f"the data file has {episode.rows} rows, the metadata says {episode.length}"
        yield Finding(SERIOUS, "counts", episode.index, 0.0, "", text)
    wanted = {
        "frame_index": np.arange(episode.rows),
        "episode_index": np.full(episode.rows, episode.index),
        "timestamp": np.arange(episode.rows) / episode.fps,
    }
    for key, values in wanted.items():
        if key not in episode.columns:
            continue
        wrong = np.flatnonzero(np.abs(episode.columns[key][: episode.rows] - values) > 1e-4)
        if len(wrong):
            row = int(wrong[0])
            text = f"row {row} has {episode.columns[key][row]:g}, want {values[row]:g}"
            yield Finding(SERIOUS, "counts", episode.index, episode.time(row), key, text)


def not_finite(episode: EpisodeRows) -> Iterator[Finding]:
    """Find NaN and infinity."""
    for key, values in episode.columns.items():
        if values.dtype.kind != "f":
            continue
        bad = ~np.isfinite(values).reshape(len(values), -1).all(axis=1)
        if bad.any():
            row = int(bad.argmax())
            text = f"not a number or infinite in {int(bad.sum())} of {len(bad)} rows"
            yield Finding(SERIOUS, "nan", episode.index, episode.time(row), key, text)


def stamps_backwards(episode: EpisodeRows) -> Iterator[Finding]:
    """Find capture stamps that go back in time."""
    for stream in episode.sync:
        stamps = episode.sync_column(STAMP, stream)
        if stamps is None:
            continue
        back = np.flatnonzero(np.diff(stamps) < 0)
        if len(back):
            row = int(back[0]) + 1
            by = (stamps[row - 1] - stamps[row]) / 1e6
            text = f"the capture stamp goes back by {by:.1f} ms, {len(back)} times in the episode"
            yield Finding(SERIOUS, "stamps", episode.index, episode.time(row), stream, text)


def stale(episode: EpisodeRows) -> Iterator[Finding]:
    """Find samples older than the contract's ``max_age``."""
    for stream in episode.sync:
        ages, spec = episode.sync_column(AGE, stream), episode.spec(stream)
        if ages is None or spec is None:
            continue
        old = ~(ages <= spec.max_age)
        found = runs(old)
        if not found:
            continue
        first, end = max(found, key=lambda run: run[1] - run[0])
        serious = end - first >= STALE_ROWS or old.mean() > STALE_SHARE
        text = (
            f"up to {ages[old].max() * 1e3:.0f} ms old, at most {spec.max_age * 1e3:.0f} ms allowed: "
            f"{int(old.sum())} rows, {end - first} of them in a row"
        )
        yield Finding(SERIOUS if serious else NOTICE, "stale", episode.index, episode.time(first), stream, text)


def dead_sensor(episode: EpisodeRows) -> Iterator[Finding]:
    """Find a wrench that never changes although the arm moves."""
    if episode.contract is None or not (episode.speed > MOVING).any():
        return
    for spec in episode.contract.streams("wrench"):
        values = episode.columns.get(spec.key)
        if values is not None and len(values) > 1 and (values == values[:1]).all():
            text = "the same value in every row although the arm moves"
            yield Finding(SERIOUS, "dead", episode.index, 0.0, spec.key, text)


ROW_CHECKS = (row_count, not_finite, stamps_backwards, stale, dead_sensor)
