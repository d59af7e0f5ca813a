"""The columns of a dataset: LeRobot v3.0 features made from a contract, and their Arrow types.

Beside the contract's streams and the action a dataset carries, under keys that policies ignore:

- ``sync.age`` float32 [S]: seconds between the sample of each stream and the row's time, in the order of
  ``names``;
- ``sync.stamp`` int64 [S]: capture time of that sample [ns] (text streams have no row of their own in
  either);
- ``intervention`` bool: a person corrected the arm in this row; ``success`` bool: the episode's outcome.

Arrays of more than one axis (windows, taxels) are stored flat, C order, since readers such as Rerun's know no nested
lists; ``info`` of ``meta/info.json`` keeps their ``array.shape`` and the ``array.names`` of the last axis.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy.typing as npt
import pyarrow as pa

from vla_ros.contract import Contract, StreamSpec
from vla_ros.contract_spec import POSE_AXES
from vla_ros.errors import DatasetError

AGE = "sync.age"
STAMP = "sync.stamp"
SUCCESS = "success"
INTERVENTION = "intervention"
STATS = ("min", "max", "mean", "std", "count", "q01", "q10", "q50", "q90", "q99")
ARRAY_SHAPE, ARRAY_NAMES = "array.shape", "array.names"
WRENCH_NAMES = ("fx", "fy", "fz", "tx", "ty", "tz")


@dataclass(frozen=True)
class Feature:
    """One column: dtype (a numpy name or ``video``), shape of one row's value, names of its last axis.

    info: what the dataset says of a video's encoding, or of an array that is stored flat.
    """

    dtype: str
    shape: tuple[int, ...]
    names: tuple[str, ...] | None = None
    info: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_video(self) -> bool:
        """True when the values live in mp4 files, not in the data table."""
        return self.dtype == "video"

    @property
    def is_depth(self) -> bool:
        """True for a video of depth."""
        return self.is_video and bool(self.info.get("is_depth_map") or self.info.get("video.is_depth_map"))

    @property
    def is_flat(self) -> bool:
        """True for an array that is stored as one vector."""
        return ARRAY_SHAPE in self.info

    @property
    def stored_shape(self) -> tuple[int, ...]:
        """Shape of one row's value in the data table and in its statistics."""
        return (prod(self.shape),) if self.is_flat else self.shape

    def stored(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return rows [N, *shape] as the data table has them: [N, prod(shape)] if they are stored flat."""
        return values.reshape(len(values), -1) if self.is_flat else values

    def to_json(self) -> dict[str, Any]:
        """Return the feature as ``meta/info.json`` writes it."""
        names = list(self.names) if self.names is not None and not self.is_flat else None
        out: dict[str, Any] = {"dtype": self.dtype, "shape": list(self.stored_shape), "names": names}
        return out | ({"info": dict(self.info)} if self.info else {})

    @classmethod
    def from_json(cls, key: str, data: Mapping[str, Any]) -> Feature:
        """Read a feature of ``meta/info.json``; names may be null, a list, or a mapping of lists."""
        try:
            info = dict(data.get("info") or {})
            names = info[ARRAY_NAMES] if ARRAY_SHAPE in info else data.get("names")
            if isinstance(names, Mapping):
                names = [name for group in names.values() for name in group]
            shape = tuple(int(size) for size in data["shape"])
            if ARRAY_SHAPE in info:
                stored, shape = shape, tuple(int(size) for size in info[ARRAY_SHAPE])
                if stored != (prod(shape),):
                    raise ValueError(f"{ARRAY_SHAPE} {list(shape)} of {list(stored)} values")
            return cls(str(data["dtype"]), shape, tuple(map(str, names)) if names else None, info)
        except (KeyError, TypeError, ValueError) as error:
            raise DatasetError(f"feature '{key}' of meta/info.json is malformed: {error!r}") from None


INDEX_FEATURES: dict[str, Feature] = {
    "timestamp": Feature("float32", (1,)),
    "frame_index": Feature("int64", (1,)),
    "episode_index": Feature("int64", (1,)),
    "index": Feature("int64", (1,)),
    "task_index": Feature("int64", (1,)),
}


MADE_AT_SAVE = (SUCCESS, *INDEX_FEATURES)  # columns that a row does not bring with it


def sync_names(contract: Contract) -> tuple[str, ...]:
    """Return the streams whose ages and stamps are stored, in the order of ``sync.age``: all but text."""
    return tuple(stream.key for stream in contract.streams() if stream.kind != "text")


def frames_per_second(contract: Contract) -> int:
    """Return the contract's rate as the whole number that LeRobot's fps is.

    Raises DatasetError for a fraction.
    """
    fps = round(contract.rate)
    if abs(fps - contract.rate) > 1e-9:
        raise DatasetError(f"rate {contract.rate} Hz of {contract.source} cannot be recorded: fps is a whole number")
    return fps


def dataset_features(
    contract: Contract, video_info: Mapping[str, Any], depth_info: Mapping[str, Any] | None = None
) -> dict[str, Feature]:
    """Return all features of a dataset of this contract, the required index columns last.

    video_info, depth_info: what the encoders of colour and of depth say of themselves (``video.codec`` and the
    like), without the sizes. Raises DatasetError for a rate that cannot be recorded.
    """
    infos = {"image": video_info, "depth": depth_info or {"is_depth_map": True}}
    features = {s.key: _stream_feature(s, contract, infos) for s in contract.streams() if s.kind != "text"}
    names = contract.action.names
    sync = sync_names(contract)
    features["action"] = Feature("float32", (len(names),), names)
    features[AGE] = Feature("float32", (len(sync),), sync)
    features[STAMP] = Feature("int64", (len(sync),), sync)
    features[INTERVENTION] = Feature("bool", (1,))
    features[SUCCESS] = Feature("bool", (1,))
    return features | INDEX_FEATURES


def _stream_feature(stream: StreamSpec, contract: Contract, infos: Mapping[str, Mapping[str, Any]]) -> Feature:
    if stream.is_tokens:
        raise DatasetError(
            f"'{stream.key}' comes as tokens ({stream.topic}): a dataset holds what a sensor saw, not what an encoder made "
            "of it; record with a contract that names the sensor's own topic"
        )
    if stream.kind not in infos:
        names = {"joints": stream.names, "wrench": WRENCH_NAMES, "pose": POSE_AXES}.get(stream.kind)
        array = {ARRAY_SHAPE: list(stream.value_shape), ARRAY_NAMES: list(names) if names else None}
        return Feature("float32", stream.value_shape, names, array if len(stream.value_shape) > 1 else {})
    height, width, channels = (*stream.shape, 1)[:3]
    info = {
        "is_depth_map": False,
        **infos[stream.kind],
        "video.height": height,
        "video.width": width,
        "video.channels": channels,
        "video.fps": frames_per_second(contract),
        "has_audio": False,
    }
    return Feature("video", (height, width, channels), ("height", "width", "channels"), info)


def data_schema(features: Mapping[str, Feature]) -> pa.Schema:
    """Return the schema of the data table: every feature that is not a video."""
    return pa.schema([(key, arrow_type(feature)) for key, feature in features.items() if not feature.is_video])


def arrow_type(feature: Feature) -> pa.DataType:
    """Return a scalar for shape (1,), a fixed-size list for (n,) and for what is stored flat, else nested lists."""
    scalar = pa.bool_() if feature.dtype == "bool" else pa.type_for_alias(feature.dtype)
    if feature.shape == (1,):
        return scalar
    if len(feature.stored_shape) == 1:
        return pa.list_(scalar, feature.stored_shape[0])
    nested = scalar
    for _ in feature.shape:
        nested = pa.list_(nested)
    return nested


def episode_schema(features: Mapping[str, Feature]) -> pa.Schema:
    """Return the schema of ``meta/episodes``, the same for every file of a dataset."""
    columns: list[tuple[str, pa.DataType]] = [
        ("episode_index", pa.int64()),
        ("tasks", pa.list_(pa.string())),
        ("length", pa.int64()),
        ("data/chunk_index", pa.int64()),
        ("data/file_index", pa.int64()),
        ("dataset_from_index", pa.int64()),
        ("dataset_to_index", pa.int64()),
    ]
    for key, feature in features.items():
        if feature.is_video:
            columns += [(f"videos/{key}/{name}", pa.int64()) for name in ("chunk_index", "file_index")]
            columns += [(f"videos/{key}/{name}", pa.float64()) for name in ("from_timestamp", "to_timestamp")]
    for key, feature in features.items():
        value = pa.list_(pa.list_(pa.list_(pa.float64()))) if feature.is_video else pa.list_(pa.float64())
        columns += [(f"stats/{key}/{name}", pa.list_(pa.int64()) if name == "count" else value) for name in STATS]
    columns += [("meta/episodes/chunk_index", pa.int64()), ("meta/episodes/file_index", pa.int64())]
    return pa.schema(columns)
