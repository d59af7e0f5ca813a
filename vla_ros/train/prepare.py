"""From a dataset to what the training loop draws from: rows, held-out episodes, the fitted normaliser."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from vla_ros.contract import Contract
from vla_ros.data.features import AGE, sync_names
from vla_ros.errors import DatasetError, PolicyError, VlaRosError
from vla_ros.policy.config import PolicyConfig
from vla_ros.policy.normaliser import Normaliser
from vla_ros.policy.preprocess import Preprocess, Resize, ResizeDepth
from vla_ros.policy.targets import Anchors, Targets
from vla_ros.train.aims import aims
from vla_ros.train.batches import Rows
from vla_ros.train.cache import Progress, cached_frames
from vla_ros.train.config import TrainingConfig
from vla_ros.train.keyframes import goals
from vla_ros.train.source import EpisodeLike, TrainingData
from vla_ros.train.text import variants

GOAL = "goal"  # key of the normaliser
READINGS = 32  # of each instruction, the recorded one among them


@dataclass(frozen=True)
class Prepared:
    """rows: everything. train, validate: row numbers, int64. normaliser: fitted on the training rows
    alone."""

    rows: Rows
    train: torch.Tensor
    validate: torch.Tensor
    normaliser: Normaliser


def prepare(
    data: TrainingData,
    policy: PolicyConfig,
    config: TrainingConfig,
    seed: int,
    cache: Path,
    progress: Progress | None = None,
) -> Prepared:
    """Read the dataset's columns and decode its videos into the cache. Raises DatasetError or PolicyError."""
    contract = data.contract
    _check_size(data)
    lengths = np.array([episode.length for episode in data.episodes])
    end = np.repeat(np.cumsum(lengths), lengths)
    held_out = _held_out(len(lengths), config.validation, seed)
    in_validation = np.repeat(np.isin(np.arange(len(lengths)), held_out), lengths)
    train, validate = np.flatnonzero(~in_validation), np.flatnonzero(in_validation)

    _check_shift(policy, contract, config)
    numbers = _numbers(data, policy)
    actions = _finite("action", np.asarray(data.column("action"), dtype=np.float32))
    wanted = [data.num_frames, len(contract.action.names)]
    if list(actions.shape) != wanted:
        raise DatasetError(f"'action' has shape {list(actions.shape)}, want {wanted}")
    state = numbers.get(contract.state.key)
    if state is None:
        state = np.asarray(data.column(contract.state.key), dtype=np.float32).reshape(data.num_frames, -1)
        numbers[contract.state.key] = state
    fitted: dict[str, npt.NDArray[np.floating]] = {key: value[train] for key, value in numbers.items()}
    anchors = Anchors(policy.targets, contract)
    origin = _finite(anchors.key, anchors(data.column)) if anchors.poses else state
    fitted["action"] = _targets(policy, contract, actions, origin, end, train)
    goal = goals(actions, lengths, contract.action.names)
    fitted[GOAL] = goal[train]
    if anchors.poses:
        numbers[anchors.key] = origin
        coder = Targets(policy.targets, contract)
        fitted[GOAL] = coder.encode(torch.from_numpy(goal[train])[:, None], torch.from_numpy(origin[train]))[
            :, 0
        ].numpy()
    normaliser = Normaliser.fit(fitted)

    steps = Preprocess(policy, contract, normaliser)
    mark = fingerprint(data)
    frames = {
        key: torch.from_numpy(cached_frames(data, key, step, cache, mark, progress))
        for key, step in steps.array_steps.items()
        if isinstance(step, (Resize, ResizeDepth))
    }
    images = {key: value for key, value in frames.items() if value.dtype == torch.uint8}
    depths = {key: value for key, value in frames.items() if value.dtype != torch.uint8}
    text_key, text, task = _text(data.episodes, steps, config, seed, lengths)
    rows = Rows(
        images,
        {k: torch.from_numpy(v) for k, v in numbers.items()} | depths,
        text_key,
        text,
        task,
        torch.from_numpy(actions),
        torch.from_numpy(end),
        torch.from_numpy(goal),
        {key: torch.from_numpy(fresh) for key, fresh in _present(data, policy).items()},
        {key: torch.from_numpy(places) for key, places in aims(policy, contract, goal, data.column).items()},
    )
    return Prepared(rows, torch.from_numpy(train), torch.from_numpy(validate), normaliser)


def fingerprint(data: TrainingData) -> str:
    """Return a short hash of the dataset's contract, episodes and actions: it changes when the
    demonstrations do."""
    digest = hashlib.sha256(data.contract.text.encode())
    digest.update(json.dumps([[e.length, e.task] for e in data.episodes]).encode())
    digest.update(np.ascontiguousarray(np.asarray(data.column("action"), dtype=np.float32)).tobytes())
    digest.update(np.ascontiguousarray(np.asarray(data.column(data.contract.state.key), dtype=np.float32)).tobytes())
    return digest.hexdigest()[:16]


