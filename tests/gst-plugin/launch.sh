#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# What gst-launch-1.0 shows of a pipeline whose model takes long to load.
# usage: launch.sh DIRECTORY-OF-THE-SCRIPTED-PLUGIN
set -u
output=$(mktemp)
registry=$(mktemp)
trap 'rm -f "$output" "$registry"' EXIT
export GST_PLUGIN_PATH="$1" GST_REGISTRY="$registry" MLLAMA_DEMO_MODEL=/scripted MLLAMA_SCRIPT_LOAD_MS=1500

# check NAME COMMAND...
number=0
check() {
  number=$((number + 1))
  name=$1
  shift
  if "$@"; then
    echo "ok $number /launch/$name"
  else
    sed 's/^/# /' "$output"
    echo "not ok $number /launch/$name"
  fi
}

# Frames that left the element before the weights were there.
count_frames_before_complete() {
  sed '/progress.*type=(GstProgressType)complete/,$d' "$output" | grep -c 'i: last-message = chain'
}

live_video_is_shown_before_the_weights_are_there() {
  gst-launch-1.0 -m -v videotestsrc is-live=true num-buffers=45 ! video/x-raw,framerate=15/1,width=64,height=64 ! \
    mllamacaption ! identity name=i silent=false ! fakesink >"$output" 2>&1 &&
    grep -q 'progress.*type=(GstProgressType)start' "$output" &&
    grep -q 'progress.*type=(GstProgressType)complete' "$output" &&
    grep -q 'element.*mllama-caption, text=' "$output" &&
    test "$(count_frames_before_complete)" -ge 10
}

an_archive_waits_for_the_weights_and_loses_nothing() {
  gst-launch-1.0 -m -v videotestsrc num-buffers=25 ! video/x-raw,framerate=10/1,width=64,height=64 ! mllamacaption ! \
    identity name=i silent=false ! fakesink >"$output" 2>&1 &&
    test "$(count_frames_before_complete)" -eq 0 &&
    test "$(grep -c 'mllama-caption, text=' "$output")" -eq 3
}

# A tool that is not built with sanitizers cannot load what is.
if nm -D "$1/libgstmllama.so" | grep -q -E '__(asan|tsan|ubsan)_'; then
  echo '1..0 # SKIP the plugin is built with sanitizers'
  exit 0
fi

echo 1..2
check live_video_is_shown_before_the_weights_are_there live_video_is_shown_before_the_weights_are_there
check an_archive_waits_for_the_weights_and_loses_nothing an_archive_waits_for_the_weights_and_loses_nothing
