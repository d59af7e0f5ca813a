"""The timed chunk of actions: the one thing that policies and teleoperators produce and the gate consumes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vla_ros.errors import ActionError

NANOSECONDS = 1_000_000_000  # in a second


@dataclass(frozen=True)
class ActionChunk:
    """A sequence of targets made from one observation.

    ``values[i]`` is the target to be *reached* at ``stamp + (i + 1) * dt``: every wire time is positive,
    and the action recorded in row k of a dataset (the gate's setpoint for ``t_k + 1/rate``) is exactly what
    ``values[0]`` of a chunk observed at ``t_k`` predicts.

    values: float64 [H, D] in physical units (rad, m; quaternions xyzw). H = 0 means "nothing to say: hold".
    names: the D action names of the contract.
    space: ``joint_position`` or ``ee_pose``.
    frame: frame of pose actions (``base_link``); empty for joints.
    stamp: capture time of the observation [ns].
    dt: time between two targets [s].
    base_state: the state [N] the chunk was predicted from, for policies with relative targets.
    """

    values: npt.NDArray[np.float64]
    names: tuple[str, ...]
    space: str
    stamp: int
    dt: float
    frame: str = ""
    base_state: npt.NDArray[np.float64] | None = None
    task: str = ""
    sequence: int = 0

    def __post_init__(self) -> None:
        values = np.array(self.values, dtype=np.float64)
        if values.size == 0:
            values = values.reshape(0, len(self.names))
        if values.ndim != 2 or values.shape[1] != len(self.names):
            raise ActionError(
                f"chunk values have shape {list(values.shape)}, want [H, {len(self.names)}] for {self.names}"
            )
        if self.dt <= 0.0:
            raise ActionError(f"chunk dt is {self.dt} s, want a positive number")
        values.setflags(write=False)
        object.__setattr__(self, "values", values)
        object.__setattr__(self, "names", tuple(self.names))

    def __len__(self) -> int:
        return int(self.values.shape[0])

    @property
    def empty(self) -> bool:
        """True when the source has nothing to say and the arm is to hold."""
        return len(self) == 0

    @property
    def end(self) -> int:
        """When the last target is to be reached [ns]; the stamp of an empty chunk."""
        return self.stamp + round(len(self) * self.dt * NANOSECONDS)

    def repeats(self, other: ActionChunk | None) -> bool:
        """Return True if this is `other`, not empty, said once more."""
        return (
            other is not None
            and not self.empty
            and (self.stamp, self.dt, self.names, self.space, self.frame)
            == (other.stamp, other.dt, other.names, other.space, other.frame)
            and np.array_equal(self.values, other.values)
        )

    def times(self) -> npt.NDArray[np.int64]:
        """Return the absolute times [ns] at which the H targets are to be reached, int64 [H]."""
        steps = np.arange(1, len(self) + 1)
        return self.stamp + np.round(steps * self.dt * NANOSECONDS).astype(np.int64)
