"""What a robot can repeat of a dataset that a hand recorded: a report, a replay in simulation, and the robot's own dataset."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vla_ros.contract import Contract
from vla_ros.data.features import AGE, STAMP, sync_names
from vla_ros.data.hand_motion import hand_motion
from vla_ros.data.reader import Dataset
from vla_ros.data.writer import DatasetWriter
from vla_ros.errors import DatasetError
from vla_ros.feasible import Feasibility, Placement, RobotReach
from vla_ros.kinematics import Kinematics

if TYPE_CHECKING:
    from vla_ros.sim.replay import Replayed


@dataclass(frozen=True)
class EpisodeReport:
    """One episode: its number, what of it the robot can repeat, its rows a second."""

    episode: int
    found: Feasibility
    fps: int

    def lines(self) -> Iterator[str]:
        """Give the report as text, a line for the episode and one for each stretch that cannot be repeated."""
        found = self.found
        slower = "" if found.slower <= 1.0 else f"; {found.slower:.2f} times slower no joint is too fast"
        yield f"episode {self.episode}: {found.share:.0%} of {found.rows} rows as recorded{slower}"
        for span in found.spans:
            yield f"  {span.start / self.fps:.2f} to {span.stop / self.fps:.2f} s: {span.reason}"


def feasible(
    dataset: Dataset, robot: Contract, placement: Placement, episodes: Sequence[int] | None = None
) -> Iterator[EpisodeReport]:
    """Give the report of each episode, or of those chosen. Raises DatasetError for a dataset of a robot."""
    reach = RobotReach(robot, placement)
    for episode in range(dataset.num_episodes) if episodes is None else episodes:
        poses, openings = hand_motion(dataset, episode)
        yield EpisodeReport(episode, reach.check(poses, openings, dataset.fps), dataset.fps)


def replay(
    dataset: Dataset,
    robot: Contract,
    placement: Placement,
    episodes: Sequence[int] | None = None,
    slower: float | None = None,
) -> Iterator[tuple[EpisodeReport, float, range, Replayed | None]]:
    """Replay on the simulated arm the longest stretch of each episode that is in reach.

    slower: by which factor; None: as much as that stretch needs. Gives report, factor, the stretch's rows, and what came
    of it; None where nothing is in reach.
    """
    from vla_ros.sim.replay import Replay

    arm = Replay(robot)
    for report in feasible(dataset, robot, placement, episodes):
        found = report.found
        rows = longest(found.reached)
        factor = slower or found.slower
        if not rows:
            yield report, factor, rows, None
            continue
        poses, _ = hand_motion(dataset, report.episode)
        part = slice(rows.start, rows.stop + 1)
        goals = placement.goals(poses)[part]
        yield report, factor, rows, arm.run(found.joints[part], goals, dataset.fps / factor)


def longest(good: Sequence[bool] | np.ndarray) -> range:
    """Return the longest stretch of True."""
    best, start = range(0), 0
    for row, value in enumerate([*good, False]):
        if not value:
            best = max(best, range(start, row), key=len)
            start = row + 1
    return best


def retarget(
    dataset: Dataset,
    robot: Contract,
    placement: Placement,
    output: Path,
    least: float = 0.9,
    say: Callable[[str], None] = lambda line: None,
    squeeze: float = 0.0,
) -> int:
    """Append what the robot can repeat to its own dataset `output`; return how many episodes that were.

    An episode counts if at least the part `least` of its rows is feasible; its longest stretch in reach is taken, since what
    is too fast now and then the gate bounds. The joints are those of inverse kinematics; pictures are copied where the
    robot's contract has them by the same key and shape. The pose stream that the hand's action follows becomes that of the
    robot's tip in the robot's root.
    squeeze: how much further [m of one finger] than the hand's the robot's fingers are told to close, all of it where they are
    closed and nothing where they are wide open: a hand's fingers stop at what they hold, and so much presses on it.
    Raises DatasetError for a stream of the robot that a hand does not record.
    """
    check_streams(dataset, robot)
    squeezed = _squeezed(robot, squeeze)
    with DatasetWriter(output, robot) as writer:
        before = writer.num_episodes
        for report in feasible(dataset, robot, placement):
            found, episode = report.found, dataset.episodes[report.episode]
            rows = longest(found.reached)
            if found.share < least or len(rows) < 2:
                say(f"episode {report.episode}: {found.share:.0%} feasible; left out")
                continue
            poses, _ = hand_motion(dataset, report.episode)
            _write(writer, dataset, report, placement.goals(poses), rows, squeezed)
            say(
                f"episode {report.episode}: {len(rows)} rows, episode {writer.save_episode(episode.success is not False)}"
            )
        return writer.num_episodes - before


def check_streams(dataset: Dataset, robot: Contract) -> None:
    """Raise DatasetError unless every stream of the robot's contract can be had of what a hand recorded."""
    mine = dataset.contract
    if abs(mine.rate - robot.rate) > 1e-9:
        raise DatasetError(f"'{dataset.root}' has {mine.rate:g} rows a second, {robot.source} wants {robot.rate:g}")
    for stream in robot.streams():
        have = mine.observation.get(stream.key)
        if stream.kind == "pose" and stream.key != mine.action.follows:
            raise DatasetError(
                f"{robot.source} wants '{stream.key}', which '{dataset.root}' has in the recording's frame, if at all: of poses "
                f"only '{mine.action.follows}' can be had in the robot's"
            )
        if stream.kind in ("joints", "text") or (have is not None and have.shape == stream.shape):
            continue
        what = f"has {list(have.shape)}" if have is not None else "does not have it"
        raise DatasetError(
            f"{robot.source} wants '{stream.key}' {list(stream.shape)}, '{dataset.root}' {what}: want a contract of this "
            "robot with streams that a hand records"
        )


