"""What a runner of worlds hands its results to."""

from __future__ import annotations

from typing import Protocol

from vla_ros.sim.render import Snapshot
from vla_ros.sim.world import World


class Outputs(Protocol):
    """Where a runner's results go. Stamps in ns; called from the runner's threads."""

    def say(self, instruction: str) -> None:
        """Say the instruction; return when it has arrived."""

    def sensors(self, world: World, stamp: int) -> None:
        """Publish all that is due at the world's present step, pictures and clock aside."""

    def pictures(self, world: World, snapshot: Snapshot, stamp: int) -> None:
        """Render and publish the cameras that someone looks at; called again with a snapshot, those that are new."""

    def status(self, world: World) -> None:
        """Say how the trial stands."""

    def clock(self, stamp: int) -> None:
        """Publish the time."""
