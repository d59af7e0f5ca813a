"""A node of a command's own, in the graph of this package's nodes, for as long as a block runs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import rclpy
from rclpy.context import Context
from rclpy.executors import Executor
from rclpy.node import Node

from vla_ros.ros.environment import graph_environment
from vla_ros.ros.lifecycle import make_executor


@contextmanager
def own_node(name: str, context: Context | None = None) -> Iterator[tuple[Node, Executor]]:
    """Yield a node and the executor that it is spun by; both end with the block.

    context: an initialised one; by default one of the block's own, with the domain and transport of the graph.
    """
    os.environ.update(graph_environment())
    used = context or Context()
    if context is None:
        rclpy.init(context=used)
    node, executor = rclpy.create_node(name, context=used), make_executor(used)
    executor.add_node(node)
    try:
        yield node, executor
    finally:
        executor.remove_node(node)
        node.destroy_node()
        executor.shutdown()
        if context is None:
            used.try_shutdown()
