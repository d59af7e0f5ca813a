"""Demonstrations on the real graph: simulated arm, gate, scripted operator, recorder."""

from __future__ import annotations

import fcntl
import io
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from recordings import FRONT
from rich.console import Console
from ros_support import wait_until

from vla_ros.data import Dataset
from vla_ros.data.interrupted import recoverable
from vla_ros.ros import lifeline

SEEDS = (1000, 1001)
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def collected(module_domain: int, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from vla_ros.ros.collect import collect

    root = tmp_path_factory.mktemp("collected") / "reach"
    outcome = collect("reach", 2, SEEDS[0], root, console=Console(file=io.StringIO()))
    assert outcome.saved == 2 and outcome.failed == []
    return root


def test_episodes_begin_at_rest_move_and_end_with_a_tail_at_rest(collected: Path) -> None:
    data = Dataset(collected)
    assert data.num_episodes == 2 and all(e.success for e in data.episodes)
    for e in data.episodes:
        state, action = data.column("observation.state", e.index), data.column("action", e.index)
        assert np.abs(np.diff(state[:2], axis=0)).max() < 1e-3
        assert np.abs(state[-1] - state[0]).max() > 0.1, "the arm went somewhere"
        assert np.abs(np.diff(state[-5:], axis=0)).max() < 2e-2, "and stayed there"
        assert 30 < e.length < 200
        assert np.abs(action[:-1] - state[1:]).max() < 0.1, "the action is the next row's setpoint"


def test_rows_lie_on_the_simulations_grid_and_no_stream_is_older_than_its_period(collected: Path) -> None:
    data = Dataset(collected)
    names = data.features["sync.age"].names
    assert names is not None
    periods = np.array([1 / data.contract.observation[name].rate for name in names])
    assert (data.column("sync.age") < periods - 1e-6).all()
    stamps = data.column("sync.stamp", 1)[:, names.index("observation.images.front")]
    assert stamps.tolist() == [round((2 + k) * 1e9 / 30) for k in range(len(stamps))]


def test_the_instruction_is_the_scenes(collected: Path) -> None:
    data = Dataset(collected)
    assert all(any(c in e.task for c in ("red", "green", "blue")) for e in data.episodes)
    assert json.loads((collected / "meta/seeds.json").read_text())["reach"]["episodes"] == [
        [0, 1000],
        [1, 1001],
    ]


def test_pictures_show_the_scene_and_change_as_the_arm_moves(collected: Path) -> None:
    data = Dataset(collected)
    for camera in data.cameras:
        frames = data.frames(camera, 0)
        assert frames[0].std() > 10, "not a blank picture"
        assert np.abs(frames[0].astype(int) - frames[-1].astype(int)).mean() > 0.5


def test_the_same_seed_gives_the_same_episode_and_resume_goes_on_with_the_next(
    collected: Path, module_domain: int
) -> None:
    from vla_ros.ros.collect import collect

    again = collected.parent / "again"
    quiet = Console(file=io.StringIO())
    collect("reach", 1, SEEDS[1], again, console=quiet)
    first, second = Dataset(collected), Dataset(again)
    for key in ("observation.state", "action", "observation.wrench.tool", "sync.stamp"):
        assert np.array_equal(first.column(key, 1), second.column(key, 0)), key
    outcome = collect("reach", 2, SEEDS[1], again, resume=True, console=quiet)
    assert outcome.saved == 2
    assert json.loads((again / "meta/seeds.json").read_text())["reach"]["episodes"] == [[0, 1001], [1, 1002]]
    nothing_to_do = collect("reach", 2, SEEDS[1], again, resume=True, console=quiet)
    assert nothing_to_do.saved == 2 and nothing_to_do.elapsed == 0.0


def test_poses_can_be_taught_as_well(module_domain: int, tmp_path: Path) -> None:
    from vla_ros.ros.collect import collect

    collect("reach", 1, 7, tmp_path / "poses", contract="tabletop_arm_ee", console=Console(file=io.StringIO()))
    data = Dataset(tmp_path / "poses")
    action = data.column("action")
    assert data.features["action"].names == data.contract.action.names
    assert np.linalg.norm(action[:, 3:7], axis=1) == pytest.approx(np.ones(len(action)), abs=1e-5)
    assert np.abs(action[-1, :3] - action[0, :3]).max() > 0.02


def test_ctrl_c_keeps_what_was_saved_and_leaves_no_process(module_domain: int, tmp_path: Path) -> None:
    root = tmp_path / "interrupted"
    command = [sys.executable, "-m", "vla_ros.cli", "collect", "--task", "reach", "--episodes", "50"]
    command += ["--output", str(root)]
    process = lifeline.start(command, os.environ, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        wait_until(lambda: saved(root) >= 1, deadline=110, what="the first episode")
        children = descendants(process.pid)
        assert len(children) >= 4
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    finally:
        process.kill()  # its nodes end with it
        process.wait()
    assert process.returncode in (0, 130)
    assert not [pid for pid in children if Path(f"/proc/{pid}").exists()]
    data = Dataset(root)
    assert data.num_episodes >= 1
    for e in data.episodes:
        assert len(data.frames(FRONT, e.index)) == e.length == len(data.column("action", e.index))


def saved(root: Path) -> int:
    info = root / "meta/info.json"
    return int(json.loads(info.read_text())["total_episodes"]) if info.exists() else 0


def descendants(pid: int) -> list[int]:
    """Return the processes started by `pid`."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            if int(stat.read_text().rsplit(")", 1)[1].split()[1]) == pid:
                found.append(int(stat.parent.name))
        except OSError:
            continue
    return found


def test_the_operators_keys_end_episodes_and_keep_notes(module_domain: int, tmp_path: Path) -> None:
    root = tmp_path / "keyed"
    command = [sys.executable, "-m", "vla_ros.cli", "collect", "--task", "pick_place", "--episodes", "3"]
    command += ["--output", str(root), "--cues", "bell", "--countdown", "1"]
    operator, program = pty.openpty()
    fcntl.ioctl(program, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 250, 0, 0))
    wide = os.environ | {"TERM": "xterm", "COLUMNS": "250", "LINES": "40", "TTY_COMPATIBLE": "1"}
    process = lifeline.start(command, wide, cwd=ROOT, stdin=program, stdout=program, stderr=program)
    os.close(program)
    shown = ""

    def see(wanted: str) -> None:
        """Read what the terminal shows until the pattern `wanted` comes, and take everything up to it away."""
        nonlocal shown

        def came() -> bool:
            nonlocal shown
            if select.select([operator], [], [], 0.05)[0]:
                shown += os.read(operator, 65536).decode(errors="replace")
            return re.search(wanted, shown)

        try:
            found = wait_until(came, deadline=110, what=f"'{wanted}' on the terminal")
        except (AssertionError, OSError) as error:  # OSError: the process has ended
            raise AssertionError(f"{error}: {shown[-2000:]}") from None
        shown = shown[found.end() :]

    def note(episode: int, text: str, then: str) -> None:
        """Time stands still while a note is typed, so that what follows it meets the same episode."""
        see(f"recording episode {episode} of 3, (?!0.0 s)")  # there are rows
        os.write(operator, b"n")
        see("note: ")
        os.write(operator, f"{text}\r{then}".encode())

    try:
        note(1, "too fast", "d")
        see("seed 0: not wanted by the operator; discarded")
        note(1, "again", "r")
        see("seed 1: recorded again")
        note(1, "the gripper slipped", "f")
        note(2, "good enough", "s")
        note(3, "enough", "q")
        see("the operator quit")
        see("make an episode of it by: vla-ros dataset recover")
        wait_until(lambda: drained(operator, process), what="the end of the collection")
    finally:
        process.kill()  # its nodes end with it
        process.wait()
        os.close(operator)
    assert process.returncode == 0
    data = Dataset(root)
    assert [e.success for e in data.episodes] == [False, True]
    assert [[n.text for n in data.notes[i]] for i in range(2)] == [["the gripper slipped"], ["good enough"]]
    seeds = json.loads((root / "meta/seeds.json").read_text())["pick_place"]
    assert seeds == {"episodes": [[0, 1], [1, 2]], "failed": [0]}
    assert [one.task != "" for one in recoverable(root)] == [True]


def drained(terminal: int, process: subprocess.Popen[bytes]) -> bool:
    """Read on, so that the process need not wait for the terminal; return True once it has ended."""
    if select.select([terminal], [], [], 0.0)[0]:
        with suppress(OSError):
            os.read(terminal, 65536)
    return process.poll() is not None
