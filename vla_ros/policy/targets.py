"""What the network predicts: absolute targets, or targets relative to the state they are predicted from."""

from __future__ import annotations

from fnmatch import fnmatch

import torch
from torch import Tensor

from vla_ros.contract import Contract
from vla_ros.errors import PolicyError
from vla_ros.policy.config import TargetSettings


class Targets:
    """Actions [B, H, D] in physical units to targets and back.

    A relative target is the action minus the measured position of the same name at the observation, so that
    a chunk begins where the arm is; `decode` re-anchors it.
    """

    def __init__(self, settings: TargetSettings, contract: Contract) -> None:
        self.settings = settings
        self.space = contract.action.space
        names, states = contract.action.names, contract.state.names
        self.relative = settings.mode == "relative"
        if self.relative and self.space != "joint_position":
            raise PolicyError(
                f"targets.mode: 'relative' needs joint_position actions, the contract has '{self.space}'; "
                "valid: absolute"
            )
        anchored = [self.relative and not any(fnmatch(n, p) for p in settings.absolute) for n in names]
        self._columns = torch.tensor([states.index(n) if n in states else 0 for n in names])
        self._anchored = torch.tensor(anchored, dtype=torch.float32)

    def to(self, device: torch.device) -> Targets:
        """Move to a device, in place; return self."""
        self._columns, self._anchored = self._columns.to(device), self._anchored.to(device)
        return self

    def anchor(self, state: Tensor) -> Tensor:
        """Return what is subtracted, [B, 1, D], for states [B, N]: the position, or zero for absolute
        targets."""
        return (state[:, self._columns] * self._anchored).unsqueeze(1)

    def encode(self, actions: Tensor, state: Tensor) -> Tensor:
        """Return targets [B, H, D] for actions [B, H, D] seen from states [B, N]."""
        return actions - self.anchor(state)

    def decode(self, targets: Tensor, state: Tensor) -> Tensor:
        """Return actions [B, H, D]; the quaternions of ee_pose come out with unit length."""
        actions = targets + self.anchor(state)
        if self.space == "ee_pose":
            quaternion = actions[..., 3:7]
            actions = actions.clone()
            actions[..., 3:7] = quaternion / quaternion.norm(dim=-1, keepdim=True).clamp(min=1e-6)
        return actions
