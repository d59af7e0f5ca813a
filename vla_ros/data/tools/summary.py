"""What a dataset is, in figures: `describe` reads only metadata and file sizes."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from vla_ros.data.features import INTERVENTION
from vla_ros.data.reader import Dataset
from vla_ros.data.tools.rows import contract_of

MEGABYTE = 1e6


def describe(root: str | Path) -> dict[str, Any]:
    """Return a dataset's figures as JSON. Raises DatasetError if its metadata cannot be read."""
    dataset = Dataset(root)
    contract = contract_of(dataset)
    lengths = [episode.length / dataset.fps for episode in dataset.episodes]
    outcomes = Counter(episode.success for episode in dataset.episodes)
    return {
        "dataset": str(root),
        "robot": dataset.info.get("robot_type"),
        "contract": contract.robot if contract else None,
        "episodes": dataset.num_episodes,
        "frames": dataset.num_frames,
        "fps": dataset.fps,
        "seconds": round(dataset.num_frames / dataset.fps, 3),
        "episode_seconds": _spread(lengths),
        "success": outcomes[True],
        "failure": outcomes[False],
        "unlabelled": outcomes[None],
        "intervention_rows": _interventions(dataset),
        "notes": {i: [vars(note) for note in notes] for i, notes in sorted(dataset.notes.items())},
        "tasks": dict(Counter(episode.task for episode in dataset.episodes)),
        "features": {key: {"dtype": f.dtype, "shape": list(f.shape)} for key, f in dataset.features.items()},
        "cameras": {camera: _camera(dataset, camera) for camera in dataset.cameras},
        "sizes": {part: _size(dataset.root / part) for part in ("data", "videos", "meta", "raw")},
    }


def summary(figures: dict[str, Any]) -> list[str]:
    """Return what `describe` found as lines for a terminal."""
    spread, sizes = figures["episode_seconds"], figures["sizes"]
    lines = [
        f"{figures['dataset']}: LeRobot v3.0, robot {figures['robot']}, "
        + (f"contract {figures['contract']}" if figures["contract"] else "no contract"),
        f"  {figures['episodes']} episodes, {figures['frames']} rows at {figures['fps']} Hz, "
        f"{figures['seconds']:.0f} s ({spread['min']:.1f} to {spread['max']:.1f}, median {spread['median']:.1f} s)",
        f"  {figures['success']} succeeded, {figures['failure']} failed, {figures['unlabelled']} without a label; "
        f"{figures['intervention_rows']} rows of intervention",
        "  on disk: "
        + ", ".join(
            f"{part} {size['megabytes']:.1f} MB in {size['files']} files"
            for part, size in sizes.items()
            if size["files"]
        ),
        f"  {len(figures['tasks'])} tasks:",
        *(f"    {count:5} x {task}" for task, count in sorted(figures["tasks"].items(), key=lambda t: (-t[1], t[0]))),
        "  features:",
    ]
    for key, feature in figures["features"].items():
        camera = figures["cameras"].get(key)
        tail = f"  {camera['codec']} {camera['pixels']}, {camera['megabytes']:.1f} MB" if camera else ""
        shape = "x".join(map(str, feature["shape"]))
        lines.append(f"    {key:28} {feature['dtype']:8} {shape}{tail}")
    if figures["notes"]:
        lines.append("  notes:")
    for episode, notes in figures["notes"].items():
        lines += [f"    episode {episode}, {note['time']:.1f} s: {note['text']}" for note in notes]
    return lines


def _camera(dataset: Dataset, camera: str) -> dict[str, Any]:
    info = dataset.features[camera].info
    return {
        "codec": info.get("video.codec", "unknown"),
        "pixels": info.get("video.pix_fmt", "unknown"),
        "depth": bool(info.get("is_depth_map", False)),
        "megabytes": _size(dataset.root / "videos" / camera)["megabytes"],
    }


def _interventions(dataset: Dataset) -> int:
    if INTERVENTION not in dataset.features or not dataset.num_episodes:
        return 0
    stats = dataset.stats.get(INTERVENTION)
    if stats is None:
        return int(dataset.column(INTERVENTION).sum())
    return round(float(stats["mean"][0]) * int(stats["count"][0]))


def _spread(values: list[float]) -> dict[str, float]:
    ordered = sorted(values) or [0.0]
    return {"min": ordered[0], "median": ordered[len(ordered) // 2], "max": ordered[-1]}


def _size(folder: Path) -> dict[str, Any]:
    sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
    return {"files": len(sizes), "megabytes": round(sum(sizes) / MEGABYTE, 3)}
