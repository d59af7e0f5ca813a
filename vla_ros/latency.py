"""How much later a stream shows a motion than another one does: cross-correlation, with its uncertainty.

The stamps of a stream with latency L tell of L earlier. Its signal at stamp t is that of the reference at t - L; L is found where
the two correlate most. The motion is a sine whose frequency rises, so that no other shift fits as well.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vla_ros.errors import CalibrationError

Array = npt.NDArray[np.float64]
SLOWEST, FASTEST = 0.5, 1.6  # [Hz] of the motion, at its begin and its end
EASE = 0.5  # [s] in which its amplitude grows, and in which it shrinks
RANGE = (-0.1, 0.6)  # [s] latencies that are tried; a stream may be ahead of a reference with a latency of its own
STEP = 0.001  # [s] between two of them
LEAST_CORRELATION = 0.9
RIVAL, APART = 0.98, 0.15  # another shift, so far away [s], that fits nearly as well makes the result ambiguous
PIECES = 5  # whose scatter is the uncertainty
FEWEST = 60  # samples


@dataclass(frozen=True)
class Latency:
    """seconds: found. uncertainty: one standard error of it [s]. correlation: at the best shift, 0 to 1."""

    seconds: float
    uncertainty: float
    correlation: float

    @property
    def text(self) -> str:
        """The result in a few words."""
        return f"{1e3 * self.seconds:.1f} +- {1e3 * self.uncertainty:.1f} ms (correlation {self.correlation:.3f})"


def motion(t: npt.ArrayLike, seconds: float) -> Array:
    """Return the motion at times `t` [s], -1 to 1: a sine from SLOWEST to FASTEST, nothing before 0 and after `seconds`."""
    t = np.asarray(t, dtype=np.float64)
    inside = np.clip(t, 0.0, seconds)
    phase = 2.0 * math.pi * (SLOWEST + 0.5 * (FASTEST - SLOWEST) * inside / seconds) * inside
    grown = np.clip(np.minimum(inside, seconds - inside) / EASE, 0.0, 1.0)
    value: Array = np.sin(phase) * grown * grown * (3.0 - 2.0 * grown)
    return value


def estimate(reference: tuple[Array, Array], observed: tuple[Array, Array], what: str) -> Latency:
    """Return by how much `observed` lags behind `reference`; each is (times [n] [s], values [n]), the times rising.

    The sign of the values does not matter, nor do their scale and offset. Raises CalibrationError, naming the stream `what`,
    where no motion is seen, too few samples came, the correlation is too low, or another shift fits as well.
    """
    t, value = observed
    span = (reference[0][0] + RANGE[1], reference[0][-1] + RANGE[0]) if len(reference[0]) else (0.0, 0.0)
    kept = (t >= span[0]) & (t <= span[1])
    t, value = t[kept], value[kept]
    if len(t) < FEWEST:
        raise CalibrationError(f"{what}: {len(t)} samples while the joint moved, want at least {FEWEST}")
    for name, values in (("the reference", reference[1]), (what, value)):
        if float(np.ptp(values)) <= 1e-9 * max(1.0, float(np.abs(values).max())):
            raise CalibrationError(f"{what}: no motion seen, {name} stays the same; does it see the joint move?")
    shifts = np.arange(RANGE[0], RANGE[1] + STEP / 2, STEP)
    strength = np.abs(_correlations(reference, t, value, shifts))
    best = int(strength.argmax())
    if strength[best] < LEAST_CORRELATION:
        raise CalibrationError(
            f"{what}: correlation {strength[best]:.2f} with the motion, want at least {LEAST_CORRELATION:g}: it hardly shows "
            "the joint's motion; try another joint, or a larger amplitude"
        )
    if best in (0, len(shifts) - 1):
        raise CalibrationError(f"{what}: the latency is outside of {RANGE[0] * 1e3:g} to {RANGE[1] * 1e3:g} ms")
    away = np.abs(shifts - shifts[best]) > APART
    if strength[away].max() > RIVAL * strength[best]:
        rival = shifts[away][strength[away].argmax()]
        raise CalibrationError(
            f"{what}: {shifts[best] * 1e3:.0f} ms and {rival * 1e3:.0f} ms fit alike, the motion repeats itself; move for longer"
        )
    near = shifts[np.abs(shifts - shifts[best]) <= APART / 2]
    pieces = [
        _peak(near, np.abs(_correlations(reference, t[piece], value[piece], near)))
        for piece in _pieces(np.interp(t, *reference))
    ]
    error = float(np.std(pieces, ddof=1) / math.sqrt(PIECES))
    return Latency(_peak(shifts, strength), error, float(strength[best]))


def strongest_component(samples: Sequence[npt.ArrayLike]) -> Array:
    """Return how far each sample [...] goes along the direction in which they differ most, [n].

    For a picture that is the motion in it, for a wrench the axis that feels it: first principal component.
    """
    rows = np.stack([np.asarray(sample, dtype=np.float64).reshape(-1) for sample in samples])
    rows -= rows.mean(axis=0)
    u, s, _ = np.linalg.svd(rows, full_matrices=False)
    component: Array = u[:, 0] * s[0]
    return component


def _correlations(reference: tuple[Array, Array], t: Array, value: Array, shifts: Array) -> Array:
    """Return the correlation of value(t) with reference(t - shift), for each shift; lines are taken off both."""
    line = np.stack([np.ones_like(t), t - t.mean()], axis=1)
    moved = np.interp(t[:, None] - shifts[None], *reference)  # [n, shifts]
    q, _ = np.linalg.qr(line)
    moved -= q @ (q.T @ moved)
    rest = value - q @ (q.T @ value)
    size = np.linalg.norm(moved, axis=0) * np.linalg.norm(rest)
    correlations: Array = (rest @ moved) / np.maximum(size, 1e-300)
    return correlations


def _pieces(moved: Array) -> list[npt.NDArray[np.intp]]:
    """Return the indices of `PIECES` stretches one after the other, in each of which the reference moved as far."""
    way = np.concatenate([[0.0], np.cumsum(np.abs(np.diff(moved)))])
    number = np.minimum(PIECES * way / way[-1], PIECES - 1e-9).astype(int)
    return [np.flatnonzero(number == piece) for piece in range(PIECES)]


def _peak(shifts: Array, strength: Array) -> float:
    """Return where the largest strength is, between the shifts: the top of a parabola through three of them."""
    best = int(strength.argmax())
    if best in (0, len(shifts) - 1):
        return float(shifts[best])
    before, top, after = strength[best - 1 : best + 2]
    bend = before - 2.0 * top + after
    offset = 0.5 * (before - after) / bend if bend < 0.0 else 0.0
    return float(shifts[best] + offset * (shifts[1] - shifts[0]))
