"""What a node does when one of its own threads fails: say why in one line, and end, so that the graph sees it."""

from __future__ import annotations

import os
import sys
import traceback

from vla_ros.errors import VlaRosError

FAILED = 1


def die(node: str, error: BaseException) -> None:
    """End the process with exit code 1 and one line ``vla_ros: <node>: <why>``; a defect shows its traceback first."""
    if not isinstance(error, VlaRosError):
        traceback.print_exception(type(error), error, error.__traceback__)
    print(f"vla_ros: {node}: {error}", file=sys.stderr, flush=True)
    os._exit(FAILED)
