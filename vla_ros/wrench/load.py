"""What the tool behind a sensor weighs and where its mass is, from static poses.

At rest, with gravity g [m/s2] seen in the sensor's frame, a tool of mass m with its centre at c loads the sensor with

    f = m g + f0        t = c x (m g) + t0 = -m [g]x c + t0

where f0 and t0 are what the sensor shows without a load. Both are linear in the unknowns: m and f0 from the forces,
then c and t0 from the torques, each by least squares.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from vla_ros.errors import CalibrationError
from vla_ros.wrench.calibration import WrenchCalibration

Array = npt.NDArray[np.float64]
STANDARD_GRAVITY = 9.80665  # [m/s2]
FEWEST = 3  # poses
LEAST_TILT = 5.0  # [deg] rms about each of two axes
LEAST_WEIGHT = 0.05  # [N] below which the centre of mass is of no account, and none is sought


def identify(
    rotations: npt.ArrayLike,
    wrenches: npt.ArrayLike,
    frame: str = "tool0",
    gravity: npt.ArrayLike = (0.0, 0.0, -STANDARD_GRAVITY),
) -> WrenchCalibration:
    """Return the load that explains `wrenches` [n, 6] (N, Nm, in the sensor's frame) at `rotations` [n, 3, 3].

    rotations: R_root_sensor. gravity: [3] in the root frame [m/s2]. frame: the sensor's, as the URDF calls it. Raises
    CalibrationError, saying why, when the poses do not determine the load.
    """
    turned, measured = np.asarray(rotations, np.float64), np.asarray(wrenches, np.float64)
    down = np.asarray(gravity, np.float64)
    count = len(turned)
    if turned.shape != (count, 3, 3) or measured.shape != (count, 6) or down.shape != (3,):
        raise CalibrationError(
            f"poses {list(turned.shape)}, wrenches {list(measured.shape)}, gravity {list(down.shape)}: "
            "want [n, 3, 3], [n, 6], [3]"
        )
    if not (np.isfinite(turned).all() and np.isfinite(measured).all()):
        raise CalibrationError("a pose or wrench is not finite")
    pulls = np.einsum("nji,j->ni", turned, down)  # gravity in the sensor's frame [n, 3]
    _check_tilt(pulls, float(np.linalg.norm(down)))

    forces = np.concatenate([np.concatenate([pull[:, None], np.eye(3)], axis=1) for pull in pulls])
    (mass, *force_offset), force_residual, force_errors = _solve(forces, measured[:, :3].ravel())
    weight = mass * float(np.linalg.norm(down))
    if weight < -max(LEAST_WEIGHT, 3 * force_errors[0] * float(np.linalg.norm(down))):
        raise CalibrationError(
            f"the mass comes out as {mass:.3f} kg: the sensor shows forces against gravity; is '{frame}' its frame, "
            "z as on its drawing, and gravity downward in the robot's root frame?"
        )
    if weight < LEAST_WEIGHT:
        torques = np.tile(np.eye(3), (count, 1))
        torque_offset, torque_residual, _ = _solve(torques, measured[:, 3:].ravel())
        centre, centre_error = np.zeros(3), 0.0
    else:
        torques = np.concatenate([np.concatenate([-mass * _cross(pull), np.eye(3)], axis=1) for pull in pulls])
        both, torque_residual, torque_errors = _solve(torques, measured[:, 3:].ravel())
        centre, torque_offset = both[:3], both[3:]
        centre_error = float(torque_errors[:3].max())
    return WrenchCalibration(
        frame=frame,
        mass=max(0.0, float(mass)),
        centre=tuple(map(float, centre)),
        force_offset=tuple(map(float, force_offset)),
        torque_offset=tuple(map(float, torque_offset)),
        gravity=tuple(map(float, down)),
        poses=count,
        residual_force=force_residual,
        residual_torque=torque_residual,
        mass_error=float(force_errors[0]),
        centre_error=centre_error,
    )


def tilt(pulls: Array, strength: float) -> tuple[float, float]:
    """Return by how much gravity turns in the sensor's frame one way and, across that, the other [deg, rms]."""
    spread = np.linalg.svd(pulls / strength - (pulls / strength).mean(axis=0), compute_uv=False)
    first, second = (np.degrees(np.arcsin(min(1.0, value))) for value in spread[:2] / np.sqrt(len(pulls)))
    return float(first), float(second)


def _check_tilt(pulls: Array, strength: float) -> None:
    if len(pulls) < FEWEST:
        raise CalibrationError(f"{len(pulls)} poses; at least {FEWEST} are needed, tilted about two axes")
    first, second = tilt(pulls, strength)
    if first < LEAST_TILT:
        raise CalibrationError(
            f"the {len(pulls)} poses tilt the sensor by {first:.1f} deg rms only, so weight cannot be told from offset; "
            f"want at least {LEAST_TILT:g} deg about two axes"
        )
    if second < LEAST_TILT:
        raise CalibrationError(
            f"the {len(pulls)} poses turn gravity in the sensor's frame along one line only ({first:.0f} deg rms, "
            f"{second:.1f} deg across it), so the centre of mass along it is not determined; add poses tilted about "
            "another axis"
        )


def _solve(matrix: Array, values: Array) -> tuple[Array, float, Array]:
    """Return the least squares solution, the rms of what it leaves, and the standard error of each unknown."""
    solution, *_ = np.linalg.lstsq(matrix, values, rcond=None)
    left = values - matrix @ solution
    freedom = max(1, len(values) - len(solution))
    covariance = np.linalg.inv(matrix.T @ matrix) * float(left @ left) / freedom
    return np.asarray(solution), float(np.sqrt(np.mean(left**2))), np.asarray(np.sqrt(np.diag(covariance)))


def _cross(vector: Array) -> Array:
    """Return [vector]x, 3 x 3."""
    x, y, z = vector
    return np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
