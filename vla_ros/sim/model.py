"""From the URDF to a MuJoCo model: there is no second, hand-kept robot description.

MuJoCo's importer reads links, joints, limits, inertias, colours and mimic joints. What a URDF says in its
``<gazebo>`` sensors (cameras, force/torque) and ``<ros2_control>`` (initial values), this file reads; and it
adds what a URDF cannot say: servos, contact properties, and the sensor sites.
"""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from typing import Any

import mujoco
import numpy as np

from vla_ros.camera_geometry import CameraSpec, cameras_of
from vla_ros.errors import SimulationError

TIMESTEP = 1 / 600  # [s]
PAD_SUFFIX = "_pad"
SERVO_BANDWIDTH = {  # [rad/s] of the position servos, critically damped at the home pose
    mujoco.mjtJoint.mjJNT_HINGE: 50.0,
    mujoco.mjtJoint.mjJNT_SLIDE: 80.0,
}
ARMATURE_PER_EFFORT = 0.002  # [kg m^2 / Nm] rotor inertia seen through the gears, larger for stronger joints
ROBOT, SCENE = 1, 2  # contact bits: robot parts do not collide with each other, everything else does
TOOL_MARK = "tool_wrench"


@dataclass(frozen=True)
class RobotModel:
    """The robot as an editable MuJoCo spec, and what the URDF says beside it."""

    spec: Any  # mujoco.MjSpec
    joints: tuple[str, ...]  # actuated, in URDF order; mimic joints left out
    mimics: dict[str, str]  # follower -> leader
    home: dict[str, float]  # [rad, m] ros2_control's initial values
    cameras: dict[str, CameraSpec]  # by short name ("front")
    wrench_body: str  # the link that carries the force/torque sensor
    pads: tuple[str, ...]  # short names ("left") of the taxel pads


def robot_model(urdf_xml: str) -> RobotModel:
    """Import a URDF. Raises SimulationError when MuJoCo cannot read it or a sensor is missing."""
    root = ET.fromstring(urdf_xml)
    mimics = {
        str(joint.get("name")): str(mimic.get("joint"))
        for joint in root.findall("joint")
        if (mimic := joint.find("mimic")) is not None
    }
    moving = [str(j.get("name")) for j in root.findall("joint") if j.get("type") not in ("fixed", "floating")]
    links = [str(link.get("name")) for link in root.findall("link")]
    cameras = cameras_of(root)
    model = RobotModel(
        spec=_import(root),
        joints=tuple(name for name in moving if name not in mimics),
        mimics=mimics,
        home=_initial_values(root),
        cameras=cameras,
        wrench_body=_wrench_body(root),
        pads=tuple(link.removesuffix(PAD_SUFFIX) for link in links if link.endswith(PAD_SUFFIX)),
    )
    _set_physics(model.spec)
    _dress_robot(model)
    _add_servos(model)
    _add_sensors(model)
    return model


def tune_servos(model: Any, data: Any, stiffness: float = 1.0) -> None:
    """Set the gains of every servo from the inertia its joint sees in `data`'s pose (in place).

    stiffness: how many times as hard as usual hinges are held; the gripper's slides are not concerned.

    force = kp (q_target - q) - kv (v - v_target), the target velocity being folded into the control.
    """
    mujoco.mj_forward(model, data)
    inertia = np.zeros((model.nv, model.nv))
    mujoco.mj_fullM(model, data, inertia)
    for actuator in range(model.nu):
        joint = model.actuator_trnid[actuator, 0]
        kind = mujoco.mjtJoint(model.jnt_type[joint])
        dof, bandwidth = model.jnt_dofadr[joint], SERVO_BANDWIDTH[kind]
        if kind == mujoco.mjtJoint.mjJNT_HINGE:
            bandwidth *= stiffness**0.5
        kp = inertia[dof, dof] * bandwidth**2
        kv = 2 * inertia[dof, dof] * bandwidth
        model.actuator_gainprm[actuator, 0] = kp
        model.actuator_biasprm[actuator, :3] = (0.0, -kp, -kv)


