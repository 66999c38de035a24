#!/usr/bin/env bash
# Every check of the project: bash deploy/test.sh [arguments of pytest]
# Provides the test broker, browser and foreign RTSP server where it may (root, apt-get); names what it could not.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. deploy/setup.sh
set_up dev

# offer WHAT CHECK PACKAGE...: installs the packages when the check fails; says so when that did not help.
offer() {
  local what=$1 check=$2
  shift 2
  if eval "$check" >/dev/null 2>&1; then return; fi
  if can_apt; then quietly "installing $what" apt_install "$@" || true; fi
  eval "$check" >/dev/null 2>&1 || skipped+=("$what (apt-get install $*)")
}

java_17() { java -version 2>&1 | grep -qE 'version "(1[7-9]|[2-9][0-9])'; }
kafka_jars() { ls "${XDG_CACHE_HOME:-$HOME/.cache}"/witness/kafka/*/libs/kafka_2.13-*.jar; }
gstreamer() {
  /usr/bin/python3 -c 'import gi; gi.require_version("GstRtspServer", "1.0"); from gi.repository import GstRtspServer' &&
    command -v gst-inspect-1.0 && gst-inspect-1.0 x264enc && gst-inspect-1.0 rtph264pay
}

skipped=()
offer "Java 17 for Kafka" java_17 openjdk-17-jre-headless
offer "Maven for Kafka's jars" 'kafka_jars || command -v mvn' maven
offer "Chromium for the console" 'command -v chromium || command -v google-chrome' chromium
offer "GStreamer's RTSP server" gstreamer python3-gi gir1.2-gst-rtsp-server-1.0 gstreamer1.0-tools \
  gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-bad gstreamer1.0-plugins-ugly gstreamer1.0-libav
# Too much to fetch unasked: TensorRT's libraries alone are half a gigabyte, and its bindings do not import without them.
python_finds() { "$VENV/bin/python" -c "from tests.detector import gpu; $1" >/dev/null 2>&1; }
python_finds 'gpu.real_bindings()' || skipped+=("TensorRT's bindings, which our calls are held against (WITNESS_GPU=1 \
installs TensorRT; without a GPU pip install tensorrt-cu13-bindings, and TENSORRT_LIBRARIES=the folder of its libraries)")
python_finds 'assert gpu.no_gpu() is None' ||
  skipped+=("a GPU that TensorRT runs on (REQUIRE_GPU=1 makes failures of these)")
for what in "${skipped[@]}"; do tell "not here, its tests are skipped: $what"; done

"$VENV/bin/ruff" format --check
"$VENV/bin/ruff" check
"$VENV/bin/mypy"
"$VENV/bin/pytest" "$@"
