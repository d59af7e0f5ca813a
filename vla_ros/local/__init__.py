"""Lockstep trials in one process, without ROS: world, gate and source with the stamps and the order of the graph's nodes.

A seed gives the same trial as on the graph, bit for bit, in a fraction of the time; a test holds the two together. For
measuring policies and for demonstrations by the hundred; what the graph itself does is measured on the graph.
"""

from vla_ros.local.demonstrate import Demonstrations, demonstrate
from vla_ros.local.evaluate import evaluate

__all__ = ["Demonstrations", "demonstrate", "evaluate"]
