"""A right hand made of capsules, as MuJoCo draws it: what emulated cameras see, lifelike enough for a detector of hands.

Its 21 points are those of MediaPipe's hand (wrist, then four of each finger from the thumb on, the last one being its tip),
lengths about those of a man's hand.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.spatial.transform import Rotation

from vla_ros.drivers.intrinsics import Intrinsics
from vla_ros.keypoints.lift import palm

Array = npt.NDArray[np.float64]
WRIST, THUMB, INDEX, INDEX_KNUCKLE, PINKY_KNUCKLE = 0, 4, 8, 5, 17
# [m]; from the wrist, x along the fingers, y towards the thumb, z out of the back of the hand
OPEN = np.array(
    [
        *[(0, 0, 0), (0.022, 0.028, -0.008), (0.052, 0.050, -0.014), (0.080, 0.067, -0.018), (0.106, 0.080, -0.020)],
        *[(0.090, 0.028, 0), (0.132, 0.034, -0.004), (0.157, 0.038, -0.008), (0.178, 0.040, -0.012)],
        *[(0.092, 0.005, 0.002), (0.138, 0.006, -0.002), (0.166, 0.007, -0.006), (0.188, 0.007, -0.010)],
        *[(0.086, -0.016, 0), (0.128, -0.020, -0.004), (0.155, -0.023, -0.008), (0.176, -0.025, -0.012)],
        *[(0.077, -0.034, -0.004), (0.108, -0.043, -0.008), (0.126, -0.048, -0.011), (0.145, -0.052, -0.014)],
    ]
)
PINCHED = OPEN.copy()
PINCHED[2:5] = [(0.050, 0.045, -0.032), (0.080, 0.052, -0.045), (0.106, 0.048, -0.055)]
PINCHED[6:9] = [(0.125, 0.034, -0.020), (0.130, 0.038, -0.043), (0.117, 0.045, -0.058)]
THUMB_BONES = ((0, 1, 0.017), (1, 2, 0.0145), (2, 3, 0.011), (3, 4, 0.0092))
FINGERS = ((5, 1.0), (9, 1.05), (13, 1.0), (17, 0.88))  # knuckle and thickness
FLESH = ((0, 5), (0, 9), (0, 13), (0, 17), (1, 5), (1, 9), (1, 13), (2, 5), (5, 9), (9, 13), (13, 17))
FOREARM, WIDTH, THICKNESS = 0.30, 0.026, 0.021  # [m]
SKIN, NAIL = (0.86, 0.64, 0.53, 1.0), (0.93, 0.76, 0.70, 1.0)
ROOM = """<mujoco>
  <visual>
    <global offwidth="{width}" offheight="{height}"/>
    <headlight ambient=".42 .42 .42" diffuse=".4 .4 .4" specular="0 0 0"/>
    <quality shadowsize="0" offsamples="0" numslices="20" numstacks="10"/><map znear=".01"/>
  </visual>
  <worldbody>
    <light directional="true" pos=".5 -1 2" dir="-.2 .4 -1" diffuse=".4 .38 .35" specular=".05 .05 .05"/>
    <geom type="plane" size="3 3 .1" rgba=".45 .5 .55 1"/>
    <geom type="box" size=".02 3 2" pos="2 0 1" rgba=".52 .55 .6 1"/>
    <geom type="box" size=".02 3 2" pos="-2 0 1" rgba=".5 .5 .56 1"/>
    <geom type="box" size="3 .02 2" pos="0 2 1" rgba=".5 .53 .58 1"/>
    {cameras}
  </worldbody>
