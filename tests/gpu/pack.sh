#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# pack.sh [DIRECTORY]: builds for a GPU machine that has CUDA and Python but none of the tools and libraries that a build
# needs, and puts all that tests/gpu/run.sh wants there into one folder (.gpu). Take the checkout and the folder along, and
# run there:  MLLAMA_GPU_BIN=.gpu tests/gpu/run.sh
# MLLAMA_GPU_ARCHITECTURES: for which GPUs, as in the build option cuda-architectures (90a).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
. pipelines/lib/setup.sh
dest=${1:-.gpu}
build='build-gpu'
lib=/usr/lib/x86_64-linux-gnu

programs=(pipelines/mllama-archive pipelines/mllama-bench pipelines/mllama-caption tests/golden/test-golden tests/checkcuda/checkcuda
  tests/gpu/dump-logits tests/gpu/dump-layers tests/gpu/test-device-errors tests/gpu/test-invariance
  tests/gpu/test-lifecycle tests/gpu/time-streams)
libraries=(engine/libmllama.so.0 engine/libmllama-cuda.so gst-plugin/libgstmllama.so)
gst_tools=(gst-launch-1.0 gst-inspect-1.0)
gst_plugins=(app coreelements isomp4 multifile jpeg nvcodec openh264 playback typefindfunctions videoconvertscale videoparsersbad videotestsrc
  png pnm)

build_all() {
  meson setup "$build" --reconfigure >/dev/null 2>&1 || rm -rf "$build"
  build_tree "$build" --buildtype=release -Dcuda=enabled -Dgst-plugin=enabled -Dtests=enabled \
    -Dcuda-architectures="${MLLAMA_GPU_ARCHITECTURES:-90a}"
}

# What the files need, but for what any machine with a compiler and a GPU has.
list_needed() {
  { ldd "$@" 2>/dev/null || true; } | awk '/=> \//{print $3}' | sed 's|^/lib/|/usr/lib/|' | sort -u |
    grep -vE '/(libc|libm|libdl|libpthread|librt|ld-linux.*|libresolv|libstdc\+\+|libgcc_s|libcuda|libcublasLt)(\.so|-)' |
    grep -vE '/(libblas|libopenblas|libgfortran|libquadmath|libmllama)[^/]*$'
}

# Debian's plain BLAS: OpenBLAS is many times larger, and there the CPU only computes what is compared.
add_blas() {
  local blas=$lib/blas/libblas.so.3
  [ -e "$blas" ] || die "$blas is missing: apt-get install libblas3"
  cp -L "$blas" "$dest/lib/"
  ldd "$blas" | awk '/libgfortran|libquadmath/{print $3}' | xargs -r cp -Lt "$dest/lib"
}

# A second or two of video that moves. At its end the encoder complains of cmInitParaError: it is asked for frames that it
# might hold back, and holds none. All 24 are in the clip.
add_clip() {
  gst-launch-1.0 -q videotestsrc num-buffers=24 pattern=ball ! video/x-raw,format=I420,width=320,height=240,framerate=10/1 ! \
    openh264enc ! h264parse ! mp4mux ! filesink location="$dest/clip.mp4"
}

# Some frames of each set of tests/demo-model, with the CPU's answers.
add_demo_frames() {
  [ -e pipelines/demo-model/config.json ] || return 0
  GST_PLUGIN_PATH=$build/gst-plugin tests/demo-model/evaluate.py --no-photos --count 8 --save "$dest/demo-frames" >&2
}

build_all
rm -rf "$dest"
mkdir -p "$dest/lib" "$dest/plugins"
for file in "${programs[@]}" "${libraries[@]}"; do cp -L "$build/$file" "$dest/"; done
for file in "${gst_tools[@]}"; do cp -L "/usr/bin/$file" "$dest/"; done
cp -L "$(pkg-config --variable=pluginscannerdir gstreamer-1.0)/gst-plugin-scanner" "$dest/"
for name in "${gst_plugins[@]}"; do cp -L "$lib/gstreamer-1.0/libgst$name.so" "$dest/plugins/"; done
list_needed "$dest"/* "$dest"/plugins/* | xargs -r cp -Lt "$dest/lib"
add_blas
add_clip
add_demo_frames
strip --strip-unneeded "$dest"/lib/* "$dest"/plugins/* "$dest"/*.so* "$dest"/gst-* "${programs[@]/#*\//$dest/}"
cat >"$dest/env.sh" <<'E2'
# Sourced by bash: what lies beside this file is found before what the machine has.
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export PATH=$here:$PATH LD_LIBRARY_PATH=$here:$here/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
export GST_PLUGIN_SYSTEM_PATH_1_0=$here/plugins GST_PLUGIN_SCANNER_1_0=$here/gst-plugin-scanner
E2
printf '%s\n' "engine=$(git rev-parse HEAD:engine) gst-plugin=$(git rev-parse HEAD:gst-plugin)" >"$dest/trees"
git diff --quiet HEAD -- engine gst-plugin || say "Note: engine/ or gst-plugin/ differ from HEAD; $dest/trees names HEAD's."
du -sh "$dest" >&2
