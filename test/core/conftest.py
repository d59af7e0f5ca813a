"""Fixtures of the tests without ROS."""

from __future__ import annotations

import pytest

from vla_ros.contract import Contract, load_contract
from vla_ros.kinematics import Kinematics


@pytest.fixture(scope="module")
def contract() -> Contract:
    return load_contract("tabletop_arm")


@pytest.fixture(scope="module")
def kinematics(contract: Contract) -> Kinematics:
    """Kinematics of `contract`, a module's own where it has one."""
    return Kinematics.of(contract)
