"""How near an arm's links are to each other, from the URDF's collision geometry (Pinocchio and Coal).

Neighbouring links, and shapes that already touch with all joints at zero or whose distance never changes, are left out.
Meshes count as their convex hulls. Joints that are not the chain's, such as a gripper's, stand at the end of their range: the
fingers are open.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import Any

import coal
import numpy as np
import numpy.typing as npt
import pinocchio as pin

from vla_ros.errors import KinematicsError

Array = npt.NDArray[np.float64]
NEAR = 0.08  # [m] pairs further apart than this are not looked at
FLOOR = 0.002  # [m] nearer than this, links are said to touch
STEADY, TRIES = 1e-4, 24  # [m] by which a distance must change in so many random poses to be watched


class SelfCollision:
    """Distances between the links of `model`, a chain of `joint_names` in Pinocchio's order (`SelfCollision.chain`)."""

    def __init__(self, model: pin.Model, geometry: pin.GeometryModel) -> None:
        self._model, self._geometry = model, geometry
        for shape in geometry.geometryObjects:
            if isinstance(shape.geometry, coal.BVHModelBase):
                shape.geometry.buildConvexRepresentation(True)
                shape.geometry = shape.geometry.convex
            shape.geometry.computeLocalAABB()
        self._parents = [shape.parentJoint for shape in geometry.geometryObjects]
        self._centres = np.array([shape.geometry.aabb_center for shape in geometry.geometryObjects]).reshape(-1, 3)
        self._radii = np.array([shape.geometry.aabb_radius for shape in geometry.geometryObjects])
        self._watch(self._apart())
        self._data = model.createData()
        self._drop_steady()

    @staticmethod
    def chain(urdf_xml: str, joint_names: Iterable[str]) -> tuple[pin.Model, pin.GeometryModel]:
        """Return the model and the collision geometry of a URDF with all joints but these frozen. Raises KinematicsError."""
        model = pin.buildModelFromXML(urdf_xml)
        folders = [f"{prefix}/share" for prefix in os.environ.get("AMENT_PREFIX_PATH", "").split(":") if prefix]
        try:
            geometry = pin.buildGeomFromUrdfString(model, urdf_xml, pin.GeometryType.COLLISION, package_dirs=folders)
        except (ValueError, RuntimeError) as error:
            raise KinematicsError(f"URDF: collision geometry cannot be read: {str(error).splitlines()[0]}") from error
        chosen = set(joint_names)
        frozen = [model.getJointId(name) for name in list(model.names)[1:] if name not in chosen]
        at = pin.neutral(model)
        for joint in frozen:
            place, high = model.joints[joint].idx_q, model.upperPositionLimit
            at[place] = high[place] if np.isfinite(high[place]) and abs(high[place]) < 10.0 else at[place]
        reduced, kept = pin.buildReducedModel(model, geometry, frozen, at)
        return reduced, kept

    @property
    def pairs(self) -> int:
        """How many pairs of shapes are watched."""
        return len(self._first)

    def distance(self, q: Array) -> float:
        """Return the smallest distance [m] between links at `q` (Pinocchio's order), negative inside each other; at most NEAR."""
        return min((result.min_distance for _, result in self._near(q, self._data)), default=NEAR)

    def rows(self, q: Array, data: pin.Data) -> tuple[Array, Array]:
        """Return near distances [K] [m] and how they change with the joints [K, nv]. data: with the joint Jacobians at `q`."""
        distances, slopes = [], []
        for pair, result in self._near(q, data):
            normal = np.array(result.normal)  # from the first shape to the second
            towards = normal @ self._velocity(data, self._parents[self._second[pair]], result.getNearestPoint2())
            away = normal @ self._velocity(data, self._parents[self._first[pair]], result.getNearestPoint1())
            distances.append(result.min_distance)
            slopes.append(towards - away)
        return np.array(distances), np.array(slopes).reshape(-1, self._model.nv)

    def _velocity(self, data: pin.Data, joint: int, point: Any) -> Array:
        """Return the Jacobian [3, nv] of a point [m] on the link behind `joint`; zero for the base."""
        if joint == 0:
            return np.zeros((3, self._model.nv))
        jacobian = pin.getJointJacobian(self._model, data, joint, pin.LOCAL_WORLD_ALIGNED)
        arm = np.array(point) - data.oMi[joint].translation
        return np.asarray(jacobian[:3] - pin.skew(arm) @ jacobian[3:])

    def _near(self, q: Array, data: pin.Data) -> Iterator[tuple[int, Any]]:
        """Yield pairs whose bounding spheres are near, and what Coal says of them, where that is near too."""
        pin.updateGeometryPlacements(self._model, data, self._geometry, self._shapes, q)
        placed = self._shapes.oMg
        centres = np.array([placed[i].act(centre) for i, centre in enumerate(self._centres)]).reshape(-1, 3)
        gaps = np.linalg.norm(centres[self._first] - centres[self._second], axis=1) - self._reach
        for pair in np.flatnonzero(gaps < NEAR):
            result = pin.computeDistance(self._geometry, self._shapes, int(pair))
            if result.min_distance < NEAR:
                yield int(pair), result

    def _apart(self) -> list[tuple[int, int]]:
        """Return the pairs of shapes on links that are not neighbours and do not touch with all joints at zero."""
        model, count = self._model, len(self._parents)
        neighbours = {(min(j, p), max(j, p)) for j, p in enumerate(model.parents) if j} | {
            (j, j) for j in range(model.njoints)
        }
        pairs = [
            (i, k)
            for i in range(count)
            for k in range(i + 1, count)
            if tuple(sorted((self._parents[i], self._parents[k]))) not in neighbours
        ]
        self._watch(pairs)
        gaps = self._all_distances(np.clip(pin.neutral(model), model.lowerPositionLimit, model.upperPositionLimit))
        return [pair for pair, gap in zip(pairs, gaps, strict=True) if gap > FLOOR]

    def _drop_steady(self) -> None:
        pairs = list(zip(self._first.tolist(), self._second.tolist(), strict=True))
        draw = np.random.default_rng(0)
        low, high = (
            np.maximum(self._model.lowerPositionLimit, -np.pi),
            np.minimum(self._model.upperPositionLimit, np.pi),
        )
        gaps = np.array([self._all_distances(draw.uniform(low, high)) for _ in range(TRIES)])
        self._watch([pair for pair, spread in zip(pairs, np.ptp(gaps, axis=0), strict=True) if spread > STEADY])

    def _all_distances(self, q: Array) -> list[float]:
        pin.computeDistances(self._model, self._model.createData(), self._geometry, self._shapes, q)
        return [result.min_distance for result in self._shapes.distanceResults]

    def _watch(self, pairs: list[tuple[int, int]]) -> None:
        self._geometry.removeAllCollisionPairs()
        for first, second in pairs:
            self._geometry.addCollisionPair(pin.CollisionPair(first, second))
        self._shapes = self._geometry.createData()
        both = np.array(pairs, dtype=np.int64).reshape(-1, 2)
        self._first, self._second = both[:, 0], both[:, 1]
        self._reach = self._radii[self._first] + self._radii[self._second]