def _squeezed(robot: Contract, squeeze: float) -> Callable[[np.ndarray], np.ndarray]:
    """Return what makes targets of joint positions [N]: fingers are told to close by up to `squeeze` [m] more."""
    kinematics = Kinematics.of(robot)
    fingers = [i for i, name in enumerate(robot.joint_names) if name not in kinematics.tip_joints]
    lower, upper = kinematics.lower[fingers], kinematics.upper[fingers]

    def targets(joints: np.ndarray) -> np.ndarray:
        told = joints.copy()
        closed = (upper - joints[fingers]) / (upper - lower)
        told[fingers] = np.clip(joints[fingers] - squeeze * closed, lower, upper)
        return told

    return targets


def _write(
    writer: DatasetWriter,
    dataset: Dataset,
    report: EpisodeReport,
    goals: np.ndarray,
    rows: range,
    targets: Callable[[np.ndarray], np.ndarray],
) -> None:
    robot, index, joints = writer.contract, report.episode, report.found.joints
    frames = {s.key: dataset.frames(s.key, index) for s in robot.streams("image")}
    copied = [s.key for s in robot.streams() if s.kind not in ("image", "joints", "text", "pose")]
    followed = [s.key for s in robot.streams("pose")]  # see `check_streams`
    columns = {key: dataset.column(key, index) for key in copied}
    stamps = dataset.column(STAMP, index)
    columns_of = [robot.state.names.index(name) for name in robot.action.names if name in robot.state.names]
    pose = robot.action.space == "ee_pose"
    writer.start_episode(dataset.episodes[index].task)
    count = len(sync_names(robot))
    for row in rows:
        action = targets(joints[row + 1])[columns_of]
        writer.add_frame(
            {
                **{key: values[row] for key, values in frames.items()},
                **{key: values[row] for key, values in columns.items()},
                **{key: goals[row].astype(np.float32) for key in followed},
                robot.state.key: joints[row].astype(np.float32),
                "action": np.concatenate([goals[row + 1], action]) if pose else action,
                AGE: np.zeros(count, dtype=np.float32),
                STAMP: np.full(count, int(stamps[row].max()), dtype=np.int64),
            }
        )
