# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash disable=SC2034
# What the scripts that run a gst-launch-1.0 pipeline share: their options, and the start. Sourced by bash.
#
# A script sets `usage` and calls parse_options "$@"; it finds its arguments in `arguments`, and options in `source`,
# `sink`, `output` and `caption`, the element with its properties.

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
  case $1 in
    --model) model=$2 ;;
    --prompt) properties+=(prompt="$2") ;;
    --interval) properties+=(interval="$(LC_ALL=C awk -v s="$2" 'BEGIN { printf "%.0f", s * 1e9 }' </dev/null)") ;;
    --semantics) properties+=(semantics="$2") ;;
    --max-tokens) properties+=(max-tokens="$2") ;;
    --source) read -r -a source <<<"$2" ;;
    --sink) read -r -a sink <<<"$2" ;;
    --output) output=$2 ;;
    *) die "Unknown option $1; see --help" ;;
  esac
}

parse_options() {
  model=
  properties=()
  arguments=()
  while [ $# -gt 0 ]; do
    case $1 in
      -h | --help) printf '%s\n%s\n' "$usage" "$common_usage"; exit ;;
      --*=*) set_option "${1%%=*}" "${1#*=}" ;;
      --*) [ $# -ge 2 ] || die "$1 needs a value"; set_option "$1" "$2"; shift ;;
      *) arguments+=("$1") ;;
    esac
    shift
  done
  if [ -z "$model" ] && [ ! -e "$top/pipelines/demo-model/config.json" ]; then
    model=$top/$(cd "$top" && stand_in_model) || die "There is no default model in this checkout; give --model."
    say "No --model: $model stands in, whose weights are RANDOM. The words mean nothing."
  fi
  [ -z "$model" ] || properties+=(model="$model")
  caption=(mllamacaption name=c "${properties[@]}")
}

# launch PIPELINE...: in place of the shell. -e: an interrupt ends the stream properly, so that files get their index.
launch() {
  local plugin
  for plugin in "$top"/build/gst-plugin "${MLLAMA_BUILD_DIR:+$MLLAMA_BUILD_DIR/gst-plugin}"; do
    [ ! -e "$plugin/libgstmllama.so" ] || export GST_PLUGIN_PATH=$plugin${GST_PLUGIN_PATH:+:$GST_PLUGIN_PATH}
  done
  gst-inspect-1.0 mllamacaption >/dev/null 2>&1 || die "The element mllamacaption is not built; run pipelines/quickstart.sh once."
  exec gst-launch-1.0 -e "$@"
}
