"""The training loop."""

from __future__ import annotations

import platform
import shlex
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

import vla_ros
from vla_ros.contract import Contract, load_contract
from vla_ros.encoders.pretrained import restoring
from vla_ros.errors import CheckpointError, PolicyError
from vla_ros.policy.checkpoint import (
    MODEL,
    NORMALISER,
    check_compatible,
    choose_device,
    load_weights,
    read_config,
    read_contract,
    save_checkpoint,
)
from vla_ros.policy.config import PolicyConfig, read_policy_file
from vla_ros.policy.normaliser import Normaliser
from vla_ros.policy.registry import plain, strict
from vla_ros.train.batches import Sampler
from vla_ros.train.config import TrainingConfig
from vla_ros.train.learner import Learner
from vla_ros.train.prepare import Prepared, fingerprint, prepare
from vla_ros.train.report import Report
from vla_ros.train.source import TrainingData, seen_through
from vla_ros.train.state import load_state, save_state

CACHE, RESUME = "frames", "resume"


@dataclass(frozen=True)
class TrainResult:
    """output: the checkpoint folder. steps: done in all. loss: of the last logged steps. validation: last
    errors.
    seconds: wall time of this run's steps."""

    output: Path
    steps: int
    loss: float
    validation: dict[str, float]
    seconds: float


def train(
    dataset: str | Path | Sequence[str | Path] | TrainingData,
    policy: str | Path,
    output: str | Path,
    *,
    steps: int | None = None,
    batch: int | None = None,
    device: str = "auto",
    seed: int = 0,
    resume: bool = False,
    until: int | None = None,
    contract: str | Path | None = None,
    cache: str | Path | None = None,
    compiled: bool = False,
    progress: bool = True,
    overrides: Mapping[str, Any] | None = None,
    init: str | Path | None = None,
) -> TrainResult:
    """Train a policy on a dataset and write its checkpoint folder to `output`.

    dataset: a LeRobot v3 folder, several of one contract, or an open one. policy: name or file under
    config/policies. steps, batch and
    `overrides` ("training.learning_rate", "model.targets.mode", ...) replace what the file says. resume:
    continue from `output`'s last saved step. until: save and stop at this step, to be resumed later.
    contract: train for this one instead of the dataset's (joint_position demonstrations as ee_pose).
    cache: folder of decoded frames to keep and reuse; by default they lie in `output` while training runs.
    compiled: torch.compile the loss. init: begin with the weights and the normaliser of this checkpoint, whose model
    the policy file must describe. Raises VlaRosError's children with one line.
    """
    output = Path(output)
    changes = dict(overrides or {})
    changes |= {f"training.{k}": v for k, v in (("steps", steps), ("batch", batch)) if v is not None}
    config, section, path = read_policy_file(policy, changes)
    training = strict(TrainingConfig, section, f"{path}: training")
    where = choose_device(device)
    data = seen_through(_open(dataset), load_contract(contract) if contract is not None else None)
    folder = Path(cache) if cache is not None else output / CACHE
    with Report(output, progress) as report:
        begin: Normaliser | None = None
        if resume and (output / NORMALISER).is_file():
            begin = Normaliser.load(output / NORMALISER)
        elif init is not None:
            begin = _beginning(Path(init), config, data.contract)
        origin = output if resume and (output / NORMALISER).is_file() else Path(init) if init is not None else None
        with restoring(origin):  # a checkpoint brings its encoders' architectures and vocabularies along
            prepared = prepare(data, config, training, seed, folder, report.progress)
            if begin is not None:
                prepared = replace(prepared, normaliser=begin)
            learner = Learner(config, data.contract, training, prepared.normaliser, where, seed, compiled)
        if init is not None and not resume:
            for network in (learner.model, learner.ema):
                load_weights(network, Path(init) / MODEL)
        run = _Run(output, config, data.contract, training, prepared, learner, report)
        run.facts = _facts(dataset, data, seed, training, learner)
        result = run.go(resume, until)
    if cache is None:
        shutil.rmtree(folder, ignore_errors=True)
    return result


