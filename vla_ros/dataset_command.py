"""vla-ros dataset: the commands for datasets. Each imports what it needs when it runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from vla_ros import umi_commands
from vla_ros.errors import DatasetError

app = typer.Typer(help="Look into datasets, check, view, convert, merge and split them.", no_args_is_help=True)
umi_commands.register(app)

Root = Annotated[Path, typer.Argument(help="folder of the dataset")]
AsJson = Annotated[bool, typer.Option("--json", help="print JSON")]
Jobs = Annotated[int, typer.Option(help="processes that work side by side")]
Engine = Annotated[
    str, typer.Option(help="where the work is done: processes, dask:ADDRESS of a scheduler, ray:ADDRESS or ray:auto")
]
Episodes = Annotated[str, typer.Option(help="some of the episodes, such as 0-4,7; default: all")]


@app.command()
def info(root: Root, as_json: AsJson = False) -> None:
    """Print what a dataset holds: episodes, tasks, features, cameras, sizes, outcomes."""
    from vla_ros.data.tools.summary import describe, summary

    figures = describe(root)
    print(json.dumps(figures, indent=2) if as_json else "\n".join(summary(figures)))


@app.command()
def check(
    root: Root,
    episodes: Episodes = "",
    jobs: Jobs = 1,
    engine: Engine = "processes",
    video: Annotated[bool, typer.Option(help="decode the videos; otherwise only count their frames")] = True,
    as_json: AsJson = False,
) -> None:
    """Find what spoils training; exit code 1 if anything found is serious."""
    from vla_ros.data.tools.check import check_dataset

    report = check_dataset(root, episode_list(episodes) if episodes else None, jobs, engine, video)
    if as_json:
        print(json.dumps(report.to_json(), indent=2))
    else:
        for finding in report.findings:
            print(finding.line())
        notices = len(report.findings) - report.serious
        print(f"{root}: {report.episodes} episodes, {report.frames} rows: {report.serious} serious, {notices} notices")
    raise typer.Exit(1 if report.serious else 0)


@app.command()
def view(
    root: Root,
    output: Annotated[Path | None, typer.Option(help="file of the page; default: view.html in the dataset")] = None,
    episodes: Episodes = "",
    embed: Annotated[bool, typer.Option("--embed", help="carry the videos in the page")] = False,
    rerun: Annotated[Path | None, typer.Option(help="write a Rerun recording to this .rrd file instead")] = None,
) -> None:
    """Make one HTML page with plots and videos, or a Rerun recording."""
    chosen = episode_list(episodes) if episodes else None
    if rerun is not None:
        from vla_ros.data.tools.view.rerun_file import write_rerun

        print(write_rerun(root, rerun, chosen))
        return
    from vla_ros.data.tools.view.page import write_page

    print(write_page(root, output or root / "view.html", chosen, embed))


@app.command()
def merge(
    roots: Annotated[list[Path], typer.Argument(help="folders of the datasets, in the order of their episodes")],
    output: Annotated[Path, typer.Option(help="folder of the new dataset")],
) -> None:
    """Make one dataset of several of one contract; videos are copied, never re-encoded."""
    from vla_ros.data.tools.rearrange import merge as run

    _tell(run(roots, output), output)


@app.command()
def split(
    root: Root,
    part: Annotated[
        list[str], typer.Option(help="NAME=SHARE, such as train=0.8, or NAME=EPISODES, such as val=3,8-11; once a part")
    ],
    output: Annotated[Path, typer.Option(help="folder in which each part becomes a dataset of its name")],
    seed: Annotated[int, typer.Option(help="draws the episodes of shares")] = 0,
) -> None:
    """Make several datasets of one, by shares or by lists of episodes."""
    from vla_ros.data import Dataset
    from vla_ros.data.tools.rearrange import split as run

    parts = split_parts(part, Dataset(root).num_episodes, seed)
    for name, notes in run(root, parts, output).items():
        _tell(notes, output / name)


@app.command()
def remove(
    root: Root,
    episodes: Annotated[str, typer.Option(help="episodes to leave out, such as 0-4,7")],
    output: Annotated[Path | None, typer.Option(help="folder of the new dataset; default: in place")] = None,
) -> None:
    """Leave episodes out; in place the dataset is exchanged for the new one at one instant."""
    from vla_ros.data.tools.rearrange import remove as run

    _tell(run(root, episode_list(episodes), output), output or root)


@app.command()
def stats(
    root: Root,
    repair: Annotated[bool, typer.Option("--repair", help="put right what is wrong")] = False,
    video: Annotated[bool, typer.Option("--video", help="also those of pictures, which are decoded")] = False,
    jobs: Jobs = 1,
    engine: Engine = "processes",
) -> None:
    """Compare the stored statistics with the data; exit code 1 if they differ and are not repaired."""
    from vla_ros.data.tools.restat import restat

    differences = restat(root, repair, video, jobs, engine)
    for line in differences:
        print(line)
    verdict = "repaired" if repair and differences else "differ" if differences else "good"
    print(f"{root}: statistics {verdict}" + (f": {len(differences)} differences" if differences else ""))
    raise typer.Exit(1 if differences and not repair else 0)


@app.command()
def recover(
    root: Root,
    name: Annotated[str, typer.Option(help="of one recording; default: all")] = "",
    success: Annotated[bool, typer.Option("--success", help="label what is recovered as a success")] = False,
) -> None:
    """Make episodes of recordings that were cut short, up to their last whole row."""
    from vla_ros.data.recovery import recover as run

    for index in run(root, name or None, success):
        print(f"episode {index}: recovered")
    _tell([], root)


@app.command("merge-files")
def merge_files(root: Root) -> None:
    """Make few files of many, of the sizes that the format states; nothing is encoded again."""
    from vla_ros.data.merge import merge_files as run

    print(f"{root}: {run(root).text}")


@app.command("from-bag")
def from_bag(
    bags: Annotated[list[Path], typer.Argument(help="rosbag2 folders (sqlite3 or MCAP), or .mcap or .db3 files")],
    output: Annotated[Path, typer.Option(help="folder of the dataset; appended to if it exists")],
    contract: Annotated[str, typer.Option(help="contract file, or its name in config/contracts")] = "tabletop_arm",
    task: Annotated[str, typer.Option(help="instruction; default: what the bag's text topic says")] = "",
    success: Annotated[bool, typer.Option(help="outcome, for a bag without the recorder's events")] = True,
    jobs: Jobs = 1,
    engine: Engine = "processes",
) -> None:
    """Make episodes of bags, by the code that records live; recorder_node's episodes if it was recorded too."""
    from vla_ros.contract import load_contract
    from vla_ros.data.bags.many import from_bags as run

    for one in run(bags, load_contract(contract), output, task, success, jobs, engine, say=print):
        stale = "".join(f", {rows} rows with an old {key}" for key, rows in one.stale_rows.items())
        print(f"episode {one.episode}: {one.rows} rows{stale}")
    _tell([], output)


