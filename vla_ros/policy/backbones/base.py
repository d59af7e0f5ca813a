"""What a backbone is."""

from __future__ import annotations

from typing import Any

from torch import nn

from vla_ros.encoders.base import TokenGroup
from vla_ros.policy.registry import Registry


class Backbone(nn.Module):
    """Base of all backbones. Built as ``cls(settings, width)``."""

    def __init__(self, settings: Any, width: int) -> None:
        super().__init__()

    def forward(self, groups: list[TokenGroup]) -> TokenGroup:
        """Return the features of all streams together."""
        raise NotImplementedError


BACKBONES: Registry[Backbone] = Registry("backbone")
