"""Read a robot description: xacro is expanded, plain URDF passes through."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path
from xml.parsers.expat import ExpatError

from vla_ros.errors import VlaRosError
from vla_ros.paths import share_path


def load_urdf(path: str | Path, **xacro_args: str) -> str:
    """Return the URDF text of the robot described by `path`.

    `path` is a file, absolute, relative to the working folder, or relative to the package's data
    (``urdf/tabletop_arm.urdf.xacro``). A name ending in ``.xacro`` is expanded with `xacro_args`
    (such as ``hardware="gz_ros2_control/GazeboSimSystem"``).
    Raises VlaRosError when the file is missing or is not a robot description.
    """
    file = Path(path)
    if not file.exists():
        file = share_path(str(path))
    text = _expand(file, xacro_args) if file.suffix == ".xacro" else file.read_text(encoding="utf-8")
    try:
        root = ET.fromstring(text)
    except ET.ParseError as error:
        raise VlaRosError(f"robot description '{file}' is not XML: {error}") from error
    if root.tag != "robot":
        raise VlaRosError(f"robot description '{file}' starts with <{root.tag}>; a URDF starts with <robot>")
    return text


def movable_joints(urdf_xml: str) -> tuple[str, ...]:
    """Return the names of the joints that move, in the URDF's order."""
    return tuple(
        joint.attrib["name"]
        for joint in ET.fromstring(urdf_xml).iter("joint")
        if joint.attrib.get("type", "fixed") != "fixed" and "name" in joint.attrib
    )


def _expand(file: Path, args: dict[str, str]) -> str:
    import xacro

    try:
        document = xacro.process_file(str(file), mappings=args)
    except (xacro.XacroException, ExpatError, OSError) as error:
        raise VlaRosError(f"xacro cannot expand '{file}': {str(error).splitlines()[0]}") from error
    return str(document.toprettyxml(indent="  "))
