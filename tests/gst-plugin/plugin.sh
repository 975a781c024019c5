#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# The plugin as a file: what it links, and that it can be inspected with a fresh registry and no model.
# usage: plugin.sh PLUGIN LIBMLLAMA_DIR
set -u
plugin=$1
engine_dir=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
number=0

# check NAME COMMAND...: one TAP line.
check () {
  name=$1
  shift
  number=$((number + 1))
  if "$@" >"$work/out" 2>&1; then
    echo "ok $number $name"
  else
    sed 's/^/# /' "$work/out"
    echo "not ok $number $name"
  fi
}

links_no () {
  ! readelf -d "$1" | grep NEEDED | grep -i -E "$2"
}

inspect () {
  env -u MLLAMA_DEMO_MODEL GST_REGISTRY_1_0="$work/registry" GST_REGISTRY_FORK=no GST_PLUGIN_PATH="$(dirname "$plugin")" \
    LD_LIBRARY_PATH="$engine_dir" HF_HOME="$work" gst-inspect-1.0 "$@"
}

shows () {
  inspect "$1" >"$work/inspected" 2>&1 || { cat "$work/inspected"; return 1; }
  shift
  for word; do
    grep -q -- "$word" "$work/inspected" || { echo "no $word in:"; cat "$work/inspected"; return 1; }
  done
}

# A tool that is not built with sanitizers cannot load what is.
if nm -D "$plugin" | grep -q -E '__(asan|tsan|ubsan)_'; then
  echo '1..0 # SKIP the plugin is built with sanitizers'
  exit 0
fi

echo 1..4
check "/plugin/links_neither_libcuda_nor_cublas" links_no "$plugin" 'libcuda|cublas|nvrtc'
check "/plugin/links_no_libcuda_through_the_engine" links_no "$engine_dir/libmllama.so" 'libcuda|cublas|nvrtc'
check "/plugin/is_inspected_with_a_fresh_registry" shows mllama mllamacaption LGPL libgstmllama.so
check "/plugin/shows_properties_pads_and_signal_without_a_model" shows mllamacaption \
  'Filter/Analyzer/Video' 'memory:CUDAMemory' 'text_%u' 'GstMllamaCaptionPad' 'scene-threshold' 'caption-now' 'hold' 'application/x-json'
