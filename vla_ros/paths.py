"""Find the package's data files (config/, urdf/, launch/) in every install mode."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

from vla_ros.errors import VlaRosError

PACKAGE = "vla_ros"


def share_roots() -> Iterator[Path]:
    """Yield the folders that may hold the data files, best first.

    The source tree wins when this very module runs from one (editable installs), then the ament
    prefixes (colcon, apt), then ``sys.prefix/share`` (pip install).
    """
    source_tree = Path(__file__).resolve().parent.parent
    if (source_tree / "config" / "contracts").is_dir():
        yield source_tree
    for prefix in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep):
        if prefix and (Path(prefix) / "share/ament_index/resource_index/packages" / PACKAGE).exists():
            yield Path(prefix) / "share" / PACKAGE
    yield Path(sys.prefix) / "share" / PACKAGE
    for parent in Path(__file__).resolve().parents:  # colcon's lib/pythonX/site-packages, no setup file sourced
        if (parent / "share" / PACKAGE).is_dir():
            yield parent / "share" / PACKAGE


def share_path(relative: str) -> Path:
    """Return the existing file or folder `relative` (such as ``urdf/tabletop_arm.urdf.xacro``).

    Raises VlaRosError naming every folder that was searched.
    """
    searched = []
    for root in share_roots():
        candidate = root / relative
        if candidate.exists():
            return candidate
        searched.append(str(root))
    raise VlaRosError(f"data file '{relative}' not found; searched: {', '.join(searched)}")
