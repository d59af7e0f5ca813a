"""Teleoperation devices; imported as vla_ros.teleop."""
