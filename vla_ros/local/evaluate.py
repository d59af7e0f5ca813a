"""Evaluate a checkpoint in lockstep, in this process: the trials of `vla_ros.ros.evaluate`, without its graph."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from vla_ros.action import NANOSECONDS, ActionChunk
from vla_ros.contract import load_contract
from vla_ros.evaluate.report import Report, Trial, seeds
from vla_ros.inference import GridTicks, Inference
from vla_ros.local.arm import GatedArm, stopped
from vla_ros.observation import Aligner
from vla_ros.policy import load_policy
from vla_ros.policy.checkpoint import check_compatible, read_contract

SOURCE = "policy"


def evaluate(
    checkpoint: Path,
    task: str,
    episodes: int,
    seed: int,
    steps: int,
    instruction: str | None = None,
    contract: str = "",
    device: str = "cpu",
    say: Callable[[str], None] = print,
) -> Report:
    """Run the trials and return the report; `say` gets one line per trial.

    seed: of the first trial; trial i has seed + i. steps: grid steps between two inferences. contract: default the
    checkpoint's own. Raises VlaRosError's children when checkpoint, contract and task do not fit.
    """
    made = load_contract(contract or checkpoint / "contract.yaml")
    check_compatible(read_contract(checkpoint), made)
    policy = load_policy(checkpoint, device=device)
    driven = _Driven(Inference(made, policy), policy.capabilities.optional, task, steps)
    trials, threads = [], torch.get_num_threads()
    torch.set_num_threads(1)  # as policy_node's: with more, sums come out in another order
    try:
        for index, number in enumerate(seeds(seed, episodes)):
            trial = driven.trial(number, instruction)
            trials.append(trial)
            say(
                f"trial {index + 1}/{episodes} seed {number}: {trial.outcome} after {trial.seconds:.1f} s: "
                f"{trial.instruction}"
            )
    finally:
        torch.set_num_threads(threads)
    return Report(task, str(checkpoint), True, tuple(trials))


class _Driven:
    """An arm that a policy drives, as policy_node does in lockstep."""

    def __init__(self, inference: Inference, optional: Sequence[str], task: str, steps: int) -> None:
        contract = inference.contract
        self._inference = inference
        self._aligner = Aligner(contract, optional=optional)
        self._ticks = GridTicks(contract.rate, steps)
        history = any(spec.history > 1 for spec in contract.streams("image", "depth"))
        period = steps * NANOSECONDS / contract.rate

        def looks(now: int) -> bool:
            return history or abs(now - round(now / period) * period) < 1.0  # the grid is rounded to whole nanoseconds

        self._arm = GatedArm(contract, task, self._aligner.push, looks)

    def trial(self, seed: int, instruction: str | None) -> Trial:
        arm = self._arm
        self._aligner.reset()
        self._inference.reset()
        self._ticks.reset()
        scene = arm.reset(seed, instruction)
        arm.gate.select(SOURCE, 0)
        arm.hear(self._chunk(0))
        outcome = ""
        while not (arm.world.success() or arm.world.failure() or outcome):
            outcome = stopped(arm.advance(self._chunk))
        status = arm.world.status()
        seconds = round(arm.world.time if outcome else float(status["time"]), 3)
        return Trial(seed, scene.instruction, arm.world.success(), seconds, outcome or str(status["message"]))

    def _chunk(self, now: int) -> ActionChunk | None:
        """Return the chunk of the newest instant at which the policy is asked, up to `now` [ns]; None when it has answered."""
        chunk = None
        while self._ticks.now <= now:
            chunk = self._inference.act(self._aligner.align(self._ticks.now))
            self._ticks.advance()
        return chunk
