"""Which Python nodes a bring-up consists of, as plain data for `up.py` and ``launch/bringup.launch.py``.

Imports neither rclpy nor launch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from vla_ros.contract import load_contract
from vla_ros.errors import GraphError
from vla_ros.teleop.options import BY_NAME

# A policy that is asked at every step executes only the starts of its chunks, and a demonstration starts slowly: it
# hardly gets going. Executing 0.8 s of each chunk did best of 4, 8, 16, 24, 32 and 42 steps on both tasks.
STEPS = 24

Value = bool | int | float | str  # of a ROS parameter

# What the launch files hand on to teleop_node: default, as a word, and description by parameter.
HAND = {name: (str(option.default), option.what) for name, option in BY_NAME.items()}


@dataclass(frozen=True)
class NodeSpec:
    """One node: its name, which is also its executable's, its module and its parameters."""

    name: str
    module: str
    parameters: Mapping[str, Value] = field(default_factory=dict)
    nice: int = 0  # added to the priority where permitted: negative is more urgent
    required: bool = False  # without it the graph is of no use: its end ends the bring-up


def bring_up(
    contract: str = "tabletop_arm",
    *,
    sim: bool = True,
    task: str = "pick_place",
    seed: int = 0,
    instruction: str = "",
    checkpoint: str | None = None,
    device: str = "cpu",
    threads: int = 1,
    steps: int = STEPS,
    teleop: str | None = None,
    teleop_parameters: Mapping[str, Value] | None = None,
    record: str | None = None,
    codec: str | None = None,
    raw: bool = False,
    executor: str = "latest",
    lockstep: bool = False,
    source: str = "",
    intervention: bool = False,
    record_as: str = "",
) -> list[NodeSpec]:
    """Return the nodes of a bring-up, in the order in which they start.

    contract: a file, or a name in config/contracts. sim: the embedded MuJoCo arm; without it the drivers
    and controllers are someone else's. task, seed, instruction: of the simulated scene ("" for the scene's
    own words). checkpoint: the policy's folder, on torch `device` with so many CPU `threads`, inferring
    every `steps` grid steps; None for no policy. teleop: a device's address ("scripted"), None for none;
    teleop_parameters: further ones of its node. record: folder of the dataset that the recorder writes with
    video `codec`, None for none; with `raw`, every message beside it. executor: how the gate overlaps chunks.
    lockstep: simulated time advances only as granted on /sim/run_until and answered by the gate. source: who
    has the arm at first ("", policy, teleop). intervention: taking the clutch takes the arm from the policy.
    record_as: the recorder's contract, where it is another than the robot's; one without a robot, say.
    Raises GraphError for `raw` without `record`.
    """
    if raw and record is None:
        raise GraphError("raw recordings lie beside a dataset: give `record` the folder of one")
    common: dict[str, Value] = {"contract": contract}
    if lockstep:
        common |= {"use_sim_time": True, "lockstep": True}
    nodes = []
    if sim:
        scene: dict[str, Value] = {"task": task, "seed": seed, "instruction": instruction}
        nodes.append(_node("mujoco_node", common | scene, nice=-5, required=True))
    gate: dict[str, Value] = {"source": source, "executor": executor}
    if intervention:
        gate["intervention"] = True
    if checkpoint is not None:
        gate["source_period"] = steps / load_contract(contract).rate
    nodes.append(_node("gate_node", common | gate, nice=-10, required=True))
    if teleop is not None:
        asked: dict[str, Value] = {"device": teleop, "task": task, "seed": seed, **(teleop_parameters or {})}
        nodes.append(_node("teleop_node", common | asked))
    if record is not None:
        written: dict[str, Value] = {"root": record, "raw": raw}
        if record_as:
            written["contract"] = record_as
        if codec:
            written["codec"] = codec
        nodes.append(_node("recorder_node", common | written, nice=2))
    if checkpoint is not None:
        policy: dict[str, Value] = {
            "checkpoint": checkpoint,
            "device": device,
            "threads": threads,
            "steps": steps,
        }
        words: dict[str, Value] = {} if sim or not instruction else {"instruction": instruction}
        nodes.append(_node("policy_node", common | policy | words, nice=5))
    return [replace(node, nice=0) for node in nodes] if lockstep else nodes  # time waits: nobody need be urgent


def hand_parameters(given: Mapping[str, str]) -> dict[str, Value]:
    """Return teleop_node's parameters for the words that a launch file was given for each of HAND. Raises GraphError."""
    try:
        scale = float(given["scale"])
    except ValueError:
        raise GraphError(f"scale is '{given['scale']}', want a number") from None
    return {**given, "scale": scale}


def _node(name: str, parameters: dict[str, Value], nice: int = 0, required: bool = False) -> NodeSpec:
    return NodeSpec(name, f"vla_ros.ros.nodes.{name}", parameters, nice, required)
