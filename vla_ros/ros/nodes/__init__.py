"""The nodes, one a file: ``python -m vla_ros.ros.nodes.<name>`` or ``ros2 run vla_ros <name>``.

Importing this holds on to the lifeline of whoever started the process, before the imports of the node itself.
"""

from vla_ros.ros import lifeline

lifeline.hold()
