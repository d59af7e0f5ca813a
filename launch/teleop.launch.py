"""Lead the arm by hand: the nodes of vla_ros.ros.graph with a teleoperation device that has the arm, or corrects a policy."""

from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription, OpaqueFunction
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import ThisLaunchFileDir

from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from vla_ros.ros.graph import HAND

ARGUMENTS = {
    "device": (None, "address of the device, such as dynamixel:///dev/ttyUSB0?calibration=leader.yaml"),
    **HAND,
    "checkpoint": ("", "folder of a policy that has the arm until the clutch is taken; empty: none"),
    "contract": ("tabletop_arm", "contract file, or its name in config/contracts"),
    "sim": ("true", "true: the embedded MuJoCo arm; false: ros2_control on `hardware`"),
    "hardware": ("mock_components/GenericSystem", "hardware plugin of ros2_control, with sim:=false"),
    "task": ("pick_place", "task of the simulated scene: reach, pick_place, weigh, insert"),
    "record": ("", "folder of the dataset to record; empty: no recorder_node"),
}


def generate_launch_description() -> LaunchDescription:
    return LaunchDescription(
        [
            *(DeclareLaunchArgument(n, default_value=d, description=t) for n, (d, t) in ARGUMENTS.items()),
            OpaqueFunction(function=start),
        ]
    )


def start(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    given = {name: context.launch_configurations[name] for name in ARGUMENTS}
    policy = bool(given["checkpoint"])
    given |= {"teleop": given.pop("device"), "device": "cpu"}  # there `device` is the policy's
    given |= {"source": "policy" if policy else "teleop", "intervention": str(policy).lower()}
    bringup = PythonLaunchDescriptionSource([ThisLaunchFileDir(), "/bringup.launch.py"])
    return [IncludeLaunchDescription(bringup, launch_arguments=given.items())]
