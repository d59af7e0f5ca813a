"""recorder_node: what the sensors saw and what the gate really sent, as episodes of a LeRobot v3 dataset.

Services ``~/start``, ``~/save``, ``~/discard``, ``~/rerecord`` (std_srvs/Trigger) and ``~/label`` (std_srvs/SetBool, the
running episode's outcome): the answer's message is JSON, or the reason for a refusal. An episode whose recording stopped by
itself has a note that says why and, where nobody has labelled it, is no success. A text on ``/recorder/note``
(String) is kept with the running episode, or with the one just saved; one on ``/teleop/trouble`` with the running one.
``/recorder/episode`` (String, see `vla_ros.data.bags.events`) tells what became of each episode and note, so that a bag of the
run can be cut the same way.
``/recorder/progress`` (Time) is the time up to which it is filled; whoever paces a lockstep simulation stays close to
it, so that nothing is lost however slow the recorder is.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

from builtin_interfaces.msg import Time
from rclpy.clock import Clock, ClockType
from std_msgs.msg import Header, String
from std_srvs.srv import SetBool, Trigger
from trajectory_msgs.msg import JointTrajectory

from vla_ros.data import DatasetWriter, EpisodeRecorder, VideoSettings, layout
from vla_ros.data.bags.events import TOPIC, EpisodeEvent
from vla_ros.data.control import after
from vla_ros.errors import DatasetError, ObservationError
from vla_ros.messages import setpoint_from_message
from vla_ros.observation import Aligner
from vla_ros.ros import qos
from vla_ros.ros.convert import from_time, to_time
from vla_ros.ros.diagnostics import ERROR, OK, WARN, Diagnostics
from vla_ros.ros.gate_report import INTERVENTION
from vla_ros.ros.lifecycle import ManagedNode, run_node
from vla_ros.ros.params import declare, declared_contract, declared_lockstep
from vla_ros.ros.raw_recorder import RawRecorder
from vla_ros.ros.subscribe import observe

ACTION_DEPTH = 100  # one second of the gate's setpoints
REPORT_PERIOD = 0.5  # [s]
NOTE = "/recorder/note"
TROUBLE = "/teleop/trouble"
STALLED = 4  # reports without a new row, or without any sample, after which what is late is waited for no longer


class RecorderNode(ManagedNode):
    """Records while told to; every saved episode is on the disk when ``~/save`` answers."""

    def __init__(self) -> None:
        super().__init__("recorder_node")
        self._writer: DatasetWriter | None = None

    def configure(self) -> None:
        """Open the dataset and create the entities."""
        contract = declared_contract(self)
        root = declare(self, "root", "", "folder of the dataset; made if it does not exist", read_only=True)
        codec = declare(self, "codec", "libx264", "video encoder: libx264, libsvtav1, libx265", read_only=True)
        lockstep = declared_lockstep(self)
        declare(self, "task", "", "instruction of the episodes; empty: what the contract's text topic says")
        declare(self, "success", True, "outcome of saved episodes that nobody has labelled")
        raw = declare(
            self, "raw", False, "write every message as it arrived to an MCAP file beside the episode", read_only=True
        )
        if not root:
            raise DatasetError("recorder_node needs the parameter 'root': the folder of the dataset")
        self._simulated = bool(self.get_parameter("use_sim_time").value)
        self._action_names = contract.action.names
        self._writer = DatasetWriter(root, contract, VideoSettings(codec=codec))
        for note in self._writer.notes:
            self.get_logger().warning(f"{root}: {note}")
        self._aligner = Aligner(contract)
        self._recorder = EpisodeRecorder(contract, self._writer, self._aligner)
        self._newest = self._jumps = 0
        self._progress = self.create_publisher(Time, "/recorder/progress", qos.COMMAND)
        self._events = self.create_publisher(String, TOPIC, qos.reliable(100))
        self._diagnostics = Diagnostics(self)
        self._raw = RawRecorder(self, contract, self._writer.root, lockstep) if raw else None
        observe(self, contract, self._aligner, lockstep=lockstep, on_sample=self._on_sample)
        actions = qos.exchanged(ACTION_DEPTH, lockstep)
        if not contract.robot_free:
            self.create_subscription(JointTrajectory, "/gate/action", self._on_action, actions)
        self.create_subscription(String, NOTE, self._on_note, qos.reliable(100))
        self.create_subscription(String, TROUBLE, self._on_trouble, qos.reliable(10))
        handed = qos.reliable(10, latched=True)
        self.create_subscription(Header, INTERVENTION, self._on_intervention, handed)
        answers = {"start": self._start, "save": self._save, "discard": self._discard, "rerecord": self._rerecord}
        for command, answer in answers.items():
            self.create_service(Trigger, f"~/{command}", self._service(answer))
        self.create_service(SetBool, "~/label", self._service(self._label))
        self._stalled = self._silent = 0
        self._stopped = False  # and it was told why
        self.create_timer(REPORT_PERIOD, self._on_timer, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def deactivate(self) -> None:
        """Keep a running episode aside."""
        if self._raw is not None and self._recorder.state == "recording":
            self._raw.abandon()
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
        self._newest, self._silent = max(self._newest, stamp), 0
        self._advance(self._newest)

    def _on_action(self, message: JointTrajectory) -> None:
        try:
            reached, values = setpoint_from_message(message, self._action_names)
        except ObservationError as error:
            self.get_logger().warning(str(error), throttle_duration_sec=2.0)
            return
        self._recorder.action(reached, values)
        self._advance(self._newest)

    def _on_intervention(self, message: Header) -> None:
        self._recorder.intervene(from_time(message.stamp), bool(message.frame_id))

    def _advance(self, now: int) -> None:
        recorder = self._recorder
        if recorder.state != "recording":
            return
        if recorder.advance(now):
            self._stalled = 0
            self._progress.publish(to_time(recorder.progress))
        if recorder.problem and not self._stopped:
            self._stopped = True
            self.get_logger().error(f"recording stopped after {recorder.rows} rows: {recorder.problem}")
            self._on_note(String(data=f"recording stopped: {recorder.problem}"))

    def _now(self) -> int:
        return self._newest if self._simulated else self.stamp()

    def _service(self, answer: Callable[..., dict[str, object]]) -> Callable[[Any, Any], Any]:
        def serve(request: Any, response: Any) -> Any:
            try:
                self._require_active()
                given = [request.data] if isinstance(request, SetBool.Request) else []
                response.message, response.success = json.dumps(answer(*given)), True
            except DatasetError as error:
                response.message, response.success = str(error), False
            return response

        return serve

    def _require_active(self) -> None:
        if not self.active:
            raise DatasetError(f"recorder_node is {self.state}; activate it first")

    def _on_note(self, message: String) -> None:
        try:
            self._require_active()
            episode, note = self._recorder.note(message.data)
        except DatasetError as error:
            self.get_logger().warning(f"{NOTE}: {error}")
            return
        event = EpisodeEvent("note", text=note.text, time=note.time)
        if self._recorder.state == "recording" and self._raw is not None:
            self._raw.tell(event)
        self._events.publish(String(data=event.to_text()))
        self.get_logger().info(f"episode {episode}, {note.time:.1f} s: {note.text}")

    def _on_trouble(self, message: String) -> None:
        """Mark the running episode: the teleoperator's device has made the arm hold."""
        if self.active and self._recorder.state == "recording":
            self._on_note(message)

    def _label(self, success: bool) -> dict[str, object]:
        self._recorder.label(success)
        return {"success": success}

    def _start(self) -> dict[str, object]:
        assert self._writer is not None
        task = str(self.get_parameter("task").value)
        first = self._recorder.start(self._now(), task or None)
        self._stopped = False
        event = EpisodeEvent("start", first=first, task=task)
        if self._raw is not None:
            try:
                self._raw.start(self._writer.num_episodes, event)
            except DatasetError:
                self._recorder.discard()
                raise
        self._events.publish(String(data=event.to_text()))
        self._progress.publish(to_time(first))
        return {"first": first}

    def _save(self) -> dict[str, object]:
        self._advance(self._newest)
        recorder = self._recorder
        labelled = recorder.success
        rows, problem, stale = recorder.rows, recorder.problem, dict(recorder.stale_rows)
        unlabelled = bool(self.get_parameter("success").value) and not problem  # what was cut short is no success
        success = unlabelled if labelled is None else labelled
        event = EpisodeEvent("save", rows=rows, success=success)
        if recorder.state == "recording" and self._raw is not None:
            try:
                self._raw.stop(event)
            except DatasetError as error:  # the rows are right without it
                self.get_logger().error(str(error))
        episode = recorder.save(success)
        self._events.publish(String(data=event.to_text()))
        return {"episode": episode, "rows": rows, "success": success, "problem": problem, "stale_rows": stale}

    def _discard(self) -> dict[str, object]:
        if self._recorder.state == "recording" and self._raw is not None:
            self._raw.abandon()
        rows = self._recorder.discard()
        self._events.publish(String(data=EpisodeEvent("discard").to_text()))
        return {"rows": rows}

    def _rerecord(self) -> dict[str, object]:
        """Drop the running episode and begin it again at once."""
        after(self._recorder.state, "rerecord")
        return self._discard() | self._start()

    def _on_timer(self) -> None:
        assert self._writer is not None
        recorder = self._recorder
        self._stalled += 1
        self._silent += 1
        if self._silent > STALLED and not self._simulated:  # a simulation may stand still
            self._advance(self._newest + 2 * recorder.grace)
        elif self._stalled > STALLED:
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
