"""Statistics of a dataset as LeRobot defines them: per feature min, max, mean, std, count and five quantiles.

They run over rows and over all axes but the last (an array that is stored flat has one) or per channel (images in [0, 1], shape
[3, 1, 1]; depth in metres, shape [1, 1, 1]). Those of a whole dataset are put together from its episodes': mean and
variance exactly, quantiles as the mean of the episodes' quantiles weighted by count, which is LeRobot's approximation.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

Stats = dict[str, npt.NDArray[Any]]
QUANTILES = {"q01": 0.01, "q10": 0.10, "q50": 0.50, "q90": 0.90, "q99": 0.99}
IMAGE_STRIDE = 6  # image statistics look at every 6th pixel of every 6th row


def column_stats(values: npt.NDArray[Any]) -> Stats:
    """Return the statistics of a column [N, ...], N > 0: float64 [last axis] or [1]; count is int64 [1]."""
    rows = len(values)
    flat = np.asarray(values, dtype=np.float64).reshape(-1, values.shape[-1] if values.ndim > 1 else 1)
    quantiles = np.quantile(flat, list(QUANTILES.values()), axis=0)
    return {
        "min": flat.min(axis=0),
        "max": flat.max(axis=0),
        "mean": flat.mean(axis=0),
        "std": flat.std(axis=0),
        "count": np.array([rows], dtype=np.int64),
        **dict(zip(QUANTILES, quantiles, strict=True)),
    }


class ChannelStats:
    """Running statistics of a camera's frames from a histogram per channel.

    levels: what each stored number stands for, ascending. skip: the number that stands for nothing at all, which
    is not counted unless a channel holds nothing else.
    """

    def __init__(self, channels: int, levels: npt.NDArray[np.float64], skip: int | None = None) -> None:
        self.frames = 0
        self._levels, self._skip = levels, skip
        self._histogram = np.zeros((channels, len(levels)), dtype=np.int64)

    def add(self, frame: npt.NDArray[Any]) -> None:
        """Take a frame's stored numbers [H, W, C] into account."""
        channels, size = self._histogram.shape
        sparse = frame[::IMAGE_STRIDE, ::IMAGE_STRIDE].reshape(-1, channels)
        for channel in range(channels):
            self._histogram[channel] += np.bincount(sparse[:, channel], minlength=size)
        self.frames += 1

    def stats(self) -> Stats:
        """Return the statistics per channel, float64 [C, 1, 1]; count: the number of frames."""
        levels, histogram = self._levels, self._histogram.copy()
        if self._skip is not None:
            empty = histogram.sum(axis=1) == histogram[:, self._skip]
            histogram[~empty, self._skip] = 0
        total = histogram.sum(axis=1)
        mean = histogram @ levels / total
        variance = histogram @ levels**2 / total - mean**2
        cumulated = histogram.cumsum(axis=1)
        out: Stats = {
            "min": levels[(histogram > 0).argmax(axis=1)],
            "max": levels[len(levels) - 1 - (histogram[:, ::-1] > 0).argmax(axis=1)],
            "mean": mean,
            "std": np.sqrt(np.maximum(variance, 0.0)),
        }
        for name, quantile in QUANTILES.items():
            out[name] = levels[(cumulated >= quantile * total[:, None]).argmax(axis=1)]
        return {name: value.reshape(-1, 1, 1) for name, value in out.items()} | {"count": np.array([self.frames])}


def merge_stats(a: Mapping[str, Stats], b: Mapping[str, Stats]) -> dict[str, Stats]:
    """Return the statistics of two sets of rows together, feature by feature."""
    merged = {key: dict(stats) for key, stats in a.items()}
    for key, stats in b.items():
        merged[key] = _merge(merged[key], stats) if key in merged else dict(stats)
    return merged


def _merge(a: Stats, b: Stats) -> Stats:
    count_a, count_b = int(a["count"][0]), int(b["count"][0])
    weight = count_b / max(1, count_a + count_b)
    mean = a["mean"] + weight * (b["mean"] - a["mean"])
    variance = (1 - weight) * (a["std"] ** 2 + (a["mean"] - mean) ** 2) + weight * (
        b["std"] ** 2 + (b["mean"] - mean) ** 2
    )
    return {
        "min": np.minimum(a["min"], b["min"]),
        "max": np.maximum(a["max"], b["max"]),
        "mean": mean,
        "std": np.sqrt(variance),
        "count": np.array([count_a + count_b], dtype=np.int64),
        **{name: (1 - weight) * a[name] + weight * b[name] for name in QUANTILES},
    }


def stats_to_json(stats: Mapping[str, Stats]) -> dict[str, Any]:
    """Return the statistics as ``meta/stats.json`` holds them."""
    return {key: {name: value.tolist() for name, value in one.items()} for key, one in stats.items()}


def stats_from_json(data: Mapping[str, Any]) -> dict[str, Stats]:
    """Read what `stats_to_json` wrote."""
    return {key: {name: np.asarray(value) for name, value in one.items()} for key, one in data.items()}
