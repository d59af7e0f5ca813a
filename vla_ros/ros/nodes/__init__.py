"""The nodes, one a file. Each runs as ``python -m vla_ros.ros.nodes.<name>`` or ``ros2 run vla_ros <name>``."""
