"""Writing a measured value into a contract file, whose comments and order stay."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import yaml

from vla_ros.contract import load_contract, parse_contract
from vla_ros.errors import ContractError, unknown_name


def write_latency(path: Path, key: str, seconds: float, output: Path | None = None) -> None:
    """Set the latency [s] of stream `key` in the contract file `path`; in a copy, where `output` is given.

    Raises ContractError where the file is no contract or lacks the stream.
    """
    before = load_contract(path)
    if key not in before.observation:
        raise ContractError(f"{path}: {unknown_name('stream', key, before.observation)}")
    text = with_latency(before.text, key, seconds)
    after = parse_contract(text, str(path))
    wanted = dict(before.observation) | {key: replace(before.observation[key], latency=round(seconds, 4))}
    if replace(after, text="") != replace(before, text="", observation=wanted):
        raise ContractError(f"{path}: the latency of '{key}' cannot be written into it; write latency: {seconds:.4f}")
    (output or path).write_text(text, encoding="utf-8")


def with_latency(text: str, key: str, seconds: float) -> str:
    """Return the contract's YAML with this latency [s] of stream `key`; everything else stays as it is written."""
    stream = _value(_value(yaml.compose(text, Loader=yaml.SafeLoader), "observation"), key)
    written = f"{seconds:.4f}".rstrip("0").rstrip(".")
    for name, value in stream.value:
        if name.value == "latency":
            return text[: value.start_mark.index] + written + text[value.end_mark.index :]
    if stream.flow_style:
        last = stream.value[-1][1].end_mark.index
        return f"{text[:last]}, latency: {written}{text[last:]}"
    first = stream.value[0][0].start_mark
    return f"{text[: first.index]}latency: {written}\n{' ' * first.column}{text[first.index :]}"


def _value(node: yaml.Node | None, key: str) -> yaml.MappingNode:
    assert isinstance(node, yaml.MappingNode)
    found = next(value for name, value in node.value if name.value == key)
    assert isinstance(found, yaml.MappingNode)
    return found
