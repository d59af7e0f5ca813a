#!/usr/bin/env bash
# The trained policy drives the simulated arm: bash scripts/demo.sh [--episodes N --seed S --task T --instruction TEXT
# --report FILE.json --view]. Sets everything up on its first run.
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
bash "$root/scripts/setup.sh"
export MUJOCO_GL="${MUJOCO_GL:-egl}"
export ROS_AUTOMATIC_DISCOVERY_RANGE="${ROS_AUTOMATIC_DISCOVERY_RANGE:-LOCALHOST}"
exec "$root/.venv/bin/vla-ros" demo "$@"
