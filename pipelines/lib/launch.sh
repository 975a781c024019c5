# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash disable=SC2034
# What the scripts that run a gst-launch-1.0 pipeline share: their options, and the start. Sourced by bash.
#
# A script sets `usage` and calls parse_options "$@"; it finds its arguments in `arguments`, and options in `source`,
# `sink`, `output`, `burnt_in` and `caption`, the element with its properties; `options` are those for a program.

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
. "$top/pipelines/lib/setup.sh"

common_usage='
Common options:
  --model DIRECTORY|ID   checkpoint (default: the small one built in, or random weights where there is none)
  --prompt TEXT          the question (default: the element'"'"'s)
  --interval SECONDS     time between captions (default: 1)
  --semantics NAME       meta or transformers
  --max-tokens NUMBER    longest answer'

# set_option NAME VALUE: one of the options that every script takes.
set_option() {
  case $1 in --prompt | --interval | --max-tokens | --semantics) options+=("$1" "$2") ;; esac
  case $1 in
    --model) model=$2 ;;
    --prompt) properties+=(prompt="$2") ;;
    --interval) properties+=(interval="$(LC_ALL=C awk -v s="$2" 'BEGIN { printf "%.0f", s * 1e9 }' </dev/null)") ;;
    --semantics) properties+=(semantics="$2") ;;
    --max-tokens) properties+=(max-tokens="$2") ;;
    --source) read -r -a source <<<"$2" ;;
    --sink) read -r -a sink <<<"$2" ;;
    --output) output=$2 ;;
    --burnt-in) burnt_in=$2 ;;
    *) die "Unknown option $1; see --help" ;;
  esac
}

parse_options() {
  model=
  burnt_in=
  properties=()
  arguments=()
  options=()
  while [ $# -gt 0 ]; do
    case $1 in
      -h | --help) printf '%s\n%s\n' "$usage" "$common_usage"; exit ;;
      --*=*) set_option "${1%%=*}" "${1#*=}" ;;
      --*) [ $# -ge 2 ] || die "$1 needs a value"; set_option "$1" "$2"; shift ;;
      *) arguments+=("$1") ;;
    esac
    shift
  done
  if [ -z "$model" ] && ! (cd "$top" && has_default_model); then
    model=$top/$(cd "$top" && stand_in_model) || die "There is no default model in this checkout; give --model."
    say "No --model: $model stands in, whose weights are RANDOM. The words mean nothing."
  fi
  [ -z "$model" ] || properties+=(model="$model")
  [ -z "$model" ] || options+=(--model "$model")
  caption=(mllamacaption name=c "${properties[@]}")
}

# The plugin that was built, before one that is installed.
find_plugin() {
  local plugin
  for plugin in "$top"/build/gst-plugin "${MLLAMA_BUILD_DIR:+$MLLAMA_BUILD_DIR/gst-plugin}"; do
    [ ! -e "$plugin/libgstmllama.so" ] || export GST_PLUGIN_PATH=$plugin${GST_PLUGIN_PATH:+:$GST_PLUGIN_PATH}
  done
  gst-inspect-1.0 mllamacaption >/dev/null 2>&1 || die "The element mllamacaption is not built; run pipelines/quickstart.sh once."
}

# run PIPELINE...: says what it runs, in words that a shell takes. -e: an interrupt ends the stream properly, so that
# files get their index.
run() {
  find_plugin
  say "gst-launch-1.0 -e$(printf ' %q' "$@")"
  gst-launch-1.0 -e "$@"
}

# launch PIPELINE...: the same, in place of the shell.
launch() {
  find_plugin
  say "gst-launch-1.0 -e$(printf ' %q' "$@")"
  exec gst-launch-1.0 -e "$@"
}

# run_program NAME ARGUMENT...: one of the programs that were built, with the options given, in place of the shell.
run_program() {
  local program=${MLLAMA_BUILD_DIR:-$top/build}/pipelines/$1
  shift
  find_plugin
  [ -x "$program" ] || die "$program is not built; run pipelines/quickstart.sh once."
  exec "$program" "${options[@]}" "$@"
}
