"""A policy's configuration: which encoder reads which stream, the backbone, the decoder, the targets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import yaml

from vla_ros.contract import Contract, StreamSpec
from vla_ros.encoders import ENCODERS
from vla_ros.errors import PolicyError, VlaRosError, unknown_name
from vla_ros.paths import share_path
from vla_ros.policy.backbones import BACKBONES
from vla_ros.policy.decoders import DECODERS
from vla_ros.policy.registry import Part, plain, strict

MODES = ("absolute", "relative")


@dataclass(frozen=True)
class TargetSettings:
    """mode: `absolute` targets, or `relative` to the state the chunk is predicted from: joints to the joints, poses to the
    tool's pose.

    absolute: name patterns that stay absolute in relative mode (a gripper's opening is a command, not a
    motion). Beside poses everything else does.
    """

    mode: str = "absolute"
    absolute: tuple[str, ...] = ("gripper*",)

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ValueError(f"mode '{self.mode}' is not one of {', '.join(MODES)}")


@dataclass(frozen=True)
class PolicyConfig:
    """A native policy, part by part.

    width: of every token. chunk: actions predicted at once, one per 1/rate. encoders: stream key or pattern
    ("observation.images.*") to the encoder of each stream it matches; streams that nothing matches are not
    read.
    optional: key patterns of streams the policy can do without; training drops them with probability `drop`.
    goal: weight of the loss of predicting the action at the next keyframe (see `vla_ros.train.keyframes`), which
    then becomes a token of the backbone; 0 for none.
    """

    encoders: Mapping[str, Part]
    backbone: Part
    decoder: Part
    width: int = 192
    chunk: int = 32
    targets: TargetSettings = field(default_factory=TargetSettings)
    optional: tuple[str, ...] = ()
    drop: float = 0.1
    goal: float = 0.0

    def encoder_for(self, stream: StreamSpec) -> Part | None:
        """Return the first encoder whose key or pattern matches the stream; None if the policy does not read
        it."""
        exact = self.encoders.get(stream.key)
        if exact is not None:
            return exact
        return next((part for pattern, part in self.encoders.items() if fnmatch(stream.key, pattern)), None)

    def streams(self, contract: Contract) -> tuple[StreamSpec, ...]:
        """Return the contract's streams that the policy reads, text first, so that it can condition the
        others.

        Raises PolicyError for a pattern that matches nothing and for an encoder that cannot read its stream.
        """
        for pattern in self.encoders:
            if not any(fnmatch(key, pattern) for key in contract.observation):
                raise PolicyError(
                    f"encoders: {unknown_name('stream', pattern, contract.observation)} in {contract.source}"
                )
        chosen = []
        for stream in contract.streams():
            part = self.encoder_for(stream)
            if part is None:
                continue
            kinds = ENCODERS.get(part).kinds
            if stream.kind not in kinds:
                raise PolicyError(
                    f"encoders: '{part.type}' reads {', '.join(kinds)}, but '{stream.key}' is of kind '{stream.kind}'"
                )
            chosen.append(stream)
        return tuple(sorted(chosen, key=lambda s: s.kind != "text"))

    def inputs(self, contract: Contract) -> tuple[tuple[StreamSpec, Any], ...]:
        """Return every stream that is read, each with the settings that say how it is prepared.

        Those of `streams` come first, with their encoder's settings; then those that an encoder reads beside its own,
        with that encoder's. Raises PolicyError for one that the contract lacks.
        """
        own = self.streams(contract)
        chosen = {s.key: (s, part.settings) for s in own if (part := self.encoder_for(s)) is not None}
        for stream in own:
            _, settings = chosen[stream.key]
            for key in getattr(settings, "companions", ()):
                if key not in contract.observation:
                    raise PolicyError(
                        f"the encoder of '{stream.key}' reads {unknown_name('stream', key, contract.observation)} "
                        f"in {contract.source}"
                    )
                chosen.setdefault(key, (contract.observation[key], settings))
        return tuple(chosen.values())

    def is_optional(self, key: str) -> bool:
        """True for a stream the policy can act without."""
        return any(fnmatch(key, pattern) for pattern in self.optional)

    def plain(self) -> dict[str, Any]:
        """Return the configuration as YAML data, every default written out."""
        return plain(self)


def parse_policy(data: Any, where: str) -> PolicyConfig:
    """Return the configuration of section `data`.

    Raises PolicyError with one line naming the key and valid values.
    """
    if not isinstance(data, Mapping):
        raise PolicyError(f"{where}: want a mapping, got {data!r}")
    encoders = data.get("encoders")
    if not isinstance(encoders, Mapping) or not encoders:
        raise PolicyError(f"{where}.encoders: want a mapping of stream keys to encoders, got {encoders!r}")
    parts = ("encoders", "backbone", "decoder")
    rest = strict(_Rest, {k: v for k, v in data.items() if k not in parts}, where)
    return PolicyConfig(
        encoders={str(k): ENCODERS.parse(v, f"{where}.encoders.{k}") for k, v in encoders.items()},
        backbone=BACKBONES.parse(data.get("backbone"), f"{where}.backbone"),
        decoder=DECODERS.parse(data.get("decoder"), f"{where}.decoder"),
        width=rest.width,
        chunk=rest.chunk,
        targets=rest.targets,
        optional=rest.optional,
        drop=rest.drop,
        goal=rest.goal,
    )


@dataclass(frozen=True)
class _Rest:
    """The keys of PolicyConfig that are not parts, so that they are read strictly."""

    width: int = 192
    chunk: int = 32
    targets: TargetSettings = field(default_factory=TargetSettings)
    optional: tuple[str, ...] = ()
    drop: float = 0.1
    goal: float = 0.0

    def __post_init__(self) -> None:
        if self.width < 8 or self.chunk < 1 or not 0.0 <= self.drop < 1.0:
            raise ValueError(f"want width >= 8, chunk >= 1, 0 <= drop < 1; got {self.width}, {self.chunk}, {self.drop}")


def policy_file(path_or_name: str | Path) -> Path:
    """Return the file of a policy given by path, or by name from ``config/policies/<name>.yaml``."""
    path = Path(path_or_name)
    if path.suffix or path.exists():
        return path
    try:
        return share_path(f"config/policies/{path_or_name}.yaml")
    except VlaRosError:
        known = sorted(p.stem for p in share_path("config/policies").glob("*.yaml"))
        raise PolicyError(f"{unknown_name('policy', str(path_or_name), known)}, or a file") from None


def read_policy_file(
    path_or_name: str | Path, changes: Mapping[str, Any] | None = None
) -> tuple[PolicyConfig, Mapping[str, Any], str]:
    """Return (policy, raw `training` section, path) of a policy file.

    changes: dotted keys ("model.targets.mode", "training.batch") to values that replace the file's.
    Raises PolicyError.
    """
    path = policy_file(path_or_name)
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise PolicyError(f"policy '{path}' cannot be read: {' '.join(str(error).split())}") from None
    if not isinstance(data, dict):
        raise PolicyError(f"{path}: want a mapping, got {type(data).__name__}")
    if data.get("training") is None:
        data["training"] = {}
    for dotted, value in (changes or {}).items():
        _put(data, dotted, value, str(path))
    for key in data:
        if key not in ("backend", "model", "training"):
            raise PolicyError(f"{path}: {unknown_name('key', str(key), ('backend', 'model', 'training'))}")
    return parse_policy(data.get("model"), f"{path}: model"), data["training"], str(path)


def _put(data: Any, dotted: str, value: Any, where: str) -> None:
    """Replace one value of nested mappings, in place; a key may itself hold dots ("observation.state")."""
    if dotted in data or "." not in dotted:
        data[dotted] = value
        return
    for key in sorted(map(str, data), key=len, reverse=True):
        if dotted.startswith(f"{key}.") and isinstance(data[key], dict):
            _put(data[key], dotted.removeprefix(f"{key}."), value, where)
            return
    raise PolicyError(f"{where}: {unknown_name('key', dotted, map(str, data))}")
