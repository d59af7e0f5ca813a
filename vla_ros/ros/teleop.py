"""`vla-ros teleop`: a graph with a person's device, and the terminal as its clutch."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Mapping

from rclpy.context import Context
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from std_srvs.srv import SetBool

from vla_ros.errors import DeviceError
from vla_ros.ros.graph import NodeSpec, Value, bring_up
from vla_ros.ros.lifecycle import make_executor
from vla_ros.ros.up import run_up
from vla_ros.teleop.keyboard import HELP
from vla_ros.teleop.registry import is_live

CLUTCH = "/teleop_node/clutch"


def lead(
    device: str,
    contract: str,
    task: str,
    seed: int,
    sim: bool,
    record: str | None,
    parameters: Mapping[str, Value],
) -> int:
    """Bring arm, gate and device up until Ctrl-C; return the exit code. Raises DeviceError for a device that is none."""
    nodes = specs(with_terminal(device), contract, task, seed, sim, record, parameters)
    return run_up(nodes, once_active=lambda: _begin(device))


def specs(
    device: str, contract: str, task: str, seed: int, sim: bool, record: str | None, parameters: Mapping[str, Value]
) -> list[NodeSpec]:
    """Return the nodes: those of a bring-up, the device having the arm."""
    settings = dict(parameters) if is_live(device) else {}
    return bring_up(
        contract,
        sim=sim,
        task=task,
        seed=seed,
        teleop=device,
        teleop_parameters=settings,
        record=record,
        source="teleop",
    )


def with_terminal(device: str) -> str:
    """Return the address with the terminal that this process runs in, where a keyboard's names none."""
    name, mark, options = device.partition("?")
    if name.rstrip(":/") != "keyboard":
        return device
    try:
        return f"keyboard://{os.ttyname(sys.stdin.fileno())}{mark}{options}"
    except OSError:
        raise DeviceError("keyboard: this is no terminal; name one: keyboard:///dev/pts/0") from None


def _begin(device: str) -> None:
    """Tell how to begin; with a device whose clutch is not its own, make Enter the clutch."""
    if device.startswith("keyboard:") or device == "keyboard":
        print(HELP, flush=True)
    elif is_live(device) and sys.stdin.isatty():
        print("Enter takes the clutch, and releases it.", flush=True)
        threading.Thread(target=_toggle, name="clutch", daemon=True).start()


def _toggle() -> None:
    context = Context()
    context.init()
    node = Node("clutch_of_terminal", context=context, enable_rosout=False)
    executor = make_executor(context)
    executor.add_node(node)
    client, held = node.create_client(SetBool, CLUTCH), False
    for _ in sys.stdin:
        held = not held
        try:
            answer = client.call_async(SetBool.Request(data=held))
            executor.spin_until_future_complete(answer, timeout_sec=5.0)
        except ExternalShutdownException:
            return
        print(f"clutch {answer.result().message if answer.done() else 'does not answer'}", flush=True)
