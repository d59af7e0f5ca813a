"""A small arm of seven joints, whose elbow can turn while its tip stays: the tests' own, of no maker."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import yaml

from vla_ros.arm_shape import Elbow
from vla_ros.contract import Contract, load_contract
from vla_ros.kinematics import Kinematics

UPPER, LOWER = 0.32, 0.30  # [m] from shoulder to elbow, and from there to the wrist
AXES = ("0 0 1", "0 1 0", "0 0 1", "0 1 0", "0 0 1", "0 1 0", "0 0 1")
REACHES = (0.20, 0.10, 0.0, UPPER, 0.0, LOWER, 0.0)  # [m] up from each joint's parent
NAMES = tuple(f"joint_{k}" for k in range(1, 8))


def urdf() -> str:
    """Return the arm, stretched upwards with all joints at zero. Its tip is `tool0`."""
    parts = ['<link name="base_link"/>']
    parent = "base_link"
    for name, axis, reach in zip(NAMES, AXES, REACHES, strict=True):
        child = name.replace("joint", "link")
        parts.append(
            f'<link name="{child}"/><joint name="{name}" type="revolute"><parent link="{parent}"/><child link="{child}"/>'
            f'<origin xyz="0 0 {reach}"/><axis xyz="{axis}"/>'
            '<limit lower="-2.8" upper="2.8" velocity="2.5" effort="50"/></joint>'
        )
        parent = child
    parts.append(
        '<link name="tool0"/><joint name="tool" type="fixed"><parent link="link_7"/><child link="tool0"/>'
        '<origin xyz="0 0 0.10"/></joint>'
    )
    return f'<robot name="seven">{"".join(parts)}</robot>'


def seven_contract(folder: Path) -> Contract:
    """Return the contract of such an arm, whose files are written into `folder`."""
    (folder / "seven.urdf").write_text(urdf())
    names = [f"{name}.pos" for name in NAMES]
    content = {
        "robot": "seven",
        "urdf": str(folder / "seven.urdf"),
        "rate": 30,
        "observation": {
            "observation.state": {"topic": "/joint_states", "kind": "joints", "names": names, "max_age": 0.05},
            "task": {"topic": "/instruction", "kind": "text"},
        },
        "action": {
            "space": "joint_position",
            "names": names,
            "tip": "tool0",
            "command": {"interface": "joint_trajectory", "topic": "/arm_controller/joint_trajectory"},
        },
        "limits": {"velocity": 2.0, "acceleration": 8.0, "workspace": [[-1.0, 1.0], [-1.0, 1.0], [0.0, 1.2]]},
    }
    file = folder / "seven.yaml"
    file.write_text(yaml.safe_dump(content, sort_keys=False))
    return load_contract(str(file))


def elbow_of(q: np.ndarray) -> Elbow:
    """Where the elbow of the seven joints' arm is, by its own forward kinematics: joints 2, 4 and 6."""
    places = [Kinematics(urdf(), NAMES[: k - 1], f"link_{k}").pose(q[: k - 1])[:3] for k in (2, 4, 6)]
    found = Elbow.of(*places)
    assert found is not None
    return found
