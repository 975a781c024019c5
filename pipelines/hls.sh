#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib/launch.sh"

usage='Usage: pipelines/hls.sh [OPTION...] VIDEO DIRECTORY

Makes of a video what a web server hands out as a stream with subtitles: segments and their playlist (HLS), the captions
as WebVTT, main.m3u8 that names both, and index.html, a page that plays them. The sound of the video is left out.'

parse_options "$@"
[ ${#arguments[@]} = 2 ] || die "$usage"
directory=${arguments[1]}
mkdir -p "$directory"

# mpegtsmux starts at one hour, so that is where the captions' zero lies (RFC 8216, 3.5): in ticks of 90 kHz.
mpegts_zero=$((3600 * 90000))

# Not hlssink2: in GStreamer 1.22 it loses an end of stream that comes while it changes segments, and so never ends.
run filesrc location="${arguments[0]}" ! decodebin ! videoconvert ! "${caption[@]}" \
  c.src ! queue ! videoconvert ! openh264enc gop-size=30 ! h264parse ! mpegtsmux ! hlssink target-duration=2 \
  playlist-length=0 max-files=0 location="$directory/segment%05d.ts" playlist-location="$directory/video.m3u8" \
  c.text_0 ! text/x-raw,format=pango-markup ! queue ! webvttenc ! filesink location="$directory/captions.vtt" >/dev/null

# All of it is there: the list is closed, and players may seek.
sed -i '/^#EXT-X-ALLOW-CACHE/d; s/^#EXT-X-MEDIA-SEQUENCE/#EXT-X-PLAYLIST-TYPE:VOD\n&/' "$directory/video.m3u8"
sed -i "1s/.*/WEBVTT\nX-TIMESTAMP-MAP=MPEGTS:$mpegts_zero,LOCAL:00:00:00.000/" "$directory/captions.vtt"
duration=$(LC_ALL=C awk -F '[:,]' '/^#EXTINF/ { sum += $2 } END { printf "%.3f", sum }' "$directory/video.m3u8")

cat >"$directory/captions.m3u8" <<END
#EXTM3U
#EXT-X-VERSION:3
#EXT-X-TARGETDURATION:$(LC_ALL=C awk -v d="$duration" 'BEGIN { printf "%d", d + 1 }')
#EXT-X-PLAYLIST-TYPE:VOD
#EXTINF:$duration,
captions.vtt
#EXT-X-ENDLIST
END
cat >"$directory/main.m3u8" <<'END'
#EXTM3U
#EXT-X-MEDIA:TYPE=SUBTITLES,GROUP-ID="captions",NAME="Captions",LANGUAGE="en",DEFAULT=YES,AUTOSELECT=YES,URI="captions.m3u8"
#EXT-X-STREAM-INF:BANDWIDTH=1000000,SUBTITLES="captions"
video.m3u8
END
cat >"$directory/index.html" <<'END'
<!DOCTYPE html>
<title>Captioned video</title>
<video src="video.m3u8" controls autoplay muted width="100%">
  <track src="captions.vtt" kind="captions" srclang="en" label="Captions" default>
</video>
END
say "$directory/index.html plays the video; main.m3u8 is for players that are not browsers."
