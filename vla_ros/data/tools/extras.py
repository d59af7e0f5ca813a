"""What lies in a dataset beside the format's own files: seeds of simulated episodes, notes, raw recordings."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vla_ros.data import layout
from vla_ros.data.notes import NOTES, Note, read_notes, write_notes

SEEDS = "meta/seeds.json"
RAW_PATH = "raw/chunk-{chunk_index:03d}/file-{file_index:03d}.mcap"
_OWN = (layout.INFO, layout.STATS_FILE, layout.TASKS, layout.CONTRACT, SEEDS, NOTES)


def raw_path(root: Path, episode: int) -> Path:
    """Return where the raw recording of an episode lies, if it has one."""
    chunk, file = layout.file_location(episode)
    return root / RAW_PATH.format(chunk_index=chunk, file_index=file)


def carry_extras(sources: Sequence[tuple[Path, Sequence[int]]], target: Path) -> list[str]:
    """Copy the extras of the sources' episodes to their new numbers in `target`, in order.

    Return one line about each file of a source's ``meta`` that is unknown and therefore not carried over.
    """
    ledger: dict[str, dict[str, list[Any]]] = {}
    notes, at = [], 0
    noted: dict[int, tuple[Note, ...]] = {}
    for root, episodes in sources:
        new = {old: at + i for i, old in enumerate(episodes)}
        at += len(episodes)
        for old, number in new.items():
            if raw_path(root, old).exists():
                raw_path(target, number).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(raw_path(root, old), raw_path(target, number))
        told = read_notes(root)
        noted |= {number: told[old] for old, number in new.items() if old in told}
        if (root / SEEDS).exists():
            _add_seeds(ledger, layout.read_json(root / SEEDS), new)
        for path in sorted((root / "meta").iterdir()):
            if path.is_file() and str(path.relative_to(root)) not in _OWN:
                notes.append(f"'{path}' is not carried over: it is not known whether it numbers episodes")
    if ledger:
        layout.write_json(target / SEEDS, ledger)
    if noted:
        write_notes(target, noted)
    return notes


def _add_seeds(ledger: dict[str, dict[str, list[Any]]], more: dict[str, Any], new: dict[int, int]) -> None:
    for task, entry in more.items():
        mine = ledger.setdefault(task, {"episodes": [], "failed": []})
        mine["episodes"] += [[new[old], seed] for old, seed in entry["episodes"] if old in new]
        mine["failed"] += [seed for seed in entry["failed"] if seed not in mine["failed"]]
