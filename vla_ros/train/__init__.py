"""Supervised fine-tuning: a LeRobot dataset and a policy file in, a checkpoint folder out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vla_ros.train.loop import TrainResult, train

__all__ = ["TrainResult", "train"]


def __getattr__(name: str) -> Any:
    if name in __all__:  # torch loads only where something is trained
        from vla_ros.train import loop

        return getattr(loop, name)
    raise AttributeError(name)
