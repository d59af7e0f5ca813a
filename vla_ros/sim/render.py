"""Pictures of a MuJoCo model, colour and depth from one pass, each thread with a renderer of its own."""

from __future__ import annotations

import importlib
import os
import threading
from dataclasses import dataclass
from typing import Any

import mujoco
import numpy as np
import numpy.typing as npt

from vla_ros.errors import SimulationError, unknown_name

BACKENDS = ("egl", "osmesa", "glfw")  # of MUJOCO_GL; egl needs no screen


@dataclass(frozen=True)
class Snapshot:
    """What a picture needs of the physics state; independent of the world it was taken from."""

    time: float  # [s] since reset
    qpos: npt.NDArray[np.float64]
    mocap: npt.NDArray[np.float64]  # [n, 7] positions and quaternions (wxyz)


@dataclass(frozen=True)
class Frame:
    """One camera's picture."""

    rgb: npt.NDArray[np.uint8]  # [H, W, 3]
    depth: npt.NDArray[np.float32] | None  # [H, W] m along the optical axis, where asked for


class Renderer:
    """Renders snapshots of a model, from any thread; OpenGL contexts are made lazily, one a thread."""

    def __init__(self, model: Any, width: int, height: int) -> None:
        self._model, self.width, self.height = model, width, height
        self._local = threading.local()

    def frame(self, camera: str, snapshot: Snapshot, depth: bool = True) -> Frame:
        """Return the camera's colour, and depth if asked for. SimulationError when there is no OpenGL."""
        if not hasattr(self._local, "context"):
            self._local.context = _Context(self._model, self.width, self.height)
        context: _Context = self._local.context
        return context.frame(camera, snapshot, depth)


class _Context:
    """An offscreen OpenGL context, its scene and its own MjData. Belongs to one thread."""

    def __init__(self, model: Any, width: int, height: int) -> None:
        self._model, self._data = model, mujoco.MjData(model)
        self._gl = gl_context(width, height)
        self._scene = mujoco.MjvScene(model, maxgeom=1000)
        self._options = mujoco.MjvOption()
        self._camera = mujoco.MjvCamera()
        self._camera.type = mujoco.mjtCamera.mjCAMERA_FIXED
        self._rect = mujoco.MjrRect(0, 0, width, height)
        self._context = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_100.value)
        self._context.readDepthMap = mujoco.mjtDepthMap.mjDEPTH_ZEROFAR
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN.value, self._context)
        self._rgb = np.empty((height, width, 3), np.uint8)
        self._z = np.empty((height, width), np.float32)

    def frame(self, camera: str, snapshot: Snapshot, depth: bool) -> Frame:
        model, data = self._model, self._data
        data.qpos[:] = snapshot.qpos
        data.mocap_pos[:], data.mocap_quat[:] = snapshot.mocap[:, :3], snapshot.mocap[:, 3:]
        mujoco.mj_kinematics(model, data)
        mujoco.mj_camlight(model, data)
        self._camera.fixedcamid = model.camera(camera).id
        category = mujoco.mjtCatBit.mjCAT_ALL.value
        mujoco.mjv_updateScene(model, data, self._options, None, self._camera, category, self._scene)
        self._gl.make_current()
        mujoco.mjr_render(self._rect, self._scene, self._context)
        mujoco.mjr_readPixels(self._rgb, self._z if depth else None, self._rect, self._context)
        return Frame(
            np.ascontiguousarray(self._rgb[::-1]), depth_in_metres(self._model, self._z[::-1]) if depth else None
        )


def depth_in_metres(model: Any, z: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Undo the (reversed) perspective depth of a picture of `model`: z is 1 at the near plane and 0 at the far plane."""
    near = np.float32(model.vis.map.znear * model.stat.extent)
    far = np.float32(model.vis.map.zfar * model.stat.extent)
    return np.asarray(far * near / (z * (far - near) + near), dtype=np.float32)


def gl_context(width: int, height: int) -> Any:
    """Make an OpenGL context of the kind that MUJOCO_GL names, whatever it was at import. Raises SimulationError."""
    backend = os.environ.get("MUJOCO_GL") or "egl"
    if backend not in BACKENDS:
        raise SimulationError("MUJOCO_GL: " + unknown_name("backend", backend, BACKENDS))
    try:
        context = importlib.import_module(f"mujoco.{backend}").GLContext(width, height)
        context.make_current()
    except Exception as error:  # the OpenGL loaders raise whatever they like
        raise SimulationError(
            f"no offscreen OpenGL with MUJOCO_GL={backend} ({type(error).__name__}: {error});"
            " install libegl1 libgl1 libgles2 libgl1-mesa-dri"
        ) from error
    return context
