"""No sequence of commands leads an episode's recording anywhere but where the table says."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from vla_ros.data.control import COMMANDS, IDLE, NEXT, RECORDING, SAVING, after
from vla_ros.errors import DatasetError

DONE = "done"  # the disk has the episode: the recorder says so itself


@settings(deadline=None)
@given(st.lists(st.sampled_from([*COMMANDS, DONE])))
def test_every_episode_ends_saved_or_discarded_once_and_a_refusal_changes_nothing(commands: list[str]) -> None:
    state, begun, ended = IDLE, 0, 0
    for command in commands:
        if command == DONE:
            ended += state == SAVING
            state = IDLE if state == SAVING else state
            continue
        try:
            new = after(state, command)
        except DatasetError as error:
            assert command not in NEXT[state] and f"cannot {command} while {state}" in str(error)
            continue
        begun += command in ("start", "rerecord")
        ended += command in ("discard", "rerecord")
        state = new
        assert state in NEXT
    assert begun - ended == (state != IDLE)


@settings(deadline=None, max_examples=30)
@given(st.sampled_from(sorted(NEXT)), st.text(max_size=12).filter(lambda text: text not in COMMANDS))
def test_an_unknown_command_is_answered_with_the_known_ones(state: str, command: str) -> None:
    try:
        after(state, command)
    except DatasetError as error:
        assert str(error).endswith("valid: discard, label, rerecord, save, start")
    else:
        raise AssertionError(f"'{command}' was taken")


def test_refusals_name_what_is_valid() -> None:
    for state, text in (
        (IDLE, "start"),
        (RECORDING, "save, discard, rerecord, label"),
        (SAVING, "none until it is saved"),
    ):
        command = "save" if state != RECORDING else "start"
        try:
            after(state, command)
        except DatasetError as error:
            assert str(error) == f"cannot {command} while {state}; valid: {text}"
