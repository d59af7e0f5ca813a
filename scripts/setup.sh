#!/usr/bin/env bash
# Prepares .venv for the demo and the tests; safe to run again (a second run returns at once).
#
#   bash scripts/setup.sh            PYTHON=/usr/bin/python3.12 bash scripts/setup.sh
#
# With a ROS 2 sourced (ROS_DISTRO or AMENT_PREFIX_PATH set) the environment sees that ROS; otherwise the
# ros-jazzy-* wheels are installed into it. Missing system libraries come from apt, as root or by sudo.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly TORCH="torch==2.13.0"
readonly TORCH_CPU_INDEX="https://download.pytorch.org/whl/cpu"
readonly SYSTEM_PACKAGES=(libegl1 libgl1 libgles2 libgl1-mesa-dri libglib2.0-0 libgomp1 liburdfdom-tools)
readonly REALSENSE_PACKAGE=libusb-1.0-0  # good to have: only pyrealsense2 needs it
readonly VENV="$PWD/.venv"
readonly STAMP="$VENV/.vla_ros_setup"
readonly LOG="$VENV/setup.log"
readonly SUPPORTED='import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))'

fail() { echo "setup: $*" >&2; exit 1; }
say() { printf 'setup: [%3ds] %s\n' "$SECONDS" "$*"; }

# An activated .venv of ours must not be taken for the machine's own Python.
PATH=$(printf %s "$PATH" | tr ':' '\n' | { grep -vxF "$VENV/bin" || true; } | paste -sd:)

ros_sourced() { [ -n "${ROS_DISTRO:-}" ] || { [ -n "${AMENT_PREFIX_PATH:-}" ] && [ "${AMENT_PREFIX_PATH}" != "$VENV" ]; }; }

key() {  # changes whenever the environment would be made differently
  local ros=""
  if ros_sourced; then ros="${ROS_DISTRO:-} ${AMENT_PREFIX_PATH:-}"; fi
  { cat setup.py scripts/setup.sh; echo "$PWD ${PYTHON:-} $ros"; } | sha256sum | cut -d' ' -f1
}

as_root() {
  if [ "$(id -u)" = 0 ]; then DEBIAN_FRONTEND=noninteractive "$@"
  elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then sudo -n DEBIAN_FRONTEND=noninteractive "$@"
  else return 1; fi
}

apt_install() {  # apt_install PACKAGE...: installs them, or says what to type
  local by_hand="apt-get update && apt-get install -y $*" log
  command -v apt-get >/dev/null || fail "please install the equivalents of these Debian packages: $*"
  say "installing system packages: $*"
  log=$(mktemp)
  as_root apt-get update -qq >"$log" 2>&1 || true  # what matters is whether the packages can be had
  if ! as_root apt-get install -y -qq --no-install-recommends "$@" >>"$log" 2>&1; then
    grep -m1 '^E:' "$log" >&2 || true
    rm -f "$log"
    fail "could not install system packages; as root, run: $by_hand"
  fi
  rm -f "$log"
}