def _check_size(data: TrainingData) -> None:
    if len(data.episodes) == 0 or data.num_frames == 0:
        raise DatasetError("the dataset has no episodes to train on")
    total = sum(episode.length for episode in data.episodes)
    if total != data.num_frames:
        raise DatasetError(f"the episodes have {total} rows together, the dataset {data.num_frames}")
    if abs(data.fps - data.contract.rate) > 1e-6:
        raise DatasetError(f"the dataset has {data.fps} rows a second, its contract says {data.contract.rate}")


def _check_shift(policy: PolicyConfig, contract: Contract, config: TrainingConfig) -> None:
    """Raise PolicyError if pictures would be shifted against the depth that is read together with them."""
    for stream in policy.streams(contract):
        part = policy.encoder_for(stream)
        beside: tuple[str, ...] = getattr(part.settings, "companions", ()) if part is not None else ()
        if beside and config.shift > 0.0:
            raise PolicyError(
                f"training.shift is {config.shift}, but the encoder of '{stream.key}' reads pictures and depth of one "
                "view, and only pictures are shifted; want 0"
            )


def _held_out(episodes: int, fraction: float, seed: int) -> npt.NDArray[np.int64]:
    count = round(fraction * episodes) if episodes > 1 else 0
    if fraction > 0.0 and episodes > 1:
        count = min(max(count, 1), episodes - 1)
    return np.random.default_rng(seed).permutation(episodes)[:count]


def _numbers(data: TrainingData, policy: PolicyConfig) -> dict[str, npt.NDArray[np.float32]]:
    numbers = {}
    for stream in policy.streams(data.contract):
        if stream.kind in ("image", "depth", "text"):
            continue
        try:
            column = np.asarray(data.column(stream.key), dtype=np.float32)
        except VlaRosError:
            if policy.is_optional(stream.key):
                continue
            raise
        numbers[stream.key] = _finite(stream.key, column.reshape(data.num_frames, *stream.value_shape))
    return numbers


def _present(data: TrainingData, policy: PolicyConfig) -> dict[str, npt.NDArray[np.bool_]]:
    """Return in which rows, bool [N], each optional stream was as fresh as a policy at work wants it.

    A recording keeps the last sample of a stream that fell silent, and its age; a policy at work masks it.
    """
    optional = [s for s in policy.streams(data.contract) if policy.is_optional(s.key) and s.kind != "text"]
    if not optional:
        return {}
    try:
        ages = np.asarray(data.column(AGE)).reshape(data.num_frames, -1)
    except VlaRosError:  # of another tool's making: nothing tells how old its samples were
        return {}
    order = sync_names(data.contract)
    return {s.key: ages[:, order.index(s.key)] <= s.max_age for s in optional}


def _finite(key: str, values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    bad = np.flatnonzero(~np.isfinite(values).reshape(len(values), -1).all(axis=1))
    if len(bad):
        raise DatasetError(f"'{key}' is not a finite number in row {bad[0]} ({len(bad)} rows in all)")
    return np.ascontiguousarray(values)


def _targets(
    policy: PolicyConfig,
    contract: Contract,
    actions: npt.NDArray[np.float32],
    anchors: npt.NDArray[np.float32],
    end: npt.NDArray[np.int64],
    train: npt.NDArray[np.int64],
) -> npt.NDArray[np.float32]:
    """Targets [n, H, D] of the training rows, thinned to at most 20000: the statistics need no more."""
    chosen = train[:: max(1, len(train) // 20000)]
    wanted = np.minimum(chosen[:, None] + np.arange(policy.chunk), end[chosen][:, None] - 1)
    coder = Targets(policy.targets, contract)
    return coder.encode(torch.from_numpy(actions[wanted]), torch.from_numpy(anchors[chosen])).numpy()


def _text(
    episodes: Sequence[EpisodeLike],
    steps: Preprocess,
    config: TrainingConfig,
    seed: int,
    lengths: npt.NDArray[np.int64],
) -> tuple[str | None, torch.Tensor, torch.Tensor]:
    key = next((s.key for s in steps.streams if s.kind == "text"), None)
    tasks = sorted({episode.task for episode in episodes})
    numbers = np.array([tasks.index(episode.task) for episode in episodes])
    task = torch.from_numpy(np.repeat(numbers, lengths))
    if key is None:
        return None, torch.zeros(len(tasks), 1, 1, dtype=torch.int64), task
    rng = np.random.default_rng(seed)
    count = READINGS - 1 if config.paraphrase > 0.0 else 0
    readings = [[t, *variants(t, count, rng)] for t in tasks]
    tokens = np.stack([[steps.array_steps[key](text) for text in row] for row in readings])
    return key, torch.from_numpy(tokens), task
