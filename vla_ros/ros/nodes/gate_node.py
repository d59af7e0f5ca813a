"""gate_node: chunks of the selected source in, bounded commands out; the only publisher to the controller."""

from __future__ import annotations

import gc
import sys
import threading
import time
from collections.abc import Callable

from geometry_msgs.msg import WrenchStamped
from rcl_interfaces.msg import SetParametersResult
from rclpy.clock import Clock, ClockType
from rclpy.parameter import Parameter
from sensor_msgs.msg import JointState
from std_msgs.msg import Bool
from std_srvs.srv import Trigger
from trajectory_msgs.msg import JointTrajectory

from vla_ros.action import ActionChunk
from vla_ros.beat import GATE_PERIOD
from vla_ros.chunking import make_executor
from vla_ros.errors import ActionError, ObservationError, VlaRosError
from vla_ros.gate import Gate
from vla_ros.gate_output import GateOutput
from vla_ros.intervention import Intervention
from vla_ros.kinematics import Kinematics
from vla_ros.lockstep import LockstepPacer
from vla_ros.ros import qos
from vla_ros.ros.chunks import chunk_from_message
from vla_ros.ros.commands import ActionWriter, make_writer, rivals
from vla_ros.ros.convert import decoder_for, from_time
from vla_ros.ros.entities import Entities
from vla_ros.ros.fatal import die
from vla_ros.ros.gate_report import GateReport
from vla_ros.ros.lifecycle import ManagedNode, run_node
from vla_ros.ros.params import declare, declared_contract, declared_lockstep
from vla_ros.ros.realtime import PeriodicThread, raise_priority

SOURCES = ("policy", "teleop")
REPORT_PERIOD = 0.2  # [s]
REST_DEADLINE = 1.0  # [s] to come to rest before the node stops sending


