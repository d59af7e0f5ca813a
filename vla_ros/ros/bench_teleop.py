"""How quickly, and how truly, the simulated arm follows a leader arm: an emulated servo bus, teleop_node, gate, physics."""

from __future__ import annotations

import sys
import tempfile
import threading
import time
from bisect import bisect_right
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from sensor_msgs.msg import JointState
from std_srvs.srv import SetBool
from trajectory_msgs.msg import JointTrajectory

from vla_ros.contract import load_contract
from vla_ros.emulators import make_emulator
from vla_ros.emulators.servos import TICKS, ServoBusEmulator
from vla_ros.errors import DeviceError, GraphError
from vla_ros.ros import qos
from vla_ros.ros.bench import machine, memory_of, node_spun_aside
from vla_ros.ros.convert import from_time
from vla_ros.ros.graph import bring_up
from vla_ros.ros.realtime import SWITCH_INTERVAL
from vla_ros.ros.up import Graph
from vla_ros.teleop.calibration import Calibration, ServoJoint

MOTION = 0.5  # [Hz] of the leader
TOGETHER = 4.0  # [s] in which leader and follower are led together
FOLLOWED = 20_000  # joint states by which following is judged, the last minute's: an hour's would fill the memory
DEADLINE = 60.0  # [s]
WATCHED = ("teleop_node", "gate_node")  # whose memory is told
WANTED_LATENCY, WANTED_ERROR = 8.0, 1.0  # [ms], [degrees]


def teleop(seconds: float = 20.0, device: str = "dynamixel", contract: str = "tabletop_arm") -> None:
    """Print the time from a device's sample to the chunk and to the command that follow, and the error of following."""
    sys.setswitchinterval(SWITCH_INTERVAL)
    print(machine())
    names = load_contract(contract).joint_names
    emulator = make_emulator(device)
    if not isinstance(emulator, ServoBusEmulator):
        raise DeviceError(f"bench teleop: '{device}' is no servo bus; valid: dynamixel, feetech")
    emulator.frequency = MOTION
    joints = {
        name: ServoJoint(i, 0, TICKS, ends=(0.0, 0.04) if name == "gripper" else None)
        for i, name in enumerate(names, 1)
    }
    with tempfile.TemporaryDirectory(prefix="vla_ros_bench_") as scratch, emulator:
        calibration = Path(scratch) / "leader.yaml"
        Calibration(joints).save(calibration)
        address = f"{emulator.address}?calibration={calibration}&baud=1000000"
        specs = bring_up(contract, task="reach", teleop=address, source="teleop")
        with Graph(specs) as graph, node_spun_aside() as node:
            graph.wait_ready()
            watcher = Watcher(node, load_contract(contract).action.command.topic)
            watcher.lead(graph.check)
            time.sleep(TOGETHER)
            watcher.clear()
            time.sleep(seconds / 4)
            early = {name: memory_of(graph.pid(name), "VmRSS") for name in WATCHED}
            time.sleep(3 * seconds / 4)
            late = {name: memory_of(graph.pid(name), "VmRSS") for name in WATCHED}
            graph.check()
            print(
                f"{device}, {len(names)} servos, read {watcher.rate(seconds):.0f} times a second, for {seconds:.0f} s"
            )
            to_chunk, to_command = watcher.latencies(list(emulator.answered))
            print(f"servos' answer to chunk published:        {_told(to_chunk)}")
            print(f"servos' answer to the command after that: {_told(to_command)} (want p99 {WANTED_LATENCY:g} ms)")
            grown = ", ".join(f"{name} {early[name]:.1f} to {late[name]:.1f} MB" for name in WATCHED)
            print(f"memory after {seconds / 4:.0f} s and after {seconds:.0f} s: {grown}")
            if stopped := [line for line in graph.log("gate_node").splitlines() if "estop: " in line]:
                reason = stopped[-1].partition("estop: ")[2]
                raise GraphError(f"the gate stopped the arm, so that it followed no longer: {reason}")
            turning = [name for name in names if joints[name].ends is None]
            errors = watcher.errors(emulator, [joints[name] for name in turning], turning)
            worst = turning[int(np.argmax(errors))]
            degrees = emulator.amplitude * 360.0 / TICKS
            print(
                f"following {degrees:.0f} degrees of motion at {MOTION:g} Hz on every joint: RMS error at most "
                f"{errors.max():.2f} degrees ({worst}; want {WANTED_ERROR:g}), mean {errors.mean():.2f} degrees"
            )


