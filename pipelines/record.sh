#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib/launch.sh"

usage='Usage: pipelines/record.sh [OPTION...] --output FILE.mkv

Records a camera, with the captions as a subtitle track. Stop it with Ctrl-C.

  --source ELEMENT   where video comes from (default: v4l2src, the first camera)
  --output FILE      Matroska file'

source=(v4l2src)
output=
parse_options "$@"
[ -n "$output" ] || die "$usage"

launch "${source[@]}" ! videoconvert ! queue ! "${caption[@]}" mode=live text-timestamps=media \
  c.src ! queue ! videoconvert ! openh264enc ! h264parse ! matroskamux name=mux ! filesink location="$output" \
  c.text_0 ! text/x-raw,format=utf8 ! queue ! mux.subtitle_0
