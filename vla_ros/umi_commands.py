"""vla-ros dataset from-umi, feasible, replay, retarget: datasets that a hand has recorded, and what a robot makes of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vla_ros.errors import DatasetError

if TYPE_CHECKING:
    from vla_ros.feasible import Placement

Root = Annotated[Path, typer.Argument(help="folder of a dataset that was recorded without a robot")]
Robot = Annotated[str, typer.Option(help="the robot: its contract file, or its name in config/contracts")]
Place = Annotated[
    str, typer.Option(help="pose of the recording's frame in the robot's root: x,y,z or x,y,z,qx,qy,qz,qw [m]")
]
Tip = Annotated[str, typer.Option(help="pose of the robot's tip in the recorded tool's frame, likewise")]
Opening = Annotated[
    float, typer.Option(help="[m] between the recorded fingers for a wide open gripper; 0: twice its joint's range")
]
Episodes = Annotated[str, typer.Option(help="some of the episodes, such as 0-4,7; default: all")]
MOST_MM, MOST_DEGREES = 3.0, 1.0  # of the tool from the recorded path


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("from-umi")(from_umi)
    app.command("feasible")(feasible)
    app.command("replay")(replay)
    app.command("retarget")(retarget)


def from_umi(
    file: Annotated[Path, typer.Argument(help="replay buffer of UMI: a .zarr.zip file or a .zarr folder")],
    output: Annotated[Path, typer.Option("--output", "--out", help="folder of the dataset; appended to if it exists")],
    task: Annotated[str, typer.Option(help="instruction of the episodes, which the file does not hold")],
    fps: Annotated[float, typer.Option(help="frames a second that the file holds")] = 59.94,
    every: Annotated[int, typer.Option(help="take each so many-th frame; UMI trains with 3")] = 3,
    gripper: Annotated[int, typer.Option(help="number of the gripper whose motion is the action")] = 0,
) -> None:
    """Make a dataset of one that UMI has published; needs zarr, and imagecodecs for the public sets' pictures."""
    from vla_ros.data import Dataset
    from vla_ros.data.from_umi import from_umi as run

    run(file, output, task, fps, every, gripper, say=print)
    dataset = Dataset(output)
    print(f"{output}: {dataset.num_episodes} episodes, {dataset.num_frames} rows")


def feasible(
    root: Root,
    robot: Robot,
    place: Place = "0,0,0",
    tip: Tip = "0,0,0",
    opening: Opening = 0.0,
    episodes: Episodes = "",
    least: Annotated[float, typer.Option(help="exit code 1 below this part of all rows", min=0.0, max=1.0)] = 0.9,
) -> None:
    """Say which part of each demonstration a robot's kinematics, workspace and speed can repeat, and why not the rest."""
    from vla_ros.contract import load_contract
    from vla_ros.data import Dataset
    from vla_ros.data.tools.feasible import feasible as run

    rows = good = whole = count = 0
    where = placement(place, tip, opening)
    for report in run(Dataset(root), load_contract(robot), where, _chosen(episodes)):
        print("\n".join(report.lines()))
        found = report.found
        rows, good = rows + found.rows, good + round(found.share * found.rows)
        whole, count = whole + (not found.spans), count + 1
    share = good / max(rows, 1)
    print(f"{root} on {robot}: {share:.1%} of {rows} rows, {whole} of {count} episodes whole")
    raise typer.Exit(0 if share >= least else 1)


def replay(
    root: Root,
    robot: Robot = "tabletop_arm_ee",
    place: Place = "0,0,0",
    tip: Tip = "0,0,0",
    opening: Opening = 0.0,
    episodes: Episodes = "",
    slower: Annotated[float, typer.Option(help="by which factor; 0: as much as the episode needs", min=0.0)] = 0.0,
) -> None:
    """Replay on the simulated arm, through the gate in lockstep; exit code 1 if the tool is off by over 3 mm or 1 degree."""
    import numpy as np

    from vla_ros.contract import load_contract
    from vla_ros.data import Dataset
    from vla_ros.data.tools.feasible import replay as run

    wrong = count = 0
    done = run(Dataset(root), load_contract(robot), placement(place, tip, opening), _chosen(episodes), slower or None)
    for report, factor, rows, result in done:
        count += 1
        if result is None:
            wrong += 1
            print(f"episode {report.episode}: nothing is in reach: {report.found.spans[0].reason}")
            continue
        off = 1e3 * result.far.max() > MOST_MM or np.degrees(result.turned.max()) > MOST_DEGREES
        wrong += bool(off or result.stopped)
        print(
            f"episode {report.episode}: {len(rows)} of {report.found.rows} rows, {factor:.2f} times slower: {result.summary()}",
            flush=True,
        )
    print(f"{root} on {robot}: {count - wrong} of {count} episodes within {MOST_MM:g} mm and {MOST_DEGREES:g} degree")
    raise typer.Exit(1 if wrong else 0)


def retarget(
    root: Root,
    robot: Robot,
    output: Annotated[Path, typer.Option(help="folder of the robot's dataset; appended to if it exists")],
    place: Place = "0,0,0",
    tip: Tip = "0,0,0",
    opening: Opening = 0.0,
    least: Annotated[float, typer.Option(help="leave episodes out of which less than this part is feasible")] = 0.9,
    squeeze: Annotated[
        float, typer.Option(min=0.0, help="[m] that each finger is told to close further, to press on what it holds")
    ] = 0.0,
) -> None:
    """Make the robot's own dataset of what it can repeat: joints by inverse kinematics, actions in its own space."""
    from vla_ros.contract import load_contract
    from vla_ros.data import Dataset
    from vla_ros.data.tools.feasible import retarget as run

    dataset = Dataset(root)
    made = run(dataset, load_contract(robot), placement(place, tip, opening), output, least, print, squeeze)
    print(f"{output}: {made} of {dataset.num_episodes} episodes")


def placement(place: str, tip: str, opening: float) -> Placement:
    """Return where the recording is, of the options' texts. Raises DatasetError."""
    from vla_ros.feasible import Placement

    return Placement(_pose(place, "--place"), _pose(tip, "--tip"), opening or None)


def _pose(text: str, what: str) -> tuple[float, ...]:
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        values = []
    norm = sum(value**2 for value in values[3:]) ** 0.5
    if len(values) == 3:
        return (*values, 0.0, 0.0, 0.0, 1.0)
    if len(values) != 7 or not 0.9 < norm < 1.1:
        raise DatasetError(f"{what} '{text}': want x,y,z or x,y,z,qx,qy,qz,qw with a unit quaternion")
    return (*values[:3], *(value / norm for value in values[3:]))


def _chosen(text: str) -> list[int] | None:
    from vla_ros.dataset_command import episode_list

    return episode_list(text) if text else None
