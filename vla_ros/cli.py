"""vla-ros: the one way in. Each command imports what it needs when it runs, so that `--help` is instant."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from vla_ros import bench_commands, teleop_commands
from vla_ros.calibrate_command import app as calibrate_app
from vla_ros.dataset_command import app as dataset_app
from vla_ros.doctor_command import command as doctor_command
from vla_ros.emulate_command import command as emulate_command
from vla_ros.encoders_command import app as encoders_app
from vla_ros.errors import GraphError, VlaRosError
from vla_ros.evaluate.report import Report
from vla_ros.keypoints.command import command as keypoint_models_command
from vla_ros.ros import lifeline
from vla_ros.ros.graph import STEPS
from vla_ros.train.command import command as train_command

app = typer.Typer(
    name="vla-ros",
    help="Vision-language-action models on ROS 2 arms.",
    no_args_is_help=True,
    add_completion=False,
)
contract_app = typer.Typer(help="Check and show contracts.", no_args_is_help=True)
bench_app = typer.Typer(help="Measure this machine.", no_args_is_help=True)
app.add_typer(contract_app, name="contract")
app.add_typer(bench_app, name="bench")
app.add_typer(dataset_app, name="dataset")
app.add_typer(encoders_app, name="encoders")
app.add_typer(calibrate_app, name="calibrate")
bench_commands.register(bench_app)
teleop_commands.register(app, bench_app, calibrate_app)

SHIPPED = "config/checkpoints/tabletop_act"
Seed = Annotated[int, typer.Option(help="seed of the first episode; episode i has seed + i")]
Lockstep = Annotated[bool, typer.Option(help="advance the simulation only when policy and gate have answered")]
Steps = Annotated[int, typer.Option(help="grid steps between two inferences")]
Local = Annotated[
    bool, typer.Option("--local", help="in this process, without ROS: the same, several times as fast; with --lockstep")
]
Raw = Annotated[bool, typer.Option("--raw", help="every message too, in an MCAP file beside each episode")]
ContractName = Annotated[str, typer.Option(help="contract file, or its name in config/contracts")]


@contract_app.command("check")
def contract_check(file: Path) -> None:
    """Read a contract and say what is wrong with it; also checks its joints against the URDF it names."""
    from vla_ros.contract import check_joints, load_contract
    from vla_ros.robot import load_urdf, movable_joints

    contract = load_contract(file)
    if not contract.robot_free:
        check_joints(contract, movable_joints(load_urdf(contract.urdf)))
    print(
        f"{contract.source}: good: {contract.robot}, {len(contract.observation)} streams at {contract.rate:g} Hz, "
        f"{len(contract.action.names)} actions in {contract.action.space}"
    )


@bench_app.command("gate")
def bench_gate(
    seconds: Annotated[float, typer.Option(help="how long to measure")] = 20.0,
    load: Annotated[int, typer.Option(help="busy processes beside the gate")] = 2,
    contract: ContractName = "tabletop_arm",
) -> None:
    """Print how steadily the gate keeps its period while other processes are busy."""
    from vla_ros.ros.bench import gate

    gate(seconds, load, contract)


@bench_app.command("transport")
def bench_transport(
    seconds: Annotated[float, typer.Option(help="how long to measure")] = 20.0,
    contract: ContractName = "tabletop_arm",
    task: str = "pick_place",
) -> None:
    """Print the time from an image's capture stamp to the published command, without a model's forward pass."""
    from vla_ros.ros.bench import transport

    transport(seconds, contract, task)


@bench_app.command("realtime")
def bench_realtime(
    seconds: Annotated[float, typer.Option(help="how long to measure")] = 30.0,
    checkpoint: Annotated[Path | None, typer.Option(help="policy to run; default: the shipped one")] = None,
    task: str = "pick_place",
    steps: Steps = STEPS,
) -> None:
    """Run the whole graph in real time and print how policy, gate and simulation kept their rates."""
    from vla_ros.paths import share_path
    from vla_ros.ros.bench_realtime import realtime

    realtime(checkpoint or share_path(SHIPPED), seconds, task, steps=steps)


@app.command()
def up(
    contract: ContractName = "tabletop_arm",
    task: str = "pick_place",
    seed: Seed = 0,
    checkpoint: Annotated[Path | None, typer.Option(help="policy to run; none: no policy node")] = None,
    instruction: str = "",
    lockstep: Lockstep = False,
    record: Annotated[Path | None, typer.Option(help="folder of the dataset to record; none: no recorder node")] = None,
    raw: Raw = False,
) -> None:
    """Bring the graph up on the embedded simulation and keep it up until Ctrl-C."""
    from vla_ros.ros.graph import bring_up
    from vla_ros.ros.up import run_up

    specs = bring_up(
        contract=contract,
        task=task,
        seed=seed,
        checkpoint=str(checkpoint) if checkpoint else None,
        instruction=instruction,
        lockstep=lockstep,
        source="policy" if checkpoint else "",
        record=str(record) if record else None,
        raw=raw,
    )
    raise typer.Exit(run_up(specs))


@app.command()
def collect(
    task: str = "pick_place",
    episodes: int = 10,
    seed: Seed = 0,
    output: Annotated[Path, typer.Option(help="folder of the dataset; appended to if it exists")] = Path(
        "demonstrations"
    ),
    contract: ContractName = "tabletop_arm",
    lockstep: Lockstep = True,
    resume: Annotated[
        bool, typer.Option("--resume", help="count what the dataset holds and go on with the next seed")
    ] = False,
    raw: Raw = False,
    cues: Annotated[
        str, typer.Option(help="what tells of begin and end: none, bell, voice (spd-say, espeak)")
    ] = "none",
    countdown: Annotated[int, typer.Option(min=0, help="[s] before each episode")] = 0,
    with_policy: Annotated[Path | None, typer.Option(help="checkpoint that drives; the operator corrects it")] = None,
    device: Annotated[
        str, typer.Option(help="scripted, or scripted://dynamixel: an emulated device in the operator's hand")
    ] = "scripted",
    record_as: Annotated[
        str, typer.Option(help="contract of the dataset, such as tabletop_hand: the arm stands in for a tracked hand")
    ] = "",
    local: Local = False,
) -> None:
    """Record demonstrations of the scripted operator, who leads the arm through teleop_node and the gate.

    On a terminal: s saves the episode, f saves it as failed, d discards it, r records it again, n notes something, q quits.
    """
    if local:
        _local(lockstep, raw=raw, with_policy=with_policy, device=device != "scripted", record_as=record_as)
        from vla_ros.local import demonstrate

        demonstrate(task, episodes, seed, output, contract, resume)
        return
    from vla_ros.ros.collect import collect as run

    run(
        task=task,
        episodes=episodes,
        seed=seed,
        output=output,
        contract=contract,
        lockstep=lockstep,
        resume=resume,
        raw=raw,
        cues=cues,
        countdown=countdown,
        policy=str(with_policy or ""),
        device=device,
        record_as=record_as,
    )


app.command("emulate")(emulate_command)
app.command("doctor")(doctor_command)
app.command("keypoint-models")(keypoint_models_command)
app.command("train", help="Fine-tune a policy on LeRobot datasets.")(train_command)


@app.command()
def evaluate(
    checkpoint: Annotated[Path, typer.Option(help="folder of the trained policy")],
    task: str = "pick_place",
    episodes: int = 50,
    seed: Seed = 1_000_000,
    lockstep: Lockstep = False,
    instruction: Annotated[str | None, typer.Option(help="say this instead of the scene's instruction")] = None,
    report: Annotated[Path | None, typer.Option(help="write the report to this JSON file")] = None,
    media: Annotated[Path | None, typer.Option(help="folder for a video and a picture of the first trial")] = None,
    contract: Annotated[str, typer.Option(help="contract of the robot; default: the checkpoint's own")] = "",
    steps: Steps = STEPS,
    view: Annotated[bool, typer.Option(help="show the front camera in a window")] = False,
    local: Local = False,
) -> None:
    """Run seeded trials of a checkpoint and print the success rate with its 95% Wilson interval."""
    if local:
        _local(lockstep, media=media, view=view)
        from vla_ros.local import evaluate as run

        _told(run(checkpoint, task, episodes, seed, steps, instruction, contract), report)
        return
    _evaluate(checkpoint, task, episodes, seed, lockstep, instruction, report, media, contract, steps, view)


@app.command()
def demo(
    episodes: int = 10,
    seed: Seed = 1_000_000,
    task: str = "pick_place",
    instruction: Annotated[str | None, typer.Option(help="say this instead of the scene's instruction")] = None,
    report: Annotated[Path | None, typer.Option(help="write the report to this JSON file")] = None,
    lockstep: Lockstep = True,
    media: Annotated[Path, typer.Option(help="folder for the video and the picture of the first trial")] = Path("demo"),
    view: Annotated[bool, typer.Option(help="show the front camera in a window")] = False,
) -> None:
    """Run the trained policy that ships with the package on the simulated arm."""
    from vla_ros.paths import share_path

    _evaluate(share_path(SHIPPED), task, episodes, seed, lockstep, instruction, report, media, "", STEPS, view)


def _evaluate(
    checkpoint: Path,
    task: str,
    episodes: int,
    seed: int,
    lockstep: bool,
    instruction: str | None,
    report: Path | None,
    media: Path | None,
    contract: str,
    steps: int,
    view: bool,
) -> None:
    from vla_ros.ros.evaluate import Evaluation
    from vla_ros.ros.evaluate import evaluate as run

    setting = Evaluation(checkpoint, task, episodes, seed, lockstep, instruction, contract, steps, media, view)
    _told(run(setting, say=lambda line: print(line, flush=True)), report)


def _told(result: Report, report: Path | None) -> None:
    print(result.summary())
    if report:
        result.write(report)
        print(f"report {report}")


def _local(lockstep: bool, **unwanted: object) -> None:
    """Raise GraphError naming the options that need the graph, which `--local` is without."""
    given = [f"--{name.replace('_', '-')}" for name, value in unwanted.items() if value]
    if given or not lockstep:
        what = ", ".join(given) or "real time"
        raise GraphError(f"--local has no graph, which {what} needs; it goes with --lockstep")


def main() -> None:
    """Run the command line; a VlaRosError becomes one line on stderr and exit code 1."""
    lifeline.hold()
    lifeline.disown()
    try:
        app()
    except VlaRosError as error:
        print(f"vla-ros: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
