#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Sets up as pipelines/quickstart.sh does, builds with gcc and with clang, and runs every test that needs no GPU. The
# last line is "N passed, N failed", and the exit status is 0 only if nothing failed.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit
. pipelines/lib/setup.sh

passed=0
failed=0
failures=()

# count PASSED FAILED NAME...: adds to the sums; NAMEs are what failed.
count() {
  passed=$((passed + $1))
  failed=$((failed + $2))
  shift 2
  failures+=("$@")
}

# check NAME COMMAND...: one check, which passes if COMMAND does.
check() {
  local name=$1
  shift
  if "$@"; then count 1 0; else count 0 1 "$name"; fi
}

# run_suites DIRECTORY [MESON TEST OPTION...]: every case of every suite counts for itself.
run_suites() {
  local dir=$1 log=$1/test.log
  shift
  say "Testing $dir"
  rm -f "$dir"/meson-logs/testlog*
  # Tests run side by side, one on each core: a BLAS that starts threads of its own would only slow them down.
  OPENBLAS_NUM_THREADS=${OPENBLAS_NUM_THREADS:-1} meson test -C "$dir" --no-rebuild --print-errorlogs "$@" >"$log" 2>&1
  count_results_of "$dir" "$log"
}

# count_results_of DIRECTORY LOG: after meson test.
count_results_of() {
  local dir=$1 log=$2 results names
  if ! results=$(python3 tests/count_results.py "$dir/meson-logs"); then
    tail -n 40 "$log" >&2
    count 0 1 "$dir: meson test left no results"
    return
  fi
  mapfile -t names < <(tail -n +2 <<<"$results")
  # shellcheck disable=SC2086
  count ${results%%$'\n'*} "${names[@]/#/$dir: }"
  [ ${#names[@]} = 0 ] || tail -n 200 "$log" >&2
}

# run_under_thread_sanitizer DIRECTORY TEST...: builds and runs what has threads, with GLib's locks made visible
# (tests/thread). A race prints a report, and the test fails.
run_under_thread_sanitizer() {
  local dir=$1 setup kind
  shift
  setup=(-Dtests=enabled -Dgst-plugin=enabled -Dcuda=disabled -Db_sanitize=thread -Db_lundef=false)
  say "Testing $dir under ThreadSanitizer"
  [ -f "$dir/build.ninja" ] || { rm -rf "$dir" && CC=clang meson setup "$dir" "${setup[@]}" >"$dir.log" 2>&1; } || return
  ninja -C "$dir" tests/thread/libglib-pthreads.so >"$dir.log" 2>&1 || return
  rm -f "$dir"/meson-logs/testlog*
  # Their programs are built first, and nothing else.
  GST_REGISTRY_FORK=no MLLAMA_SOAK_SECONDS=6 meson test -C "$dir" --setup thread --print-errorlogs "$@" >"$dir.log" 2>&1
  for kind in json junit.xml; do
    mv "$dir/meson-logs/testlog-thread.$kind" "$dir/meson-logs/testlog.$kind" || return
  done
  count_results_of "$dir" "$dir.log"
}

# A locale whose decimal separator is a comma, for the tests that switch to it.
make_locale() {
  [ -d build-tests/locale/de_DE.UTF-8 ] && return
  mkdir -p build-tests/locale
  localedef -i de_DE -f UTF-8 build-tests/locale/de_DE.UTF-8
}

report_stale_gpu_record() {
  local dir record=tests/gpu/record.json
  [ -d engine/cuda ] || return 0
  [ -e "$record" ] || { say "Note: engine/cuda has never been run on a GPU: $record does not exist."; return 0; }
  for dir in engine gst-plugin; do
    grep -q "$(git rev-parse "HEAD:$dir" 2>/dev/null || echo none)" "$record" ||
      say "Note: $record is stale: $dir/ has changed since it was written. tests/gpu/run.sh writes a new one."
  done
}

install_packages "${build_packages[@]}" "${media_packages[@]}" "${test_packages[@]}"
make_locale && export LOCPATH=$PWD/build-tests/locale
export GST_REGISTRY=$PWD/build-tests/registry.bin

check "style (tests/style/check.sh)" tests/style/check.sh

if build_tree build-tests/gcc -Dwerror=true -Dtests=enabled -Dgst-plugin=enabled; then
  count 1 0
  run_suites build-tests/gcc
  check "feature matrix of README.md (tests/matrix/matrix.py)" tests/matrix/matrix.py build-tests/gcc/meson-logs README.md
else
  count 0 1 "build with gcc and -Werror"
fi

# The clang build is at once the one without CUDA, the one with sanitizers and the one with fuzzers.
if CC=clang build_tree build-tests/clang -Dwerror=true -Dtests=enabled -Dgst-plugin=enabled -Dfuzzing=enabled \
  -Dcuda=disabled -Db_sanitize=address,undefined -Db_lundef=false; then
  count 1 0
  # The plugin scanner is not built with the sanitizers, so it could not load the plugin: processes scan themselves, but
  # not the system's plugins, which are known by then and lose memory of their own.
  gst-inspect-1.0 >/dev/null
  ASAN_OPTIONS=strict_string_checks=1:detect_stack_use_after_return=1:fast_unwind_on_malloc=0 \
    UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 GST_REGISTRY_FORK=no G_SLICE=always-malloc \
    LSAN_OPTIONS=suppressions=$PWD/tests/lsan.supp:print_suppressions=0 \
    run_suites build-tests/clang --timeout-multiplier 5 --suite unit --suite element --suite golden --suite fuzz
else
  count 0 1 "build with clang, -Werror, sanitizers and fuzzers, without CUDA"
fi

# Allocations that fail on purpose are more than ThreadSanitizer takes, so tests that have some are not among these.
run_under_thread_sanitizer build-tests/thread test-generation test-model golden test-cpu-{cross,decoder,products,tower} \
  test-{bus,choosing,errors,flow,flow-changes,flow-eos,flow-segments,loading,messages,meta,questions,states,stats,textpads} \
  sharing || { tail -n 40 build-tests/thread.log >&2; count 0 1 "build with clang and ThreadSanitizer"; }

check "build of the engine alone" build_tree build-tests/engine -Dwerror=true -Dtests=disabled -Dgst-plugin=disabled \
  -Dcuda=disabled

report_stale_gpu_record
[ ${#failures[@]} = 0 ] || printf 'FAILED %s\n' "${failures[@]}"
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
