#!/usr/bin/env bash
# Passes the checks and the tests: bash scripts/test.sh [--fast] [pytest arguments]
# --fast leaves out the slow tests and the install modes. Sets everything up on its first run.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1

fast=false
if [ "${1:-}" = --fast ]; then fast=true; shift; fi
bash scripts/setup.sh || exit 1
export MUJOCO_GL="${MUJOCO_GL:-egl}"
export ROS_AUTOMATIC_DISCOVERY_RANGE=LOCALHOST
unset ROS_DOMAIN_ID  # every test takes one of its own
PATH="$PWD/.venv/bin:$PATH"

failed=()
VLA_ROS_TEST_FAILURES="$(mktemp)"  # test/conftest.py tells here which tests failed, and why
export VLA_ROS_TEST_FAILURES
trap 'rm -f "$VLA_ROS_TEST_FAILURES"' EXIT

stage() {  # stage NAME COMMAND...: runs it, prints how long it took, remembers a failure
  local name=$1 start=$SECONDS
  shift
  printf '\n== %s: %s\n' "$name" "$*"
  if "$@"; then printf '== %s: passed in %d s\n' "$name" $((SECONDS - start))
  else failed+=("$name"); printf '== %s: FAILED after %d s\n' "$name" $((SECONDS - start)); fi
}

select=()
$fast && select=(-m "not slow")
stage ruff ruff check .
stage format ruff format --check .
stage mypy mypy
stage core python -m pytest test/core "${select[@]}" "$@"
stage ros python -m pytest test/ros "${select[@]}" "$@"
$fast || stage install python -m pytest test/install "$@"

printf '\n== total: %d s\n' "$SECONDS"
if [ ${#failed[@]} -gt 0 ]; then
  cat "$VLA_ROS_TEST_FAILURES"
  echo "FAILED stages: ${failed[*]}"
  exit 1
fi
echo "all stages passed"