</mujoco>"""


@dataclass(frozen=True)
class Viewpoint:
    """T_room_camera [4, 4] of the optical frame (z forward), and the lens, without distortion."""

    T_room_camera: Array
    lens: Intrinsics


def looking(eye: tuple[float, float, float], at: tuple[float, float, float], lens: Intrinsics) -> Viewpoint:
    """Return the camera at `eye` that looks at `at` [m], upright."""
    forward = np.subtract(at, eye) / np.linalg.norm(np.subtract(at, eye))
    right = np.cross(forward, (0.0, 0.0, 1.0))
    right /= np.linalg.norm(right)
    place = np.eye(4)
    place[:3, :3], place[:3, 3] = np.stack([right, np.cross(forward, right), forward], axis=1), eye
    return Viewpoint(place, lens)


def pinhole(width: int, height: int, fovy: float) -> Intrinsics:
    """Return the lens of a picture that is `fovy` [degrees] high."""
    focal = height / 2.0 / np.tan(np.radians(fovy) / 2.0)
    return Intrinsics(width, height, focal, focal, (width - 1) / 2.0, (height - 1) / 2.0)


def hand_points(pose: npt.ArrayLike, pinch: float) -> Array:
    """Return the hand's points [21, 3] [m] whose palm (`vla_ros.keypoints.lift.palm`) has the pose [7]. pinch: 0 to 1."""
    at, points = np.asarray(pose, np.float64), OPEN + pinch * (PINCHED - OPEN)
    own = palm(points[WRIST], points[INDEX_KNUCKLE], points[PINKY_KNUCKLE])
    assert own is not None
    flat = Rotation.from_quat(own[3:]).inv().apply(points - own[:3])
    return np.asarray(Rotation.from_quat(at[3:]).apply(flat) + at[:3])


