"""When a scripted operator corrects a policy, so that a seed gives the same episode again."""

from __future__ import annotations

import numpy as np

SHORTEST, LONGEST = 1.5, 3.0  # [s] of a turn


class Corrections:
    """When an operator has the arm that a policy drives: turns of SHORTEST to LONGEST seconds, the last one for good.

    seed: of the turns. limit: of the episode [s]. Turns begin and end at multiples of `step` [s].
    """

    def __init__(self, seed: int, limit: float, step: float = 0.3) -> None:
        draw = np.random.default_rng([seed, 0xDA66E6])
        self._turns: list[float] = []  # [s] at which it changes hands, to the operator first
        at = 0.0
        while at < 0.5 * limit:
            at += step * int(draw.integers(round(SHORTEST / step), round(LONGEST / step) + 1))
            self._turns.append(at)
        del self._turns[len(self._turns) - (len(self._turns) % 2 == 0) :]  # the operator has the last turn
        self._held = False

    def turn(self, t: float) -> bool | None:
        """Return True if the operator is to take the clutch at `t` [s], False to release it, None for no change."""
        held = sum(turn <= t + 1e-6 for turn in self._turns) % 2 == 1
        if held == self._held:
            return None
        self._held = held
        return held
