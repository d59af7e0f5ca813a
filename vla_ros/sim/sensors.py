"""What the simulated tool feels: the wrist's force/torque sensor and the taxel pads on the fingers."""

from __future__ import annotations

from typing import Any

import mujoco
import numpy as np
import numpy.typing as npt

from vla_ros.errors import SimulationError, unknown_name
from vla_ros.sim.model import PAD_SUFFIX, TOOL_MARK, RobotModel

Array = npt.NDArray[np.float64]
TAXELS = 4  # rows and columns of a pad


class ToolWrench:
    """The force and torque that the environment exerts on the tool, in the tip's frame."""

    def __init__(self, model: Any, robot: RobotModel, tip: str) -> None:
        self._site, self._tip = model.site(TOOL_MARK).id, model.body(tip).id
        self._body = model.body(robot.wrench_body).id
        self._weight = model.body_subtreemass[self._body] * model.opt.gravity  # [3] N, world

    def read(self, data: Any) -> Array:
        """Return [fx fy fz tx ty tz] (N, Nm) in the tip frame, about its origin, the tool's weight taken off.

        Pressing the tip on the table gives a negative fz, because z points out of the gripper.
        """
        at_sensor = data.site_xmat[self._site].reshape(3, 3)
        load = at_sensor @ data.sensordata[:3], at_sensor @ data.sensordata[3:6]  # holds the tool, world axes
        origin = data.site_xpos[self._site]
        force = -load[0] - self._weight
        torque = -load[1] - _cross(data.subtree_com[self._body] - origin, self._weight)
        torque = torque + _cross(origin - data.xpos[self._tip], force)
        to_tip = data.xmat[self._tip].reshape(3, 3).T
        return np.concatenate([to_tip @ force, to_tip @ torque])


class TaxelPads:
    """Contact forces spread over the 4 x 4 taxels of each finger pad."""

    def __init__(self, model: Any, robot: RobotModel) -> None:
        self._model = model
        self._geoms = {side: model.geom(side + PAD_SUFFIX).id for side in robot.pads}
        self._force = np.zeros(6)

    def read(self, data: Any, side: str) -> npt.NDArray[np.float32]:
        """Return [4, 4, 3] N: the force on each taxel as (shear x, shear y, pressure) in the pad's frame.

        Row 0 is nearest the finger tip (pad +y), column 0 at pad -x; a pressed pad reads a positive pressure.
        """
        if side not in self._geoms:
            raise SimulationError(unknown_name("taxel pad", side, self._geoms))
        geom = self._geoms[side]
        body = self._model.geom_bodyid[geom]
        origin, to_pad = data.xpos[body], data.xmat[body].reshape(3, 3).T
        taxels = np.zeros((TAXELS, TAXELS, 3))
        for index in np.flatnonzero((data.contact.geom == geom).any(axis=1)):
            contact = data.contact[index]
            mujoco.mj_contactForce(self._model, data, index, self._force)
            force = contact.frame.reshape(3, 3).T @ self._force[:3]  # on geom2, world axes
            if contact.geom2 != geom:
                force = -force
            shear_x, shear_y, outward = to_pad @ force
            on_pad = np.array([shear_x, shear_y, -outward])
            self._spread(taxels, to_pad @ (contact.pos - origin), on_pad, geom)
        return taxels.astype(np.float32)

    def _spread(self, taxels: Array, point: Array, force: Array, geom: int) -> None:
        """Add a force to the four taxels around `point` (pad frame, m), bilinearly (in place)."""
        half = self._model.geom_size[geom][:2]
        column, row = (np.array([point[0], -point[1]]) / half + 1) / 2 * TAXELS - 0.5
        row, column = np.clip([row, column], 0, TAXELS - 1)
        top, left = min(int(row), TAXELS - 2), min(int(column), TAXELS - 2)
        weights = np.outer([top + 1 - row, row - top], [left + 1 - column, column - left])
        taxels[top : top + 2, left : left + 2] += weights[..., None] * force


def _cross(a: Array, b: Array) -> Array:
    """np.cross for two vectors, without its overhead: this runs at 300 Hz."""
    return np.array([a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]])
