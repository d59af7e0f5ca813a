"""vla-ros dataset: the commands for datasets. Each imports what it needs when it runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from vla_ros.errors import DatasetError

app = typer.Typer(help="Look into datasets, check, view, convert, merge and split them.", no_args_is_help=True)

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
