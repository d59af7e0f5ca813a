"""Where a camera's pixels look, and where the camera is: intrinsics and hand-eye calibration with a ChArUco board."""

from vla_ros.camera_calibration.board import Board, View
from vla_ros.camera_calibration.hand_eye import HandEye, solve_hand_eye
from vla_ros.camera_calibration.intrinsic import Calibration, calibrate

__all__ = ["Board", "Calibration", "HandEye", "View", "calibrate", "solve_hand_eye"]
