"""From streams to rows: the exact grid, what the gate sent, and what is said when something is missing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from recordings import FRONT, TAXELS, WRENCH, number_of, picture, small_contract

from vla_ros.contract import Contract, parse_contract
from vla_ros.data import Dataset, DatasetWriter, EpisodeRecorder
from vla_ros.data.interrupted import recoverable
from vla_ros.errors import DatasetError

SECOND = 1_000_000_000


class Robot:
    """Feeds a recorder as a robot would: each stream on its own grid, values that tell their time [s]."""

    def __init__(self, root: Path, contract: Contract | None = None) -> None:
        self.contract = contract or small_contract()
        self.writer = DatasetWriter(root, self.contract)
        self.recorder = EpisodeRecorder(self.contract, self.writer)
        self.recorder.aligner.push("task", 0, "do it")
        self.now = -1
        self.dead: set[str] = set()

    def run(self, until: float, advance: bool = True) -> None:
        """Let all streams send what they have up to and including `until` [s]."""
        end = round(until * SECOND)
        samples = []
        for key, rate in (
            (FRONT, 30),
            ("observation.state", 300),
            (WRENCH, 300),
            (TAXELS, 100),
            ("gate", 100),
        ):
            k = -(-(self.now + 1) * rate // SECOND)
            while (stamp := round(k * SECOND / rate)) <= end:
                if stamp > self.now and key not in self.dead:
                    samples.append((stamp, key, k))
                k += 1
        for stamp, key, k in sorted(samples):
            self._send(key, stamp, k)
            if advance:
                self.recorder.advance(stamp)
        self.now = end

    def _send(self, key: str, stamp: int, k: int) -> None:
        t = stamp / SECOND
        if key == "gate":
            self.recorder.action(stamp + SECOND // 50, self.setpoint(t + 0.02))
        elif key == FRONT:
            self.recorder.aligner.push(key, stamp, picture(k))
        elif key == "observation.state":
            self.recorder.aligner.push(key, stamp, np.array([t, -t]))
        else:
            shape = (6,) if key == WRENCH else (2, 2, 3)
            self.recorder.aligner.push(key, stamp, np.full(shape, t))

    def setpoint(self, t: float) -> np.ndarray:
        values = np.zeros(len(self.contract.action.names))
        values[0] = 10 + t
        return values


@pytest.fixture
def robot(tmp_path: Path) -> Robot:
    return Robot(tmp_path / "set")


def test_rows_lie_on_the_exact_grid_and_hold_what_was_known_then(robot: Robot, tmp_path: Path) -> None:
    robot.run(0.1)
    first = robot.recorder.start(robot.now)
    assert first == SECOND // 10
    robot.run(1.1)
    assert robot.recorder.save() == 0
    data = Dataset(tmp_path / "set")
    assert data.num_frames == 30  # the setpoint for the next row is known 20 ms ahead only
    times = 0.1 + np.arange(30) / 30
    assert data.column("observation.state")[:, 0] == pytest.approx(times, abs=1e-6)
    assert data.column("action")[:, 0] == pytest.approx(10 + times + 1 / 30, abs=1e-5)
    assert data.column(WRENCH)[:, -1, 0] == pytest.approx(times, abs=1e-6)
    assert data.column(WRENCH)[:, 0, 0] == pytest.approx(times - 3 / 300, abs=1e-6)
    assert [number_of(frame) for frame in data.frames(FRONT, 0)] == [(3 + k) % 12 for k in range(30)]
    assert data.column("sync.stamp")[:, 0].tolist() == [round((3 + k) * SECOND / 30) for k in range(30)]
    assert data.column("sync.age").max() <= 0.01 and data.episodes[0].task == "do it"


def test_a_recorder_that_runs_late_and_in_bursts_writes_the_same_rows(robot: Robot, tmp_path: Path) -> None:
    prompt = Robot(tmp_path / "prompt")
    for one in (robot, prompt):
        one.run(0.1)
        one.recorder.start(one.now)
    prompt.run(1.0)
    for burst in (0.45, 0.5, 1.0):
        robot.run(burst, advance=False)
        robot.recorder.advance(robot.now)
    for one in (robot, prompt):
        one.recorder.save()
    late, in_time = Dataset(tmp_path / "set"), Dataset(tmp_path / "prompt")
    for key in ("observation.state", WRENCH, TAXELS, "action", "sync.age", "sync.stamp"):
        assert np.array_equal(late.column(key), in_time.column(key))


def test_rows_in_which_a_person_has_the_arm_are_labelled(robot: Robot, tmp_path: Path) -> None:
    robot.run(0.1)
    robot.recorder.start(robot.now)
    robot.recorder.intervene(305_000_000, True)
    robot.recorder.intervene(510_000_000, False)
    robot.run(1.1)
    robot.recorder.save()
    times = 0.1 + np.arange(30) / 30
    labels = Dataset(tmp_path / "set").column("intervention").ravel().tolist()
    assert labels == [t + 1 / 30 - 0.02 >= 0.305 and t < 0.51 for t in times], "whose action is the person's"


def test_it_starts_on_the_grid_from_any_moment(robot: Robot) -> None:
    robot.run(0.2567)
    first = robot.recorder.start(robot.now)
    assert first == round(7 * SECOND / 30)  # the camera's last frame
    robot.run(0.6)
    assert robot.recorder.rows == 11


@pytest.mark.parametrize("dead", [FRONT, WRENCH])
def test_a_missing_stream_refuses_the_start_by_name(robot: Robot, dead: str) -> None:
    robot.dead = {dead}
    robot.run(0.5)
    with pytest.raises(DatasetError, match=f"cannot start: {dead}: no data yet on /"):
        robot.recorder.start(robot.now)
    assert robot.recorder.state == "idle" and not robot.writer.running


def test_a_stale_stream_refuses_the_start_by_name(robot: Robot) -> None:
    robot.run(0.2)
    robot.dead = {FRONT}
    robot.run(0.5)
    with pytest.raises(DatasetError, match=r"cannot start: observation.images.front: \d+ ms old on /front"):
        robot.recorder.start(robot.now)


def test_a_silent_gate_refuses_the_start(robot: Robot) -> None:
    robot.dead = {"gate"}
    robot.run(0.2)
    with pytest.raises(DatasetError, match="no action from the gate"):
        robot.recorder.start(robot.now)


def test_a_camera_that_stops_is_marked_by_its_age_and_never_filled_in(robot: Robot, tmp_path: Path) -> None:
    robot.run(0.1)
    robot.recorder.start(robot.now)
    robot.run(0.5)
    robot.dead = {FRONT}
    robot.run(2.5)
    rows = robot.recorder.rows
    assert robot.recorder.problem == "" and robot.recorder.stale_rows[FRONT] > 10
    robot.recorder.save()
    data = Dataset(tmp_path / "set")
    age = data.column("sync.age")[:, 0]
    after = np.arange(rows) > 12
    assert age[~after].max() < 1e-6
    assert age[after] == pytest.approx((np.arange(rows)[after] - 12) / 30, abs=1e-6)
    assert {number_of(frame) for frame in data.frames(FRONT, 0)[after]} == {15 % 12}


def test_a_gate_that_stops_ends_the_rows_and_the_episode_can_be_saved(robot: Robot, tmp_path: Path) -> None:
    robot.run(0.1)
    robot.recorder.start(robot.now)
    robot.run(0.5)
    robot.dead = {"gate"}
    robot.run(2.0)
    assert "no action from the gate for row 12" in robot.recorder.problem
    robot.dead = set()
    robot.run(2.5)
    robot.recorder.save()
    assert Dataset(tmp_path / "set").num_frames == 12


def test_a_clock_that_jumps_back_ends_the_rows(robot: Robot) -> None:
    robot.run(0.1)
    robot.recorder.start(robot.now)
    robot.run(0.5)
    rows = robot.recorder.rows
    robot.recorder.clock_jumped()
    robot.now = -1
    robot.run(1.0)
    assert robot.recorder.rows == rows and robot.recorder.problem == "the clock jumped back"
    assert robot.recorder.discard() == rows


def test_a_recorder_that_is_stopped_keeps_its_episode_for_recovery(robot: Robot, tmp_path: Path) -> None:
    robot.run(0.1)
    robot.recorder.start(robot.now)
    robot.run(1.1)
    (note,) = robot.recorder.interrupt()
    assert "kept an interrupted recording" in note and robot.recorder.state == "idle"
    assert robot.recorder.interrupt() == []
    assert [one.rows > 15 for one in recoverable(tmp_path / "set")] == [True]


def test_the_next_episode_after_a_reset_starts_in_the_new_time(robot: Robot, tmp_path: Path) -> None:
    for _ in range(2):
        robot.now = -1
        robot.run(0.1)
        assert robot.recorder.start(robot.now) == SECOND // 10
        robot.run(0.7)
        robot.recorder.save()
    data = Dataset(tmp_path / "set")
    assert [e.length for e in data.episodes] == [18, 18]
    assert np.array_equal(data.column("action", 0), data.column("action", 1))


def test_commands_out_of_turn_are_refused_with_the_valid_ones(robot: Robot) -> None:
    robot.run(0.1)
    with pytest.raises(DatasetError, match="cannot save while idle; valid: start"):
        robot.recorder.save()
    robot.recorder.start(robot.now)
    with pytest.raises(DatasetError, match="cannot start while recording; valid: save, discard"):
        robot.recorder.start(robot.now)
    assert robot.recorder.discard() == 0
    with pytest.raises(DatasetError, match="cannot discard while idle"):
        robot.recorder.discard()


def test_poses_between_two_setpoints_keep_unit_quaternions(tmp_path: Path) -> None:
    names = "ee.x, ee.y, ee.z, ee.qx, ee.qy, ee.qz, ee.qw, b.pos"
    text = small_contract().text.replace(
        "space: joint_position, names: [a.pos, b.pos]", f"space: ee_pose, names: [{names}]"
    )
    robot = Robot(tmp_path / "set", parse_contract(text, "poses.yaml"))
    robot.setpoint = lambda t: np.array([t, 0, 0, np.sin(5 * t), 0, 0, np.cos(5 * t), 0.01])  # type: ignore[method-assign]
    robot.run(0.1)
    robot.recorder.start(robot.now)
    robot.run(0.6)
    robot.recorder.save()
    action = Dataset(tmp_path / "set").column("action")
    assert np.linalg.norm(action[:, 3:7], axis=1) == pytest.approx(np.ones(len(action)), abs=1e-6)
    t = 0.1 + (np.arange(len(action)) + 1) / 30
    assert action[:, 3] == pytest.approx(np.sin(5 * t), abs=1e-3)


def test_an_instruction_that_is_given_needs_no_text_stream_and_wins_over_it(tmp_path: Path) -> None:
    robot = Robot(tmp_path / "set")
    silent = Robot(tmp_path / "silent")
    silent.recorder = EpisodeRecorder(silent.contract, silent.writer)  # nobody says anything
    for one in (robot, silent):
        one.run(0.1)
        one.recorder.start(one.now, "wipe the table")
        one.run(0.5)
        one.recorder.save()
    for name in ("set", "silent"):
        assert Dataset(tmp_path / name).episodes[0].tasks == ("wipe the table",)


def test_without_an_instruction_the_text_stream_must_have_said_one(tmp_path: Path) -> None:
    robot = Robot(tmp_path / "set")
    robot.recorder = EpisodeRecorder(robot.contract, robot.writer)
    robot.run(0.1)
    with pytest.raises(DatasetError, match="cannot start: task: no data yet on /instruction"):
        robot.recorder.start(robot.now)
