"""mujoco_node: a simulated arm behind the topics of ros2_control's broadcasters and controllers.

Joint trajectory and forward commands in; joint states, wrench, taxels, cameras, clock, and the truth about
objects and task out. In real time it behaves like hardware; how lockstep works says `vla_ros.sim.runner`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

from builtin_interfaces.msg import Time
from rcl_interfaces.msg import SetParametersResult
from rclpy.clock import Clock, ClockType
from rclpy.parameter import Parameter
from std_msgs.msg import Float64MultiArray
from std_srvs.srv import Trigger
from trajectory_msgs.msg import JointTrajectory

from vla_ros.action import NANOSECONDS
from vla_ros.contract import Contract, check_joints
from vla_ros.errors import ContractError, SimulationError
from vla_ros.robot import load_urdf
from vla_ros.ros import qos
from vla_ros.ros.convert import from_time
from vla_ros.ros.diagnostics import OK, WARN, Diagnostics
from vla_ros.ros.fatal import die
from vla_ros.ros.lifecycle import ManagedNode, run_node
from vla_ros.ros.params import declare, declared_contract, declared_lockstep
from vla_ros.ros.realtime import SWITCH_INTERVAL
from vla_ros.ros.simulated_sensors import SimulatedSensors
from vla_ros.sim.controllers import TrajectoryPoint
from vla_ros.sim.runner import Runner, Trial
from vla_ros.sim.tasks import get_task
from vla_ros.sim.world import World

TRAJECTORIES, FORWARD = "/arm_controller/joint_trajectory", "/arm_controller/commands"
PICTURE = (240, 320)  # [px] height and width, for a contract without cameras
STEADY = Clock(clock_type=ClockType.STEADY_TIME)


class MujocoNode(ManagedNode):
    """The ROS side of a `Runner`: parameters, command topics, ~/reset and diagnostics."""

    def __init__(self) -> None:
        super().__init__("mujoco_node")
        self._worlds: dict[str, World] = {}

    def configure(self) -> None:
        """Build the world of the first task and create the entities."""
        self._contract = contract = declared_contract(self)
        self._lockstep = declared_lockstep(self)
        declare(self, "task", "pick_place", "what is on the table; takes effect with ~/reset")
        declare(self, "seed", 0, "seed of the scene; takes effect with ~/reset", (0, 2**53))
        declare(self, "instruction", "", "words in place of the scene's own; takes effect with ~/reset")
        self._urdf, self._size = load_urdf(contract.urdf), _picture_size(contract)
        trial = self._trial()
        world = self._world_of(trial.task)
        check_joints(contract, world.joint_names)
        command = contract.action.command
        if command.interface == "pose":
            raise ContractError(
                f"{contract.source}: action.command.interface: the simulated arm has no Cartesian controller; "
                "valid: joint_trajectory, forward"
            )
        self._outputs = SimulatedSensors(self, contract, world.cameras, world.pads, self._lockstep)
        self._runner = Runner(
            self._world_of,
            trial,
            contract.joint_names,
            self._outputs,
            self._lockstep,
            lambda e: die("mujoco_node", e),
        )
        self._diagnostics = Diagnostics(self)
        self._forward = command.interface == "forward"
        trajectories = TRAJECTORIES if self._forward else command.topic
        forward = command.topic if self._forward else FORWARD
        commands = qos.exchanged(10, self._lockstep)
        self.create_subscription(JointTrajectory, trajectories, self._on_trajectory, commands)
        self.create_subscription(Float64MultiArray, forward, self._on_forward, commands)
        self.create_subscription(Time, "/sim/run_until", self._on_grant, qos.COMMAND)
        self.create_service(Trigger, "~/reset", self._on_reset)
        self.create_timer(1.0, self._report, clock=STEADY)
        self.add_on_set_parameters_callback(self._check_parameters)

    def activate(self) -> None:
        """Let time run, or wait for the first trial in lockstep."""
        self._runner.start()

    def deactivate(self) -> None:
        """Stop time."""
        self._runner.stop()

    def _trial(self) -> Trial:
        task, seed, words = (self.get_parameter(name).value for name in ("task", "seed", "instruction"))
        return Trial(str(task), int(seed), str(words))

    def _world_of(self, task: str) -> World:
        if task not in self._worlds:
            height, width = self._size
            self._worlds[task] = World(self._urdf, get_task(task), width, height, self._contract.action.tip)
        return self._worlds[task]

    def _check_parameters(self, parameters: Sequence[Parameter]) -> SetParametersResult:
        try:
            for parameter in parameters:
                if parameter.name == "task":
                    get_task(str(parameter.value))
        except SimulationError as error:
            return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)

    def _on_trajectory(self, message: JointTrajectory) -> None:
        points = [
            TrajectoryPoint(from_time(point.time_from_start), point.positions, point.velocities)
            for point in message.points
        ]
        self._warn(self._runner.follow(message.joint_names, from_time(message.header.stamp), points))

    def _on_forward(self, message: Float64MultiArray) -> None:
        self._warn(self._runner.forward(message.data, answers=self._forward))

    def _warn(self, refusal: str | None) -> None:
        if refusal:
            self.get_logger().warning(f"command refused: {refusal}", throttle_duration_sec=1.0)

    def _on_grant(self, message: Time) -> None:
        self._runner.grant(from_time(message))

    def _on_reset(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        try:
            if not self.active:
                raise SimulationError(f"mujoco_node is {self.state}, not active")
            scene = self._runner.reset(self._trial())
        except SimulationError as error:
            response.success, response.message = False, str(error)
            return response
        told = {
            "seed": scene.seed,
            "task": scene.task,
            "instruction": scene.instruction,
            "target": scene.target,
        }
        response.success, response.message = True, json.dumps(told)
        return response

    def _report(self) -> None:
        if not self.active:
            return
        runner = self._runner
        frames, runner.frames = runner.frames, 0
        values: dict[str, object] = {"frames per second": frames}
        if self._lockstep:
            text, awaited = f"lockstep at {runner.now / NANOSECONDS:.2f} s", runner.awaited
            self._diagnostics.publish(OK, f"{text}, waiting for {awaited}" if awaited else text, values)
            return
        pacing = runner.pacing()
        values |= {
            "real-time factor": round(pacing.factor, 4),
            "late ticks [%]": round(100 * pacing.late, 2),
            "lateness p99 [ms]": round(1e3 * pacing.late_p99, 3),
            "lateness max [ms]": round(1e3 * pacing.late_max, 3),
            "time given up [s]": round(pacing.lost, 3),
            "frames dropped": runner.dropped,
        }
        level = OK if pacing.factor > 0.99 and not pacing.lost else WARN
        self._diagnostics.publish(level, f"real-time factor {pacing.factor:.2f}", values)


def _picture_size(contract: Contract) -> tuple[int, int]:
    """Return height and width of the cameras, which the simulated ones share."""
    sizes = {stream.shape[:2]: stream.key for stream in contract.streams("image", "depth")}
    if len(sizes) > 1:
        text = ", ".join(f"{key} {list(size)}" for size, key in sizes.items())
        raise ContractError(f"{contract.source}: the simulated cameras have one size, the contract says {text}")
    height, width = next(iter(sizes), PICTURE)
    return height, width


def main() -> None:
    """Run the node until it is told to stop."""
    sys.setswitchinterval(SWITCH_INTERVAL)
    sys.exit(run_node(MujocoNode))


if __name__ == "__main__":
    main()
