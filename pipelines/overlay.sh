#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib/launch.sh"

usage='Usage: pipelines/overlay.sh [OPTION...] VIDEO

Plays a video with its captions drawn over the frames they belong to. It waits for captions that are not ready.

  --sink ELEMENT   where it goes (default: autovideosink)'

sink=(autovideosink)
parse_options "$@"
[ ${#arguments[@]} = 1 ] || die "$usage"

launch filesrc location="${arguments[0]}" ! decodebin ! videoconvert ! "${caption[@]}" \
  c.src ! queue ! textoverlay name=overlay shaded-background=true wrap-mode=word ! videoconvert ! "${sink[@]}" \
  c.text_0 ! text/x-raw,format=pango-markup ! queue ! overlay.text_sink
