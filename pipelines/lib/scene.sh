# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# The moving test scene that pipelines/quickstart.sh captions with the default model. Sourced by bash.

# make_scene FILE.webm: something else is to be seen every few seconds.
make_scene() {
  local caps=video/x-raw,format=I420,width=640,height=480,framerate=15/1
  mkdir -p "$(dirname "$1")"
  cat >"$1.svg" <<'END'
<svg xmlns="http://www.w3.org/2000/svg" width="640" height="480"><rect width="640" height="480" fill="#ffffff"/>
<polygon points="530,30 547,66 586,71 557,98 565,137 530,118 495,137 503,98 474,71 513,66" fill="#00a000"/>
<circle cx="320" cy="245" r="105" fill="#ff0000"/></svg>
END
  gst-launch-1.0 -q concat name=scenes ! vp8enc deadline=1 target-bitrate=2000000 ! webmmux ! filesink location="$1" \
    videotestsrc num-buffers=60 pattern=ball foreground-color=0xffff0000 background-color=0xff0000ff ! "$caps" ! scenes. \
    videotestsrc num-buffers=30 pattern=white ! videoconvert ! rsvgoverlay location="$1.svg" ! videoconvert ! "$caps" ! scenes. \
    videotestsrc num-buffers=30 pattern=smpte ! "$caps" ! scenes. \
    videotestsrc num-buffers=30 pattern=green ! "$caps" ! textoverlay text=HELLO valignment=center font-desc="Sans 40" ! scenes. \
    videotestsrc num-buffers=30 pattern=black ! "$caps" ! timeoverlay font-desc="Monospace 32" ! scenes.
  rm "$1.svg"
}

# burn_in SCENE OUT.webm STILLS: captions over the scene; a still of every second as STILLS/00.png and on.
burn_in() {
  mkdir -p "$3"
  gst-launch-1.0 -q filesrc location="$1" ! decodebin ! videoconvert ! mllamacaption name=c mode=archive interval=500000000 \
    c.src ! queue ! textoverlay name=o shaded-background=true font-desc="Sans 16" ! videoconvert ! tee name=t \
    t. ! queue ! vp8enc deadline=1 target-bitrate=2000000 ! webmmux ! filesink location="$2" \
    t. ! queue ! videorate ! video/x-raw,framerate=1/1 ! videoconvert ! pngenc ! multifilesink location="$3/%02d.png" \
    c.text_0 ! text/x-raw,format=pango-markup ! queue ! o.text_sink
}

# lay_out STILL STILL STILL STILL OUT.png: two rows of two.
lay_out() {
  local reader=(pngdec ! videoconvert ! videoscale ! "video/x-raw,width=480,height=360")
  gst-launch-1.0 -q compositor name=sheet sink_1::xpos=480 sink_2::ypos=360 sink_3::xpos=480 sink_3::ypos=360 ! videoconvert ! \
    pngenc snapshot=true ! filesink location="$5" \
    filesrc location="$1" ! "${reader[@]}" ! sheet.sink_0 filesrc location="$2" ! "${reader[@]}" ! sheet.sink_1 \
    filesrc location="$3" ! "${reader[@]}" ! sheet.sink_2 filesrc location="$4" ! "${reader[@]}" ! sheet.sink_3
}

# show_scene FOLDER: of FOLDER/scene.webm a video with captions burnt in, and a picture of four of its moments.
show_scene() {
  burn_in "$1/scene.webm" "$1/captioned.webm" "$1/stills" && lay_out "$1"/stills/{01,05,06,11}.png "$1/captioned.png" &&
    rm -r "$1/stills"
}
