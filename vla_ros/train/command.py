"""`vla-ros train`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from vla_ros.errors import PolicyError


def command(
    dataset: Annotated[list[Path], typer.Option(help="LeRobot v3 dataset folder; repeat to train on several")],
    output: Annotated[Path, typer.Option(help="checkpoint folder to write")],
    policy: Annotated[str, typer.Option(help="name under config/policies, or a file")] = "act",
    steps: Annotated[int | None, typer.Option(help="optimiser steps; default: the policy file's")] = None,
    batch: Annotated[int | None, typer.Option(help="samples a step; default: the policy file's")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:0, ...")] = "auto",
    seed: Annotated[int, typer.Option(help="of the weights, the held-out episodes and every draw")] = 0,
    resume: Annotated[bool, typer.Option("--resume", help="continue from the last saved step in OUTPUT")] = False,
    init: Annotated[Path | None, typer.Option(help="begin with the weights of this checkpoint (fine-tuning)")] = None,
    until: Annotated[int | None, typer.Option(help="save and stop at this step, to be resumed later")] = None,
    contract: Annotated[str | None, typer.Option(help="train for this contract, such as tabletop_arm_ee")] = None,
    cache: Annotated[Path | None, typer.Option(help="keep decoded frames here for the next training")] = None,
    compiled: Annotated[bool, typer.Option("--compile", help="torch.compile the loss")] = False,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="KEY=VALUE in the file's stead: training.ema=0.99")
    ] = None,
) -> None:
    """Train a policy on a dataset: progress bar here, loss curves for TensorBoard in OUTPUT/curves."""
    from vla_ros.train.loop import train

    result = train(
        dataset,
        policy,
        output,
        steps=steps,
        batch=batch,
        device=device,
        seed=seed,
        resume=resume,
        until=until,
        contract=contract,
        cache=cache,
        compiled=compiled,
        overrides=_overrides(set_ or []),
        init=init,
    )
    held_out = ", ".join(f"{name} {value:.4f}" for name, value in result.validation.items()) or "none"
    speed = result.steps / max(result.seconds, 1e-9)
    typer.echo(
        f"{result.output}: {result.steps} steps, loss {result.loss:.4f}, held out {held_out}; "
        f"{result.seconds:.0f} s, {speed:.1f} step/s"
    )


def _overrides(items: list[str]) -> dict[str, Any]:
    import yaml

    overrides = {}
    for item in items:
        key, equals, value = item.partition("=")
        if not equals:
            raise PolicyError(f"--set {item!r}: want KEY=VALUE, such as training.batch=32")
        overrides[key] = yaml.safe_load(value)
    return overrides
