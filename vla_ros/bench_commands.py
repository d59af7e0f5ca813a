"""`vla-ros bench record | record-kill | loader | parsers | encoders | edge | cameras`: what is lost, and time."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import typer

Output = Annotated[Path | None, typer.Option(help="new folder for the dataset; by default a temporary one")]


def register(app: typer.Typer) -> None:
    """Add the commands to the group of benchmarks."""
    app.command("record")(record)
    app.command("record-kill")(record_kill)
    app.command("loader")(loader)
    app.command("encoders")(encoders)
    app.command("parsers")(parsers)
    app.command("edge")(edge)
    app.command("cameras")(cameras)
    app.command("ablation")(ablation)


def record(
    minutes: Annotated[float, typer.Option(help="length of the recorded episode")] = 5.0,
    codec: Annotated[str, typer.Option(help="video encoder: libx264, libsvtav1, libx265")] = "libx264",
    slower: Annotated[int, typer.Option(help="divide all rates by so much, on a machine that is too busy")] = 1,
    output: Output = None,
) -> None:
    """Record 4 cameras 640x480, joints 500 Hz, wrench 1 kHz and 2 taxel pads through ROS; count what was lost."""
    from vla_ros.ros.bench_record import run

    with tempfile.TemporaryDirectory(prefix="vla_ros_bench_") as scratch:
        report = run(minutes * 60.0, output or Path(scratch) / "dataset", codec, slower)
    print(report.text)
    raise typer.Exit(0 if report.good else 1)


def record_kill(
    kills: Annotated[int, typer.Option(help="how often the recorder is killed")] = 200,
    seed: Annotated[int, typer.Option(help="of the moments")] = 0,
    output: Output = None,
) -> None:
    """Kill a recorder at random moments, while it records, saves, recovers and merges; check what is left."""
    from vla_ros.data.bench_kill import record_kill as run

    with tempfile.TemporaryDirectory(prefix="vla_ros_bench_") as scratch:
        report = run(kills, output or Path(scratch) / "dataset", seed)
    print(report.text)
    raise typer.Exit(0 if report.good else 1)


def loader(
    dataset: Annotated[Path, typer.Option(help="folder of the dataset")],
    seconds: Annotated[float, typer.Option(help="how long each loader is measured")] = 15.0,
    chunk: Annotated[int, typer.Option(help="actions in a sample")] = 50,
    lerobot_python: Annotated[
        Path | None, typer.Option(help="Python of an environment with LeRobot, to measure its loader too")
    ] = None,
) -> None:
    """Print random-access training samples a second, and LeRobot's on the same dataset."""
    from vla_ros.data.bench_loader import loader as run

    run(dataset, seconds, chunk, lerobot=lerobot_python)


def encoders(
    only: Annotated[list[str] | None, typer.Option(help="encoders whose names begin so; repeat for several")] = None,
    seconds: Annotated[float, typer.Option(help="how long each batch size of each encoder is measured")] = 2.0,
    threads: Annotated[int, typer.Option(help="threads of torch: with one, the processor's time is measured")] = 1,
) -> None:
    """Print time at batch 1 and 8, tokens and parameters of each encoder, on this machine's CPU, with random weights."""
    import torch

    from vla_ros.encoders.bench import HEADER, bench

    before = torch.get_num_threads()
    torch.set_num_threads(max(1, threads))
    clock = "time on the processor" if threads <= 1 else "wall time"
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, width 256, {clock} of the fastest pass")
    print(HEADER)
    try:
        for timing in bench(only or [], seconds):
            print(timing.row, flush=True)
    finally:
        torch.set_num_threads(before)


def parsers(
    packets: Annotated[int, typer.Option(help="random or spoiled packets for each parser")] = 1_000_000,
    only: Annotated[str, typer.Option(help="this parser alone")] = "",
    seed: Annotated[int, typer.Option(help="of the packets")] = 0,
) -> None:
    """Feed the parsers of the sensors' drivers random and spoiled packets; count the exceptions that leave them."""
    from vla_ros.drivers.parsers import PARSERS, fuzz
    from vla_ros.errors import DeviceError, unknown_name

    if only and only not in PARSERS:
        raise DeviceError(unknown_name("parser", only, PARSERS))
    defects = 0
    for name in [only] if only else sorted(PARSERS):
        report = fuzz(name, packets, seed)
        defects += sum(report.defects.values())
        print(report.text, flush=True)
    raise typer.Exit(0 if defects == 0 else 1)


def edge(
    checkpoint: Annotated[
        Path | None, typer.Option(help="policy whose pictures are encoded; default: the shipped one")
    ] = None,
    seconds: Annotated[float, typer.Option(help="how long each kind of number is measured")] = 10.0,
) -> None:
    """Encode the cameras' pictures in their nodes; print the bandwidth saved and whether the actions agree."""
    from vla_ros.paths import share_path
    from vla_ros.ros.bench_edge import edge as run

    run(checkpoint or share_path("config/checkpoints/tabletop_act"), seconds)


def cameras(
    seconds: Annotated[float, typer.Option(help="how long to measure")] = 60.0,
    count: Annotated[int, typer.Option(help="cameras of 640x480 pixels at 30 Hz", min=1)] = 3,
    codec: Annotated[
        str, typer.Option(help="of the film they play: rawvideo (YUYV, as a USB camera sends), libx264")
    ] = "rawvideo",
) -> None:
    """Send cameras' pictures through driver, DDS and alignment; count what is lost and print how old they are."""
    from vla_ros.ros.bench_cameras import cameras as run

    raise typer.Exit(0 if run(seconds, count, codec) else 1)


def ablation(
    task: Annotated[str, typer.Option(help="task of the simulated arm; made for it: weigh, insert")] = "weigh",
    output: Annotated[
        Path | None, typer.Option(help="folder for demonstrations, checkpoints, reports; what is there is used")
    ] = None,
    demonstrations: Annotated[int, typer.Option(help="of the scripted operator")] = 300,
    trials: Annotated[int, typer.Option(help="in lockstep, for each of the two policies")] = 100,
    policy: Annotated[str, typer.Option(help="name under config/policies, or a file")] = "act_felt",
    steps: Annotated[int | None, typer.Option(help="optimiser steps; default: the policy file's")] = None,
    horizon: Annotated[int, typer.Option(help="grid steps between two inferences")] = 24,
    seed: Annotated[int, typer.Option(help="of the first demonstration, and of the weights")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:0, ...")] = "auto",
) -> None:
    """Train one policy with wrench and touch and once more without, on the same demonstrations; compare their success."""
    from vla_ros.local.ablation import Ablation, table
    from vla_ros.local.ablation import ablation as run

    folder = output or Path(f"ablation_{task}")
    setting = Ablation(task, folder, demonstrations, trials, policy, steps, horizon, seed, device)
    print(table(run(setting, say=lambda line: print(line, flush=True))))
    print(f"report {folder / 'report.json'}")
