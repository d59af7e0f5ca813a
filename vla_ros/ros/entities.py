"""Undoing what a node's configuration created, so that it can be configured again."""

from __future__ import annotations

from typing import Any

from rclpy.node import Node


class Entities:
    """Remembers what a node has now; `destroy_newer` removes what it was given since."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._before = [entity for items, _ in self._groups() for entity in items]

    def destroy_newer(self) -> None:
        """Destroy timers, services, subscriptions and publishers created since."""
        for items, destroy in self._groups():
            for entity in items:
                if not any(entity is old for old in self._before):
                    destroy(entity)

    def _groups(self) -> list[tuple[list[Any], Any]]:
        node = self._node
        return [
            (list(node.timers), node.destroy_timer),
            (list(node.services), node.destroy_service),
            (list(node.subscriptions), node.destroy_subscription),
            (list(node.publishers), node.destroy_publisher),
        ]