class _Run:
    """The loop's parts and what it has done so far."""

    def __init__(
        self,
        output: Path,
        policy: PolicyConfig,
        contract: Contract,
        config: TrainingConfig,
        prepared: Prepared,
        learner: Learner,
        report: Report,
    ) -> None:
        self.output, self.policy, self.contract, self.config = output, policy, contract, config
        self.learner, self.report, self.normaliser = learner, report, prepared.normaliser
        self.facts: dict[str, Any] = {}
        device = learner.device
        rows = prepared.rows.to(device, images=_fits(prepared, device))
        self.sampler = Sampler(rows, policy.chunk, config, learner.preprocess.optional, policy.drop, device)
        self.train = prepared.train.to(device)
        held_out = prepared.validate
        self.held_out = held_out[:: max(1, len(held_out) // 512)].to(device)
        self.validation: dict[str, float] = {}

    def go(self, resume: bool, until: int | None) -> TrainResult:
        """Train to the configured number of steps, or `until`, and write the checkpoint."""
        first = self._resume() if resume else 0
        total = self.config.steps if until is None else min(until, self.config.steps)
        start = since = time.perf_counter()
        sums: dict[str, torch.Tensor] = {}
        counted, loss = 0, float("nan")
        for number in range(first, total):
            for name, term in self.learner.step(number, self.sampler, self.train).items():
                sums[name] = sums[name] + term if name in sums else term
            counted, done = counted + 1, number + 1
            if done % self.config.log_every == 0 or done == total:
                means = {name: float(term) / counted for name, term in sums.items()}
                loss = means["loss"]
                if not np.isfinite(loss):
                    raise PolicyError(
                        f"the loss is {loss} at step {done}: lower training.learning_rate ({self.config.learning_rate})"
                    )
                now = time.perf_counter()
                self.report.step(done, total, {**means, "rate": self.config.rate_at(number)}, counted / (now - since))
                sums, counted, since = {}, 0, now
            if done % self.config.validate_every == 0 or done == total:
                self._validate(done)
            if done % self.config.save_every == 0 or done == total:
                self._save(done, time.perf_counter() - start)
        return TrainResult(self.output, total, loss, self.validation, time.perf_counter() - start)

    def _validate(self, step: int) -> None:
        if len(self.held_out):
            self.validation = self.learner.validate(self.sampler, self.held_out)
            self.report.validation(step, self.validation)

    def _save(self, step: int, seconds: float) -> None:
        facts = {**self.facts, "step": step, "seconds": round(seconds, 1), "validation": self.validation}
        save_checkpoint(
            self.output,
            self.policy,
            self.contract,
            self.learner.ema.state_dict(),
            self.normaliser,
            facts,
            plain(self.config),
            self.learner.ema.assets(),
        )
        save_state(self.output / RESUME, self.learner.model, self.learner.ema, self.learner.optimiser, facts)

    def _resume(self) -> int:
        facts = load_state(self.output / RESUME, self.learner.model, self.learner.ema, self.learner.optimiser)
        for name in ("seed", "dataset_fingerprint", "batch"):
            if facts[name] != self.facts[name]:
                raise CheckpointError(
                    f"'{self.output}' was trained with {name} {facts[name]}, "
                    f"not {self.facts[name]}: it cannot be resumed"
                )
        step = int(facts["step"])
        if step > self.config.steps:
            raise CheckpointError(
                f"'{self.output}' already has {step} steps, more than the {self.config.steps} asked for"
            )
        return step


def _beginning(checkpoint: Path, policy: PolicyConfig, contract: Contract) -> Normaliser:
    """Return the normaliser of a checkpoint to train on from. Raises CheckpointError when it is of another model or robot."""
    if read_config(checkpoint).plain() != policy.plain():
        raise CheckpointError(
            f"checkpoint '{checkpoint}' is of another model than the policy file's: it cannot be the beginning"
        )
    check_compatible(read_contract(checkpoint), contract)
    return Normaliser.load(checkpoint / NORMALISER)


def _open(dataset: str | Path | Sequence[str | Path] | TrainingData) -> TrainingData:
    if not isinstance(dataset, (str, Path, Sequence)):
        return dataset
    from vla_ros.data.joined import JoinedDataset  # pyarrow and av, needed for datasets on disk alone

    return JoinedDataset([dataset] if isinstance(dataset, (str, Path)) else dataset)


def _names(dataset: Any) -> str:
    if isinstance(dataset, (str, Path)):
        return str(dataset)
    return " ".join(map(str, dataset)) if isinstance(dataset, Sequence) else type(dataset).__name__


def _fits(prepared: Prepared, device: torch.device) -> bool:
    """Whether all frames fit the device beside the training itself."""
    if device.type != "cuda":
        return device.type == "cpu"
    free, _ = torch.cuda.mem_get_info(device)
    return sum(images.numel() for images in prepared.rows.images.values()) < 0.6 * free


def _facts(dataset: Any, data: TrainingData, seed: int, config: TrainingConfig, learner: Learner) -> dict[str, Any]:
    return {
        "command": shlex.join(sys.argv),
        "dataset": _names(dataset),
        "dataset_fingerprint": fingerprint(data),
        "episodes": len(data.episodes),
        "frames": data.num_frames,
        "seed": seed,
        "steps": config.steps,
        "batch": config.batch,
        "parameters": learner.model.parameter_count(),
        "device": torch.cuda.get_device_name(learner.device) if learner.device.type == "cuda" else "cpu",
        "versions": {
            "vla_ros": vla_ros.__version__,
            "torch": torch.__version__,
            "numpy": np.__version__,
            "python": platform.python_version(),
        },
    }
