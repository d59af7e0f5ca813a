"""Poses as rows of seven numbers [x y z qx qy qz qw]: put together, taken apart, and one between two.

Every function takes [..., 7] in metres and unit quaternions and gives float64; quaternions are xyzw.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
IDENTITY = np.array([0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0])


def compose(T_a_b: npt.ArrayLike, T_b_c: npt.ArrayLike) -> Array:
    """Return T_a_c = T_a_b T_b_c."""
    a, b = _rows(T_a_b), _rows(T_b_c)
    position = a[..., :3] + rotate(a[..., 3:], b[..., :3])
    return np.concatenate([position, multiply(a[..., 3:], b[..., 3:])], axis=-1)


def inverse(T_a_b: npt.ArrayLike) -> Array:
    """Return T_b_a."""
    a = _rows(T_a_b)
    back = a[..., 3:] * (-1.0, -1.0, -1.0, 1.0)
    return np.concatenate([-rotate(back, a[..., :3]), back], axis=-1)


def relative(T_a_b: npt.ArrayLike, T_a_c: npt.ArrayLike) -> Array:
    """Return T_b_c, c as b sees it, with qw >= 0: turns of less than half a turn change continuously."""
    seen = compose(inverse(T_a_b), T_a_c)
    seen[..., 3:] *= np.where(seen[..., 6:] < 0.0, -1.0, 1.0)
    return seen


def between(first: npt.ArrayLike, second: npt.ArrayLike, weight: float) -> Array:
    """Return the pose at `weight` (0 to 1) from first to second [7]: a straight line, turned by the shorter way evenly.

    The turn is Shoemake's slerp (1985).
    """
    a, b = _rows(first), _rows(second)
    q0, q1 = a[3:] / np.linalg.norm(a[3:]), b[3:] / np.linalg.norm(b[3:])
    cosine = float(q0 @ q1)
    q1, cosine = (q1, cosine) if cosine >= 0.0 else (-q1, -cosine)
    angle = float(np.arccos(min(cosine, 1.0)))
    if angle < 1e-6:
        turned = (1.0 - weight) * q0 + weight * q1
    else:
        turned = (np.sin((1.0 - weight) * angle) * q0 + np.sin(weight * angle) * q1) / np.sin(angle)
    return np.concatenate([(1.0 - weight) * a[:3] + weight * b[:3], turned / np.linalg.norm(turned)])


def continuous(poses: npt.ArrayLike) -> Array:
    """Return poses [N, 7] whose quaternions have the sign of the one before; the first has qw >= 0."""
    rows = _rows(poses).copy()
    flips = np.sum(rows[1:, 3:] * rows[:-1, 3:], axis=1) < 0.0
    signs = np.cumprod(np.concatenate([[-1.0 if len(rows) and rows[0, 6] < 0.0 else 1.0], np.where(flips, -1.0, 1.0)]))
    rows[:, 3:] *= signs[: len(rows), None]
    return rows


def same_side(pose: npt.ArrayLike, other: npt.ArrayLike) -> Array:
    """Return the pose [7] with that one of its two quaternions which is nearer to the other pose's."""
    a, b = _rows(pose).copy(), _rows(other)
    a[3:] *= -1.0 if float(a[3:] @ b[3:]) < 0.0 else 1.0
    return a


def from_axis_angle(position: npt.ArrayLike, rotation: npt.ArrayLike) -> Array:
    """Return poses [..., 7] of positions [..., 3] [m] and rotation vectors [..., 3] [rad]."""
    vector = np.asarray(rotation, dtype=np.float64)
    half = 0.5 * np.linalg.norm(vector, axis=-1, keepdims=True)
    quaternion = np.concatenate([0.5 * np.sinc(half / np.pi) * vector, np.cos(half)], axis=-1)
    return np.concatenate([np.asarray(position, dtype=np.float64), quaternion], axis=-1)


def distance(first: npt.ArrayLike, second: npt.ArrayLike) -> tuple[Array, Array]:
    """Return how far poses [..., 7] are apart [m] and how much they are turned [rad], each [...]."""
    seen = relative(first, second)
    turned = 2.0 * np.arctan2(np.linalg.norm(seen[..., 3:6], axis=-1), seen[..., 6])
    return np.linalg.norm(seen[..., :3], axis=-1), turned


def multiply(p: npt.ArrayLike, q: npt.ArrayLike) -> Array:
    """Return the quaternion products p q, [..., 4]."""
    a, b = np.asarray(p, dtype=np.float64), np.asarray(q, dtype=np.float64)
    va, wa, vb, wb = a[..., :3], a[..., 3:], b[..., :3], b[..., 3:]
    vector = wa * vb + wb * va + np.cross(va, vb)
    return np.concatenate([vector, wa * wb - np.sum(va * vb, axis=-1, keepdims=True)], axis=-1)


def rotate(q: npt.ArrayLike, v: npt.ArrayLike) -> Array:
    """Return vectors [..., 3] turned by quaternions [..., 4]."""
    a, b = np.asarray(q, dtype=np.float64), np.asarray(v, dtype=np.float64)
    twice = 2.0 * np.cross(a[..., :3], b)
    return np.asarray(b + a[..., 3:] * twice + np.cross(a[..., :3], twice))


def _rows(pose: npt.ArrayLike) -> Array:
    rows = np.asarray(pose, dtype=np.float64)
    if rows.shape[-1:] != (7,):
        raise ValueError(f"poses have shape {list(rows.shape)}, want [..., 7]")
    return rows
