"""mujoco_node: a simulated arm behind the topics of ros2_control's broadcasters and controllers.

Real time: physics is paced by the monotonic clock and stamped with the system's, as hardware would be (with
``use_sim_time`` from zero instead); pictures are rendered in a thread of their own. Lockstep: one thread, simulated
time, which advances only up to the time granted on ``/sim/run_until`` and only when the gate has answered each of its
ticks. Joint states and wrench 300 Hz, taxels, objects and clock 100 Hz, cameras and task status 30 Hz.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable

from builtin_interfaces.msg import Time
from rcl_interfaces.msg import SetParametersResult
from rclpy.duration import Duration
from rclpy.parameter import Parameter
from std_msgs.msg import Float64MultiArray, String
from std_srvs.srv import Trigger
from trajectory_msgs.msg import JointTrajectory

from vla_ros.contract import check_joints, load_contract
from vla_ros.errors import VlaRosError
from vla_ros.robot import load_urdf, movable_joints
from vla_ros.ros import qos
from vla_ros.ros.convert import from_time
from vla_ros.ros.diagnostics import OK, WARN, Diagnostics
from vla_ros.ros.fatal import die
from vla_ros.ros.lifecycle import ManagedNode, run_node
from vla_ros.ros.params import declare
from vla_ros.ros.sim_topics import BodyTopics, CameraTopics, seconds
from vla_ros.sim.controllers import ForwardController, TrajectoryController, TrajectoryPoint
from vla_ros.sim.render import Snapshot
from vla_ros.sim.tasks import get_task
from vla_ros.sim.world import World

NANOSECONDS = 1_000_000_000
STEPS_PER_SECOND = 600
JOINTS_EVERY, GATE_EVERY, CAMERA_EVERY = 2, 6, 20  # [steps]
LATE = 0.05  # [s] real time slips when physics is further behind than this


class MujocoNode(ManagedNode):
    """The simulated arm."""

    def __init__(self) -> None:
        super().__init__("mujoco_node")
        self._wake = threading.Condition()
        self._stopping = False
        self._threads: list[threading.Thread] = []

    def configure(self) -> None:
        contract_name = declare(self, "contract", "tabletop_arm", "contract file, or its name in config/contracts", read_only=True)
        declare(self, "task", "pick_place", "task of the next reset")
        declare(self, "instruction", "", "instruction of the next reset; empty for the scene's own")
        declare(self, "seed", 0, "seed of the next reset", (0, 2**31 - 1))
        self._lockstep = declare(self, "lockstep", False, "advance only when told to and answered", read_only=True)
        self._contract = load_contract(contract_name)
        self._urdf = load_urdf(self._contract.urdf)
        check_joints(self._contract, movable_joints(self._urdf))
        self._base = 0  # stamp of step 0 [ns]
        self._granted = 0.0  # [s] lockstep may advance up to here
        self._resets: list[Callable[[], None]] = []
        self._latest: tuple[int, JointTrajectory] | None = None
        self._cost = 0.0  # [s] of wall time that the last second took to simulate
        self._slips = 0
        self._build(str(self.get_parameter("task").value))
        self._body, self._cameras = BodyTopics(self), CameraTopics(self, self._world)
        self._instructions = self.create_publisher(String, "/instruction", qos.LATCHED)
        self._diagnostics = Diagnostics(self)
        self._listen()
        self.add_on_set_parameters_callback(self._check_parameters)

    def activate(self) -> None:
        self._stopping = False
        self._reset()
        loops = [self._run_lockstep] if self._lockstep else [self._run_realtime, self._run_cameras]
        self._threads = [threading.Thread(target=self._guarded, args=(loop,), name=loop.__name__, daemon=True) for loop in loops]
        for thread in self._threads:
            thread.start()

    def deactivate(self) -> None:
        with self._wake:
            self._stopping = True
            self._wake.notify_all()
        for thread in self._threads:
            thread.join(timeout=10.0)

    # --- what others ask ----------------------------------------------------------------------------------

    def _listen(self) -> None:
        command = self._contract.action.command
        if command.interface == "forward":
            self.create_subscription(Float64MultiArray, command.topic, self._on_forward, qos.COMMAND)
        else:
            self.create_subscription(JointTrajectory, command.topic, self._on_trajectory, qos.COMMAND)
        self.create_subscription(Time, "/sim/run_until", self._on_run_until, qos.LATCHED)
        self.create_service(Trigger, "~/reset", self._on_reset)

    def _on_trajectory(self, message: JointTrajectory) -> None:
        points = [
            TrajectoryPoint(from_time(p.time_from_start), list(p.positions), list(p.velocities)) for p in message.points
        ]
        with self._wake:
            stamp = from_time(message.header.stamp)
            reason = self._trajectory.command(message.joint_names, stamp, points, self._now)
            self._answered = max(self._answered, stamp)
            self._wake.notify_all()
        if reason:
            self.get_logger().warning(f"trajectory refused: {reason}", throttle_duration_sec=1.0)

    def _on_forward(self, message: Float64MultiArray) -> None:
        with self._wake:
            reason = self._forward.command(list(message.data))
            self._answered = self._now
            self._wake.notify_all()
        if reason:
            self.get_logger().warning(f"command refused: {reason}", throttle_duration_sec=1.0)

    def _on_run_until(self, message: Time) -> None:
        with self._wake:
            self._granted = seconds(message)
            self._wake.notify_all()

    def _on_reset(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        done = threading.Event()
        failure: list[VlaRosError] = []

        def work() -> None:
            try:
                self._build(str(self.get_parameter("task").value))
                self._reset()
            except VlaRosError as error:
                failure.append(error)
            done.set()

        with self._wake:
            self._resets.append(work)
            self._wake.notify_all()
        if not done.wait(timeout=30.0):
            response.message = "the simulation did not reset within 30 s"
        elif failure:
            response.message = str(failure[0])
        else:
            scene = self._world.scene
            words = {"seed": scene.seed, "task": scene.task, "instruction": scene.instruction, "target": scene.target}
            response.success, response.message = True, json.dumps(words)
        return response

    def _check_parameters(self, parameters: list[Parameter]) -> SetParametersResult:
        for parameter in parameters:
            if parameter.name == "task":
                try:
                    get_task(str(parameter.value))
                except VlaRosError as error:
                    return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)

    # --- the world ----------------------------------------------------------------------------------------

    def _build(self, task: str) -> None:
        if getattr(self, "_world", None) is not None and self._world.task.name == task:
            return
        self._world = World(self._urdf, get_task(task))
        names = self._contract.joint_names
        self._order = [names.index(joint) for joint in self._world.joint_names]
        self._trajectory = TrajectoryController(self._world.joint_names, self._world.joint_state()[0])
        self._forward = ForwardController(names, self._world.joint_state()[0])

    def _reset(self) -> None:
        words = str(self.get_parameter("instruction").value) or None
        scene = self._world.reset(int(self.get_parameter("seed").value or 0), words)
        self._instructions.publish(String(data=scene.instruction))
        self._instructions.wait_for_all_acked(Duration(seconds=5.0))  # the new scene is not seen with the old words
        positions = self._world.joint_state()[0]
        self._trajectory.reset(positions)
        inverse = [self._world.joint_names.index(joint) for joint in self._contract.joint_names]
        self._forward.reset(positions[inverse])
        self._world.set_joint_targets(positions)
        self._answered, self._granted = -1, 0.0
        simulated = self._lockstep or bool(self.get_parameter("use_sim_time").value)
        self._base = 0 if simulated else time.time_ns()
        self._due = time.monotonic()  # when the present step is due, real time

    @property
    def _now(self) -> int:
        return self._base + round(self._world.steps * NANOSECONDS / STEPS_PER_SECOND)

    def _advance(self) -> None:
        """Step to the next publishing instant, following the controller."""
        with self._wake:
            for _ in range(JOINTS_EVERY):
                if self._contract.action.command.interface == "forward":
                    position, velocity = self._forward.desired(self._now)
                    position, velocity = position[self._order], velocity[self._order]
                else:
                    position, velocity = self._trajectory.desired(self._now)
                self._world.set_joint_targets(position, velocity)
                self._world.step()

    def _publish_body(self) -> None:
        step, stamp = self._world.steps, self._now
        self._body.joints_and_wrench(stamp, self._world)
        if step % GATE_EVERY == 0:
            self._body.taxels_and_objects(stamp, self._world)
        if step % CAMERA_EVERY == 0:
            self._body.status(self._world)

    # --- lockstep -----------------------------------------------------------------------------------------

    def _run_lockstep(self) -> None:
        while not self._stopping:
            step, stamp = self._world.steps, self._now
            if step % CAMERA_EVERY == 0:
                self._cameras.publish(stamp, self._world)
            self._publish_body()
            if step % GATE_EVERY == 0 or step % CAMERA_EVERY == 0:
                self._body.clock(stamp)
            if self._wait_for_answer_and_grant(stamp, must_answer=step % GATE_EVERY == 0):
                self._advance()

    def _wait_for_answer_and_grant(self, stamp: int, must_answer: bool) -> bool:
        """Wait until time may advance from `stamp`. False when the world was reset, or the node stops."""
        with self._wake:
            while not self._stopping:
                if self._resets:
                    self._resets.pop(0)()
                    return False
                granted = self._granted * NANOSECONDS > stamp + 1000
                if granted and (not must_answer or self._answered >= stamp):
                    return True
                self._wake.wait(timeout=0.5)
        return False

    # --- real time ----------------------------------------------------------------------------------------

    def _run_realtime(self) -> None:
        period = JOINTS_EVERY / STEPS_PER_SECOND
        began, busy = time.monotonic(), 0.0
        while not self._stopping:
            started = time.monotonic()
            with self._wake:
                if self._resets:
                    self._resets.pop(0)()
                self._snapshot: tuple[int, World, Snapshot] | None
                if self._world.steps % CAMERA_EVERY == 0:
                    self._snapshot = (self._now, self._world, self._world.snapshot())
                    self._wake.notify_all()
            self._publish_body()
            if self._world.steps % GATE_EVERY == 0:
                self._body.clock(self._now)
            self._advance()
            self._due += period
            now = time.monotonic()
            busy += now - started
            if now - self._due > LATE:  # do not race to catch up: the arm would move faster than time
                slip = now - self._due
                self._slips += 1
                self._due += slip
                self._base += round(slip * NANOSECONDS)
            if now - began > 1.0:
                self._report(busy / (now - began))
                began, busy = now, 0.0
            time.sleep(max(0.0, self._due - time.monotonic()))

    _snapshot = None

    def _run_cameras(self) -> None:
        while not self._stopping:
            with self._wake:
                while self._snapshot is None and not self._stopping:
                    self._wake.wait(timeout=0.5)
                job, self._snapshot = self._snapshot, None
            if job is not None:
                stamp, world, snapshot = job
                self._cameras.publish(stamp, world, snapshot)

    def _report(self, load: float) -> None:
        level = WARN if self._slips else OK
        values = {"physics load": load, "slips": self._slips, "task": self._world.task.name}
        self._diagnostics.publish(level, "real time" if not self._slips else f"slipped {self._slips} times", values)
        self._slips = 0

    def _guarded(self, loop: Callable[[], None]) -> None:
        try:
            loop()
        except Exception as error:  # the graph must see that the simulation is gone
            die(self.get_name(), error)


def main() -> None:
    """Run the node until it is told to stop."""
    sys.exit(run_node(MujocoNode))


if __name__ == "__main__":
    main()
