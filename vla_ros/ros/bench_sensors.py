"""The sensors of `vla-ros bench record`: processes that publish at full rate, with values that tell their time.

Run as ``python -m vla_ros.ros.bench_sensors``. Parameters: ``part`` (cameras or numbers) and ``start`` [ns].
"""

from __future__ import annotations

import array
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
import rclpy
from rclpy.node import Node
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import String
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from vla_ros.contract import Contract, parse_contract
from vla_ros.ros import qos
from vla_ros.ros.convert import image_to_message, msg_type_for, to_duration, to_time, wrench_to_message
from vla_ros.ros.environment import READY
from vla_ros.ros.params import declare

SECOND = 1_000_000_000
SIZE = (480, 640)
CAMERAS = ("front", "left", "right", "wrist")
PADS = ("left", "right")
JOINTS = tuple("abcdefg")
RATES = {"camera": 30, "joints": 500, "wrench": 1000, "pad": 100, "gate": 100}
PHASE = 0.4  # of a camera's period, by which its frames follow the grid of the rows
AHEAD = SECOND // 50  # of the gate's setpoints
BITS, BLOCK = 16, 40  # of the number that a picture carries; [px]


def contract() -> Contract:
    """Return the contract of the recorded robot."""
    lines = [f"  observation.images.{c}: {{topic: /{c}, kind: image, shape: [480, 640, 3], rate: 30}}" for c in CAMERAS]
    lines += [
        f"  observation.tactile.{p}: {{topic: /{p}_pad, kind: taxels, shape: [4, 4, 3], rate: 100}}" for p in PADS
    ]
    names = ", ".join(f"{name}.pos" for name in JOINTS)
    text = f"""
robot: bench_arm
urdf: none
rate: 30
observation:
  observation.state: {{topic: /joint_states, kind: joints, names: [{names}], align: interpolate, rate: 500}}
  observation.wrench.tool: {{topic: /wrench, kind: wrench, history: 33, rate: 1000}}
{chr(10).join(lines)}
  task: {{topic: /instruction, kind: text}}
action: {{space: joint_position, names: [{names}], command: {{interface: forward, topic: /commands}}}}
limits: {{velocity: 1.0, acceleration: 5.0}}
"""
    return parse_contract(text, "bench record")


def number_in(frame: npt.NDArray[np.uint8]) -> int:
    """Return the number that a picture carries."""
    middles = frame[BLOCK // 2 : 2 * BLOCK : BLOCK, BLOCK // 2 : 8 * BLOCK : BLOCK].mean(axis=2).reshape(-1)
    return int(sum(1 << bit for bit in range(BITS) if middles[bit] > 128))


class Painter:
    """Makes a camera's pictures: a textured background that moves, and the picture's number in black and white."""

    def __init__(self, seed: int) -> None:
        noise = np.random.default_rng(seed).integers(40, 216, (30, 40, 3), dtype=np.uint8)
        ground = cv2.resize(noise, SIZE[::-1], interpolation=cv2.INTER_CUBIC)
        self._grounds = [np.roll(ground, 2 * shift, axis=1) for shift in range(30)]

    def picture(self, number: int) -> npt.NDArray[np.uint8]:
        """Return picture `number`, uint8 [480, 640, 3]."""
        picture = self._grounds[number % len(self._grounds)].copy()
        for bit in range(BITS):
            y, x = BLOCK * (bit // 8), BLOCK * (bit % 8)
            picture[y : y + BLOCK, x : x + BLOCK] = 235 if number >> bit & 1 else 20
        return picture


@dataclass
class Source:
    """One stream: its next sample's index since 1970, and what publishes sample k, stamped [ns]."""

    rate: float
    phase: float
    publish: Callable[[int, int], None]
    index: int = 0

    def stamp(self) -> int:
        """Return the stamp of the next sample [ns]."""
        return round((self.index + self.phase) * SECOND / self.rate)


def cameras(node: Node) -> list[Source]:
    """Return the cameras, whose pictures tell their number."""

    def source(name: str, seed: int) -> Source:
        publisher, painter = node.create_publisher(Image, f"/{name}", qos.COMMAND), Painter(seed)

        def publish(k: int, stamp: int) -> None:
            publisher.publish(image_to_message(stamp, name, painter.picture(k % (1 << BITS)), "rgb8"))

        return Source(RATES["camera"], PHASE, publish)

    return [source(name, seed) for seed, name in enumerate(CAMERAS)]


def numbers(node: Node, start: int) -> list[Source]:
    """Return the other streams, whose values are the seconds since `start` [ns]."""
    joints = node.create_publisher(JointState, "/joint_states", qos.COMMAND)
    wrench = node.create_publisher(msg_type_for("wrench"), "/wrench", qos.COMMAND)
    pads = [node.create_publisher(Image, f"/{pad}_pad", qos.COMMAND) for pad in PADS]
    gate = node.create_publisher(JointTrajectory, "/gate/action", qos.COMMAND)
    text = node.create_publisher(String, "/instruction", qos.LATCHED)
    text.publish(String(data="record everything"))

    def seconds(stamp: int) -> float:
        return (stamp - start) / SECOND

    def send_joints(k: int, stamp: int) -> None:
        message = JointState(name=list(JOINTS), position=array.array("d", [seconds(stamp)] * len(JOINTS)))
        message.header.stamp = to_time(stamp)
        joints.publish(message)

    def send_pads(k: int, stamp: int) -> None:
        for pad, publisher in zip(PADS, pads, strict=True):
            values = np.full((4, 4, 3), seconds(stamp), dtype=np.float32)
            publisher.publish(image_to_message(stamp, pad, values, "32FC3"))

    def send_action(k: int, stamp: int) -> None:
        message = JointTrajectory(joint_names=[f"{name}.pos" for name in JOINTS])
        message.header.stamp = to_time(stamp)
        positions = [seconds(stamp + AHEAD)] * len(JOINTS)
        message.points = [JointTrajectoryPoint(positions=positions, time_from_start=to_duration(AHEAD))]
        gate.publish(message)

    return [
        Source(RATES["joints"], 0.0, send_joints),
        Source(
            RATES["wrench"],
            0.0,
            lambda k, stamp: wrench.publish(wrench_to_message(stamp, "tool0", [seconds(stamp)] * 6)),
        ),
        Source(RATES["pad"], 0.0, send_pads),
        Source(RATES["gate"], 0.0, send_action),
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    """Publish until told to stop; what is late is published late, with the stamp it should have had."""
    rclpy.init(args=arguments)
    node = Node("bench_sensors")
    part = declare(node, "part", "cameras", "which sensors: cameras or numbers", read_only=True)
    start = int(declare(node, "start", "0", "the time that values count from [ns]", read_only=True))
    sources = cameras(node) if part == "cameras" else numbers(node, start)
    now = time.time_ns()
    for source in sources:
        source.index = int(now * source.rate // SECOND) + 1
    print(f"{READY} {node.get_name()}", flush=True)
    try:
        while rclpy.ok():
            due = min(sources, key=Source.stamp)
            stamp = due.stamp()
            if (wait := stamp - time.time_ns()) > 0:
                time.sleep(wait / SECOND)
            due.publish(due.index, stamp)
            due.index += 1
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main(sys.argv)
