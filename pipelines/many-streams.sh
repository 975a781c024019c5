#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib/launch.sh"

usage='Usage: pipelines/many-streams.sh [OPTION...] VIDEO VIDEO...

Captions several videos at once, each into VIDEO.jsonl, one JSON object a line. All share one model, which answers them
together.'

parse_options "$@"
[ ${#arguments[@]} -ge 1 ] || die "$usage"

pipeline=()
for number in "${!arguments[@]}"; do
  video=${arguments[number]}
  pipeline+=(filesrc location="$video" ! decodebin ! mllamacaption name="c$number" "${properties[@]}"
    "c$number.text_0" ! application/x-json ! queue ! filesink location="$video.jsonl")
done
launch -q "${pipeline[@]}"
