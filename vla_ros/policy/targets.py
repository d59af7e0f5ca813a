"""What the network predicts: absolute targets, or targets relative to where the arm is when they are predicted."""

from __future__ import annotations

from collections.abc import Callable
from fnmatch import fnmatch
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from vla_ros.contract import Contract
from vla_ros.policy.config import TargetSettings

if TYPE_CHECKING:
    from vla_ros.kinematics import Kinematics

TOOL = "tool"  # the anchor that is computed from the joints, by forward kinematics


class Anchors:
    """What targets are relative to, by row: the state [N], or for relative poses the tool's pose [7].

    key: the stream that it is: the one that a robot-free contract's action follows, or the state, from whose joints the
    tool's pose comes.
    """

    def __init__(self, settings: TargetSettings, contract: Contract) -> None:
        self._contract = contract
        self.poses = settings.mode == "relative" and contract.action.space == "ee_pose"
        computed = self.poses and not contract.robot_free
        self.key = TOOL if computed else contract.action.follows if self.poses else contract.state.key
        self._kinematics: Kinematics | None = None
        if computed:
            from vla_ros.kinematics import Kinematics  # Pinocchio, needed for this alone

            self._kinematics = Kinematics.of(contract)

    def __call__(self, column: Callable[[str], npt.NDArray[Any]]) -> npt.NDArray[np.float32]:
        """Return the anchors, float32 [n, N or 7], of rows whose streams `column` gives, each [n, ...]."""
        if self._kinematics is None:
            return np.asarray(column(self.key), dtype=np.float32)
        joints = np.asarray(column(self._contract.state.key), dtype=np.float64)
        return np.array([self._kinematics.pose(q) for q in joints], dtype=np.float32).reshape(-1, 7)


class Targets:
    """Actions [B, H, D] in physical units to targets and back.

    A relative target is the action minus the measured position of the same name at the observation, so that
    a chunk begins where the arm is; a relative pose is the pose as the tool sees it from where it is, as in UMI (Chi et
    al. 2024): nothing of it depends on where the base stands. `decode` re-anchors both.
    """

    def __init__(self, settings: TargetSettings, contract: Contract) -> None:
        self.settings = settings
        self.space = contract.action.space
        names, states = contract.action.names, contract.state.names
        self.relative = settings.mode == "relative"
        self.poses = self.relative and self.space == "ee_pose"
        plain = self.relative and not self.poses
        anchored = [plain and not any(fnmatch(n, p) for p in settings.absolute) for n in names]
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

    def encode(self, actions: Tensor, anchors: Tensor) -> Tensor:
        """Return targets [B, H, D] for actions [B, H, D] seen from anchors [B, N or 7], those of `Anchors`."""
        if not self.poses:
            return actions - self.anchor(anchors)
        return torch.cat([_seen_from(anchors.unsqueeze(1), actions[..., :7]), actions[..., 7:]], dim=-1)

    def decode(self, targets: Tensor, anchors: Tensor) -> Tensor:
        """Return actions [B, H, D]; the quaternions of ee_pose come out with unit length."""
        actions = targets if self.poses else targets + self.anchor(anchors)
        if self.space == "ee_pose":
            quaternion = actions[..., 3:7]
            actions = actions.clone()
            actions[..., 3:7] = quaternion / quaternion.norm(dim=-1, keepdim=True).clamp(min=1e-6)
        if self.poses:
            actions[..., :7] = _composed(anchors.unsqueeze(1), actions[..., :7])
        return actions


def _seen_from(anchor: Tensor, pose: Tensor) -> Tensor:
    """Return T_anchor^-1 T_pose, [..., 7], with qw >= 0."""
    back = anchor[..., 3:7] * anchor.new_tensor([-1.0, -1.0, -1.0, 1.0])
    turn = _multiplied(back, pose[..., 3:7])
    turn = turn * torch.where(turn[..., 3:] < 0.0, -1.0, 1.0)
    return torch.cat([_turned(back, pose[..., :3] - anchor[..., :3]), turn], dim=-1)


def _composed(anchor: Tensor, pose: Tensor) -> Tensor:
    """Return T_anchor T_pose, [..., 7]."""
    position = anchor[..., :3] + _turned(anchor[..., 3:7], pose[..., :3])
    return torch.cat([position, _multiplied(anchor[..., 3:7], pose[..., 3:7])], dim=-1)


def _multiplied(p: Tensor, q: Tensor) -> Tensor:
    """Return the product of quaternions [..., 4], xyzw."""
    vector = p[..., 3:] * q[..., :3] + q[..., 3:] * p[..., :3] + _crossed(p[..., :3], q[..., :3])
    return torch.cat([vector, p[..., 3:] * q[..., 3:] - (p[..., :3] * q[..., :3]).sum(-1, keepdim=True)], dim=-1)


def _turned(q: Tensor, v: Tensor) -> Tensor:
    """Return vectors [..., 3] turned by quaternions [..., 4]."""
    twice = 2.0 * _crossed(q[..., :3], v)
    return v + q[..., 3:] * twice + _crossed(q[..., :3], twice)


def _crossed(a: Tensor, b: Tensor) -> Tensor:
    """Return the cross products of vectors [..., 3], which may lack axes that the other has."""
    product: Tensor = torch.linalg.cross(a, b)
    return product
