#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# Runs test programs under GStreamer's leaks tracer, which looks at what is alive when GStreamer ends.
# usage: leaks.sh PROGRAM...
set -u
output=$(mktemp)
trap 'rm -f "$output"' EXIT
number=0

# The tracer keeps memory of its own; in a sanitizer build other runs of the same programs look for lost memory.
export ASAN_OPTIONS="${ASAN_OPTIONS:+$ASAN_OPTIONS:}detect_leaks=0"

echo "1..$#"
for program; do
  number=$((number + 1))
  if GST_TRACERS=leaks GST_DEBUG=GST_TRACER:7 GST_DEBUG_NO_COLOR=1 "$program" --tap >"$output" 2>&1 &&
    ! grep -v 'new format string' "$output" | grep -q -E 'object-alive,|Leaks detected'; then
    echo "ok $number /leaks/$(basename "$program")"
  else
    grep -E 'object-alive,|^not ok|ERROR|Leaks detected' "$output" | grep -v 'new format string' | sed 's/^/# /'
    echo "not ok $number /leaks/$(basename "$program")"
  fi
done
