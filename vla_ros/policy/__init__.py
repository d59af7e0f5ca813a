"""Policies: an aligned observation in, a timed chunk of actions out.

`load_policy` gives any checkpoint as a `Policy`. A native policy is built from parts by configuration:
encoders (`vla_ros.encoders`), a backbone, a decoder, a normaliser per key.
"""

from __future__ import annotations

from pathlib import Path

from vla_ros.policy.base import Capabilities, Policy

__all__ = ["Capabilities", "Policy", "load_policy"]


def load_policy(checkpoint: str | Path, device: str = "cpu") -> Policy:
    """Return the policy of a checkpoint folder, ready to predict on `device` ("cpu", "cuda", "auto").

    Raises CheckpointError with one line saying what is missing, corrupt or contradictory.
    """
    from vla_ros.policy.checkpoint import load_native  # torch loads only where a policy runs

    return load_native(Path(checkpoint), device)
