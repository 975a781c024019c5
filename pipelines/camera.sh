#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib/launch.sh"

usage='Usage: pipelines/camera.sh [OPTION...]

Shows a camera with live captions drawn over it. Video never waits for a caption.

  --source ELEMENT   where video comes from (default: v4l2src, the first camera)
  --sink ELEMENT     where it goes (default: autovideosink)'

source=(v4l2src)
sink=(autovideosink)
parse_options "$@"

launch "${source[@]}" ! videoconvert ! queue ! "${caption[@]}" mode=live \
  c.src ! queue ! textoverlay name=overlay wait-text=false shaded-background=true wrap-mode=word ! \
  videoconvert ! "${sink[@]}" \
  c.text_0 ! text/x-raw,format=pango-markup ! queue ! overlay.text_sink
