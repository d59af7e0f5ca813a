"""A replay buffer in UMI's public layout, written with zarr itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr
from zarr.storage import ZipStore

SIZE = (32, 48)


def motion(rows: int, start: float = 0.0) -> dict[str, npt.NDArray[Any]]:
    """Return the poses and openings of a hand's motion, as the arrays of the layout."""
    t = (start + np.arange(rows)) / 60.0
    position = np.stack([0.4 + 0.05 * np.sin(t), 0.1 * t, 0.2 + 0.02 * np.cos(2 * t)], axis=1)
    rotation = np.stack([np.full(rows, 3.0), 0.1 * t, 0.2 * np.sin(t)], axis=1)
    pose = np.concatenate([position, rotation], axis=1)
    return {
        "robot0_eef_pos": position.astype(np.float32),
        "robot0_eef_rot_axis_angle": rotation.astype(np.float32),
        "robot0_gripper_width": (0.04 + 0.03 * np.sin(3 * t))[:, None].astype(np.float32),
        "robot0_demo_start_pose": np.repeat(pose[:1], rows, axis=0),
        "robot0_demo_end_pose": np.repeat(pose[-1:], rows, axis=0),
    }


def picture(row: int) -> npt.NDArray[np.uint8]:
    """Return a frame that is the brighter the higher its row."""
    image = np.empty((*SIZE, 3), dtype=np.uint8)
    image[:] = np.linspace(10, 60, SIZE[1]).astype(np.uint8)[None, :, None]
    return image + np.uint8(3 * (row % 60))


def write_replay_buffer(path: Path, lengths: tuple[int, ...], compressor: Any = None) -> dict[str, npt.NDArray[Any]]:
    """Write a zipped buffer of episodes of these lengths; return its arrays. compressor: of the pictures."""
    parts = [motion(rows, start=100.0 * k) for k, rows in enumerate(lengths)]
    arrays = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    arrays["camera0_rgb"] = np.stack([picture(row) for row in range(sum(lengths))])
    store = ZipStore(str(path), mode="w")
    version = {"zarr_format": 2} if hasattr(zarr, "create_array") else {}
    zarr.open_group(store, mode="w", **version)
    for name in ("data", "meta"):
        zarr.open_group(store, path=name, mode="a", **version)
    for name, values in arrays.items():
        chunks = (1, *values.shape[1:]) if name == "camera0_rgb" else values.shape
        settings: dict[str, Any] = {"shape": values.shape, "chunks": chunks, "dtype": values.dtype, **version}
        with_codec = {"compressor": compressor} if name == "camera0_rgb" and compressor is not None else {}
        array = zarr.create(store=store, path=f"data/{name}", **settings, **with_codec)
        array[:] = values
    ends = np.cumsum(lengths).astype(np.int64)
    array = zarr.create(
        store=store, path="meta/episode_ends", shape=ends.shape, chunks=ends.shape, dtype=ends.dtype, **version
    )
    array[:] = ends
    store.close()
    return arrays