class HandRenderer:
    """Draws the hand. Made, used and closed in one thread, as OpenGL wants it. Needs MuJoCo; SimulationError without OpenGL."""

    def __init__(self, views: list[Viewpoint]) -> None:
        import mujoco

        from vla_ros.sim.render import gl_context

        lens = views[0].lens
        cameras = "".join(_camera(view, number) for number, view in enumerate(views))
        text = ROOM.format(width=lens.width, height=lens.height, cameras=cameras)
        self._mujoco, self._model = mujoco, mujoco.MjModel.from_xml_string(text)
        self._data = mujoco.MjData(self._model)
        mujoco.mj_forward(self._model, self._data)
        self._gl = gl_context(lens.width, lens.height)
        self._scene = mujoco.MjvScene(self._model, maxgeom=200)
        self._options, self._camera = mujoco.MjvOption(), mujoco.MjvCamera()
        self._camera.type = mujoco.mjtCamera.mjCAMERA_FIXED
        self._rect = mujoco.MjrRect(0, 0, lens.width, lens.height)
        self._context = mujoco.MjrContext(self._model, mujoco.mjtFontScale.mjFONTSCALE_100.value)
        self._context.readDepthMap = mujoco.mjtDepthMap.mjDEPTH_ZEROFAR
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN.value, self._context)
        self._rgb = np.empty((lens.height, lens.width, 3), np.uint8)
        self._z = np.empty((lens.height, lens.width), np.float32)

    def picture(self, view: int, points: Array | None) -> npt.NDArray[np.uint8]:
        """Return what camera `view` sees [H, W, 3] RGB; without points no hand."""
        self._render(view, points)
        self._mujoco.mjr_readPixels(self._rgb, None, self._rect, self._context)
        return np.ascontiguousarray(self._rgb[::-1])

    def depth(self, view: int, points: Array | None) -> npt.NDArray[np.uint16]:
        """Return how far it is along the line of sight's z [H, W] [mm]."""
        from vla_ros.sim.render import depth_in_metres

        self._render(view, points)
        self._mujoco.mjr_readPixels(None, self._z, self._rect, self._context)
        metres = depth_in_metres(self._model, self._z[::-1])
        return np.asarray(np.clip(np.rint(metres * 1e3), 0, 65535), dtype=np.uint16)

    def close(self) -> None:
        """Free what it has on the graphics card."""
        self._context.free()
        self._gl.free()

    def _render(self, view: int, points: Array | None) -> None:
        self._camera.fixedcamid = view
        category = self._mujoco.mjtCatBit.mjCAT_ALL.value
        self._mujoco.mjv_updateScene(self._model, self._data, self._options, None, self._camera, category, self._scene)
        if points is not None:
            self._draw(points)
        self._gl.make_current()
        self._mujoco.mjr_render(self._rect, self._scene, self._context)

    def _draw(self, points: Array) -> None:
        own = palm(points[WRIST], points[INDEX_KNUCKLE], points[PINKY_KNUCKLE])
        assert own is not None
        along, across, out = Rotation.from_quat(own[3:]).as_matrix().T
        for a, b, radius in THUMB_BONES:
            self._capsule(points[a], points[b], radius)
        for knuckle, thick in FINGERS:
            for k, radius in enumerate((0.0102, 0.0090, 0.0076)):
                self._capsule(points[knuckle + k], points[knuckle + k + 1], radius * thick)
        for a, b in FLESH:
            self._capsule(points[a], points[b], 0.0125)
        middle = (points[WRIST] + points[INDEX_KNUCKLE] + points[PINKY_KNUCKLE]) / 3.0 + 0.010 * along
        self._ellipsoid(middle, np.stack([along, across, out], 1), (0.042, 0.034, 0.0125), SKIN)
        self._draw_arm(points, np.stack([along, across, out], 1))
        for tip in range(THUMB, 21, 4):
            way = points[tip] - points[tip - 1]
            way /= np.linalg.norm(way)
            up = out - way * (out @ way)
            up /= np.linalg.norm(up)
            axes = np.stack([way, np.cross(up, way), up], 1)
            self._ellipsoid(points[tip] + 0.0062 * up - 0.001 * way, axes, (0.0065, 0.0050, 0.0025), NAIL)

    def _draw_arm(self, points: Array, axes: Array) -> None:
        """Draw what the hand is at: a forearm in line with it. axes: of the palm [3, 3]."""
        for share in np.linspace(0.0, 1.0, 14):
            centre = points[WRIST] - FOREARM * share * axes[:, 0]
            wide = (0.032, WIDTH + 0.014 * min(1.0, 1.3 * share), THICKNESS + 0.014 * share)
            self._ellipsoid(centre, axes, wide, SKIN)

    def _capsule(self, start: Array, end: Array, radius: float, colour: tuple[float, ...] = SKIN) -> None:
        geom = self._next(self._mujoco.mjtGeom.mjGEOM_CAPSULE, (radius, radius, radius), start, np.eye(3), colour)
        self._mujoco.mjv_connector(geom, self._mujoco.mjtGeom.mjGEOM_CAPSULE, radius, start, end)

    def _ellipsoid(self, centre: Array, axes: Array, size: tuple[float, ...], colour: tuple[float, ...]) -> None:
        self._next(self._mujoco.mjtGeom.mjGEOM_ELLIPSOID, size, centre, axes, colour)

    def _next(self, kind: Any, size: tuple[float, ...], at: Array, axes: Array, colour: tuple[float, ...]) -> Any:
        scene = self._scene
        geom = scene.geoms[scene.ngeom]
        self._mujoco.mjv_initGeom(geom, kind, np.array(size), at, axes.reshape(-1), np.array(colour, np.float32))
        geom.specular = geom.shininess = 0.1
        scene.ngeom += 1
        return geom


def _camera(view: Viewpoint, number: int) -> str:
    """Return MuJoCo's camera, which looks along its -z with y up."""
    x, y = view.T_room_camera[:3, 0], -view.T_room_camera[:3, 1]
    axes = " ".join(f"{value:.9f}" for value in (*x, *y))
    place = " ".join(f"{value:.9f}" for value in view.T_room_camera[:3, 3])
    fovy = np.degrees(2.0 * np.arctan(view.lens.height / 2.0 / view.lens.fy))
    return f'<camera name="camera{number}" pos="{place}" xyaxes="{axes}" fovy="{fovy:.9f}"/>'
