"""A small arm of seven joints, whose elbow can turn while its tip stays: the tests' own, of no maker."""

from __future__ import annotations

UPPER, LOWER = 0.32, 0.30  # [m] from shoulder to elbow, and from there to the wrist
AXES = ("0 0 1", "0 1 0", "0 0 1", "0 1 0", "0 0 1", "0 1 0", "0 0 1")
REACHES = (0.20, 0.10, 0.0, UPPER, 0.0, LOWER, 0.0)  # [m] up from each joint's parent
NAMES = tuple(f"joint_{k}" for k in range(1, 8))


def urdf() -> str:
    """Return the arm, stretched upwards with all joints at zero. Its tip is `tool0`."""
    parts = ['<link name="base"/>']
    parent = "base"
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
