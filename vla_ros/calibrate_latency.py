"""``vla-ros calibrate latency``: how late each stream is, by a small motion of one joint; written into the contract."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer

from vla_ros.errors import CalibrationError, unknown_name

if TYPE_CHECKING:
    from vla_ros.contract import Contract
    from vla_ros.latency import Latency
    from vla_ros.ros.calibrate_latency import Seen

NEGATIVE = 0.005  # [s] below zero that is taken for zero, with three times the uncertainty


def latency(
    contract: Annotated[
        Path, typer.Option(help="contract file of the running robot; the latencies are written into it")
    ],
    joint: Annotated[
        str, typer.Option(help="the joint that is moved; it should move what the cameras see")
    ] = "shoulder_pan",
    amplitude: Annotated[float, typer.Option(help="[rad, m] to either side of where the joint is")] = 0.05,
    seconds: Annotated[float, typer.Option(help="length of the motion", min=4.0)] = 8.0,
    stream: Annotated[list[str] | None, typer.Option(help="measure these streams alone; repeat for several")] = None,
    arm_lag: Annotated[
        float | None,
        typer.Option(help="[s] by which the arm is known to follow its command: then the joint states' latency too"),
    ] = None,
    output: Annotated[Path | None, typer.Option(help="write a copy of the contract here instead")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="measure and print, write nothing")] = False,
) -> None:
    """Move one joint a little through the gate; find how late cameras and wrench show it, against the joint states."""
    from vla_ros.contract import load_contract
    from vla_ros.contract_edit import write_latency
    from vla_ros.ros.calibrate_latency import KINDS, record_motion

    robot = load_contract(contract)
    valid = [spec.key for spec in robot.streams(*KINDS)]
    for key in stream or ():
        if key not in valid:
            raise CalibrationError(unknown_name("stream", key, valid))
    seen = record_motion(robot, joint, amplitude, seconds, stream or ())
    found, refused = evaluate(robot, seen, joint, arm_lag, print)
    file = Path(robot.source)
    target = output or file
    if found and not dry_run:
        for number, (key, result) in enumerate(found.items()):
            write_latency(target if number and output else file, key, max(0.0, result.seconds), output)
        print(f"{target}: latency of {', '.join(found)} written")
    raise typer.Exit(0 if found or not refused else 1)


def evaluate(
    robot: Contract, seen: Seen, joint: str, arm_lag: float | None, say: Callable[[str], None] = print
) -> tuple[dict[str, Latency], dict[str, str]]:
    """Return the latencies of the streams that showed the motion, and why the others' cannot be told; `say` each.

    Cameras and wrenches are compared with the joint states, less their latency in the contract. The joint states are compared
    with the setpoints that the gate sent: the arm's own lag is in that, and they get a latency only where `arm_lag` [s] is
    known.
    """
    from vla_ros.latency import estimate

    at = robot.joint_names.index(joint)
    state = robot.state
    times, positions = seen.signal(state.key, state, at)
    command = (np.array(seen.command[0]), np.array(seen.command[1]))
    found: dict[str, Latency] = {}
    refused: dict[str, str] = {}
    following = estimate(command, (times, positions), state.key)
    say(f"{state.key}: follows the setpoints by {following.text}, the arm's own lag and the stream's latency together")
    reference = (times - state.latency, positions)
    if arm_lag is not None:
        found[state.key] = _less(following, arm_lag)
        reference = (times - found[state.key].seconds, positions)
    for key in seen.streams:
        if key == state.key:
            continue
        try:
            result = estimate(reference, seen.signal(key, robot.observation[key], at), key)
            if result.seconds < -NEGATIVE - 3.0 * result.uncertainty:
                raise CalibrationError(
                    f"{key}: {result.text}: earlier than the joint states; give --arm-lag for their latency"
                )
        except CalibrationError as error:
            refused[key] = str(error)
            say(str(error))
            continue
        found[key] = result
        say(f"{key}: {result.text}")
    return found, refused


def _less(found: Latency, lag: float) -> Latency:
    from vla_ros.latency import Latency

    return Latency(found.seconds - lag, found.uncertainty, found.correlation)
