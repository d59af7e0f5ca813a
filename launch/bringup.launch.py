"""Bring the arm up: the nodes of vla_ros.ros.graph, robot_state_publisher and, without sim, ros2_control."""

from launch.actions import DeclareLaunchArgument, OpaqueFunction, SetEnvironmentVariable, Shutdown
from launch.events.process import ProcessExited
from launch_ros.actions import LifecycleNode, Node
from launch_ros.parameter_descriptions import ParameterValue

from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from vla_ros.contract import load_contract
from vla_ros.paths import share_path
from vla_ros.robot import load_urdf
from vla_ros.ros.environment import graph_environment, package_installed
from vla_ros.ros.graph import HAND, NodeSpec, bring_up, hand_parameters

ARGUMENTS = {
    "contract": ("tabletop_arm", "contract file, or its name in config/contracts"),
    "sim": ("true", "true: the embedded MuJoCo arm; false: ros2_control on `hardware`"),
    "hardware": ("mock_components/GenericSystem", "hardware plugin of ros2_control, with sim:=false"),
    "controllers": ("config/controllers/tabletop_arm.yaml", "of controller_manager, with sim:=false"),
    "task": ("pick_place", "task of the simulated scene: reach, pick_place, weigh, insert"),
    "seed": ("0", "seed of the simulated scene"),
    "instruction": ("", "instruction in place of the scene's own"),
    "checkpoint": ("", "folder of the policy to run; empty: no policy_node"),
    "device": ("cpu", "torch device of the policy"),
    "teleop": ("", "teleoperation device (scripted); empty: no teleop_node"),
    **HAND,
    "intervention": ("false", "true: taking the clutch takes the arm from the policy"),
    "record": ("", "folder of the dataset to record; empty: no recorder_node"),
    "raw": ("false", "with `record`: every message too, in an MCAP file beside each episode"),
    "source": ("", "who has the arm at first: policy, teleop, or empty for none"),
    "lockstep": ("false", "advance simulated time only as granted on /sim/run_until"),
}


def generate_launch_description() -> LaunchDescription:
    return LaunchDescription(
        [
            *(DeclareLaunchArgument(n, default_value=d, description=t) for n, (d, t) in ARGUMENTS.items()),
            *(SetEnvironmentVariable(name, value) for name, value in graph_environment().items()),
            OpaqueFunction(function=start),
        ]
    )


def start(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    given = {name: context.launch_configurations[name] for name in ARGUMENTS}
    switches = ("sim", "lockstep", "raw", "intervention")
    sim, lockstep, raw, intervention = (given.pop(name).lower() == "true" for name in switches)
    hardware, controllers = given.pop("hardware"), given.pop("controllers")
    for name in ("checkpoint", "teleop", "record"):
        given[name] = given[name] or None
    hand = hand_parameters({name: given.pop(name) for name in HAND})
    given |= {"sim": sim, "lockstep": lockstep, "raw": raw, "intervention": intervention, "seed": int(given["seed"])}
    specs = bring_up(teleop_parameters=hand, **given)
    urdf = load_urdf(load_contract(given["contract"]).urdf, hardware=hardware)
    robot = {"robot_description": ParameterValue(urdf, value_type=str), "use_sim_time": lockstep}
    publisher = "robot_state_publisher"
    beside = [] if sim else ros2_control(str(share_path(controllers)))
    if not sim or package_installed(publisher):
        beside.append(Node(package=publisher, executable=publisher, parameters=[robot]))
    return [*beside, *(managed(spec) for spec in specs)]  # what may be missing first: nothing has started yet


def managed(spec: NodeSpec) -> LifecycleNode:
    def ended(event: ProcessExited, context: LaunchContext) -> list[Shutdown]:
        over = context.is_shutdown or not spec.required
        return [] if over else [Shutdown(reason=f"{spec.name} ended with {event.returncode}")]

    parameters = [{n: ParameterValue(v, value_type=type(v)) for n, v in spec.parameters.items()}]
    common = {"package": "vla_ros", "executable": spec.name, "name": spec.name, "namespace": ""}
    return LifecycleNode(**common, parameters=parameters, output="screen", on_exit=ended)


def ros2_control(controllers: str) -> list[Node]:
    wrench = ["--controller-ros-args", "-r tool_ft_broadcaster/wrench:=/tool/wrench"]
    spawn = [["joint_state_broadcaster"], ["arm_controller"], ["tool_ft_broadcaster", *wrench]]
    control = "controller_manager"
    manager = Node(package=control, executable="ros2_control_node", parameters=[controllers])
    return [manager, *(Node(package=control, executable="spawner", arguments=words) for words in spawn)]
