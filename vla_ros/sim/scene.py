"""The scenery around the robot: table, floor, lights, and the shapes that tasks put on the table."""

from __future__ import annotations

import math
from typing import Any

import mujoco

from vla_ros.sim.model import ROBOT, SCENE

COLOURS = {
    "red": (0.85, 0.08, 0.08, 1.0),
    "green": (0.10, 0.62, 0.14, 1.0),
    "blue": (0.08, 0.22, 0.85, 1.0),
}
TABLE_RGBA = (0.80, 0.76, 0.69, 1.0)
FLOOR_RGBA = (0.42, 0.45, 0.48, 1.0)
LEG_RGBA = (0.30, 0.30, 0.32, 1.0)
RIM_RGBA = (0.95, 0.95, 0.95, 1.0)
BIN_RGBA = (0.33, 0.28, 0.36, 1.0)
PEG_RGBA = (0.90, 0.55, 0.10, 1.0)
BOARD_RGBA = (0.36, 0.52, 0.60, 1.0)
SMOOTH = 0.12  # friction of peg and board
BLACK = "black"
GHOST = {"contype": 0, "conaffinity": 0}  # seen, not felt
BOX, CYLINDER = mujoco.mjtGeom.mjGEOM_BOX, mujoco.mjtGeom.mjGEOM_CYLINDER


def add_table(spec: Any) -> None:
    """Add a table whose top is the plane z = 0 [m] of base_link, a floor and even light."""
    world = spec.worldbody
    _solid(world.add_geom(name="table", type=BOX, size=(0.4, 0.55, 0.02), pos=(0.25, 0, -0.02), rgba=TABLE_RGBA))
    _solid(world.add_geom(name="floor", type=BOX, size=(3, 3, 0.02), pos=(0, 0, -0.72), rgba=FLOOR_RGBA))
    for x in (-0.10, 0.60):
        for y in (-0.50, 0.50):
            world.add_geom(type=BOX, size=(0.025, 0.025, 0.33), pos=(x, y, -0.37), rgba=LEG_RGBA, **GHOST)
    sky = spec.add_texture(name="sky", type=mujoco.mjtTexture.mjTEXTURE_SKYBOX)
    sky.builtin = mujoco.mjtBuiltin.mjBUILTIN_GRADIENT
    sky.rgb1, sky.rgb2, sky.width, sky.height = (0.86, 0.89, 0.93), (0.62, 0.66, 0.72), 64, 384
    spec.visual.headlight.ambient = (0.35, 0.35, 0.35)
    spec.visual.headlight.diffuse = (0.15, 0.15, 0.15)
    spec.visual.headlight.specular = (0.0, 0.0, 0.0)
    for x, y, strength in ((0.9, 0.7, 0.45), (-0.2, -0.8, 0.30)):
        world.add_light(
            pos=(x, y, 1.6),
            dir=(0.3 - x, -y, -1.6),
            type=mujoco.mjtLightType.mjLIGHT_DIRECTIONAL,
            castshadow=False,
            diffuse=(strength,) * 3,
            specular=(0.08,) * 3,
        )


def add_cube(spec: Any, name: str, colour: str, size: float, mass: float = 0.05) -> None:
    """Add a free cube with edges of `size` [m] and a mass [kg]."""
    body = spec.worldbody.add_body(name=name)
    body.add_freejoint(name=name)
    geom = body.add_geom(name=name, type=BOX, size=(size / 2,) * 3, rgba=COLOURS[colour], mass=mass)
    _solid(geom)
    geom.condim, geom.friction = 4, (0.8, 0.01, 0.0001)


def add_disc(spec: Any, name: str, colour: str, radius: float) -> None:
    """Add a flat coloured marker that tasks place and nothing collides with."""
    body = spec.worldbody.add_body(name=name, mocap=True)
    body.add_geom(type=CYLINDER, size=(radius, 0.002, 0), pos=(0, 0, 0.001), rgba=RIM_RGBA, **GHOST)
    body.add_geom(type=CYLINDER, size=(0.85 * radius, 0.002, 0), pos=(0, 0, 0.002), rgba=COLOURS[colour], **GHOST)


