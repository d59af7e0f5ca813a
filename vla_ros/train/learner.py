"""One optimiser step, and the validation error."""

from __future__ import annotations

import copy
from dataclasses import replace
from fnmatch import fnmatch

import torch
from torch import Tensor

from vla_ros.contract import Contract
from vla_ros.errors import PolicyError
from vla_ros.policy.config import PolicyConfig
from vla_ros.policy.model import ActionModel
from vla_ros.policy.native import ACTION
from vla_ros.policy.normaliser import Normaliser
from vla_ros.policy.preprocess import Preprocess
from vla_ros.policy.targets import Anchors, Targets
from vla_ros.train.batches import Batch, Sampler
from vla_ros.train.config import TrainingConfig

AVERAGE_EVERY = 4  # steps: averaging at each one costs more than it gives


class Learner:
    """The network, its averaged copy and its optimiser.

    A step depends only on the weights, the seed and its number.
    """

    def __init__(
        self,
        policy: PolicyConfig,
        contract: Contract,
        config: TrainingConfig,
        normaliser: Normaliser,
        device: torch.device,
        seed: int,
        compiled: bool = False,
    ) -> None:
        torch.manual_seed(seed)
        self.config, self.device, self.seed = config, device, seed
        self.model = ActionModel(policy, contract).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        _train_only(self.model, config.only)
        self.ema = copy.deepcopy(self.model).eval().requires_grad_(False)
        self.normaliser = normaliser.to(device)
        self.preprocess = Preprocess(policy, contract, self.normaliser)
        self.targets = Targets(policy.targets, contract).to(device)
        self.anchor_key = Anchors(policy.targets, contract).key
        self.state_key = contract.state.key
        self.touch_keys = {s.key for s in contract.streams("wrench", "taxels")}
        self.windows = {s.key for s in contract.streams("wrench", "taxels") if s.history > 1}
        matrices = [p for p in self.model.parameters() if p.ndim > 1]
        vectors = [p for p in self.model.parameters() if p.ndim <= 1]
        groups = [
            {"params": matrices, "weight_decay": config.weight_decay},
            {"params": vectors, "weight_decay": 0.0},
        ]
        self.optimiser = torch.optim.AdamW(groups, lr=config.learning_rate, betas=(0.9, 0.95), fused=True)
        self._pairs = (list(self.ema.parameters()), list(self.model.parameters()))
        self._loss = torch.compile(self.model.loss) if compiled else self.model.loss
        if device.type == "cuda":
            rounded = config.precision in ("auto", "tf32")
            torch.backends.cudnn.allow_tf32 = rounded
            torch.set_float32_matmul_precision("high" if rounded else "highest")
            torch.backends.cudnn.benchmark = True
        self._autocast = torch.autocast(device.type, dtype=torch.bfloat16, enabled=config.precision == "bf16")

    def step(self, number: int, sampler: Sampler, among: Tensor) -> dict[str, Tensor]:
        """Do optimiser step `number`; return its loss terms, on the device (nothing here waits for it)."""
        torch.manual_seed(self.seed * 1_000_003 + number)  # so a resumed training draws what it would have drawn
        self.model.train()
        scale = self.config.disturbance_at(number)
        self.model.disturb(scale)
        batch = self._disturbed(sampler.draw(among, self.config.batch, scale), scale)
        inputs, actions = self._inputs(batch)
        with self._autocast:
            goals = self.normaliser.normalise("goal", self._goals(batch))
            terms = self._loss(inputs, actions, batch.valid, batch.present, goals, batch.aims)
        terms["loss"].backward()
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.config.clip, foreach=True)
        for group in self.optimiser.param_groups:
            group["lr"] = self.config.rate_at(number)
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        if number % AVERAGE_EVERY == 0:
            self._average(self.config.ema_at(number) ** AVERAGE_EVERY)
        return {**{name: term.detach() for name, term in terms.items()}, "gradient": norm}

    @torch.no_grad()
    def validate(self, sampler: Sampler, rows: Tensor, batch: int = 64) -> dict[str, float]:
        """Return the averaged weights' errors on `rows`, without augmentation.

        "l1": mean absolute error, normalised. "first", "last": of the chunk's first and last target [rad, m].
        """
        sums = torch.zeros(3, device=self.device)
        for part in torch.split(rows, batch):
            batch_ = sampler.at(part)
            inputs, wanted = self._inputs(batch_)
            with self._autocast:
                predicted = self.ema.sample(inputs)
            error = (predicted - wanted).abs()
            physical = (self.normaliser.restore(ACTION, predicted) - self.normaliser.restore(ACTION, wanted)).abs()
            sums += len(part) * torch.stack([error.mean(), physical[:, 0].mean(), physical[:, -1].mean()])
        return dict(zip(("l1", "first", "last"), (sums / len(rows)).tolist(), strict=True))

    def _disturbed(self, batch: Batch, scale: float) -> Batch:
        """Add noise to the measured state, and hide it now and then, so that the pictures say where to go; vary what is felt.

        Else a policy learns to go on as it did (de Haan et al. 2019, "Causal Confusion in Imitation
        Learning").
        Relative targets are taken from the noisy state: where to go stays the same.
        """
        config, key = self.config, self.state_key
        state, present = batch.streams[key], dict(batch.present)
        if config.state_noise > 0.0:
            spread = self.normaliser.spread(key)
            state = state + scale * config.state_noise * spread * torch.randn_like(state)
        if config.state_drop > 0.0 and scale == 1.0:
            present[key] = torch.rand(len(state), device=self.device) >= config.state_drop
        streams = {**batch.streams, key: state}
        if config.touch_gain > 0.0:
            gain = 1.0 + config.touch_gain * (2.0 * torch.rand(len(state), device=self.device) - 1.0)
            for name in self.touch_keys & streams.keys():
                streams[name] = streams[name] * gain.reshape(-1, *[1] * (streams[name].ndim - 1))
        for name in sorted(self.touch_keys & streams.keys()) if config.touch_noise > 0.0 else ():
            value = streams[name]
            spread = self.normaliser.spread(name)
            newest = value[:, -1:] if name in self.windows else value
            streams[name] = value + config.touch_noise * spread * torch.randn_like(newest)
        return replace(batch, streams=streams, present=present)

    def _inputs(self, batch: Batch) -> tuple[dict[str, Tensor], Tensor]:
        targets = self.targets.encode(batch.actions, batch.streams[self.anchor_key])
        read = {key: value for key, value in batch.streams.items() if key in self.preprocess.tensor_steps}
        return self.preprocess.tensors(read), self.normaliser.normalise(ACTION, targets)

    def _goals(self, batch: Batch) -> Tensor:
        """Return the goals [B, D] as they are learned: where targets are relative poses, so are they."""
        if not self.targets.poses:
            return batch.goals
        return self.targets.encode(batch.goals[:, None], batch.streams[self.anchor_key])[:, 0]

    def _average(self, decay: float) -> None:
        ema, live = self._pairs
        torch._foreach_lerp_(ema, live, 1.0 - decay)


def _train_only(model: torch.nn.Module, patterns: tuple[str, ...]) -> None:
    """Freeze every weight that no pattern names. Raises PolicyError for a pattern that names none."""
    names = [name for name, _ in model.named_parameters()]
    for pattern in patterns:
        if not any(fnmatch(name, pattern) for name in names):
            roots = sorted({".".join(name.split(".")[:2]) for name in names})
            raise PolicyError(f"training.only: no weight is named '{pattern}'; there are {', '.join(roots)}, ...")
    if patterns:
        for name, parameter in model.named_parameters():
            if not any(fnmatch(name, pattern) for pattern in patterns):
                parameter.requires_grad_(False)
