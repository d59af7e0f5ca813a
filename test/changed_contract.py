"""The shipped contract with other values in it."""

from __future__ import annotations

from pathlib import Path

import yaml

from vla_ros.contract import Contract, load_contract


def changed_contract(folder: Path, change: dict[str, object], name: str = "tabletop_arm") -> Path:
    """Write the shipped contract with values set at '/'-joined paths, and return the file."""
    data = yaml.safe_load(load_contract(name).text)
    for path, value in change.items():
        *parents, last = path.split("/")
        node = data
        for parent in parents:
            node = node[parent]
        node[last] = value
    file = folder / "changed.yaml"
    file.write_text(yaml.safe_dump(data, sort_keys=False))
    return file


def contract_of_actions(folder: Path, *joints: str) -> Contract:
    """Return the shipped contract with actions that move these joints, in this order."""
    return load_contract(str(changed_contract(folder, {"action/names": [f"{name}.pos" for name in joints]})))


def patient_contract(folder: Path) -> Path:
    """Write a contract that a busy machine meets: only the gate's patience with its source is as shipped."""
    contract = load_contract("tabletop_arm")
    streams = [spec.key for spec in contract.streams() if spec.kind != "text"]
    ages: dict[str, object] = {f"observation/{key}/max_age": 2.0 for key in streams}
    return changed_contract(folder, ages | {"limits/chunk_age": 2.0, "limits/wrench": 1000.0})


def blind_contract(folder: Path) -> Path:
    """Write a contract that a busy machine meets, of a robot without cameras."""
    file = patient_contract(folder)
    data = yaml.safe_load(file.read_text())
    data["observation"] = {key: stream for key, stream in data["observation"].items() if stream["kind"] != "image"}
    file.write_text(yaml.safe_dump(data, sort_keys=False))
    return file
