"""Where an encoder's architecture, vocabulary and pretrained weights come from.

In training: from a folder or the hub, by the library's own from_pretrained, weights as safetensors alone. From a
checkpoint: architecture and vocabulary are read from it, and so are all weights; nothing else is needed then.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from vla_ros.errors import PolicyError

FOLDER = "encoders"  # of a checkpoint: a folder of text files for each encoder that has some
CONFIG = "config.json"
_CHECKPOINT: ContextVar[tuple[Path | None, str]] = ContextVar("checkpoint", default=(None, ""))


@contextmanager
def restoring(checkpoint: Path | None, new: str = "") -> Iterator[None]:
    """Encoders built inside take their files from this checkpoint folder, and no weights: those are loaded afterwards.

    new: key of the one stream whose encoder is not in the checkpoint yet.
    """
    token = _CHECKPOINT.set((checkpoint, new))
    try:
        yield
    finally:
        _CHECKPOINT.reset(token)


def restored(key: str) -> Path | None:
    """Return the checkpoint's folder of files of stream `key`'s encoder; None where it is built from its own sources."""
    checkpoint, new = _CHECKPOINT.get()
    return None if checkpoint is None or key == new else checkpoint / FOLDER / key.replace(".", "-")


def asset(key: str, name: str, path: str) -> str:
    """Return the text of a file of the encoder of stream `key`: the checkpoint's `name`, else the file at `path`."""
    folder = restored(key)
    file = Path(path) if folder is None else folder / name
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PolicyError(f"the encoder of '{key}' needs '{file}': {error}") from None


def from_file(key: str, path: str) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file; none for an empty path, and where the weights are a checkpoint's."""
    if not path or restored(key) is not None:
        return {}
    try:
        tensors: dict[str, Tensor] = load_file(path)
        return tensors
    except (OSError, SafetensorError) as error:
        raise PolicyError(f"weights '{path}' cannot be read as safetensors: {' '.join(str(error).split())}") from None


def fill(network: nn.Module, tensors: Mapping[str, Tensor], source: str, extra: tuple[str, ...] = ()) -> None:
    """Fill a network with pretrained tensors, if there are any.

    extra: parts of the names of tensors that may be too many. Raises PolicyError naming the first that does not fit.
    """
    if not tensors:
        return
    wanted = network.state_dict()
    for name in wanted:
        have = list(tensors[name].shape) if name in tensors else "absent"
        if have != list(wanted[name].shape):
            raise PolicyError(
                f"weights '{source}': tensor '{name}' is {have}, the network wants {list(wanted[name].shape)}"
            )
    for name in tensors:
        if name not in wanted and not any(part in name for part in extra):
            raise PolicyError(f"weights '{source}': the network has no tensor '{name}'")
    network.load_state_dict({name: tensors[name] for name in wanted})


@dataclass(frozen=True)
class Pretrained:
    """A network of the transformers library: `name` is a folder or the name of a repository on the hub."""

    key: str
    name: str
    part: str = ""  # where an encoder has several

    @property
    def place(self) -> str:
        """What from_pretrained reads the architecture and the vocabulary from."""
        folder = restored(self.key)
        return self.name if folder is None else str(folder / self.part)

    def config(self, cls: Any) -> Any:
        """Return the architecture."""
        return self._read(cls, self.place)

    def network(self, cls: Any, config: Any) -> nn.Module:
        """Return the network, with its pretrained weights unless a checkpoint's follow."""
        if restored(self.key) is not None:
            network: nn.Module = cls._from_config(config) if hasattr(cls, "_from_config") else cls.from_config(config)
        else:
            network, found = self._read(cls, self.name, config=config, use_safetensors=True, output_loading_info=True)
            self._check(found)
        return network.float()

    def tokenizer(self) -> Any:
        """Return the vocabulary, as a fast tokenizer."""
        transformers = library()
        return self._read(transformers.AutoTokenizer, self.place)

    def tokenizer_files(self) -> dict[str, str]:
        """Return the vocabulary as text files."""
        import tempfile

        with tempfile.TemporaryDirectory(prefix="vla_ros_tokenizer_") as folder:
            self.tokenizer().save_pretrained(folder)
            return {p.name: p.read_text(encoding="utf-8") for p in sorted(Path(folder).iterdir()) if p.is_file()}

    def files(self, config: Any, more: Mapping[str, str] | None = None) -> dict[str, str]:
        """Return the architecture, and `more`, as files of a checkpoint."""
        data = json.loads(config.to_json_string(use_diff=False))
        data.pop("_name_or_path", None)  # where it came from on another machine
        files = {CONFIG: json.dumps(data, indent=2) + "\n", **(more or {})}
        return {f"{self.part}/{name}" if self.part else name: text for name, text in files.items()}

    def _check(self, found: Mapping[str, Any]) -> None:
        """Raise PolicyError for a tensor that the library has made up, since the folder holds another network's."""
        wrong = [*found.get("missing_keys", ()), *(entry[0] for entry in found.get("mismatched_keys", ()))]
        wrong = sorted(name for name in wrong if not name.startswith("pooler."))  # which is not read here
        if wrong:
            raise PolicyError(
                f"the encoder of '{self.key}' cannot be loaded from '{self.name}': "
                f"no tensor '{wrong[0]}' that fits ({len(wrong)} in all)"
            )

    def _read(self, cls: Any, place: str, **options: Any) -> Any:
        if not place:
            raise PolicyError(f"the encoder of '{self.key}' wants a folder or a hub name of pretrained weights, got ''")
        try:
            return cls.from_pretrained(place, **options)
        except Exception as error:  # noqa: BLE001  # the library raises all sorts
            line = " ".join(str(error).split())[:300]
            raise PolicyError(f"the encoder of '{self.key}' cannot be loaded from '{place}': {line}") from None


def library() -> Any:
    """Return the transformers module. Raises PolicyError where it is not installed."""
    try:
        import transformers
    except ImportError:
        raise PolicyError("this encoder needs the transformers library: pip install 'vla_ros[encoders]'") from None
    return transformers
