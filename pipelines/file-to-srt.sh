#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib/launch.sh"

usage='Usage: pipelines/file-to-srt.sh [OPTION...] VIDEO [SUBTITLES]

Captions a video into a subtitle file: SubRip, or WebVTT if its name ends in .vtt (default: VIDEO with .srt).

  --burnt-in FILE.mkv   also writes a copy of the video, without sound, with the captions drawn over it'

parse_options "$@"
case ${#arguments[@]} in 1 | 2) ;; *) die "$usage" ;; esac
video=${arguments[0]}
subtitles=${arguments[1]:-${video%.*}.srt}
case $subtitles in *.vtt) encoder=(text/x-raw,format=pango-markup ! webvttenc) ;; *) encoder=(text/x-raw,format=utf8 ! srtenc) ;; esac

if [ -z "$burnt_in" ]; then
  launch -q filesrc location="$video" ! decodebin ! "${caption[@]}" text_0::hold=true \
    c.text_0 ! "${encoder[@]}" ! filesink location="$subtitles"
else
  # One caption goes both ways. Held back it could not be drawn in time.
  launch -q filesrc location="$video" ! decodebin ! videoconvert ! "${caption[@]}" \
    c.src ! queue ! textoverlay name=overlay shaded-background=true wrap-mode=word ! videoconvert ! openh264enc ! \
    h264parse ! matroskamux ! filesink location="$burnt_in" \
    c.text_0 ! tee name=text ! queue ! overlay.text_sink \
    text. ! queue ! "${encoder[@]}" ! filesink location="$subtitles"
fi