class Watcher:
    """Keeps when chunks and commands came, and where the arm was."""

    def __init__(self, node: Any, commands: str) -> None:
        self._lock = threading.Lock()
        self._clutch = node.create_client(SetBool, "/teleop_node/clutch")
        self.clear()
        node.create_subscription(JointTrajectory, "/teleop/chunk", self._on_chunk, qos.reliable(100))
        node.create_subscription(JointTrajectory, commands, self._on_command, qos.reliable(100))
        node.create_subscription(JointState, "/joint_states", self._on_joints, qos.reliable(100))

    def clear(self) -> None:
        """Forget what was seen."""
        with self._lock:
            self.chunks: list[tuple[int, int]] = []  # stamp, and when it came [ns]
            self.commands: list[int] = []  # when they came [ns]
            self.joints: deque[tuple[int, dict[str, float]]] = deque(maxlen=FOLLOWED)

    def lead(self, alive: Callable[[], None]) -> None:
        """Take the clutch and wait until chunks lead the arm."""
        end = time.monotonic() + DEADLINE
        asked = 0.0
        while not self.chunks:
            alive()
            if time.monotonic() > end:
                raise GraphError(f"the leader arm did not lead within {DEADLINE:.0f} s; is the machine overloaded?")
            if time.monotonic() - asked > 3.0 and self._clutch.service_is_ready():
                self._clutch.call_async(SetBool.Request(data=True))
                asked = time.monotonic()
            time.sleep(0.05)

    def rate(self, seconds: float) -> float:
        """Return chunks a second."""
        return len(self.chunks) / seconds

    def latencies(self, answers: list[int]) -> tuple[list[float], list[float]]:
        """Return [ms] from the last servos' answer before each chunk's stamp to the chunk, and to the next command."""
        to_chunk, to_command = [], []
        with self._lock:
            for stamp, came in self.chunks:
                index = bisect_right(answers, stamp)
                after = bisect_right(self.commands, came)
                if index and after < len(self.commands):
                    to_chunk.append((came - answers[index - 1]) / 1e6)
                    to_command.append((self.commands[after] - answers[index - 1]) / 1e6)
        return to_chunk, to_command

    def errors(self, emulator: ServoBusEmulator, joints: list[ServoJoint], names: list[str]) -> np.ndarray:
        """Return the RMS [degrees] by which each joint was away from its leader's at the same time."""
        with self._lock:
            away = [
                [
                    positions[name] - joint.position(emulator.ticks(stamp)[joint.id])
                    for name, joint in zip(names, joints, strict=True)
                ]
                for stamp, positions in self.joints
            ]
        return np.degrees(np.sqrt(np.mean(np.square(away), axis=0)))

    def _on_chunk(self, message: JointTrajectory) -> None:
        if message.points:
            with self._lock:
                self.chunks.append((from_time(message.header.stamp), time.time_ns()))

    def _on_command(self, message: JointTrajectory) -> None:
        with self._lock:
            self.commands.append(time.time_ns())

    def _on_joints(self, message: JointState) -> None:
        with self._lock:
            self.joints.append(
                (from_time(message.header.stamp), dict(zip(message.name, message.position, strict=True)))
            )


def _told(milliseconds: list[float]) -> str:
    p50, p99, worst = np.percentile(milliseconds, [50, 99, 100])
    return f"p50 {p50:.1f} ms, p99 {p99:.1f} ms, max {worst:.1f} ms"
