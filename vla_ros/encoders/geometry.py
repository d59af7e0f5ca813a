"""Cameras and clouds, in torch: back-projection, farthest points, orthographic pictures.

A camera's frame is the optical one: x right, y down, z forward [m]. Pixel centres have integer coordinates (u right,
v down), as in sensor_msgs/CameraInfo. A depth of 0, or one that is not finite, was not measured.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class CameraSettings:
    """intrinsics: fx, fy, cx, cy [pixels] of the stream at its full size in the contract. pose: T_frame_camera as x, y, z
    [m], qx, qy, qz, qw, of the optical frame in the one that points are wanted in; the camera's own unless given. range:
    the nearest and the farthest depth [m] that is believed."""

    intrinsics: tuple[float, float, float, float]
    pose: tuple[float, float, float, float, float, float, float] = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0)
    range: tuple[float, float] = (0.05, 5.0)

    def __post_init__(self) -> None:
        if min(self.intrinsics[:2]) <= 0.0:
            raise ValueError(f"intrinsics {list(self.intrinsics)}: fx and fy must be positive")
        if not 0.0 <= self.range[0] < self.range[1]:
            raise ValueError(f"range {list(self.range)}: want 0 <= nearest < farthest")
        if sum(q * q for q in self.pose[3:]) < 1e-6:
            raise ValueError(f"pose {list(self.pose)} has no rotation: want x, y, z, qx, qy, qz, qw")


def measured(depth: Tensor, limits: tuple[float, float]) -> Tensor:
    """Return where depth [m] was measured and lies within `limits` [m], bool of the same shape."""
    return torch.isfinite(depth) & (depth > 0.0) & (depth >= limits[0]) & (depth <= limits[1])


def rotation(quaternion: tuple[float, ...]) -> Tensor:
    """Return the matrix [3, 3] of a quaternion qx, qy, qz, qw of any length."""
    q = torch.tensor(quaternion, dtype=torch.float64)
    x, y, z, w = (q / q.norm()).tolist()
    return torch.tensor(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ],
        dtype=torch.float32,
    )


class BackProjection(torch.nn.Module):
    """Depth pictures to points, for one camera."""

    rays: Tensor
    rotation: Tensor
    translation: Tensor

    def __init__(self, camera: CameraSettings, full: tuple[int, int], size: tuple[int, int]) -> None:
        """Prepare the rays of a picture of `size` [h, w] that shows what the camera's of size `full` [H, W] does."""
        super().__init__()
        fx, fy, cx, cy = camera.intrinsics
        self.range = camera.range
        u = (torch.arange(size[1]) + 0.5) * full[1] / size[1] - 0.5  # the full picture's pixel at each cell's centre
        v = (torch.arange(size[0]) + 0.5) * full[0] / size[0] - 0.5
        y, x = torch.meshgrid((v - cy) / fy, (u - cx) / fx, indexing="ij")
        self.register_buffer("rays", torch.stack([x, y, torch.ones_like(x)], dim=2), persistent=False)
        self.register_buffer("rotation", rotation(camera.pose[3:]), persistent=False)
        self.register_buffer("translation", torch.tensor(camera.pose[:3]), persistent=False)

    def forward(self, depth: Tensor) -> tuple[Tensor, Tensor]:
        """Return points [B, h, w, 3] [m] in the pose's frame, and where they are valid, bool [B, h, w], for depth [B, h, w]
        [m].

        Points that are not valid lie in the camera's centre.
        """
        valid = measured(depth, self.range)
        known = depth.float().masked_fill(~valid, 0.0).unsqueeze(3)
        return known * self.rays @ self.rotation.T + self.translation, valid


def farthest_points(points: Tensor, valid: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return indices [B, count] of points that lie far from each other, and which of them are new points, bool [B, count].

    points: [B, N, 3]. valid: bool [B, N]; others are never chosen while there are valid ones. The first is the farthest
    from the mean; each next one is the farthest from those chosen (Qi et al. 2017, "PointNet++").
    Where fewer than `count` distinct points are valid, the rest are repetitions and not new.
    """
    weight = valid.unsqueeze(2).to(points.dtype)
    mean = (points * weight).sum(dim=1, keepdim=True) / weight.sum(dim=1, keepdim=True).clamp(min=1.0)
    distance = (points - mean).square().sum(dim=2).masked_fill(~valid, -1.0)
    nearest = torch.full_like(distance, torch.inf).masked_fill(~valid, -1.0)
    chosen, fresh = [], []
    rows = torch.arange(len(points), device=points.device)
    for _ in range(count):
        index = distance.argmax(dim=1)
        chosen.append(index)
        fresh.append((nearest[rows, index] > 0.0) & valid[rows, index])
        nearest = torch.minimum(nearest, (points - points[rows, index, None]).square().sum(dim=2))
        nearest = nearest.masked_fill(~valid, -1.0)
        distance = nearest
    return torch.stack(chosen, dim=1), torch.stack(fresh, dim=1)


def gather(values: Tensor, index: Tensor) -> Tensor:
    """Return values [B, K, C] of values [B, N, C] at indices [B, K]."""
    return values.gather(1, index.unsqueeze(2).expand(-1, -1, values.shape[2]))


def render(points: Tensor, features: Tensor, valid: Tensor, axes: Tensor, box: Tensor, size: int) -> Tensor:
    """Return orthographic pictures [B, V, C + 2, size, size] of a cloud: its features, the depth, and 1 where a point is.

    points: [B, N, 3] [m]. features: [B, N, C]. valid: bool [B, N]. axes: [V, 3, 3], each view's right, down and forward
    in the points' frame. box: [2, 3], lowest and highest corner [m] of what is shown; its longest edge fills a picture.
    The nearest point of each pixel is seen. Depth runs from 0, the box's near side, to 1; both are 0 without a point.
    """
    batch, count, channels = features.shape
    views = len(axes)
    centre, edge = box.mean(dim=0), (box[1] - box[0]).max()
    inside = valid & ((points >= box[0]) & (points <= box[1])).all(dim=2)
    seen = (points - centre) @ axes.reshape(-1, 3).T / edge + 0.5  # [B, N, V * 3] in [0, 1]
    seen = seen.view(batch, count, views, 3).permute(0, 2, 1, 3).reshape(batch * views, count, 3)
    column, row = ((seen[..., i] * size).long().clamp(0, size - 1) for i in (0, 1))
    cell = torch.where(inside.repeat_interleave(views, 0), row * size + column, size * size)  # the last is thrown away
    depth = seen[..., 2].clamp(0.0, 1.0)
    near = depth.new_full((batch * views, size * size + 1), 2.0).scatter_reduce(1, cell, depth, "amin")
    order = torch.arange(count, device=points.device).expand_as(cell)
    front = depth <= near.gather(1, cell)
    first = order.new_full(near.shape, count).scatter_reduce(1, torch.where(front, cell, size * size), order, "amin")
    first, near = first[:, :-1], near[:, :-1]
    hit = near < 1.5
    values = gather(features.repeat_interleave(views, 0), first.clamp(max=count - 1))  # [B * V, cells, C]
    shown = torch.cat([values, near.unsqueeze(2), torch.ones_like(near).unsqueeze(2)], dim=2)
    shown = torch.where(hit.unsqueeze(2), shown, torch.zeros_like(shown))
    return shown.transpose(1, 2).reshape(batch, views, channels + 2, size, size)
