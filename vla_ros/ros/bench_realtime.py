"""The whole graph in real time, measured by what its nodes say of themselves: is every tick met on this machine?"""

from __future__ import annotations

import threading
import time
from pathlib import Path

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.node import Node

from vla_ros.contract import load_contract
from vla_ros.ros.bench import machine, node_spun_aside
from vla_ros.ros.graph import STEPS, bring_up
from vla_ros.ros.qos import COMMAND
from vla_ros.ros.up import Graph

SETTLE = 5.0  # [s] after which counts begin
SHOWN = {
    "mujoco_node": ("real-time factor", "late ticks [%]", "time given up [s]", "frames dropped"),
    "gate_node": ("state", "period p50 [ms]", "jitter p99 [ms]", "jitter max [ms]", "missed ticks", "scheduling"),
    "policy_node": ("ticks", "missed", "held", "forward_p50_ms", "forward_p99_ms"),
}


class _Listener:
    """The newest diagnostics of every node."""

    def __init__(self, node: Node) -> None:
        self.values: dict[str, dict[str, str]] = {}
        self.heard = threading.Event()
        node.create_subscription(DiagnosticArray, "/diagnostics", self._hear, COMMAND)

    def _hear(self, message: DiagnosticArray) -> None:
        for status in message.status:
            self.values[status.name] = {pair.key: pair.value for pair in status.values}
        if all(name in self.values for name in SHOWN):
            self.heard.set()


def realtime(
    checkpoint: Path, seconds: float = 30.0, task: str = "pick_place", seed: int = 0, steps: int = STEPS
) -> None:
    """Run policy, gate and simulated arm in real time for `seconds` and print how each kept its rate."""
    print(machine())
    contract = str(checkpoint / "contract.yaml")
    rate = load_contract(contract).rate / steps
    specs = bring_up(contract, task=task, seed=seed, checkpoint=str(checkpoint), steps=steps, source="policy")
    with Graph(specs) as graph, node_spun_aside() as node:
        listener = _Listener(node)
        graph.wait_ready(120.0)
        listener.heard.wait(60.0)
        time.sleep(SETTLE)
        before = dict(listener.values["policy_node"])
        time.sleep(seconds)
        graph.check()
        after = listener.values
    for name, keys in SHOWN.items():
        print(f"{name}: " + ", ".join(f"{key} {after[name][key]}" for key in keys if key in after[name]))
    ticks, missed = (int(after["policy_node"][k]) - int(before[k]) for k in ("ticks", "missed"))
    share = missed / max(1, ticks + missed)
    print(f"policy at {rate:g} Hz for {seconds:.0f} s: {ticks} ticks, {missed} missed ({share:.2%})")
