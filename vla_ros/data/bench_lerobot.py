"""LeRobot's own loader, timed: run by `bench_loader` with the Python of an environment that has LeRobot.

Imports nothing of this package. Arguments: dataset, seconds, chunk, workers, batch, batches of warm-up.
"""

from __future__ import annotations

import json
import sys
import time
from itertools import chain, repeat


def main() -> None:
    """Print {"samples_per_second": ...} as the last line."""
    import torch
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    root, seconds, chunk = sys.argv[1], float(sys.argv[2]), int(sys.argv[3])
    workers, batch, warm_up = (int(word) for word in sys.argv[4:7])
    plain = LeRobotDataset("local/bench", root=root, video_backend="pyav")
    wanted = {"action": [k / plain.meta.fps for k in range(chunk)]}
    data = LeRobotDataset("local/bench", root=root, video_backend="pyav", delta_timestamps=wanted)
    loader = torch.utils.data.DataLoader(data, batch_size=batch, shuffle=True, num_workers=workers, drop_last=True)
    batches = chain.from_iterable(repeat(loader))
    for _ in range(warm_up):
        next(batches)
    count, started = 0, time.monotonic()
    while (elapsed := time.monotonic() - started) < seconds:
        next(batches)
        count += batch
    print(json.dumps({"samples_per_second": count / elapsed}))


if __name__ == "__main__":
    main()
