"""Motion within joint limits: one setpoint a period, each within range, velocity and acceleration, and able
to stop.

A setpoint (position, velocity) a period after another is joined to it by a curve whose acceleration is
bounded, so what a controller interpolates between them keeps the limits too. Every setpoint can brake to
rest inside the position range at the allowed deceleration: `follow` never leaves that set, and `brake` stays
in it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vla_ros.contract import Contract
from vla_ros.errors import GateError
from vla_ros.kinematics import Kinematics

FloatArray = npt.NDArray[np.float64]
CHASE = 0.7  # share of the acceleration used to catch up; the rest follows the target's own acceleration
ROUNDING = 1e-9  # relative


@dataclass(frozen=True)
class Setpoint:
    """Joint positions [N] (rad, m) and velocities [N] (rad/s, m/s) at one instant."""

    position: FloatArray
    velocity: FloatArray

    @property
    def at_rest(self) -> bool:
        """True when no joint moves."""
        return not self.velocity.any()


class MotionLimits:
    """The bounds of N joints, and the next setpoint that keeps them.

    lower, upper: position range [N] (rad, m). velocity, acceleration: bounds [N], both positive.
    period: time between setpoints [s]. Raises GateError when a bound is not positive or a range is empty.
    """

    def __init__(
        self,
        lower: npt.ArrayLike,
        upper: npt.ArrayLike,
        velocity: npt.ArrayLike,
        acceleration: npt.ArrayLike,
        period: float,
    ) -> None:
        self.lower, self.upper = np.array(lower, dtype=np.float64), np.array(upper, dtype=np.float64)
        self.velocity, self.acceleration = (
            np.array(velocity, dtype=np.float64),
            np.array(acceleration, dtype=np.float64),
        )
        self.period = period
        if not (self.lower < self.upper).all():
            raise GateError(f"joint range is empty: lower {self.lower.tolist()}, upper {self.upper.tolist()}")
        if not (self.velocity > 0).all() or not (self.acceleration > 0).all() or not period > 0:
            raise GateError(
                f"limits must be positive: velocity {self.velocity.tolist()}, "
                f"acceleration {self.acceleration.tolist()}, period {period} s"
            )
        self._step = self.acceleration * period  # largest change of velocity in a period

    def follow(self, now: Setpoint, position: FloatArray, velocity: FloatArray) -> Setpoint:
        """Return the setpoint one period after `now` that is nearest to a moving target.

        position, velocity: the target [N] one period after `now`. It is met exactly when the limits allow;
        otherwise it is approached as fast as it can be without overshooting it.
        """
        target = np.clip(position, self.lower, self.upper)
        speed = np.where(target == position, np.clip(velocity, -self.velocity, self.velocity), 0.0)
        exact = self._reachable(now, target, speed)
        if exact.all():
            return Setpoint(target, speed)
        chased = self._chase(now, target, speed)
        return Setpoint(np.where(exact, target, chased.position), np.where(exact, speed, chased.velocity))

    def brake(self, now: Setpoint) -> Setpoint:
        """Return the setpoint one period after `now`, decelerating to rest in the fewest whole periods."""
        velocity = now.velocity * (1.0 - 1.0 / np.maximum(self._periods_to_rest(now.velocity), 1))
        return Setpoint(now.position + 0.5 * self.period * (now.velocity + velocity), velocity)

    def braking_path(self, now: Setpoint) -> tuple[npt.NDArray[np.int64], FloatArray, FloatArray]:
        """Return what repeated braking gives: periods [K] after `now`, positions [K, N], velocities [K, N].

        The K >= 1 knots are those where a joint comes to rest; joined by cubics they reproduce the whole
        path, and the last one is at rest.
        """
        knots = np.unique(np.maximum(self._periods_to_rest(now.velocity), 1))
        return knots.astype(np.int64), *self._braked(now, knots)

    def braking_positions(self, now: Setpoint, count: int) -> FloatArray:
        """Return positions [count, N] along the braking path, evenly spaced in time; the last is at rest.

        The joints come to rest one after the other, so these do not lie on a straight line.
        """
        longest = float(self._periods_to_rest(now.velocity).max())
        return self._braked(now, np.linspace(0.0, longest, count + 1)[1:])[0]

    def stop_position(self, now: Setpoint) -> FloatArray:
        """Return where braking from `now` comes to rest [N]."""
        return np.asarray(now.position + 0.5 * self.period * now.velocity * self._periods_to_rest(now.velocity))

    def _braked(self, now: Setpoint, periods: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return positions and velocities [K, N] after braking from `now` for `periods` [K]."""
        rest = np.maximum(self._periods_to_rest(now.velocity), 1)
        elapsed = np.minimum(periods[:, None], rest[None, :])  # [K, N] periods until then or until rest
        velocities = now.velocity * (1.0 - elapsed / rest)
        velocities[elapsed == rest] = 0.0
        return now.position + 0.5 * self.period * elapsed * (now.velocity + velocities), velocities

    def _periods_to_rest(self, velocity: FloatArray) -> FloatArray:
        return np.ceil(np.abs(velocity) / self._step - ROUNDING)

    def _reachable(self, now: Setpoint, position: FloatArray, velocity: FloatArray) -> npt.NDArray[np.bool_]:
        """Return which joints [N] may go to (position, velocity) in one period along a cubic within the
        limits.
        """
        mean = (position - now.position) / self.period
        start = (6.0 * mean - 4.0 * now.velocity - 2.0 * velocity) / self.period  # acceleration at both ends
        end = (2.0 * now.velocity + 4.0 * velocity - 6.0 * mean) / self.period
        bound = self.acceleration * (1.0 + ROUNDING)
        turns = start * end < 0  # the velocity has an extreme inside the period
        peak = now.velocity + np.where(turns, 0.5 * self.period * start**2 / np.where(turns, start - end, 1.0), 0.0)
        stop = self.stop_position(Setpoint(position, velocity))
        return (
            (np.abs(start) <= bound)
            & (np.abs(end) <= bound)
            & (np.abs(peak) <= self.velocity * (1.0 + ROUNDING))
            & (stop >= self.lower - ROUNDING)
            & (stop <= self.upper + ROUNDING)
        )

    def _chase(self, now: Setpoint, position: FloatArray, velocity: FloatArray) -> Setpoint:
        """Approach the target with constant acceleration during the period."""
        half = 0.5 * self.period
        distance = position - velocity * self.period - now.position  # to the target as it is now
        closing = now.velocity - velocity
        wanted = velocity + self._closing_speed(distance - half * closing, CHASE * self.acceleration)
        wanted = np.clip(wanted, now.velocity - self._step, now.velocity + self._step)
        wanted = np.clip(wanted, -self.velocity, self.velocity)
        # The range comes last: from a setpoint that can stop inside it, the other bounds allow that too.
        highest = self._closing_speed(self.upper - now.position - half * now.velocity, self.acceleration)
        lowest = self._closing_speed(self.lower - now.position - half * now.velocity, self.acceleration)
        wanted = np.clip(wanted, lowest, highest)
        reached = np.clip(now.position + half * (now.velocity + wanted), self.lower, self.upper)
        return Setpoint(reached, wanted)

    def _closing_speed(self, room: FloatArray, acceleration: FloatArray) -> FloatArray:
        """Return the largest next velocity u [N] from which one can still stop within `room` [N].

        Stopping from u takes n = ceil(u / (a T)) periods, so the path from here is T u / 2 + n T u / 2,
        where T is the period and a the acceleration; `room` is the distance less what the present velocity
        covers. Odd in `room`.
        """
        distance = np.abs(room)
        step = acceleration * self.period
        whole = np.floor(0.5 * (np.sqrt(1.0 + 8.0 * distance / (step * self.period)) - 1.0))
        speed = np.maximum(whole * step, 2.0 * distance / (self.period * (whole + 2.0)))
        return np.asarray(np.copysign(speed, room))


def motion_limits(contract: Contract, kinematics: Kinematics, period: float) -> MotionLimits:
    """Return the tighter of the contract's and the URDF's limits for the contract's joints."""
    joints = contract.joint_names
    return MotionLimits(
        kinematics.lower,
        kinematics.upper,
        np.minimum(contract.limits.velocity_for(joints), kinematics.velocity),
        contract.limits.acceleration_for(joints),
        period,
    )
