#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Runs what needs a GPU, and merges what it finds into tests/gpu/record.json.
#
#   tests/gpu/run.sh [--part check|sanitize|parity|speed|streams|archive|peers|element] [--out DIRECTORY] [--tier sm_80]
#
# Each part ends within nine minutes and writes DIRECTORY/PART.json; without --part all run one after the other. --tier
# forces the kernels that every GPU from sm_80 on can run; nothing is merged then. README.md names the parts and what can
# be set in the environment.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit
. pipelines/lib/setup.sh

parts=(check sanitize parity speed streams archive peers element)
out=build-gpu/results
tier=
while [ $# -gt 0 ]; do
  case $1 in
    --part) parts=("$2") ;;
    --out) out=$2 ;;
    --tier) tier=$2 ;;
    *) die "Unknown option $1; options are --part, --out and --tier" ;;
  esac
  shift 2 || die "$1 needs a value"
done

work=${MLLAMA_GPU_WORK:-${TMPDIR:-/tmp}/mllama-gpu}
mkdir -p "$out" "$work"
out=$(cd "$out" && pwd)
[ -z "$tier" ] || export MLLAMA_CUDA_TIER=$tier

# All programs and libraries in one folder, as links into a build.
link_build() {
  local file
  build_tree build-gpu --buildtype=release -Dcuda=enabled -Dgst-plugin=enabled -Dtests=enabled || exit
  mkdir -p build-gpu/bin
  for file in pipelines/mllama-{archive,bench,caption} tests/golden/test-golden tests/checkcuda/checkcuda \
    tests/gpu/{dump-logits,dump-layers,test-device-errors,test-invariance,test-lifecycle,time-streams} engine/libmllama.so.0 engine/libmllama-cuda.so \
    gst-plugin/libgstmllama.so; do
    ln -sf "$PWD/build-gpu/$file" build-gpu/bin/
  done
  if [ -e pipelines/demo-model/config.json ] && [ ! -e build-gpu/bin/demo-frames ]; then
    GST_PLUGIN_PATH=build-gpu/gst-plugin tests/demo-model/evaluate.py --no-photos --count 8 --save build-gpu/bin/demo-frames >&2 ||
      say "Note: no frames for the default model; tests/demo-model/README.md says what is needed."
  fi
}

# cuBLASLt is the toolkit's, or that of Python's packages.
find_cublas() {
  local dir
  for dir in /usr/local/cuda/lib64 /usr/local/cuda/targets/x86_64-linux/lib \
    "$(python3 -c 'import nvidia; print(list(nvidia.__path__)[0])' 2>/dev/null)"/{cu13,cublas}/lib; do
    if compgen -G "$dir/libcublasLt.so.*" >/dev/null; then
      export LD_LIBRARY_PATH=${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}$dir
      return
    fi
  done
}

if [ -n "${MLLAMA_GPU_BIN:-}" ]; then
  bin=$(cd "$MLLAMA_GPU_BIN" && pwd)
  # shellcheck disable=SC1091
  [ ! -e "$bin/env.sh" ] || . "$bin/env.sh"
  [ ! -e "$bin/trees" ] || MLLAMA_GPU_TREES=${MLLAMA_GPU_TREES:-$(cat "$bin/trees")}
  export MLLAMA_GPU_TREES
else
  link_build
  bin=$PWD/build-gpu/bin
  git diff --quiet HEAD -- engine gst-plugin || say "Note: engine/ or gst-plugin/ differ from HEAD, which the record names."
fi
find_cublas
# GStreamer opens every library of a plugin folder: there it is the only one.
mkdir -p "$work/plugin"
ln -sf "$bin/libgstmllama.so" "$work/plugin/"
export MLLAMA_MODULE_PATH=$bin GST_PLUGIN_PATH=$work/plugin GST_REGISTRY=$work/registry.bin PYTHONUNBUFFERED=1

# make_checkpoint SIZE: made once, and prints where it is.
make_checkpoint() {
  python3 tests/gpu/make-11b.py --size "$1" --out "$work/$1" >&2 && printf '%s\n' "$work/$1"
}

large() { make_checkpoint "${MLLAMA_GPU_SIZE:-full}"; }

run_part() {
  local arguments=(--out "$out/$1.json")
  case $1 in
    check) arguments+=(--bin "$bin" --small "$(make_checkpoint small)") ;;
    sanitize) arguments+=(--bin "$bin" --seconds "${MLLAMA_GPU_SECONDS:-530}") ;;
    parity) arguments+=(--programs "$bin" --small "$(make_checkpoint small)" --checkpoint "$(large)") ;;
    archive) arguments+=(--bin "$bin" --checkpoint "$(large)" --work "$work") ;;
    speed | streams) arguments+=(--bin "$bin" --checkpoint "$(large)") ;;
    peers)
      [ -n "${MLLAMA_GPU_PEERS:-}" ] || { say "No peers: MLLAMA_GPU_PEERS is not set"; return 0; }
      arguments+=(--peers "$MLLAMA_GPU_PEERS" --seconds "${MLLAMA_GPU_SECONDS:-530}") ;;
    element) arguments+=(--bin "$bin" --work "$work") ;;
    *) die "There is no part $1; parts are check, sanitize, parity, speed, streams, archive, peers and element" ;;
  esac
  python3 "tests/gpu/$1.py" "${arguments[@]}"
}

status=0
for part in "${parts[@]}"; do
  SECONDS=0
  rm -f "$out/$part.json"
  say "Part $part"
  run_part "$part" || { say "Part $part FAILED"; status=1; }
  [ -n "$tier" ] || [ ! -e "$out/$part.json" ] || python3 tests/gpu/merge-record.py "$out/$part.json" || status=1
  say "Part $part took $SECONDS s"
done
exit $status
