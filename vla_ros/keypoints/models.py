"""The files of MediaPipe's models: where they are looked for, and how they are made where they cannot be fetched.

The wheels of MediaPipe bring no models any more. Google's are ``hand_landmarker.task`` and ``pose_landmarker.task``. A task
file is a ZIP of two TensorFlow Lite models, and those are also in the wheels up to 0.10.21 (Apache-2.0). The present MediaPipe
takes them as they are, but for the one of poses, which has to be told the range of its input (TensorFlow Lite's metadata
schema, ``NormalizationOptions``).
"""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from typing import Any

from vla_ros.errors import DeviceError

HAND, POSE = "hand_landmarker.task", "pose_landmarker.task"
URL = "https://storage.googleapis.com/mediapipe-models"
FETCH = {
    HAND: f"{URL}/hand_landmarker/hand_landmarker/float16/latest/hand_landmarker.task",
    POSE: f"{URL}/pose_landmarker/pose_landmarker_full/float16/latest/pose_landmarker_full.task",
}
OLD = "mediapipe==0.10.21"  # the last wheel with models in it
FOLDER = "mediapipe/modules"
PARTS = {  # task -> its files -> those of the wheel
    HAND: {
        "hand_detector.tflite": f"{FOLDER}/palm_detection/palm_detection_full.tflite",
        "hand_landmarks_detector.tflite": f"{FOLDER}/hand_landmark/hand_landmark_full.tflite",
    },
    POSE: {
        "pose_detector.tflite": f"{FOLDER}/pose_detection/pose_detection.tflite",
        "pose_landmarks_detector.tflite": f"{FOLDER}/pose_landmark/pose_landmark_full.tflite",
    },
}
RANGELESS = "pose_landmarks_detector.tflite"  # takes pixels from 0 to 1, and does not say so


def model_folder() -> Path:
    """Return where models are looked for: ``~/.local/share/vla_ros/models``."""
    data = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local/share")
    return Path(data) / "vla_ros" / "models"


def find_model(name: str, given: str = "") -> Path:
    """Return a model's file: `given`, or `name` in the folder of models. Raises DeviceError saying how to get it."""
    path = Path(given).expanduser() if given else model_folder() / name
    if not path.is_file():
        how = f"fetch {FETCH[name]}, or make it from an older wheel as vla-ros keypoint-models --help tells"
        raise DeviceError(f"keypoints: no model {path}: {how}")
    return path


def make_models(wheel: Path, folder: Path) -> list[Path]:
    """Write the task files of the models in a wheel of MediaPipe up to 0.10.21, and return them. Raises DeviceError.

    Needs a present MediaPipe for that of poses.
    """
    try:
        with zipfile.ZipFile(wheel) as source:
            tasks = {
                task: {name: source.read(inside) for name, inside in parts.items()} for task, parts in PARTS.items()
            }
    except KeyError as error:
        raise DeviceError(f"{wheel}: {error.args[0]}; want the wheel of {OLD} or before") from None
    except (OSError, zipfile.BadZipFile) as error:
        raise DeviceError(f"{wheel}: no wheel that can be read: {error}") from None
    tasks[POSE][RANGELESS] = _with_range(tasks[POSE][RANGELESS])
    folder.mkdir(parents=True, exist_ok=True)
    for task, parts in tasks.items():
        with zipfile.ZipFile(folder / task, "w", zipfile.ZIP_STORED) as file:  # which MediaPipe maps into memory
            for name, content in parts.items():
                file.writestr(name, content)
    return [folder / task for task in tasks]


def _with_range(content: bytes) -> bytes:
    """Return a TensorFlow Lite model whose metadata say that its input is a picture with values from 0 to 1."""
    try:
        import flatbuffers
        from mediapipe.tasks.metadata import metadata_schema_py_generated as meta
        from mediapipe.tasks.metadata import schema_py_generated as lite
    except ImportError as error:
        raise DeviceError(
            f"keypoint-models: MediaPipe does not load ({error}): pip install 'vla_ros[keypoints]'"
        ) from None
    model = lite.ModelT.InitFromObj(lite.Model.GetRootAs(content, 0))
    described = _metadata(meta, len(model.subgraphs[0].outputs))
    buffer, entry = lite.BufferT(), lite.MetadataT()
    buffer.data = list(_packed(flatbuffers, described, b"M001"))
    entry.name, entry.buffer = "TFLITE_METADATA", len(model.buffers)
    model.buffers.append(buffer)
    model.metadata = [*(model.metadata or []), entry]
    return _packed(flatbuffers, model, b"TFL3")


def _metadata(meta: Any, outputs: int) -> Any:
    """Return the model's metadata object. outputs: how many tensors it gives."""
    options, unit, image = meta.NormalizationOptionsT(), meta.ProcessUnitT(), meta.TensorMetadataT()
    options.mean, options.std = [0.0], [255.0]
    unit.optionsType, unit.options = meta.ProcessUnitOptions.NormalizationOptions, options
    colours, pixels, span = meta.ImagePropertiesT(), meta.ContentT(), meta.StatsT()
    colours.colorSpace = meta.ColorSpaceType.RGB
    pixels.contentPropertiesType, pixels.contentProperties = meta.ContentProperties.ImageProperties, colours
    span.min, span.max = [0.0], [1.0]
    image.name, image.content, image.processUnits, image.stats = "image", pixels, [unit], span
    graph, whole = meta.SubGraphMetadataT(), meta.ModelMetadataT()
    graph.inputTensorMetadata = [image]
    graph.outputTensorMetadata = [meta.TensorMetadataT() for _ in range(outputs)]
    whole.name, whole.subgraphMetadata = "pose landmarks", [graph]
    return whole


def _packed(flatbuffers: Any, thing: Any, mark: bytes) -> bytes:
    builder = flatbuffers.Builder(0)
    builder.Finish(thing.Pack(builder), mark)
    return bytes(builder.Output())
