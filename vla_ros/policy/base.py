"""What every policy is, native or not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from vla_ros.action import ActionChunk
from vla_ros.contract import Contract
from vla_ros.observation import Observation


@dataclass(frozen=True)
class Capabilities:
    """What a policy reads and gives.

    inputs: stream keys it reads. optional: those it can act without. space: of its actions. chunk: targets a
    chunk.
    dt: seconds between them. language: whether the instruction changes what it does. relative: whether its
    targets are re-anchored to the state of the observation.
    """

    inputs: tuple[str, ...]
    optional: tuple[str, ...]
    space: str
    chunk: int
    dt: float
    language: bool
    relative: bool


class Policy(Protocol):
    """A source of chunks that looks at the robot."""

    @property
    def contract(self) -> Contract:
        """The contract the policy was trained with."""
        ...

    @property
    def capabilities(self) -> Capabilities:
        """What the policy reads and gives."""
        ...

    def reset(self) -> None:
        """Forget the past: a new trial begins."""
        ...

    def predict(self, observation: Observation) -> ActionChunk:
        """Return the chunk for an observation, stamped with the observation's time.

        Raises ObservationError if a stream the policy needs is missing or invalid.
        """
        ...
