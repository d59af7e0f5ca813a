"""Who has the arm when a person corrects a policy: taking the clutch takes the arm, releasing it gives the arm back.

While a person has the clutch open their device says an empty chunk without names; while it is lost, an empty chunk with names:
a pulled cable in the middle of a correction holds the arm, it does not let the policy go on, nor does a device that comes back.
"""

from __future__ import annotations

from vla_ros.action import ActionChunk


class Intervention:
    """Watches the chunks of `person` while `policy` has the arm, and the other way round."""

    def __init__(self, policy: str = "policy", person: str = "teleop") -> None:
        self._policy, self._person = policy, person
        self.running = False  # the person has the arm, taken from the policy

    def choose(self, selected: str, source: str, chunk: ActionChunk) -> str | None:
        """Return who is to have the arm now that `chunk` came from `source`, while `selected` has it; None: no change."""
        if selected != self._person:
            self.running = False
        if source != self._person:
            return None
        if selected == self._policy and not chunk.empty:
            self.running = True
            return self._person
        if self.running and chunk.empty and not chunk.names:
            self.running = False
            return self._policy
        return None