class GateNode(ManagedNode):
    """Runs a `Gate` at 100 Hz in a thread of its own, or tick by tick with a lockstep simulation."""

    def __init__(self, scheduling: str = "normal priority") -> None:
        super().__init__("gate_node")
        self._scheduling = scheduling
        self._lock = threading.Lock()  # the gate is shared by the callbacks and the thread
        self._thread: PeriodicThread | None = None
        self._pacer: LockstepPacer | None = None
        self._running = False
        self._at_rest = threading.Event()
        self._inherited = Entities(self)

    def configure(self) -> None:
        """Read the contract and create the gate and its topics."""
        self._contract = contract = declared_contract(self)
        executor = declare(self, "executor", "latest", "how chunks overlap: latest, ensemble", read_only=True)
        lockstep = declared_lockstep(self)
        what, limits = "[s] between a source's chunks, for lockstep", (1e-3, 10.0)
        source_period = declare(self, "source_period", 1.0 / contract.rate, what, limits, read_only=True)
        self._gate = Gate(contract, Kinematics.of(contract), GATE_PERIOD, make_executor(executor), SOURCES)
        what = "a person who takes the clutch takes the arm from the policy, and gives it back by releasing"
        self._intervention = Intervention() if declare(self, "intervention", False, what, read_only=True) else None
        if lockstep:
            watched = {"teleop": 1.0 / contract.rate} if self._intervention is not None else {}
            self._pacer = LockstepPacer(GATE_PERIOD, source_period, contract.limits.wrench is not None, watched)
        self._create_outputs(lockstep)
        self._create_inputs(lockstep)
        source = declare(self, "source", "", f"whose chunks are followed: '' for none, {', '.join(SOURCES)}")
        self._gate.select(source)
        self.add_on_set_parameters_callback(self._on_parameters)
        self._show_source()

    def _create_outputs(self, lockstep: bool) -> None:
        command = self._contract.action.command
        self._topics = [topic for topic in (command.topic, command.joints) if topic]
        self._writer = make_writer(self, self._contract, lockstep)
        self._actions = ActionWriter(self, self._contract, lockstep)
        self._report = GateReport(self, self._gate, self._scheduling)

    def _create_inputs(self, lockstep: bool) -> None:
        """Create subscriptions, joint states first: of what arrives together they are taken first."""
        sensor, chunks = qos.sensor(50, lockstep=lockstep), qos.exchanged(10, lockstep)
        state, wrenches = self._contract.state, self._contract.streams("wrench")
        self._decode_joints = decoder_for(state)
        self.create_subscription(JointState, state.topic, self._on_joints, sensor)
        if wrenches and self._contract.limits.wrench is not None:
            self._decode_wrench = decoder_for(wrenches[0])
            self.create_subscription(WrenchStamped, wrenches[0].topic, self._on_wrench, sensor)
        for source in SOURCES:
            self.create_subscription(JointTrajectory, f"/{source}/chunk", self._chunk_receiver(source), chunks)
        self.create_subscription(Bool, "/estop", self._on_estop, qos.COMMAND)
        self.create_service(Trigger, "~/estop", self._on_estop_service)
        self.create_service(Trigger, "~/release", self._on_release_service)
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(REPORT_PERIOD, self._on_report, clock=steady)
        self.create_timer(1.0, _collect_young_garbage, clock=steady)

    def activate(self) -> None:
        """Start sending, from the measured joints."""
        gc.disable()  # its pauses would be jitter; a timer collects the little there is
        with self._lock:
            self._gate.block(rivals(self, *self._topics))
            self._running = True
            if self._pacer is None:
                self._gate.reset()
            self._continue_lockstep()
        if self._pacer is None:
            self.get_logger().info(f"gate at {1.0 / GATE_PERIOD:.0f} Hz with {self._scheduling}")
            self._thread = PeriodicThread(GATE_PERIOD, self._tick, lambda error: die(self.get_name(), error))
            self._report.statistics = self._thread.statistics
            self._thread.start()

    def deactivate(self) -> None:
        """Bring the arm to rest, then stop sending."""
        with self._lock:
            self._gate.select(None)
            self._at_rest.clear()
        if self._thread is not None:
            self._at_rest.wait(REST_DEADLINE)
            self._thread.stop()
            self._thread = None
        self._running = False
        gc.enable()
        self._show_source()

    def cleanup(self) -> None:
        """Destroy what `configure` created."""
        self.remove_on_set_parameters_callback(self._on_parameters)
        self._inherited.destroy_newer()

    # Ticks

    def _tick(self, deadline: int) -> None:
        """Compute and send the tick that was due at monotonic time `deadline` [ns]."""
        now = self.stamp()
        if not self.get_clock().ros_time_is_active:
            now += deadline - time.monotonic_ns()  # evenly spaced, however late this thread woke
        with self._lock:
            output = self._gate.step(now)
        self._send(output)

    def _continue_lockstep(self) -> None:
        """Compute every lockstep tick that is complete. Called after whatever arrived, under the lock."""
        if self._pacer is None or not self._running:
            return
        while (tick := self._pacer.ready(self._gate.source)) is not None:
            self._pacer.done(tick)
            self._gate.confirm(self._pacer.due(tick, self._gate.source), tick)
            self._send(self._gate.step(tick))

    def _send(self, output: GateOutput) -> None:
        if output.command is not None:
            self._writer.write(output.stamp, output.command)
            self._actions.write(output.stamp, output.command)
        if output.command is None or not output.command.velocities.any():
            self._at_rest.set()
        self._report.tick(output)

    # Inputs

    def _on_joints(self, message: JointState) -> None:
        try:
            stamp, position = self._decode_joints(message)
        except ObservationError as error:
            self.get_logger().warning(str(error), throttle_duration_sec=2.0)
            return
        with self._lock:
            if self._pacer is not None and self._pacer.joints(stamp):
                self._gate.reset()
            if not self._gate.joints(stamp, position):
                self.get_logger().warning("joint state refused: late or not finite", throttle_duration_sec=2.0)
            self._continue_lockstep()

    def _on_wrench(self, message: WrenchStamped) -> None:
        stamp, wrench = self._decode_wrench(message)
        with self._lock:
            before = self._gate.source
            self._gate.wrench(stamp, wrench)
            stopped = self._gate.source != before
            if self._pacer is not None:
                self._pacer.wrench(stamp)
            self._continue_lockstep()
        if stopped:
            self._show_source()

    def _chunk_receiver(self, source: str) -> Callable[[JointTrajectory], None]:
        def receive(message: JointTrajectory) -> None:
            chunk = refusal = None
            try:
                chunk = chunk_from_message(message)
            except ActionError as error:
                refusal = str(error)
            with self._lock:
                handed = chunk is not None and self._intervene(source, chunk)
                selected = source == self._gate.source
                if self._pacer is not None:
                    self._pacer.chunk(source, from_time(message.header.stamp), chunk)
                if chunk is not None and selected:
                    refusal = self._gate.offer(source, chunk, self._now())
                elif refusal is not None:
                    self._gate.refuse(source, refusal)
                self._continue_lockstep()
            if refusal is not None:
                self._report.refused(source, refusal)
            if handed:
                self._show_source()

        return receive

    def _intervene(self, source: str, chunk: ActionChunk) -> bool:
        """Hand the arm from the policy to a person, or back; return whether that happened."""
        if self._intervention is None:
            return False
        chosen = self._intervention.choose(self._gate.source, source, chunk)
        if chosen is not None:
            self._gate.select(chosen, chunk.stamp)
            self._report.intervention(chunk.stamp, self._intervention.running)
        return chosen is not None

    def _now(self) -> int:
        return self.stamp() if self._pacer is None else self._pacer.now

    def _on_estop(self, message: Bool) -> None:
        if message.data:
            self._stop(f"topic {self.resolve_topic_name('/estop')}")

    def _on_estop_service(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self._stop("service ~/estop")
        response.success, response.message = True, "stopped; call ~/release, then select a source"
        return response

    def _on_release_service(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        with self._lock:
            self._gate.release()
            self._report.forget()
        response.success, response.message = True, "released; select a source to move"
        return response

    def _stop(self, reason: str) -> None:
        with self._lock:
            self._gate.estop(reason)
        self._show_source()

    # Source and reports

    def _on_parameters(self, parameters: list[Parameter]) -> SetParametersResult:
        for parameter in parameters:
            if parameter.name == "source":
                try:
                    self._select(str(parameter.value))
                except VlaRosError as error:
                    return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)

    def _select(self, source: str) -> None:
        with self._lock:
            self._gate.select(source, self.stamp() if self._pacer is None else 0)
            waiting = self._pacer.newest(source) if self._pacer is not None else None
            if waiting is not None:  # whether chunk or selection came first makes no difference
                self._gate.offer(source, waiting, self._now())
            self._continue_lockstep()
        self._report.source(source)

    def _show_source(self) -> None:
        """Make the parameter and the topic say what the gate follows; an e-stop changes it from inside."""
        source = self._gate.source
        if self.get_parameter("source").value != source:
            self.set_parameters([Parameter("source", value=source)])
        else:
            self._report.source(source)

    def _on_report(self) -> None:
        if not self.active:
            return
        others = rivals(self, *self._topics)
        with self._lock:
            self._gate.block(others)
        if others:
            self.get_logger().error(f"{others}; holding until it is gone", throttle_duration_sec=2.0)
        self._report.publish()


def _collect_young_garbage() -> None:
    gc.collect(1)


def main() -> None:
    """Run the node until it is told to stop."""
    scheduling = raise_priority()
    sys.exit(run_node(lambda: GateNode(scheduling)))


if __name__ == "__main__":
    main()
