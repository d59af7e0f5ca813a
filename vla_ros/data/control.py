"""The states of an episode's recording and the commands that lead from one to the other; nothing else is allowed."""

from __future__ import annotations

from vla_ros.errors import DatasetError, unknown_name

IDLE, RECORDING, SAVING = "idle", "recording", "saving"
NEXT: dict[str, dict[str, str]] = {
    IDLE: {"start": RECORDING},
    RECORDING: {"save": SAVING, "discard": IDLE, "rerecord": RECORDING, "label": RECORDING},
    SAVING: {},
}
COMMANDS = ("start", "save", "discard", "rerecord", "label")


def after(state: str, command: str) -> str:
    """Return the state that `command` leads to from `state`.

    Raises DatasetError naming the state and the commands that it allows, or the valid commands for an unknown one.
    """
    if command not in COMMANDS:
        raise DatasetError(unknown_name("command", command, COMMANDS))
    if command not in NEXT[state]:
        valid = ", ".join(NEXT[state]) or "none until it is saved"
        raise DatasetError(f"cannot {command} while {state}; valid: {valid}")
    return NEXT[state][command]
