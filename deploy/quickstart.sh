#!/usr/bin/env bash
# From nothing to a running demo: bash deploy/quickstart.sh [arguments of `witness demo`]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. deploy/setup.sh
set_up
exec "$VENV/bin/witness" demo "$@"
