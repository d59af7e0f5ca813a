"""``vla-ros teleop`` and ``vla-ros calibrate leader``: teaching by hand."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from vla_ros.teleop.options import ARM_JOINTS, LEADER_TIP, LEADER_URDF, MODE, SCALE

ContractName = Annotated[str, typer.Option(help="contract file, or its name in config/contracts")]


def register(app: typer.Typer, bench: typer.Typer, calibrate: typer.Typer) -> None:
    """Add the commands, each to its group."""
    app.command("teleop")(teleop)
    bench.command("teleop")(bench_teleop)
    bench.command("mocap")(bench_mocap)
    bench.command("keypoints")(bench_keypoints)
    bench.command("taught")(bench_taught)
    calibrate.command("leader")(calibrate_leader)


def teleop(
    device: Annotated[str, typer.Option(help="its address, 'keyboard' for this terminal, or left=...,right=...")] = "",
    show: Annotated[bool, typer.Option("--list", help="name the devices, and the serial ports that are here")] = False,
    contract: ContractName = "tabletop_arm",
    task: str = "pick_place",
    seed: Annotated[int, typer.Option(help="seed of the scene")] = 0,
    sim: Annotated[bool, typer.Option(help="bring the simulated arm up too")] = True,
    mode: Annotated[str, typer.Option(help=MODE.what)] = MODE.default,
    scale: Annotated[float, typer.Option(help=SCALE.what)] = SCALE.default,
    record: Annotated[Path | None, typer.Option(help="folder of the dataset that recorder_node writes")] = None,
    checkpoint: Annotated[
        Path | None, typer.Option(help="policy that has the arm until you take the clutch; you correct it")
    ] = None,
    leader_urdf: Annotated[str, typer.Option(help=LEADER_URDF.what)] = LEADER_URDF.default,
    leader_tip: Annotated[str, typer.Option(help=LEADER_TIP.what)] = LEADER_TIP.default,
    arm_joints: Annotated[str, typer.Option(help=ARM_JOINTS.what)] = ARM_JOINTS.default,
) -> None:
    """Lead the arm by hand: simulation, gate and teleop_node with a device. Enter takes and releases the clutch."""
    from vla_ros.teleop.registry import DEVICES

    if show or not device:
        from vla_ros.teleop.servo_bus import serial_ports

        width = max(len(kind.address) for kind in DEVICES.values())
        for kind in DEVICES.values():
            print(f"{kind.address:{width}}  {kind.what}")
        print(f"serial ports: {', '.join(serial_ports()) or 'none'}")
        return
    from vla_ros.ros.teleop import Session, lead

    parameters: dict[str, bool | int | float | str] = {"mode": mode, "scale": scale}
    parameters |= {"leader_urdf": leader_urdf, "leader_tip": leader_tip, "arm_joints": arm_joints}
    folders = {"checkpoint": str(checkpoint or ""), "record": str(record or "")}
    raise typer.Exit(lead(Session(device, contract, task, seed, sim, parameters=parameters, **folders)))


def bench_teleop(
    seconds: Annotated[float, typer.Option(help="how long to measure")] = 20.0,
    device: Annotated[str, typer.Option(help="emulated servo bus: dynamixel, feetech")] = "dynamixel",
    contract: ContractName = "tabletop_arm",
) -> None:
    """Print how quickly and how truly the simulated arm follows an emulated leader arm."""
    from vla_ros.ros.bench_teleop import teleop as run

    run(seconds, device, contract)


def bench_keypoints(
    seconds: Annotated[float, typer.Option(help="how long to look")] = 15.0,
    arm: Annotated[bool, typer.Option("--arm", help="at a person's arm, not at a hand alone")] = False,
) -> None:
    """Print how truly MediaPipe sees a drawn hand that moves before two emulated cameras."""
    from vla_ros.keypoints.bench import measure

    print(measure(seconds, arm).text())


def bench_taught(
    output: Annotated[Path, typer.Option(help="folder for demonstrations, checkpoint and report")],
    device: Annotated[
        str, typer.Option(help="emulated device in the scripted operator's hand: dynamixel, feetech, ...")
    ] = "",
    task: str = "pick_place",
    episodes: Annotated[int, typer.Option(help="demonstrations")] = 100,
    seed: Annotated[int, typer.Option(help="of the first demonstration")] = 0,
    policy: Annotated[str, typer.Option(help="name under config/policies, or a file")] = "act_aim",
    steps: Annotated[int | None, typer.Option(help="optimiser steps; default: the policy file's")] = None,
    trials: Annotated[int, typer.Option(help="to evaluate in lockstep")] = 100,
    contract: ContractName = "tabletop_arm",
    dataset: Annotated[
        Path | None, typer.Option(help="demonstrations made otherwise, instead of any by DEVICE")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="go on with what OUTPUT holds")] = False,
) -> None:
    """Teach through a device, train on that alone, evaluate: does it record what training needs?"""
    from vla_ros.ros.bench_taught import WANTED, Teaching
    from vla_ros.ros.bench_taught import taught as run

    setting = Teaching(device, output, task, episodes, seed, policy, steps, trials, contract, dataset, resume)
    report = run(setting, lambda line: print(line, flush=True))
    raise typer.Exit(0 if report.successes >= WANTED * trials else 1)


def bench_mocap(
    seconds: Annotated[float, typer.Option(help="how long to measure")] = 20.0,
    device: Annotated[
        str, typer.Option(help="emulated tracker: natnet, webxr; with --live vive and vrpn too")
    ] = "natnet",
    contract: ContractName = "tabletop_arm",
    frequency: Annotated[float, typer.Option(help="[Hz] of the hand's motion of 100 mm")] = 0.2,
    live: Annotated[
        bool, typer.Option("--live", help="through the running graph, on a machine that is not busy")
    ] = False,
) -> None:
    """Print how truly the simulated arm follows a hand that an emulated tracker sees."""
    if live:
        from vla_ros.ros.bench_mocap import mocap as run_live

        raise typer.Exit(0 if run_live(seconds, device, contract, frequency) else 1)
    from vla_ros.teleop.retargeting_bench import follow

    followed = follow(device, contract, seconds, frequency)
    print(followed.text(device, frequency))
    raise typer.Exit(0 if followed.good else 1)


def calibrate_leader(
    device: Annotated[str, typer.Argument(help="such as dynamixel:///dev/ttyUSB0?baud=1000000")],
    output: Annotated[Path, typer.Option(help="the file to write")] = Path("leader.yaml"),
    contract: ContractName = "tabletop_arm",
    ids: Annotated[str, typer.Option(help="servo ids in the order of the contract's joints, 1,2,3,...")] = "",
    home: Annotated[
        str, typer.Option(help="angles [rad] of the pose to begin in, 0.0,-0.5,...; default: all zero")
    ] = "",
) -> None:
    """Calibrate a leader arm: move it by hand as you are told, and press Enter."""
    from vla_ros.contract import load_contract
    from vla_ros.kinematics import Kinematics
    from vla_ros.teleop.calibrate import calibrate_leader as run

    robot = Kinematics.of(load_contract(contract))
    ends = {
        name: (float(low), float(high))
        for name, low, high in zip(robot.joint_names, robot.lower, robot.upper, strict=True)
        if name not in robot.tip_joints
    }
    pose = dict(zip(robot.tip_joints, _numbers(home, "--home"), strict=False))
    made = run(
        device,
        robot.joint_names,
        ends,
        output,
        sys.stdin,
        lambda line: print(line, flush=True),
        [int(number) for number in _numbers(ids, "--ids")],
        pose,
    )
    for name, joint in made.joints.items():
        way = "opens and closes" if joint.ends else f"zero {joint.zero}, direction {joint.direction:+d}"
        print(f"{name:16} servo {joint.id:3}  {joint.range_min:5} to {joint.range_max:5} ticks  {way}")
    print(f"saved {output}: vla-ros teleop --device '{device}{'&' if '?' in device else '?'}calibration={output}'")


def _numbers(text: str, option: str) -> list[float]:
    from vla_ros.errors import DeviceError

    try:
        return [float(word) for word in text.split(",") if word]
    except ValueError:
        raise DeviceError(f"{option} is '{text}', want numbers with commas between") from None
