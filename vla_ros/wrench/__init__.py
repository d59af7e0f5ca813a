"""From a force/torque sensor's readings to the wrench of contact: tool weight, tare, filter, flags; without ROS."""

from vla_ros.wrench.calibration import WrenchCalibration, load_calibration
from vla_ros.wrench.load import STANDARD_GRAVITY, identify
from vla_ros.wrench.lowpass import LowPass
from vla_ros.wrench.poses import RecordedPose, calibrate, read_poses, write_poses
from vla_ros.wrench.process import Processed, WrenchProcess

__all__ = [
    "STANDARD_GRAVITY",
    "LowPass",
    "Processed",
    "RecordedPose",
    "WrenchCalibration",
    "WrenchProcess",
    "calibrate",
    "identify",
    "load_calibration",
    "read_poses",
    "write_poses",
]
