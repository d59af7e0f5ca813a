"""How many random-access training samples a second this loader gives, and LeRobot's own on the same dataset."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from itertools import chain, repeat
from pathlib import Path

import torch

from vla_ros.data.reader import Dataset
from vla_ros.data.training import EpisodeSampler, WindowDataset
from vla_ros.errors import DatasetError

BATCH = 8
WARM_UP = 3  # batches before the clock starts
THEIRS = Path(__file__).with_name("bench_lerobot.py")


def loader(
    dataset: Path,
    seconds: float = 10.0,
    chunk: int = 50,
    workers: tuple[int, ...] = (0, 2),
    lerobot: Path | None = None,
) -> float | None:
    """Print samples a second with each number of workers; return our best over LeRobot's best.

    lerobot: the Python of an environment with LeRobot; without it, None is returned. Samples of both are one frame
    of each camera as float32 and a chunk of actions, in random order, in batches of 8, first ours and then theirs,
    all in turn on the same machine.
    """
    data = Dataset(dataset)
    print(
        f"{dataset}: {data.num_episodes} episodes, {data.num_frames} rows, {len(data.cameras)} cameras, "
        f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    )
    ours, theirs = [], []
    for count in workers:
        ours.append(measure(data, seconds, chunk, count))
        print(f"vla_ros, {count} workers: {ours[-1]:.0f} samples/s", flush=True)
        if lerobot is not None:
            theirs.append(_lerobot(lerobot, dataset, seconds, chunk, count))
            print(f"LeRobot, {count} workers: {theirs[-1]:.0f} samples/s", flush=True)
    if not theirs:
        return None
    ratio = max(ours) / max(theirs)
    print(f"best over best: {ratio:.1f} times LeRobot's (want 3)")
    return ratio


def measure(data: Dataset, seconds: float, chunk: int, workers: int) -> float:
    """Return samples a second of this package's loader."""
    windows = WindowDataset(data, chunk=chunk, floats=True)
    batches = torch.utils.data.DataLoader(
        windows, batch_size=BATCH, sampler=EpisodeSampler(data), num_workers=workers, drop_last=data.num_frames > BATCH
    )
    return rate(chain.from_iterable(repeat(batches)), seconds)


def rate(batches: Iterator[object], seconds: float) -> float:
    """Return samples a second of an endless sequence of batches."""
    for _ in range(WARM_UP):
        next(batches)
    count, started = 0, time.monotonic()
    while (elapsed := time.monotonic() - started) < seconds:
        next(batches)
        count += BATCH
    return count / elapsed


def _lerobot(python: Path, dataset: Path, seconds: float, chunk: int, workers: int) -> float:
    command = [str(python), str(THEIRS), str(dataset), str(seconds), str(chunk), str(workers), str(BATCH), str(WARM_UP)]
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | {"HF_HUB_OFFLINE": "1"}
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=seconds * 10 + 300)
        return float(json.loads(done.stdout.strip().splitlines()[-1])["samples_per_second"])
    except (OSError, subprocess.TimeoutExpired, ValueError, KeyError, IndexError) as error:
        said = done.stderr.strip().splitlines()[-1:] if isinstance(error, (ValueError, IndexError)) else []
        raise DatasetError(f"LeRobot's loader did not run under '{python}': {' '.join(said) or error}") from None
