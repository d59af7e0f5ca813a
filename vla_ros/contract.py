"""The contract: what training and robot must agree on, read from one YAML file per robot.

`load_contract` is the only reader. It returns frozen dataclasses and refuses unknown keys, missing keys and
contradictions with one line that names the key, the file and the valid values.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

import yaml

from vla_ros.contract_fields import Section
from vla_ros.contract_spec import (
    NO_COMMAND,
    NO_LIMITS,
    POSE_AXES,
    POSITION_SUFFIX,
    TAXEL_UNITS,
    ActionSpec,
    CommandSpec,
    Contract,
    Limits,
    StreamSpec,
    per_joint,
)
from vla_ros.errors import ContractError, VlaRosError, unknown_name
from vla_ros.paths import share_path

__all__ = [
    "POSITION_SUFFIX",
    "ActionSpec",
    "CommandSpec",
    "Contract",
    "Limits",
    "StreamSpec",
    "check_joints",
    "load_contract",
    "parse_contract",
]

KINDS = ("image", "depth", "joints", "wrench", "taxels", "pose", "text")
ALIGNMENTS = ("asof", "nearest", "interpolate")
SPACES = ("joint_position", "ee_pose")
INTERFACES = ("joint_trajectory", "forward", "pose")
KEY_PREFIX = {
    "image": "observation.images.",
    "depth": "observation.depth.",
    "joints": "observation.state",
    "wrench": "observation.wrench.",
    "taxels": "observation.tactile.",
    "pose": "observation.pose.",
    "text": "task",
}
POSE_NAMES = tuple(f"ee.{axis}" for axis in POSE_AXES)


def load_contract(path_or_name: str | Path) -> Contract:
    """Read a contract from a file, or from ``config/contracts/<name>.yaml`` of the package.

    Raises ContractError with one line that names the file, the key and the valid values.
    """
    path = Path(path_or_name)
    if not path.suffix and not path.exists():
        try:
            path = share_path(f"config/contracts/{path_or_name}.yaml")
        except VlaRosError:
            known = sorted(p.stem for p in share_path("config/contracts").glob("*.yaml"))
            raise ContractError(f"no contract '{path_or_name}'; valid: a file, or one of {', '.join(known)}") from None
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ContractError(f"contract '{path}' cannot be read: {error}") from None
    return parse_contract(text, str(path))


def parse_contract(text: str, source: str) -> Contract:
    """Build a contract from YAML text; `source` names it in errors. Raises ContractError."""
    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ContractError(f"{source}: not YAML: {' '.join(str(error).split())}") from None
    top = Section(data, source)
    action = _action(top.section("action"))
    contract = Contract(
        robot=top.text("robot"),
        urdf="" if action.follows else top.text("urdf"),
        rate=top.number("rate", positive=True),
        observation=_observation(top.section("observation")),
        action=action,
        limits=NO_LIMITS if action.follows else _limits(top.section("limits")),
        source=source,
        text=text,
    )
    top.finish()
    _check(contract)
    return contract


def _observation(section: Section) -> dict[str, StreamSpec]:
    return {key: _stream(key, section.section(key)) for key in section.keys()}  # noqa: SIM118


def _stream(key: str, s: Section) -> StreamSpec:
    kind = s.choice("kind", KINDS)
    names = s.names("names", default=() if kind != "joints" else None)
    default_shape = {"joints": (len(names),), "wrench": (6,), "pose": (7,), "text": ()}.get(kind)
    stream = StreamSpec(
        key=key,
        topic=s.topic("topic"),
        kind=kind,
        shape=s.shape("shape", default=default_shape),
        names=names,
        frame=s.text("frame", default=""),
        rate=s.number("rate", default=30.0, positive=True),
        latency=s.number("latency", default=0.0),
        max_age=s.number("max_age", default=0.1, positive=True),
        align=s.choice("align", ALIGNMENTS, default="asof"),
        history=int(s.number("history", default=1, positive=True)),
        unit=s.text("unit", default=""),
    )
    s.finish()
    prefix = KEY_PREFIX[kind]
    exact = not prefix.endswith(".")
    if (exact and key != prefix) or (not exact and not (key.startswith(prefix) and len(key) > len(prefix))):
        want = prefix if exact else prefix + "<name>"
        raise ContractError(f"{s.where}: a stream of kind '{kind}' is named '{want}', not '{key}'")
    if stream.unit and kind != "taxels":
        raise ContractError(f"{s.where}.unit: a stream of kind '{kind}' has none to choose, only taxels do")
    if stream.unit and stream.unit not in TAXEL_UNITS:
        raise ContractError(f"{s.where}.unit: {unknown_name('unit', stream.unit, TAXEL_UNITS)}")
    _check_shape(stream, s.where)
    return stream


def _check_shape(stream: StreamSpec, where: str) -> None:
    dims = {"image": 3, "depth": 2, "joints": 1, "wrench": 1, "taxels": 3, "pose": 1, "text": 0}[stream.kind]
    tails = {"image": (3,), "taxels": (3,), "wrench": (6,), "pose": (7,), "joints": (len(stream.names),)}
    fixed_tail = tails.get(stream.kind, ())
    if len(stream.shape) != dims or (fixed_tail and stream.shape[-1:] != fixed_tail):
        want = {
            "image": "[H, W, 3]",
            "depth": "[H, W]",
            "joints": "[number of names]",
            "wrench": "[6]",
            "taxels": "[h, w, 3]",
            "pose": "[7]",
        }
        raise ContractError(
            f"{where}.shape: {list(stream.shape)} does not fit kind '{stream.kind}': want {want.get(stream.kind, '[]')}"
        )
    if stream.align == "interpolate" and stream.kind not in ("joints", "wrench", "taxels", "pose"):
        raise ContractError(
            f"{where}.align: a stream of kind '{stream.kind}' cannot be interpolated; valid: asof, nearest"
        )
    if stream.history > 1 and stream.kind not in ("wrench", "taxels"):
        raise ContractError(f"{where}.history: only wrench and taxels streams hold a history, not kind '{stream.kind}'")


def _action(s: Section) -> ActionSpec:
    follows = s.text("follows", default="")
    spec = ActionSpec(
        space=s.choice("space", SPACES),
        names=s.names("names"),
        command=NO_COMMAND if follows else _command(s.section("command")),
        frame=s.text("frame", default="base_link"),
        tip=s.text("tip", default="tool0"),
        follows=follows,
        other_tips=s.names("other_tips", default=()),
    )
    s.finish()
    if follows and spec.space != "ee_pose":
        raise ContractError(f"{s.where}: an action that follows '{follows}' is of space ee_pose, not {spec.space}")
    if spec.space == "ee_pose" and spec.names[:7] != POSE_NAMES:
        raise ContractError(
            f"{s.where}.names: ee_pose begins with {', '.join(POSE_NAMES)}, not {', '.join(spec.names[:7])}"
        )
    if spec.other_tips and "pose" in (spec.space.removeprefix("ee_"), spec.command.interface):
        raise ContractError(f"{s.where}.other_tips: a pose moves one tip; a robot of several arms wants joint_position")
    return spec


def _command(s: Section) -> CommandSpec:
    spec = CommandSpec(s.choice("interface", INTERFACES), s.topic("topic"), s.text("joints", default=""))
    s.finish()
    if spec.joints and spec.interface != "pose":
        raise ContractError(
            f"{s.where}.joints: only interface 'pose' has another topic for joints, not '{spec.interface}'"
        )
    return spec


def _limits(s: Section) -> Limits:
    limits = Limits(
        velocity=s.number_or_map("velocity"),
        acceleration=s.number_or_map("acceleration"),
        workspace=s.intervals("workspace", ("x", "y", "z")),
        wrench=s.number("wrench", default=None, positive=True),
        quiet=s.number("quiet", default=0.3, positive=True),
        chunk_age=s.number("chunk_age", default=0.3, positive=True),
    )
    s.finish()
    return limits


def _check(contract: Contract) -> None:
    where = contract.source
    states = contract.streams("joints")
    if len(states) != 1:
        raise ContractError(
            f"{where}: observation needs one stream 'observation.state' of kind 'joints', has {len(states)}"
        )
    poses = [stream.key for stream in contract.streams("pose")]
    if contract.robot_free and contract.action.follows not in poses:
        raise ContractError(f"{where}: action.follows: {unknown_name('stream', contract.action.follows, poses)}")
    topics: dict[str, str] = {}
    for stream in contract.observation.values():
        if stream.topic in topics:
            raise ContractError(
                f"{where}: topic '{stream.topic}' is named by both '{topics[stream.topic]}' and '{stream.key}'"
            )
        topics[stream.topic] = stream.key
    bad = [n for n in contract.state.names if not n.endswith(POSITION_SUFFIX)]
    if bad:
        raise ContractError(f"{where}: observation.state.names: '{bad[0]}' is not '<joint>{POSITION_SUFFIX}'")
    joints = contract.action.names if contract.action.space == "joint_position" else contract.action.names[7:]
    unknown = [n for n in joints if n not in contract.state.names]
    if unknown:
        raise ContractError(
            f"{where}: action.names: '{unknown[0]}' is not in observation.state; valid: {', '.join(contract.state.names)}"
        )
    for name, value in (
        ("velocity", contract.limits.velocity),
        ("acceleration", contract.limits.acceleration),
    ):
        if isinstance(value, Mapping):
            per_joint(value, contract.joint_names, f"{where}: limits.{name}")


def check_joints(contract: Contract, robot_joints: Collection[str]) -> None:
    """Raise ContractError if the contract names a joint that the robot description lacks."""
    for joint in contract.joint_names:
        if joint not in robot_joints:
            raise ContractError(
                f"{contract.source}: joint '{joint}' is not in '{contract.urdf}'; valid: {', '.join(robot_joints)}"
            )
