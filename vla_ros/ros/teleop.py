"""`vla-ros teleop`: a graph with a person's device, and the terminal as its clutch."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field

from rclpy.context import Context
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from std_srvs.srv import Trigger

from vla_ros.errors import DeviceError
from vla_ros.ros.graph import NodeSpec, Value, bring_up
from vla_ros.ros.lifecycle import make_executor
from vla_ros.ros.up import run_up
from vla_ros.teleop.keyboard import HELP
from vla_ros.teleop.registry import clutch_of, is_live

CLUTCH = "/teleop_node/toggle_clutch"


@dataclass(frozen=True)
class Session:
    """What `vla-ros teleop` brings up. checkpoint: of a policy that has the arm until the clutch is taken, "" for none.

    record: folder of the dataset, "" for none. parameters: of teleop_node.
    """

    device: str
    contract: str = "tabletop_arm"
    task: str = "pick_place"
    seed: int = 0
    sim: bool = True
    checkpoint: str = ""
    record: str = ""
    parameters: Mapping[str, Value] = field(default_factory=dict)

    def specs(self) -> list[NodeSpec]:
        """Return the nodes. Raises DeviceError for a device that is none."""
        device = with_terminal(self.device)
        return bring_up(
            self.contract,
            sim=self.sim,
            task=self.task,
            seed=self.seed,
            checkpoint=self.checkpoint or None,
            teleop=device,
            teleop_parameters=self.parameters if is_live(device) else None,
            record=self.record or None,
            source="policy" if self.checkpoint else "teleop",
            intervention=bool(self.checkpoint),
        )


def lead(session: Session) -> int:
    """Bring arm, gate and device up until Ctrl-C; return the exit code. Raises DeviceError for a device that is none."""
    return run_up(session.specs(), once_active=lambda: _begin(session.device))


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
    if own := clutch_of(device):
        print(HELP if device.startswith("keyboard") else f"clutch: {own}", flush=True)
    elif sys.stdin.isatty():
        print("Enter takes the clutch, and releases it.", flush=True)
        threading.Thread(target=_toggle, name="clutch", daemon=True).start()


def _toggle() -> None:
    context = Context()
    context.init()
    node = Node("clutch_of_terminal", context=context, enable_rosout=False)
    executor = make_executor(context)
    executor.add_node(node)
    client = node.create_client(Trigger, CLUTCH)
    for _ in sys.stdin:
        try:
            answer = client.call_async(Trigger.Request())
            executor.spin_until_future_complete(answer, timeout_sec=5.0)
        except ExternalShutdownException:
            return
        print(f"clutch {answer.result().message if answer.done() else 'does not answer'}", flush=True)
