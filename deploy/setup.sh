# Source me from the project's root. `set_up` makes .venv and installs the project into it, `set_up dev` adds the tools
# of development. What was done before is not done again. Talks on stderr only: stdout belongs to the command that follows.

VENV=.venv
SETUP_LOG=$VENV/setup.log

tell() { printf '%s\n' "$*" >&2; }

# quietly WHAT COMMAND...: its output goes to the log; the end of it is shown when it fails.
quietly() {
  local what=$1 before=$SECONDS
  shift
  tell "$what ..."
  if "$@" >>"$SETUP_LOG" 2>&1 </dev/null; then
    tell "$what: done in $((SECONDS - before)) s"
  else
    local status=$?
    tail -n 20 "$SETUP_LOG" >&2
    tell "$what failed (exit $status); the whole log is in $SETUP_LOG"
    return "$status"
  fi
}

find_python() {
  local name
  for name in ${PYTHON:-} python3 python3.14 python3.13 python3.12 python3.11; do
    if command -v "$name" >/dev/null && "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      command -v "$name"
      return
    fi
  done
  tell "no Python 3.11 or newer; install one (apt-get install python3) or set PYTHON to it"
  return 1
}

can_apt() { [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; }

# Debian's list of packages is fetched once per set-up.
apt_install() {
  if [ -z "${APT_UPDATED:-}" ]; then
    APT_UPDATED=1
    apt-get update -qq || return
  fi
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@"
}

# Debian and Ubuntu leave ensurepip out of python3: venv then fails half-way.
make_venv() {
  local python=$1
  [ -x "$VENV/bin/python" ] && "$VENV/bin/python" -c 'import pip' 2>/dev/null && return
  mkdir -p "$VENV"
  if "$python" -c 'import ensurepip' 2>/dev/null; then
    quietly "making $VENV" "$python" -m venv --clear "$VENV"
    return
  fi
  if command -v uv >/dev/null; then
    quietly "making $VENV" uv venv --clear --seed --python "$python" "$VENV"
    return
  fi
  local package
  package=$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
  if can_apt && quietly "installing $package" apt_install "$package"; then
    quietly "making $VENV" "$python" -m venv --clear "$VENV"
    return
  fi
  tell "this Python cannot make virtual environments; run: apt-get install $package"
  return 1
}

# With the extra `train`, so that the three trainings run from the same clone. pip installs uv, uv installs the rest
# several times faster; without uv, pip does.
install_project() {
  local dev=$1 extras=$2
  local arguments=(--quiet --editable ".[$extras]")
  [ "$dev" = dev ] && arguments+=(--group dev)
  [ -x "$VENV/bin/uv" ] || quietly "installing uv" "$VENV/bin/python" -m pip install --quiet --upgrade pip uv ||
    tell "going on with pip"
  quietly "installing the project (minutes at the first time)" packages install "${arguments[@]}"
}

# packages install|uninstall ARGUMENT...
packages() {
  local command=$1
  shift
  if [ -x "$VENV/bin/uv" ]; then
    "$VENV/bin/uv" pip "$command" --python "$VENV/bin/python" "$@"
  else
    [ "$command" = uninstall ] && set -- --yes "$@"
    "$VENV/bin/python" -m pip "$command" "$@"
  fi
}

# ONNX Runtime's build for CUDA in place of the one for the CPU that the project asks for. Both own the folder
# onnxruntime: installed together the CPU's files win, and one that is uninstalled leaves the other broken. So both go
# first. It serves the CPU as well.
onnx_for_cuda() {
  quietly "taking ONNX Runtime away" packages uninstall onnxruntime onnxruntime-gpu &&
    quietly "installing ONNX Runtime for CUDA" packages install --quiet 'onnxruntime-gpu[cuda,cudnn]'
}

# WITNESS_GPU=1 adds the extra `gpu` to an environment, which keeps it then.
extras() {
  if [ "${WITNESS_GPU:-}" = 1 ] || [ -e "$VENV/.gpu" ]; then echo train,gpu; else echo train; fi
}

# What an installation depends on; the folder too, because an editable one points to it.
fingerprint() {
  local dev=$1 extras=$2
  { cat pyproject.toml; pwd; printf '%s' "$dev $extras"; } | sha256sum | cut -d' ' -f1
}

set_up() {
  local dev=${1:-} python stamp=$VENV/.installed${1:+-$1} extras wanted
  extras=$(extras)
  wanted=$(fingerprint "$dev" "$extras")
  if [ -x "$VENV/bin/witness" ] && [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ]; then
    return
  fi
  python=$(find_python) || return
  make_venv "$python" || return
  install_project "$dev" "$extras" || return
  if [ "$extras" = train,gpu ]; then
    onnx_for_cuda || return
    touch "$VENV/.gpu"
  fi
  printf '%s' "$wanted" >"$stamp"
}
