#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib/launch.sh"

usage='Usage: pipelines/rtsp.sh [OPTION...] URI

Captions a network stream (rtsp://, http:// ...) on the terminal, one JSON object a line. When the stream breaks off, the
source is replaced and the model stays loaded: build/pipelines/mllama-rtsp does that, and its --help names more options.'

parse_options "$@"
[ ${#arguments[@]} = 1 ] || die "$usage"
run_program mllama-rtsp "${arguments[0]}"
