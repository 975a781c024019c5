# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash disable=SC2034
# What pipelines/quickstart.sh and tests/run.sh share: Debian packages, and meson builds. Sourced by bash, in the root
# of the checkout.

build_packages=(build-essential meson ninja-build pkg-config libglib2.0-dev libjson-glib-dev libopenblas-dev
  libgstreamer1.0-dev libgstreamer-plugins-base1.0-dev libgstreamer-plugins-bad1.0-dev
  libsqlite3-dev)
media_packages=(gstreamer1.0-tools gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-bad
  gstreamer1.0-libav gstreamer1.0-x)
test_packages=(clang clang-format libclang-rt-14-dev llvm valgrind git python3 locales forensics-samples-files
  python3-gi python3-gi-cairo python3-numpy gir1.2-gst-plugins-base-1.0 fonts-dejavu fonts-liberation fonts-freefont-ttf
  fonts-noto-color-emoji libgstrtspserver-1.0-dev chromium munge slurm-client slurmctld slurmd)

# Where NVIDIA's packages put nvcc.
[ ! -x /usr/local/cuda/bin/nvcc ] || export PATH=$PATH:/usr/local/cuda/bin

# One line on standard error for each argument.
say() { printf '%s\n' "$@" >&2; }

die() {
  say "$*"
  exit 1
}

# Whether something is taken where no model is named, as the element does it.
has_default_model() { [ -n "${MLLAMA_DEMO_MODEL:-}" ] || [ -e pipelines/demo-model/config.json ]; }

# A tiny random checkpoint of the golden tests that takes pictures: what runs where no model is named and none is built in.
stand_in_model() {
  local dir
  # Of these the first spells its tokens most legibly.
  for dir in tests/golden/checkpoints/{unusual,*}/; do
    if grep -qs '"vision_config"' "$dir/config.json"; then
      printf '%s\n' "${dir%/}"
      return
    fi
  done
  return 1
}

# make_test_picture PATH: a picture for those who have none at hand.
make_test_picture() {
  mkdir -p "$(dirname "$1")"
  gst-launch-1.0 -q videotestsrc num-buffers=1 pattern=ball ! video/x-raw,width=640,height=480 ! videoconvert ! \
    pngenc ! filesink location="$1"
}

# Names of the given packages that are not installed, one a line.
missing_packages() {
  local name
  for name in "$@"; do
    [ "$(dpkg-query -W -f='${db:Status-Status}' "$name" 2>/dev/null)" = installed ] || printf '%s\n' "$name"
  done
}

apt_get() {
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -y -o Dpkg::Use-Pty=0 "$@" </dev/null
}

# Installs those of the given packages that are missing; does nothing, and asks for no password, when none is.
install_packages() {
  local missing log as_root=()
  if ! command -v dpkg-query >/dev/null; then
    say "This is not Debian, so nothing is installed. Needed here are the equivalents of: $*"
    return
  fi
  mapfile -t missing < <(missing_packages "$@")
  [ ${#missing[@]} = 0 ] && return
  if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null || die "Installing packages needs root, and there is no sudo. As root, run:
  apt-get install --no-install-recommends ${missing[*]}"
    as_root=(sudo)
  fi
  say "Installing ${#missing[@]} Debian packages: ${missing[*]}"
  log=$(mktemp)
  # Package lists may be absent, or older than the mirror: a second try with new ones settles either.
  if ! apt_get --no-install-recommends install "${missing[@]}" >"$log" 2>&1 &&
    ! { apt_get update && apt_get --no-install-recommends install "${missing[@]}"; } >"$log" 2>&1; then
    cat "$log" >&2
    rm -f "$log"
    die "The packages could not be installed (see above). This script needs Debian 12 or newer and a package mirror."
  fi
  rm -f "$log"
}

# build_tree DIRECTORY [MESON OPTION...]: sets the directory up once, then brings it up to date; what the tools say is
# shown only if they fail, and stays in DIRECTORY/build.log. CC of the caller is honoured at set-up.
build_tree() {
  local dir=$1 log=$1/build.log
  shift
  if [ ! -f "$dir/build.ninja" ]; then
    say "Configuring $dir"
    rm -rf "$dir"
    mkdir -p "$dir"
    meson setup "$dir" "$@" >"$log" 2>&1 || { tail -n 40 "$log" >&2; return 1; }
  fi
  say "Building $dir"
  ninja -C "$dir" >"$log" 2>&1 || { grep -E -A 12 '(error|warning):|^FAILED|undefined reference' "$log" | head -n 80 >&2; return 1; }
}

# Meson options for this machine's GPUs, one a line: kernels for those alone are built in about a minute, for all kinds in
# several. Without a GPU that can run them, or without nvcc, the CUDA module is left out.
cuda_options() {
  local capability architectures=()
  while read -r capability; do
    case $capability in
      9.0) architectures+=(90a) ;;
      8.* | [1-9][0-9].*) architectures+=("${capability/./}") ;;
    esac
  done < <(nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>/dev/null | sort -u)
  if [ ${#architectures[@]} = 0 ]; then
    printf '%s\n' -Dcuda=disabled
  elif ! command -v nvcc >/dev/null; then
    say "This machine has a GPU, and no nvcc: building for the CPU alone. README.md, On a GPU, says what to install; then" \
      "remove build/ and start again."
    printf '%s\n' -Dcuda=disabled
  else
    printf '%s\n' -Dcuda=enabled "-Dcuda-architectures=$(IFS=,; echo "${architectures[*]}")"
  fi
}
