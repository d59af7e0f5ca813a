"""policy_node: instruction and aligned observation in, action chunks out; inference in a thread of its own."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from rclpy.clock import Clock, ClockType
from rclpy.timer import Timer
from trajectory_msgs.msg import JointTrajectory

from vla_ros.action import NANOSECONDS, ActionChunk
from vla_ros.contract import check_joints
from vla_ros.inference import GridTicks, Inference, ObservationFeed
from vla_ros.observation import Aligner, Observation
from vla_ros.policy import load_policy
from vla_ros.policy.checkpoint import check_compatible, read_contract
from vla_ros.policy.edge import tokens_wanted
from vla_ros.robot import load_urdf, movable_joints
from vla_ros.ros.chunks import chunk_to_message
from vla_ros.ros.diagnostics import ERROR, OK, WARN, Diagnostics
from vla_ros.ros.fatal import die
from vla_ros.ros.lifecycle import ManagedNode, run_node
from vla_ros.ros.params import declare, declared_contract, declared_lockstep
from vla_ros.ros.qos import exchanged
from vla_ros.ros.realtime import SWITCH_INTERVAL
from vla_ros.ros.subscribe import observe
from vla_ros.tokens import with_tokens

REPORT_PERIOD = 0.2  # [s]
REPEAT_PERIOD = 0.1  # [s] of the sign of life between two chunks; the gate waits `limits.quiet` for one
STEADY = Clock(clock_type=ClockType.STEADY_TIME)


class PolicyNode(ManagedNode):
    """Publishes ``/policy/chunk``; an empty chunk says that the observation does not allow acting.

    Streams that the policy has as optional are masked while they are missing or too old, and diagnostics tell of it.

    In real time the last chunk is said again ten times a second, while it lasts, no stream is missing or too old, and
    this process works: the gate knows at once when that ends. An inference that is stuck silences it when the chunk
    is over.
    """

    def __init__(self) -> None:
        super().__init__("policy_node")
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._sending = threading.Lock()
        self._standing: tuple[ActionChunk, JointTrajectory] | None = None  # what may be said again
        self._timer: Timer | None = None

    def configure(self) -> None:
        """Read the parameters, load contract and checkpoint, and refuse what does not fit."""
        what = "streams that come encoded by the sensors' nodes, on their topic + /tokens"
        tokens = declare(self, "tokens", [""], what, read_only=True)
        self._contract = with_tokens(declared_contract(self), [key for key in tokens if key])
        checkpoint = declare(self, "checkpoint", "", "folder of the trained policy", read_only=True)
        device = declare(self, "device", "cpu", "torch device of the policy", read_only=True)
        threads = declare(self, "threads", 1, "CPU threads of one inference", (1, 64), read_only=True)
        self._lockstep = declared_lockstep(self)
        self._steps = declare(self, "steps", 1, "grid steps between two inferences", (1, 1000), read_only=True)
        instruction = declare(self, "instruction", "", "instruction to begin with; /instruction replaces it")

        check_joints(self._contract, movable_joints(load_urdf(self._contract.urdf)))
        check_compatible(read_contract(Path(checkpoint)), self._contract)
        torch.set_num_threads(threads)
        policy = load_policy(checkpoint, device=device)
        wanted = {s.key: tokens_wanted(policy, s.key) for s in self._contract.streams() if s.is_tokens}
        self._inference = Inference(self._contract, policy)
        self._feed = ObservationFeed(Aligner(self._contract, optional=policy.capabilities.optional))
        if instruction:
            self._feed.push("task", 0, instruction)
        self._chunks = self.create_publisher(JointTrajectory, "/policy/chunk", exchanged(10, self._lockstep))
        self._diagnostics = Diagnostics(self)

        def check(key: str, value: Any) -> None:
            if key in wanted:
                wanted[key].check(value)

        observe(self, self._contract, self._feed, lockstep=self._lockstep, on_error=self._on_error, check=check)

    def _on_error(self, key: str, why: str) -> None:
        self.get_logger().error(why, throttle_duration_sec=2.0)
        self._feed.refuse(key, why)

    def activate(self) -> None:
        """Start to infer."""
        self._stop.clear()
        self._inference.reset()
        self._report()
        if not self._lockstep:
            self._timer = self.create_timer(REPEAT_PERIOD, self._repeat, clock=STEADY)
        run = self._run_lockstep if self._lockstep else self._run_realtime
        self._thread = threading.Thread(target=self._guarded, args=(run,), name="inference", daemon=True)
        self._thread.start()

    def deactivate(self) -> None:
        """Stop inferring; the gate holds."""
        self._stop.set()
        self._feed.wake()
        if self._timer is not None:
            self.destroy_timer(self._timer)
            self._timer = None
        if self._thread:
            self._thread.join(timeout=10.0)
        self._standing = None

    def _guarded(self, run: Callable[[], None]) -> None:
        try:
            run()
        except Exception as error:  # noqa: BLE001 - a thread must not die unseen: the process ends, and the gate holds
            die(self.get_name(), error)

    def _run_realtime(self) -> None:
        """Act on each new observation as soon as its last stream is in; without one, look what is wrong every period."""
        _yield_to_the_gate()
        period = round(NANOSECONDS / self._contract.rate)
        last, epoch, reported = 0, self._feed.epoch, 0.0
        while not self._stop.is_set():
            if self._feed.epoch != epoch:
                last, epoch = 0, self._feed.epoch
                self._inference.reset()
            self._feed.wait_reached(last + self._steps * period - period // 2, 1.0 / self._contract.rate)
            self._feed.wait_pictures()
            observation = self._feed.latest(self.stamp())
            steps = round((observation.stamp - last) / period)
            if observation.valid and steps < self._steps:
                continue
            if observation.valid:
                self._inference.statistics.missed += steps // self._steps - 1 if last else 0
                last = observation.stamp
            self._publish(observation, epoch)
            if time.monotonic() - reported > REPORT_PERIOD or self._reason_changed():
                reported = time.monotonic()
                self._report()

    def _run_lockstep(self) -> None:
        ticks, epoch = GridTicks(self._contract.rate, self._steps), self._feed.epoch
        while not self._stop.is_set():
            observation = self._feed.wait_complete(ticks.now, epoch, self._stop.is_set)
            if observation is None:
                if self._feed.epoch != epoch:
                    epoch = self._feed.epoch
                    ticks.reset()
                    self._inference.reset()
                continue
            self._publish(observation, epoch)
            if self._reason_changed():
                self._report()
            ticks.advance()

    def _publish(self, observation: Observation, epoch: int) -> None:
        """Infer and publish, unless the clock has jumped meanwhile: the chunk would be taken for one of the new time."""
        chunk = self._inference.act(observation)
        message = chunk_to_message(chunk)
        with self._sending:
            self._standing = None
            if self._feed.epoch == epoch:
                self._standing = None if chunk.empty else (chunk, message)
                self._chunks.publish(message)

    def _repeat(self) -> None:
        """Say the last chunk again; the gate takes it for a sign of life."""
        with self._sending:
            if self._standing is None:
                return
            now = self.stamp()
            chunk, message = self._standing
            if chunk.stamp <= now <= chunk.end and self._feed.latest(now).valid:
                self._chunks.publish(message)

    _reported = ""
    _without: frozenset[str] = frozenset()  # optional streams that were masked at the last report

    def _reason_changed(self) -> bool:
        return self._inference.reason != self._reported or self._inference.without.keys() != self._without

    def _report(self) -> None:
        reason, without = self._inference.reason, self._inference.without
        masked = "; ".join(f"{key}: {why}" for key, why in without.items())
        for key in without.keys() - self._without:
            self.get_logger().warning(f"goes on without the optional {key}: {without[key]}")
        for key in self._without - without.keys():
            self.get_logger().info(f"uses {key} again")
        self._reported, self._without = reason, frozenset(without)
        level, text = (ERROR, f"holding: {reason}") if reason else (OK, "acting")
        if masked and not reason:
            level, text = WARN, f"acting without {masked}"
        self._diagnostics.publish(level, text, self._inference.statistics.summary())


def _yield_to_the_gate() -> None:
    """Lower this thread's priority: on a small machine the gate's period matters more than the policy's."""
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 5)


def main() -> None:
    """Run the node until it is told to stop."""
    sys.setswitchinterval(SWITCH_INTERVAL)
    sys.exit(run_node(PolicyNode))


if __name__ == "__main__":
    main()
