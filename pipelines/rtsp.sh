#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib/launch.sh"

usage='Usage: pipelines/rtsp.sh [OPTION...] URI

Captions a network stream (rtsp://, http:// ...) on the terminal, one JSON object a line.

  --source ELEMENT   what opens the URI (default: uridecodebin)'

source=(uridecodebin)
parse_options "$@"
[ ${#arguments[@]} = 1 ] || die "$usage"

launch -q "${source[@]}" uri="${arguments[0]}" ! videoconvert ! queue ! "${caption[@]}" \
  c.src ! fakesink sync=false \
  c.text_0 ! application/x-json ! queue ! fdsink fd=1 sync=false