def _import(root: ET.Element) -> Any:
    """Let MuJoCo read the URDF with fixed links and visuals kept."""
    options = ET.SubElement(ET.SubElement(root, "mujoco"), "compiler")
    options.attrib.update(discardvisual="false", fusestatic="false", strippath="false")
    try:
        return mujoco.MjSpec.from_string(ET.tostring(root, encoding="unicode"))
    except ValueError as error:
        raise SimulationError(f"MuJoCo cannot import the URDF: {str(error).splitlines()[0]}") from error


def _set_physics(spec: Any) -> None:
    spec.option.timestep = TIMESTEP
    spec.option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    spec.option.cone = mujoco.mjtCone.mjCONE_ELLIPTIC
    spec.option.impratio = 10.0
    quality = spec.visual.quality
    quality.shadowsize, quality.offsamples = 0, 0  # software rendering: 20 ms becomes 1 ms
    quality.numstacks = 2  # rings of a cylinder's side; with directional lights more are not seen, but cost 40%
    spec.visual.map.znear, spec.visual.map.zfar = 0.02, 10.0
    spec.stat.extent = 1.0
    spec.stat.center = (0.3, 0.0, 0.2)


def _dress_robot(model: RobotModel) -> None:
    """Contact bits, friction, gravity compensation; collision shapes are hidden where a link has visuals."""
    for body in model.spec.bodies[1:]:
        body.gravcomp = 1.0
        has_visuals = any(geom.contype == 0 for geom in body.geoms)
        for geom in body.geoms:
            if geom.contype == 0:
                continue
            geom.contype, geom.conaffinity = ROBOT, SCENE
            if has_visuals:
                geom.group = 3
            if body.name.endswith(PAD_SUFFIX):
                geom.name = body.name
                geom.condim, geom.priority = 4, 1
                geom.friction, geom.solref = (1.2, 0.02, 0.0001), (0.006, 1.0)
    for joint in model.spec.joints:
        joint.armature = ARMATURE_PER_EFFORT * joint.actfrcrange[1]
        joint.actgravcomp = True  # a reported effort includes what holds the arm up, as on hardware
    for equality in model.spec.equalities:  # mimic joints: stiff gearing
        equality.solref = (0.005, 1.0)


def _add_servos(model: RobotModel) -> None:
    for joint in (*model.joints, *model.mimics):
        servo = model.spec.add_actuator(name=joint, target=joint, trntype=mujoco.mjtTrn.mjTRN_JOINT)
        servo.gaintype, servo.biastype = mujoco.mjtGain.mjGAIN_FIXED, mujoco.mjtBias.mjBIAS_AFFINE


def _add_sensors(model: RobotModel) -> None:
    spec = model.spec
    for short, camera in model.cameras.items():
        body = spec.body(camera.frame)
        if body is None:
            raise SimulationError(f"camera '{camera.name}': its frame '{camera.frame}' is not a link of the URDF")
        vertical = 2 * math.degrees(math.atan(math.tan(camera.hfov / 2) * 3 / 4))
        body.add_camera(name=short, fovy=vertical, quat=(0, 1, 0, 0))  # MuJoCo looks along -z, optical +z
    spec.body(model.wrench_body).add_site(name=TOOL_MARK)
    for kind in (mujoco.mjtSensor.mjSENS_FORCE, mujoco.mjtSensor.mjSENS_TORQUE):
        spec.add_sensor(type=kind, objtype=mujoco.mjtObj.mjOBJ_SITE, objname=TOOL_MARK)


def _initial_values(root: ET.Element) -> dict[str, float]:
    values = {}
    for joint in root.findall("ros2_control/joint"):
        value = joint.find("state_interface[@name='position']/param[@name='initial_value']")
        if value is not None and value.text:
            values[str(joint.get("name"))] = float(value.text)
    return values


def _wrench_body(root: ET.Element) -> str:
    """Return the child link of the joint that carries the force/torque sensor."""
    children = {
        str(joint.get("name")): str(child.get("link"))
        for joint in root.findall("joint")
        if (child := joint.find("child")) is not None
    }
    for block in root.findall("gazebo"):
        sensor = block.find("sensor")
        if sensor is not None and sensor.get("type") == "force_torque":
            return children[str(block.get("reference"))]
    raise SimulationError("the URDF has no <gazebo> sensor of type force_torque to read the wrench from")