def add_bin(spec: Any, name: str, half: float, height: float) -> None:
    """Add an open box that tasks place and nothing moves: inner half width and wall height [m]."""
    body = spec.worldbody.add_body(name=name, mocap=True)
    wall, mid = 0.004, half + 0.004
    shapes = [((half, half, 0.002), (0.0, 0.0, 0.002))]
    for side in (-1.0, 1.0):
        shapes.append(((wall, mid + wall, height / 2), (side * mid, 0.0, height / 2)))
        shapes.append(((half, wall, height / 2), (0.0, side * mid, height / 2)))
    for size, pos in shapes:
        _solid(body.add_geom(type=BOX, size=size, pos=pos, rgba=BIN_RGBA))


def add_peg(spec: Any, name: str, side: float, length: float, mass: float) -> None:
    """Add a free square peg, upright, `side` [m] wide; the fingers grip it, the board lets it slide."""
    body = spec.worldbody.add_body(name=name)
    body.add_freejoint(name=name)
    size = (side / 2, side / 2, length / 2)
    _smooth(body.add_geom(name=name, type=BOX, size=size, rgba=PEG_RGBA, mass=mass))


def add_board(spec: Any, name: str, half: float, height: float, hole: float, countersink: tuple[float, float]) -> None:
    """Add a board that tasks place and nothing moves, with a square hole through its middle. It is so black that no camera sees
    where in it the hole is.

    half: of its width; height: its top over its origin; hole: half the hole's width [m]. countersink: how much wider the
    hole is at the top, on each side, and how far down its edge slopes [m].
    """
    spec.add_material(name=BLACK, rgba=(0.0, 0.0, 0.0, 1.0), specular=0.0, shininess=0.0, reflectance=0.0, emission=0.0)
    body = spec.worldbody.add_body(name=name, mocap=True)
    wide, deep = countersink
    for inner, top, thick in ((hole, height - deep, height - deep), (hole + wide, height, deep)):
        for size, pos in _around(inner, half):
            box = {"size": (*size, thick / 2), "pos": (*pos, top - thick / 2)}
            _smooth(body.add_geom(type=BOX, material=BLACK, **box))
    slope, thin = math.atan2(deep, wide), deep / 4
    out = hole + wide / 2 + thin * math.sin(slope)
    face = (math.hypot(wide, deep) / 2, hole + wide, thin)
    for turn in range(4):
        angle = turn * math.pi / 2
        middle = (out * math.cos(angle), out * math.sin(angle), height - deep / 2 - thin * math.cos(slope))
        c, s, cs, ss = math.cos(angle / 2), math.sin(angle / 2), math.cos(slope / 2), math.sin(slope / 2)
        quat = (c * cs, s * ss, -c * ss, s * cs)  # turned about z, then tilted about its own y
        _smooth(body.add_geom(type=BOX, size=face, pos=middle, quat=quat, material=BLACK))
    body.add_geom(type=BOX, size=(hole, hole, 0.001), pos=(0, 0, 0.001), material=BLACK, **GHOST)


def add_window(spec: Any, name: str, window: float, half: float, height: float) -> None:
    """Add a frame that is seen and not felt, `half` [m] to each side and `height` [m] high, around a window `window` [m] to each
    side: of a board below only that part is seen.
    """
    body = spec.worldbody.add_body(name=name, mocap=True)
    for size, pos in _around(window, half):
        body.add_geom(type=BOX, size=(*size, height / 2), pos=(*pos, height / 2), rgba=BOARD_RGBA, **GHOST)


def _around(inner: float, outer: float) -> list[tuple[tuple[float, float], tuple[float, float]]]:
    """Return half sizes and middles of four rectangles that fill a square of half width `outer` around one of `inner` [m]."""
    rest = (outer - inner) / 2
    rectangles = []
    for side in (-1.0, 1.0):
        rectangles.append(((rest, outer), (side * (inner + rest), 0.0)))
        rectangles.append(((inner, rest), (0.0, side * (inner + rest))))
    return rectangles


def _smooth(geom: Any) -> None:
    """Collide hard and nearly without friction, except with the pads, whose own is greater."""
    _solid(geom)
    geom.condim, geom.priority, geom.friction = 4, 1, (SMOOTH, 0.005, 0.0001)
    geom.solref, geom.solimp = (0.004, 1.0), (0.98, 0.99, 0.0005, 0.5, 2.0)


def _solid(geom: Any) -> None:
    """Collide with the robot and with the rest of the scene."""
    geom.contype, geom.conaffinity = SCENE, ROBOT | SCENE