system_libraries() {
  local package missing=()
  if ! command -v dpkg-query >/dev/null; then
    say "not a Debian or Ubuntu system: make sure that EGL, OpenGL and check_urdf are installed"
    return
  fi
  for package in "${SYSTEM_PACKAGES[@]}"; do  # Ubuntu 24.04 has some under a name of their own
    dpkg-query -W -f='${Status}' "$package" "${package}t64" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
  done
  [ ${#missing[@]} = 0 ] || apt_install "${missing[@]}"
  if ! dpkg-query -W -f='${Status}' "$REALSENSE_PACKAGE" 2>/dev/null | grep -q 'ok installed'; then
    (apt_install "$REALSENSE_PACKAGE") || say "going on without $REALSENSE_PACKAGE: RealSense cameras will not be found"
  fi
}

find_python() {  # prints the first supported Python; with a ROS sourced, one that imports rclpy
  local candidate
  for candidate in ${PYTHON:-python3 python3.12 python3.11 python3.13 python3.10}; do
    if ! "$candidate" -c "$SUPPORTED" 2>/dev/null; then continue; fi
    if ros_sourced && ! "$candidate" -c 'import rclpy' 2>/dev/null; then continue; fi
    command -v "$candidate"
    return
  done
  return 1
}

make_environment() {
  local python site=false options=()
  python=$(find_python) || {
    ros_sourced && fail "ROS ${ROS_DISTRO:-} is sourced, but no Python 3.10 - 3.13 here imports its rclpy (set PYTHON=, or unsource it)"
    [ -z "${PYTHON:-}" ] || fail "PYTHON=$PYTHON is not a Python 3.10 - 3.13"
    apt_install python3 python3-venv
    python=$(find_python) || fail "needs Python 3.10 - 3.13; found $(python3 --version 2>&1). Set PYTHON=/path/to/python3.x"
  }
  "$python" -c 'import ensurepip, venv' 2>/dev/null || apt_install python3-venv "$(basename "$(readlink -f "$python")")-venv"
  if ros_sourced; then site=true; options=(--system-site-packages); fi
  if [ -e "$VENV" ]; then
    [ -x "$VENV/bin/python" ] && grep -q "include-system-site-packages = $site" "$VENV/pyvenv.cfg" \
      && [ "$("$VENV/bin/python" -c 'import sys; print(sys.version_info[:2])' 2>/dev/null)" \
           = "$("$python" -c 'import sys; print(sys.version_info[:2])')" ] && return
    options+=(--clear)
  fi
  say "creating .venv with $("$python" --version) ($python)"
  "$python" -m venv "${options[@]}" "$VENV" || fail "python -m venv failed"
}

pip_install() {  # pip_install ARGUMENTS...: quiet but for the larger downloads; the whole output is in $LOG
  # Without errexit and with pipefail the status is pip's.
  if ! PIP_DISABLE_PIP_VERSION_CHECK=1 "$VENV/bin/python" -m pip install --progress-bar off "$@" 2>&1 | tee -a "$LOG" \
    | awk '/Downloading .*\(([5-9]|[1-9][0-9]+)\.[0-9] (MB|GB)/ {sub(/^ +/, ""); print "        " substr($0, 1, 100); fflush()}
           /^Installing collected/ {print "        installing"; fflush()}'; then
    grep '^ERROR' "$LOG" | tail -n 1 >&2 || true
    fail "pip install failed; the whole output is in $LOG"
  fi
}

renew_pip() {  # the resolver of pip 23.0, which Python 3.10 comes with, tries old releases for many minutes
  "$VENV/bin/python" -c 'import pip, sys; sys.exit(tuple(map(int, pip.__version__.split(".")[:2])) >= (23, 1))' || return 0
  pip_install --upgrade "pip>=23.1"
}

install_torch() {  # PyPI's Linux build of torch brings several GB of CUDA: only for a machine that has a GPU
  "$VENV/bin/python" -c 'import torch' 2>/dev/null && return
  local index=()
  if nvidia-smi -L >/dev/null 2>&1; then
    say "installing $TORCH with CUDA (an NVIDIA GPU was found)"
  else
    say "installing $TORCH for the CPU (no NVIDIA GPU found)"
    if "$VENV/bin/python" -c "import urllib.request as u; u.urlopen('$TORCH_CPU_INDEX/torch/', timeout=10)" 2>/dev/null; then
      index=(--extra-index-url "$TORCH_CPU_INDEX")
    else
      say "the CPU index of PyTorch does not answer: using the configured package index"
    fi
  fi
  pip_install "${index[@]}" -c "$1" "$TORCH"
}

write_constraints() {  # launch_testing, part of a sourced ROS, breaks pytest 8 and later
  : >"$1"
  if "$VENV/bin/python" -c 'import launch_testing' 2>/dev/null; then echo "pytest<8" >"$1"; fi
}

main() {
  local wanted extras="sim,train,dev" constraints
  wanted=$(key)
  if [ -x "$VENV/bin/vla-ros" ] && [ "$(cat "$STAMP" 2>/dev/null)" = "$wanted" ]; then return; fi
  system_libraries
  make_environment
  rm -f "$STAMP"
  : >"$LOG"
  constraints="$VENV/constraints.txt"
  write_constraints "$constraints"
  renew_pip
  install_torch "$constraints"
  if ros_sourced; then say "using the sourced ROS ${ROS_DISTRO:-}"; else extras="$extras,ros"; fi
  say "installing vla_ros and what it needs (about 700 MB; minutes on a slow line)"
  pip_install -c "$constraints" -e ".[$extras]"
  "$VENV/bin/python" -c 'import rclpy, mujoco, torch, pinocchio' 2>>"$LOG" \
    || fail "the environment does not import: $(tail -n 1 "$LOG")"
  echo "$wanted" >"$STAMP"
  say "done: .venv is ready"
}

main "$@"
