"""recorder_node: what the sensors saw and what the gate really sent, as episodes of a LeRobot v3 dataset.

Services ``~/start``, ``~/save``, ``~/discard`` (std_srvs/Trigger): the answer's message is JSON, or the
reason for a refusal. ``/recorder/progress`` (Time) is the time up to which the running episode is filled;
whoever paces a lockstep simulation stays close to it, so that nothing is lost however slow the recorder is.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable

import numpy as np
from builtin_interfaces.msg import Time
from rclpy.clock import Clock, ClockType
from std_srvs.srv import Trigger
from trajectory_msgs.msg import JointTrajectory

from vla_ros.contract import load_contract
from vla_ros.data import DatasetWriter, EpisodeRecorder, VideoSettings, layout
from vla_ros.errors import DatasetError, unknown_name
from vla_ros.observation import Aligner
from vla_ros.ros import qos
from vla_ros.ros.convert import from_time, to_time
from vla_ros.ros.diagnostics import ERROR, OK, WARN, Diagnostics
from vla_ros.ros.lifecycle import ManagedNode, run_node
from vla_ros.ros.params import declare
from vla_ros.ros.subscribe import observe

ACTION_DEPTH = 100  # one second of the gate's setpoints
REPORT_PERIOD = 0.5  # [s]
STALLED = 4  # reports without a new row, after which a late stream is waited for no longer


class RecorderNode(ManagedNode):
    """Records while told to; every saved episode is on the disk when ``~/save`` answers."""

    def __init__(self) -> None:
        super().__init__("recorder_node")
        self._writer: DatasetWriter | None = None

    def configure(self) -> None:
        """Open the dataset and create the entities."""
        name = declare(
            self, "contract", "tabletop_arm", "contract file, or its name in config/contracts", read_only=True
        )
        root = declare(self, "root", "", "folder of the dataset; made if it does not exist", read_only=True)
        codec = declare(
            self, "codec", "libx264", "video encoder: libx264, libsvtav1, libx265", read_only=True
        )
        declare(self, "task", "", "instruction of the episodes; empty: what the contract's text topic says")
        declare(self, "success", True, "outcome that the next saved episode is labelled with")
        if not root:
            raise DatasetError("recorder_node needs the parameter 'root': the folder of the dataset")
        contract = load_contract(name)
        self._simulated = bool(self.get_parameter("use_sim_time").value)
        self._action_names = contract.action.names
        self._writer = DatasetWriter(root, contract, VideoSettings(codec=codec))
        for note in self._writer.notes:
            self.get_logger().warning(f"{root}: {note}")
        self._aligner = Aligner(contract)
        self._recorder = EpisodeRecorder(contract, self._writer, self._aligner)
        self._newest = self._jumps = 0
        self._progress = self.create_publisher(Time, "/recorder/progress", qos.COMMAND)
        self._diagnostics = Diagnostics(self)
        observe(self, contract, self._aligner, on_sample=self._on_sample)
        self.create_subscription(JointTrajectory, "/gate/action", self._on_action, qos.reliable(ACTION_DEPTH))
        for command, answer in (("start", self._start), ("save", self._save), ("discard", self._discard)):
            self.create_service(Trigger, f"~/{command}", self._service(answer))
        self._stalled = 0
        self.create_timer(REPORT_PERIOD, self._on_timer, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def deactivate(self) -> None:
        """Keep a running episode aside."""
        for note in self._recorder.interrupt():
            self.get_logger().warning(f"stopped while recording: {note}")

    def cleanup(self) -> None:
        """Let others write the dataset."""
        if self._writer is not None:
            self._writer.finalize()

    def _on_sample(self, key: str, stamp: int) -> None:
        if self._aligner.jumps != self._jumps:
            self._jumps, self._newest = self._aligner.jumps, 0
            self._recorder.clock_jumped()
        self._newest = max(self._newest, stamp)
        self._advance(self._newest)

    def _on_action(self, message: JointTrajectory) -> None:
        names, point = list(message.joint_names), message.points[0]
        missing = [name for name in self._action_names if name not in names]
        if missing:
            text = "/gate/action: " + unknown_name("action", missing[0], names)
            self.get_logger().warning(text, throttle_duration_sec=2.0)
            return
        order = [names.index(name) for name in self._action_names]
        reached = from_time(message.header.stamp) + from_time(point.time_from_start)
        self._recorder.action(reached, np.asarray(point.positions)[order])
        self._advance(self._newest)

    def _advance(self, now: int) -> None:
        if self._recorder.state == "recording" and self._recorder.advance(now):
            self._stalled = 0
            self._progress.publish(to_time(self._recorder.progress))

    def _now(self) -> int:
        return self._newest if self._simulated else self.stamp()

    def _service(self, answer: Callable[[], dict[str, object]]) -> Callable[..., Trigger.Response]:
        def serve(request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
            try:
                if not self.active:
                    raise DatasetError(f"recorder_node is {self.state}; activate it first")
                response.message, response.success = json.dumps(answer()), True
            except DatasetError as error:
                response.message, response.success = str(error), False
            return response

        return serve

    def _start(self) -> dict[str, object]:
        first = self._recorder.start(self._now(), str(self.get_parameter("task").value) or None)
        self._progress.publish(to_time(first))
        return {"first": first}

    def _save(self) -> dict[str, object]:
        self._advance(self._newest)
        rows, problem, stale = self._recorder.rows, self._recorder.problem, dict(self._recorder.stale_rows)
        episode = self._recorder.save(bool(self.get_parameter("success").value))
        return {"episode": episode, "rows": rows, "problem": problem, "stale_rows": stale}

    def _discard(self) -> dict[str, object]:
        return {"rows": self._recorder.discard()}

    def _on_timer(self) -> None:
        assert self._writer is not None
        recorder = self._recorder
        self._stalled += 1
        if self._stalled > STALLED:
            self._advance(self._newest + recorder.grace)
        level = ERROR if recorder.problem else WARN if recorder.stale_rows else OK
        values = {
            "episodes": self._writer.num_episodes,
            "rows": recorder.rows,
            "backlog": self._writer.backlog,
            "disk_left_gb": layout.disk_left(self._writer.root),
            **{f"stale rows of {key}": rows for key, rows in recorder.stale_rows.items()},
        }
        self._diagnostics.publish(level, recorder.problem or recorder.state, values)


def main() -> None:
    """Run the node until it is told to stop."""
    sys.exit(run_node(RecorderNode))


if __name__ == "__main__":
    main()
