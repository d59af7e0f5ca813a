"""How a policy is trained: the `training` section of a policy file."""

from __future__ import annotations

import math
from dataclasses import dataclass

PRECISIONS = ("auto", "tf32", "bf16", "fp32")
ENDINGS = ("hold", "mask")


@dataclass(frozen=True)
class TrainingConfig:
    """Optimiser, schedule, augmentation and bookkeeping.

    steps, batch: optimiser steps and samples in each. learning_rate: peak, after `warmup` steps, falling as
    a cosine to `final_rate` times itself. weight_decay: of AdamW, on matrices only. clip: gradient norm.
    ema: decay of the averaged weights, which are the ones saved. precision: auto is tf32 on a GPU (positions
    want more than the 8 bits of bf16) and fp32 elsewhere.
    end: what chunks say past an episode's end: `hold` its last action, or nothing (`mask`).
    shift: largest random image shift, as a fraction of the image's width. brightness, contrast: largest
    relative change. Hue is never changed: instructions name colours. paraphrase: chance that an instruction
    is seen with made-up words between its own, so that unknown words are ignored.
    early: share of the samples drawn from the first `early_rows` rows of an episode, where the pictures alone tell
    where to go; later the arm's own motion tells, and a network that sees mostly that never learns to look.
    state_noise: of the measured state, in its standard deviations. state_drop: chance that a sample hides it.
    touch_gain: largest relative change of a sample's taxels and wrenches: demonstrations grasp all alike, a policy does not.
    touch_noise: of a sample's wrenches and taxels, the same over their window, in their standard deviations: a policy moves less
    smoothly than a demonstrator, and what the hand weighs is felt then.
    calm: from this fraction of the steps on, `early`, `state_noise` and the encoders' noise are scaled by `calm_scale` and the
    state is never hidden: first the network learns to look, then to be exact. 1 for never.
    only: name patterns of the weights that are trained (`encoders.observation-wrench-tool.*`); all unless given.
    validation: fraction of the episodes held out. validate_every, save_every, log_every: steps.
    """

    steps: int = 20000
    batch: int = 64
    learning_rate: float = 3e-4
    warmup: int = 500
    final_rate: float = 0.02
    weight_decay: float = 1e-2
    clip: float = 1.0
    ema: float = 0.999
    precision: str = "auto"
    end: str = "hold"
    shift: float = 0.025
    brightness: float = 0.15
    contrast: float = 0.15
    paraphrase: float = 0.5
    early: float = 0.0
    early_rows: int = 30
    state_noise: float = 0.02
    state_drop: float = 0.0
    touch_gain: float = 0.0
    touch_noise: float = 0.0
    calm: float = 1.0
    calm_scale: float = 0.2
    only: tuple[str, ...] = ()
    validation: float = 0.05
    validate_every: int = 1000
    save_every: int = 1000
    log_every: int = 50

    def __post_init__(self) -> None:
        for name in (
            "steps",
            "batch",
            "validate_every",
            "save_every",
            "log_every",
            "learning_rate",
            "clip",
            "early_rows",
        ):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} is {getattr(self, name)}, want a positive number")
        fractions = ("ema", "validation", "shift", "brightness", "contrast", "paraphrase", "early")
        for name in (*fractions, "state_noise", "state_drop", "touch_gain"):
            if not 0.0 <= getattr(self, name) < 1.0 and (name, getattr(self, name)) != ("paraphrase", 1.0):
                raise ValueError(f"{name} is {getattr(self, name)}, want at least 0 and less than 1")
        if self.touch_noise < 0.0:
            raise ValueError(f"touch_noise is {self.touch_noise}, want at least 0")
        for name in ("calm", "calm_scale"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"{name} is {getattr(self, name)}, want 0 to 1")
        for name, valid in (("precision", PRECISIONS), ("end", ENDINGS)):
            if getattr(self, name) not in valid:
                raise ValueError(f"{name} '{getattr(self, name)}' is not one of {', '.join(valid)}")

    def rate_at(self, step: int) -> float:
        """Return the learning rate of step 0, 1, ...: linear warm-up, then a cosine."""
        if step < self.warmup:
            return self.learning_rate * (step + 1) / self.warmup
        done = min(1.0, (step - self.warmup) / max(1, self.steps - self.warmup))
        low = self.final_rate
        return self.learning_rate * (low + (1.0 - low) * 0.5 * (1.0 + math.cos(math.pi * done)))

    def disturbance_at(self, step: int) -> float:
        """Return what scales the disturbances at a step: 1, then `calm_scale`."""
        return 1.0 if step < self.calm * self.steps else self.calm_scale

    def ema_at(self, step: int) -> float:
        """Return the averaging decay of a step: short at first, so that the average forgets the initial
        weights."""
        return min(self.ema, (step + 1) / (step + 10))
