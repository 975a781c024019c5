#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib/launch.sh"

usage='Usage: pipelines/two-questions.sh [OPTION...] VIDEO QUESTION QUESTION

Asks two questions about the same frames of a video, one JSON object a line: both use one pass of the vision tower
("encode-id" is the same, "states-reused" is true for the second).'

parse_options "$@"
[ ${#arguments[@]} = 3 ] || die "$usage"

launch -q filesrc location="${arguments[0]}" ! decodebin ! "${caption[@]}" \
  text_0::prompt="${arguments[1]}" text_1::prompt="${arguments[2]}" \
  c.text_0 ! application/x-json ! queue ! fdsink fd=1 sync=false \
  c.text_1 ! application/x-json ! queue ! fdsink fd=1 sync=false
