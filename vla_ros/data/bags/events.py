"""What a recorder says of its episodes on `TOPIC`, so that a bag of the same run can be cut the same way."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from vla_ros.errors import DatasetError

TOPIC = "/recorder/episode"
TYPE = "std_msgs/msg/String"
GATE_TOPIC, GATE_TYPE = "/gate/action", "trajectory_msgs/msg/JointTrajectory"
KINDS = ("start", "save", "discard", "note")


@dataclass(frozen=True)
class EpisodeEvent:
    """An episode began (first: its first row's time [ns]; task), was saved (rows, success), or was discarded.

    Or somebody said `text` of the running one, or of the one just saved, `time` [s] after its first row.
    """

    kind: str
    first: int = 0
    task: str = ""
    rows: int = 0
    success: bool = True
    text: str = ""
    time: float = 0.0

    def to_text(self) -> str:
        """Return the event as the text of a message."""
        return json.dumps(asdict(self))

    def to_cdr(self) -> bytes:
        """Return the event as a serialized message: CDR, little-endian, of one string."""
        text = self.to_text().encode() + b"\0"
        return b"\0\1\0\0" + len(text).to_bytes(4, "little") + text

    @classmethod
    def from_text(cls, text: str) -> EpisodeEvent:
        """Read the text of a message. Raises DatasetError if it is not an event."""
        try:
            event = cls(**json.loads(text))
        except (TypeError, ValueError):
            raise DatasetError(f"{TOPIC}: '{text}' is not an event of an episode") from None
        if event.kind not in KINDS:
            raise DatasetError(f"{TOPIC}: unknown event '{event.kind}'; valid: {', '.join(KINDS)}")
        return event
