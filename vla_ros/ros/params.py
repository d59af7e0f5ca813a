"""Declaring a parameter once: default, description, range and read-only flag in one call; what all nodes declare."""

from __future__ import annotations

from typing import TypeVar, cast

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.exceptions import InvalidParameterValueException
from rclpy.node import Node

from vla_ros.contract import Contract, load_contract
from vla_ros.errors import VlaRosError

Value = TypeVar("Value", bool, int, float, str, list[str], list[float], list[int])


def declare(
    node: Node,
    name: str,
    default: Value,
    description: str,
    range: tuple[float, float] | None = None,
    read_only: bool = False,
) -> Value:
    """Declare parameter ``name`` on ``node`` and return its value (the override, or ``default``).

    The type of ``default`` is the parameter's type; an integer given for a float is accepted. ``range`` is
    (lowest, highest) and is enforced by rclpy, also for later changes. Declaring a parameter again returns
    its present value.

    Raises:
        VlaRosError: an override of the wrong type or out of range.
    """
    if node.has_parameter(name):
        return cast(Value, node.get_parameter(name).value)
    descriptor = ParameterDescriptor(description=description, read_only=read_only)
    if range is not None and isinstance(default, int):
        descriptor.integer_range = [IntegerRange(from_value=int(range[0]), to_value=int(range[1]))]
    elif range is not None:
        descriptor.floating_point_range = [FloatingPointRange(from_value=float(range[0]), to_value=float(range[1]))]
    overrides = node._parameter_overrides
    if isinstance(default, float) and name in overrides and isinstance(overrides[name].value, int):
        overrides[name] = type(overrides[name])(name, value=float(overrides[name].value))
    try:
        return cast(Value, node.declare_parameter(name, default, descriptor).value)
    except (InvalidParameterValueException, _type_error()) as error:
        given = overrides[name].value if name in overrides else default
        limits = f" in [{range[0]}, {range[1]}]" if range is not None else ""
        want = f"{type(default).__name__}{limits}"
        raise VlaRosError(f"parameter '{name}' of {node.get_name()} is {given!r}, want {want}") from error


def declared_contract(node: Node) -> Contract:
    """Declare the parameter that every node has, and return the contract it names."""
    what = "contract file, or its name in config/contracts"
    return load_contract(declare(node, "contract", "tabletop_arm", what, read_only=True))


def declared_lockstep(node: Node) -> bool:
    """Declare whether the node is in lockstep with the simulation, and return it."""
    what = "go by the stamps of a simulation that waits for this node, not by the clock"
    return declare(node, "lockstep", False, what, read_only=True)


def _type_error() -> type[Exception]:
    """Return what rclpy raises for an override of another type (its home moved between releases)."""
    from rclpy import exceptions

    return cast("type[Exception]", getattr(exceptions, "InvalidParameterTypeException", TypeError))
