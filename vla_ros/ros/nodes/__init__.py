"""The nodes, one a file: ``python -m vla_ros.ros.nodes.<name>`` or ``ros2 run vla_ros <name>``."""
