"""Lead the arm by hand: the nodes of vla_ros.ros.graph with a teleoperation device that has the arm."""

from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription, SetLaunchConfiguration
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, ThisLaunchFileDir

from launch import LaunchDescription

ARGUMENTS = {
    "device": (None, "address of the device, such as dynamixel:///dev/ttyUSB0?calibration=leader.yaml"),
    "contract": ("tabletop_arm", "contract file, or its name in config/contracts"),
    "sim": ("true", "true: the embedded MuJoCo arm; false: ros2_control on `hardware`"),
    "hardware": ("mock_components/GenericSystem", "hardware plugin of ros2_control, with sim:=false"),
    "task": ("pick_place", "task of the simulated scene: reach, pick_place, weigh, insert"),
    "record": ("", "folder of the dataset to record; empty: no recorder_node"),
}


def generate_launch_description() -> LaunchDescription:
    given = {name: LaunchConfiguration(name) for name in ARGUMENTS if name != "device"}
    given |= {"teleop": LaunchConfiguration("teleop"), "source": "teleop", "device": "cpu"}
    bringup = PythonLaunchDescriptionSource([ThisLaunchFileDir(), "/bringup.launch.py"])
    return LaunchDescription(
        [
            *(DeclareLaunchArgument(n, default_value=d, description=t) for n, (d, t) in ARGUMENTS.items()),
            SetLaunchConfiguration("teleop", LaunchConfiguration("device")),  # there `device` is the policy's
            IncludeLaunchDescription(bringup, launch_arguments=given.items()),
        ]
    )
