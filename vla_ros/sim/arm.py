"""The simulated arm's command side: two controllers of the same joints; the one last spoken to acts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy.typing as npt

from vla_ros.sim.controllers import Array, ForwardController, TrajectoryController, TrajectoryPoint


class Arm:
    """Joint trajectory and forward commands for joints named in `order`, answered in the order of `joints`.

    joints: the actuated joints in the world's order. order: the forward controller's configured order.
    """

    def __init__(self, joints: Sequence[str], order: Sequence[str], positions: npt.ArrayLike) -> None:
        self._trajectory = TrajectoryController(joints, positions)
        self._pick = [list(order).index(joint) for joint in joints]
        self._forward = ForwardController(order, [0.0] * len(order))
        self.reset(positions)

    def reset(self, positions: npt.ArrayLike) -> None:
        """Hold `positions` [N] (rad, m), in the order of `joints`."""
        self._trajectory.reset(positions)
        self._forwarding = False

    def follow(self, names: Sequence[str], stamp: int, points: Sequence[TrajectoryPoint], now: int) -> str | None:
        """Take a trajectory over, or return the reason why not; see `TrajectoryController.command`."""
        if self._forwarding:
            self._trajectory.reset(self.desired(now)[0])
        refusal = self._trajectory.command(names, stamp, points, now)
        self._forwarding = self._forwarding and refusal is not None
        return refusal

    def forward(self, values: Sequence[float]) -> str | None:
        """Take positions over, in the configured order, or return the reason why not."""
        refusal = self._forward.command(values)
        self._forwarding = self._forwarding or refusal is None
        return refusal

    def desired(self, now: int) -> tuple[Array, Array]:
        """Return the positions [N] and velocities [N] wanted at `now` [ns], in the order of `joints`."""
        if not self._forwarding:
            return self._trajectory.desired(now)
        positions, velocities = self._forward.desired(now)
        return positions[self._pick], velocities[self._pick]