@app.command("to-bag")
def to_bag(
    root: Root,
    output: Annotated[Path, typer.Option(help="folder of the new bag")],
    episodes: Episodes = "",
) -> None:
    """Write a dataset as an MCAP bag of rosbag2, with the contract's topics."""
    from vla_ros.data.bags.writing import to_bag as run

    count = run(root, output, episode_list(episodes) if episodes else None)
    print(f"{output}: {count} messages")


def split_parts(texts: list[str], episodes: int, seed: int) -> dict[str, list[int]]:
    """Return the episodes of each part that NAME=SHARE or NAME=EPISODES texts describe. Raises DatasetError."""
    from vla_ros.data.tools.rearrange import fractions

    specs = dict(text.partition("=")[::2] for text in texts)
    wrong = [text for text in texts if not all(text.partition("=")[::2]) or "/" in text.partition("=")[0]]
    if wrong or len(specs) < len(texts):
        raise DatasetError(f"part '{(wrong or texts)[0]}': want different NAME=SHARE or NAME=EPISODES")
    shares = {name: spec for name, spec in specs.items() if "." in spec}
    if not shares:
        return {name: episode_list(spec) for name, spec in specs.items()}
    if len(shares) < len(specs):
        raise DatasetError(f"parts {', '.join(texts)}: want shares only, such as 0.8, or lists of episodes only")
    try:
        return fractions(episodes, {name: float(spec) for name, spec in shares.items()}, seed)
    except ValueError:
        raise DatasetError(f"parts {', '.join(texts)}: a share is a number such as 0.8") from None


def _tell(notes: list[str], output: Path) -> None:
    from vla_ros.data import Dataset

    for note in notes:
        print(note)
    dataset = Dataset(output)
    print(f"{output}: {dataset.num_episodes} episodes, {dataset.num_frames} rows")


def episode_list(text: str) -> list[int]:
    """Return the episodes that text such as ``0-4,7`` names, in its order. Raises DatasetError."""
    chosen: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdigit() or (dash and not last.isdigit()):
            raise DatasetError(f"episodes '{text}': '{part}' is not a number or a range; valid: such as 0-4,7")
        chosen += range(int(first), int(last or first) + 1)
    twice = [index for index in chosen if chosen.count(index) > 1]
    if twice:
        raise DatasetError(f"episodes '{text}' names {twice[0]} twice")
    return chosen
