"""How truly the simulated arm does what a tracked hand does: an emulated tracker, teleop_node, gate, physics, live."""

from __future__ import annotations

import sys
import threading
import time
from bisect import bisect_left
from collections.abc import Callable
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from scipy.spatial.transform import Rotation
from sensor_msgs.msg import JointState
from trajectory_msgs.msg import JointTrajectory

from vla_ros.contract import load_contract
from vla_ros.emulators import make_emulator
from vla_ros.emulators.hand import EmulatedHand
from vla_ros.errors import DeviceError, GraphError
from vla_ros.kinematics import Kinematics
from vla_ros.ros import qos
from vla_ros.ros.bench import machine, node_spun_aside
from vla_ros.ros.bench_teleop import Watcher
from vla_ros.ros.convert import from_time
from vla_ros.ros.graph import bring_up
from vla_ros.ros.realtime import SWITCH_INTERVAL
from vla_ros.ros.up import Graph
from vla_ros.teleop.retargeting_bench import AMPLITUDE, SWING, figures

SETTLING = 2.0  # [s] that the hand is at rest first
ATTEMPTS = 5  # to have a motion that a busy machine does not interrupt
DEADLINE = 60.0  # [s]
LONGEST_LAG = 0.3  # [s] that the arm may be behind the hand
WANTED = 5.0  # [mm]
TRACKERS = ("natnet", "vive", "vrpn", "webxr")


def mocap(seconds: float, device: str, contract: str, frequency: float) -> bool:
    """Print how far the arm's tip is from where the hand is, and what the operator is told. Return whether it is as wanted.

    Motions count from the moment of engagement on, by the hand's own time: the error holds the lag of the whole path. A
    second figure is without the lag: the tip's distance from the hand's path.
    """
    if device not in TRACKERS:
        raise DeviceError(f"bench mocap: '{device}' is no tracker; valid: {', '.join(TRACKERS)}")
    sys.setswitchinterval(SWITCH_INTERVAL)
    print(machine())
    emulator: Any = make_emulator(device)
    hand: EmulatedHand = emulator.hand
    hand.amplitude = hand.swing = 0.0
    kinematics = Kinematics.of(load_contract(contract))
    with emulator:
        specs = bring_up(contract, task="reach", teleop=emulator.address, source="teleop")
        with Graph(specs) as graph, node_spun_aside() as node:
            graph.wait_ready()
            watcher, tips = Watcher(node, load_contract(contract).action.command.topic), Tips(node, kinematics)
            watcher.lead(graph.check)
            _wait(tips.told, graph.check)
            for attempt in range(ATTEMPTS):
                hand.amplitude = hand.swing = 0.0
                time.sleep(SETTLING)
                start, begun = tips.poses[-1][1], hand.at(0)
                tips.clear()
                hand.began = time.time_ns()
                hand.amplitude, hand.swing, hand.frequency = AMPLITUDE, SWING, frequency
                time.sleep(seconds)
                graph.check()
                if not tips.interrupted:
                    break
                print(
                    f"attempt {attempt + 1}: led {tips.led:.1f} s, then the machine was late and the clutch tied anew"
                )
            if tips.interrupted:
                print(f"no {seconds:g} s without a break: the machine is too busy to measure on")
                return False
            errors, angles, away = tips.errors(hand, begun, start)
    told = tips.figures.get("retargeting_error_mm", "nothing")
    print(
        f"{device}, a hand that moves {2e3 * AMPLITUDE:.0f} mm and turns {np.degrees(2 * SWING):.0f} degrees at {frequency:g} Hz"
    )
    print(f"tip from where the hand is now:   {figures(errors)} mm, {figures(angles)} degrees")
    print(f"tip from the hand's path:         {figures(away)} mm (want {WANTED:g} mm at most)")
    print(f"told live in /diagnostics:        {told} mm between what is asked for and what the joints give")
    return bool(away.max() < WANTED)


class Tips:
    """Keeps where the arm's tip was, and what teleop_node says of itself."""

    def __init__(self, node: Any, kinematics: Kinematics) -> None:
        self._kinematics, self._lock = kinematics, threading.Lock()
        self.figures: dict[str, str] = {}
        self.clear()
        node.create_subscription(JointTrajectory, "/teleop/chunk", self._on_chunk, qos.reliable(100))
        node.create_subscription(JointState, "/joint_states", self._on_joints, qos.reliable(100))
        node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, qos.COMMAND)

    def clear(self) -> None:
        """Forget what was seen."""
        with self._lock:
            self.poses: list[tuple[int, np.ndarray]] = []  # stamp [ns], pose [7], until the hand does not lead any more
            self.interrupted = False

    @property
    def led(self) -> float:
        """How long the hand led [s]."""
        return (self.poses[-1][0] - self.poses[0][0]) / 1e9

    def told(self) -> bool:
        """Return whether the arm is led and its state is known."""
        return bool(self.poses) and "retargeting_error_mm" in self.figures

    def errors(self, hand: EmulatedHand, begun: np.ndarray, start: np.ndarray) -> tuple[np.ndarray, ...]:
        """Return the tip's distance from where the hand is [mm], in angle [degrees], and from its path [mm]."""
        with self._lock:
            poses = list(self.poses)
        first, last = poses[0][0], poses[-1][0]
        grid = np.arange(first - round(LONGEST_LAG * 1e9), last, 2_000_000)
        path = np.array([hand.at(max(int(t), hand.began))[:3] for t in grid]) - begun[:3]
        errors, angles, away = [], [], []
        for stamp, pose in poses:
            now = hand.at(max(stamp, hand.began))
            moved = pose[:3] - start[:3]
            errors.append(np.linalg.norm(moved - (now[:3] - begun[:3])))
            asked = Rotation.from_quat(now[3:]) * Rotation.from_quat(begun[3:]).inv()
            turned = Rotation.from_quat(pose[3:]) * Rotation.from_quat(start[3:]).inv()
            angles.append((asked.inv() * turned).magnitude())
            recent = slice(bisect_left(grid, stamp - round(LONGEST_LAG * 1e9)), bisect_left(grid, stamp) + 1)
            away.append(np.linalg.norm(path[recent] - moved, axis=1).min())
        return 1e3 * np.array(errors), np.degrees(angles), 1e3 * np.array(away)

    def _on_joints(self, message: JointState) -> None:
        joints = dict(zip(message.name, message.position, strict=True))
        pose = self._kinematics.pose([joints[name] for name in self._kinematics.joint_names])
        with self._lock:
            if not self.interrupted:
                self.poses.append((from_time(message.header.stamp), pose))

    def _on_chunk(self, message: JointTrajectory) -> None:
        self.interrupted = self.interrupted or not message.points

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            if status.name == "teleop_node":
                self.figures = {pair.key: pair.value for pair in status.values}


def _wait(condition: Callable[[], bool], alive: Callable[[], None]) -> None:
    end = time.monotonic() + DEADLINE
    while not condition():
        alive()
        if time.monotonic() > end:
            raise GraphError(f"the hand did not lead within {DEADLINE:.0f} s; is the machine overloaded?")
        time.sleep(0.05)
