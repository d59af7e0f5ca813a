"""Cameras at full rate through driver, DDS and alignment: frames lost on the way, and how old they are at the policy."""

from __future__ import annotations

import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
from rclpy.node import Node
from sensor_msgs.msg import JointState

from vla_ros.action import NANOSECONDS
from vla_ros.contract import Contract, parse_contract
from vla_ros.emulators.clip import write_clip
from vla_ros.errors import GraphError
from vla_ros.inference import ObservationFeed
from vla_ros.observation import Aligner
from vla_ros.ros import qos
from vla_ros.ros.bench import START_DEADLINE, machine, node_spun_aside
from vla_ros.ros.convert import joints_to_message
from vla_ros.ros.graph import NodeSpec
from vla_ros.ros.realtime import SWITCH_INTERVAL
from vla_ros.ros.subscribe import observe
from vla_ros.ros.up import Graph

SIZE, RATE = (640, 480), 30
SETTLE = 3.0  # [s] after the first frames, before counts begin
WANTED = 15.0  # [ms] of age beyond the camera's own latency, p99


class _Policy:
    """Receives and aligns as policy_node does, and notes when each frame and each whole observation was there."""

    def __init__(self, node: Node, contract: Contract) -> None:
        self._feed = ObservationFeed(Aligner(contract))
        self._lock = threading.Lock()
        self.cameras = [spec.key for spec in contract.streams("image")]
        self.clear()
        observe(node, contract, self._feed, on_sample=self._on_sample)  # type: ignore[arg-type]
        joints = node.create_publisher(JointState, contract.state.topic, qos.COMMAND)
        zeros = dict.fromkeys(contract.joint_names, 0.0)
        node.create_timer(0.005, lambda: joints.publish(joints_to_message(time.time_ns(), zeros, zeros, zeros)))

    def clear(self) -> None:
        """Begin to count."""
        with self._lock:
            self.stamps: dict[str, list[int]] = {key: [] for key in self.cameras}  # [ns]
            self.ages: dict[str, list[float]] = {key: [] for key in self.cameras}  # [s]
            self.observations: list[float] = []  # [s] age when the last of its streams was there

    def seen(self) -> bool:
        """Return whether every camera was heard."""
        return all(self.stamps.values())

    def align_for(self, seconds: float) -> None:
        """Wait for each new observation and look at it, as a policy that needs no time would."""
        end, last, period = time.monotonic() + seconds, 0, NANOSECONDS // RATE
        while time.monotonic() < end:
            self._feed.wait_reached(last + period // 2, 1.0 / RATE)
            now = time.time_ns()
            observation = self._feed.latest(now)
            if observation.valid and observation.stamp >= last + period // 2:
                last = observation.stamp
                self.observations.append((now - last) / NANOSECONDS)

    def _on_sample(self, key: str, stamp: int) -> None:
        now = time.time_ns()
        if key in self.stamps:
            with self._lock:
                self.stamps[key].append(stamp)
                self.ages[key].append((now - stamp) / NANOSECONDS)


def cameras(seconds: float = 60.0, count: int = 3, codec: str = "rawvideo") -> bool:
    """Print frames published, received and lost, and their ages; return whether none was lost and p99 is as wanted."""
    sys.setswitchinterval(SWITCH_INTERVAL)
    names = [f"camera_{number}" for number in range(1, count + 1)]
    module = "vla_ros.ros.nodes.camera_node"
    with tempfile.TemporaryDirectory(prefix="vla_ros_bench_") as scratch:
        kind = "avi" if codec == "rawvideo" else "mp4"  # an AVI has no times of H.264's pictures
        film = write_clip(Path(scratch) / f"film.{kind}", SIZE, RATE, RATE, codec)
        specs = [NodeSpec(name, module, {"device": film}, nice=-5) for name in names]
        with Graph(specs) as graph, node_spun_aside() as node:
            graph.wait_ready()
            policy = _Policy(node, _contract(names))
            end = time.monotonic() + START_DEADLINE
            while not policy.seen():
                graph.check()
                if time.monotonic() > end:
                    raise GraphError(f"not every camera was heard within {START_DEADLINE:.0f} s")
                time.sleep(0.05)
            policy.align_for(SETTLE)
            policy.clear()
            policy.align_for(seconds)
            graph.check()
            print(machine())
    return _report(policy)


def _report(policy: _Policy) -> bool:
    lost, ages = 0, []
    for key in policy.cameras:
        stamps = np.array(sorted(set(policy.stamps[key])))
        if len(stamps) < 2:
            raise GraphError(f"{key}: {len(stamps)} frames came while it was measured; is the machine overloaded?")
        published = round(float(stamps[-1] - stamps[0]) * RATE / NANOSECONDS) + 1
        lost += published - len(stamps)
        ages += policy.ages[key]
        print(
            f"{key}: {published} frames {SIZE[0]}x{SIZE[1]} published, {len(stamps)} received, {published - len(stamps)} lost; "
            f"age at the policy {_told(policy.ages[key])}"
        )
    told = _told(policy.observations)
    print(f"observations to act on: {len(policy.observations)}; age {told}")
    p99 = 1e3 * float(np.percentile(ages, 99))
    print(f"{lost} frames lost (want 0), p99 of the age beyond the camera's own latency {p99:.1f} ms (want {WANTED:g})")
    return lost == 0 and p99 <= WANTED


def _told(ages: list[float]) -> str:
    if not ages:
        return "unknown"
    p50, p99, worst = 1e3 * np.percentile(ages, [50, 99, 100])
    return f"p50 {p50:.1f}, p99 {p99:.1f}, max {worst:.1f} ms"


def _contract(names: list[str]) -> Contract:
    image = f"kind: image, shape: [{SIZE[1]}, {SIZE[0]}, 3], rate: {RATE}, max_age: 0.5"
    lines = [f"  observation.images.{name}: {{topic: /{name}/color/image_raw, {image}}}" for name in names]
    text = f"""
robot: bench_arm
urdf: none
rate: {RATE}
observation:
  observation.state: {{topic: /bench/joints, kind: joints, names: [a.pos], rate: 200, align: interpolate, max_age: 0.5}}
{chr(10).join(lines)}
action: {{space: joint_position, names: [a.pos], command: {{interface: forward, topic: /commands}}}}
limits: {{velocity: 1.0, acceleration: 5.0}}
"""
    return parse_contract(text, "bench cameras")
