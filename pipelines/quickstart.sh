#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Installs what is missing, builds, and captions a test scene and the FILEs given. Needs Debian 12 or newer.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. pipelines/lib/setup.sh
. pipelines/lib/scene.sh

usage() {
  cat <<'END'
Usage: pipelines/quickstart.sh [--model DIRECTORY-or-HUGGING-FACE-ID] [FILE...]

Installs the Debian packages that are missing (apt-get, with sudo if need be), builds into build/, and captions a moving
test scene and the pictures or videos given. Captions go to standard output, everything else to standard error; the scene
with its captions is left in build/quickstart/ as a video and as a picture. With --model, or where there is no default
model, a test picture takes the place of the scene. A second run skips what is done.
END
}

model=
files=()
while [ $# -gt 0 ]; do
  case $1 in
    --model) [ $# -ge 2 ] || die "--model needs a directory or a Hugging Face id after it"; model=$2; shift ;;
    --model=*) model=${1#*=} ;;
    -h | --help) usage; exit ;;
    --) shift; files+=("$@"); break ;;
    -*) die "Unknown option $1; see pipelines/quickstart.sh --help" ;;
    *) files+=("$1") ;;
  esac
  shift
done
# FILEs are relative to where the caller stands.
for i in "${!files[@]}"; do
  case ${files[i]} in /* | *://*) ;; *) files[i]=$OLDPWD/${files[i]} ;; esac
done
case $model in ./* | ../*) model=$OLDPWD/$model ;; ?*) [ ! -d "$OLDPWD/$model" ] || model=$OLDPWD/$model ;; esac

install_packages "${build_packages[@]}" "${media_packages[@]}"
mapfile -t cuda < <(cuda_options)
build_tree build -Dtests=disabled "${cuda[@]}" || die "The build failed; build/build.log has everything the tools said."

# caption OPTION-or-FILE...: shows the command, and runs it.
caption() {
  say "" "\$ build/pipelines/mllama-caption $*"
  build/pipelines/mllama-caption "$@"
}

picture=build/quickstart/test-picture.png
[ -s "$picture" ] || make_test_picture "$picture"

if [ -z "$model" ] && has_default_model; then
  export GST_PLUGIN_PATH=$PWD/build/gst-plugin${GST_PLUGIN_PATH:+:$GST_PLUGIN_PATH}
  [ -s build/quickstart/scene.webm ] || make_scene build/quickstart/scene.webm
  caption build/quickstart/scene.webm
  show_scene build/quickstart
  say "" "The captions over the scene, as a video and as a picture of four moments:" \
    "  $PWD/build/quickstart/captioned.webm" "  $PWD/build/quickstart/captioned.png" \
    "The default model is small and knows such test scenes only; README.md says how to use a real checkpoint."
  [ ${#files[@]} = 0 ] || caption "${files[@]}"
  exit
fi

if [ -z "$model" ]; then
  model=$(stand_in_model) || die "There is no default model in this checkout; name one with --model (see README.md)."
  say "" "No model was named, and this checkout has no default model yet. A tiny model of RANDOM weights stands in:" \
    "$model. Every step is real, and the tests check its tokens one by one against" \
    "reference implementations, but the words mean nothing. README.md says how to use a real checkpoint."
fi
caption --model "$model" "$picture" "${files[@]}"
