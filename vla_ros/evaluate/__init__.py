"""Randomised trials, success rates and their confidence intervals."""

from vla_ros.evaluate.report import Report, Trial, wilson_interval

__all__ = ["Report", "Trial", "wilson_interval"]
