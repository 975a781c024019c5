#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
set -euo pipefail
shopt -s nullglob
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/../lib/launch.sh"

usage='Usage: pipelines/slurm/annotate.sh [OPTION...] --output OUT CLIPS [-- ANNOTATE-OPTION...]

Annotates the clips in the folder CLIPS on a Slurm cluster: shares out those that are missing in OUT/archive.db, submits a
job array of which each task annotates a shard, and a job that merges what they enter into OUT/archive.db and writes
OUT/index.html. Given again, the same command does what is missing then. Both folders have to be there on all nodes.

  --output OUT         where captions, thumbnails and the index go
  --shards N           tasks (default: 8)
  --at-once N          tasks that may run at the same time (default: all)
  --gpus N             GPUs a task (default: none, the CPU computes)
  --cpus N             processors a task
  --partition NAME
  --time LIMIT         of a task; one that needs longer goes on in a further run
  --include PATTERN    as of mllama-archive annotate; may be given several times, as
  --exclude PATTERN
  --force              annotate all of them anew
  --plan               only share out, into OUT/shards/; for those who run annotate.sbatch in other ways

What is behind -- goes to mllama-archive annotate: --model, --prompt, --ask, --interval and so on.'

out=
shards=8
at_once=
force=()
is_plan=
resources=()
merge_resources=()
patterns=()
folders=()
set_value() {
  case $1 in
    --output) out=$2 ;;
    --shards) shards=$2 ;;
    --at-once) at_once=$2 ;;
    --gpus) resources+=("--gres=gpu:$2") ;;
    --cpus) resources+=("--cpus-per-task=$2") ;;
    --partition) resources+=("--partition=$2"); merge_resources+=("--partition=$2") ;;
    --time) resources+=("--time=$2") ;;
    --include | --exclude) patterns+=("$1" "$2") ;;
    *) die "Unknown option $1; see pipelines/slurm/annotate.sh --help" ;;
  esac
}
while [ $# -gt 0 ]; do
  case $1 in
    -h | --help) printf '%s\n' "$usage"; exit ;;
    --force) force=(--force) ;;
    --plan) is_plan=yes ;;
    --) shift; break ;;
    --*=*) set_value "${1%%=*}" "${1#*=}" ;;
    --*) [ $# -ge 2 ] || die "$1 needs a value"; set_value "$1" "$2"; shift ;;
    *) folders+=("$1") ;;
  esac
  shift
done
if [ ${#folders[@]} != 1 ] || [ -z "$out" ]; then die "$usage"; fi
[ -d "${folders[0]}" ] || die "${folders[0]} is not a folder"
for option in "$@"; do
  case ${option%%=*} in
    -o | --output | --index | --files-from | --base | --include | --exclude | --force | -n | --dry-run)
      die "$option cannot stand behind --; see pipelines/slurm/annotate.sh --help" ;;
  esac
done

find_plugin
# Jobs get it, and where the plugin is, with the environment.
export PATH=${MLLAMA_BUILD_DIR:-$top/build}/pipelines:$PATH
command -v mllama-archive >/dev/null || die "mllama-archive is not built; run pipelines/quickstart.sh once."
clips=$(cd "${folders[0]}" && pwd)
mkdir -p "$out/shards"
out=$(cd "$out" && pwd)

# Two runs of an archive would write the same files.
refuse_second_run() {
  local job comment
  while read -r job comment; do
    [ "$comment" != "$out" ] || die "Job $job is at work on $out; wait for it, or end it with scancel $job."
  done < <(squeue --noheader --name=mllama-annotate,mllama-merge --format='%A %k')
}

# What tasks entered and no merge came to read. Then all that is known is in OUT/archive.db.
merge_left_over() {
  local index
  for index in "$out"/shards/archive-*.db; do
    mllama-archive merge "$out/archive.db" "$index" >&2 ||
      die "$index cannot be merged. Without that file, what only it knows is annotated anew."
  done
  rm -f "$out"/shards/{archive-*.db*,shard-*.txt}
}

# Paths, a line each.
list_missing() {
  local found
  found=$(mllama-archive annotate --dry-run --no-progress --output "$out" "${force[@]}" "${patterns[@]}" "$@" "$clips") ||
    return
  grep -a '^/' <<<"$found" || :
}

# share_out MISSING: a list of these for each task, the first of which are not empty; sets n_lists.
share_out() {
  printf '%s\n' "$1" | mllama-archive plan --shards "$shards" --output "$out/shards" --files-from - >/dev/null
  find "$out/shards" -name 'shard-*.txt' -empty -delete
  n_lists=$(find "$out/shards" -name 'shard-*.txt' | wc -l)
}

# submit SBATCH-ARGUMENT...: says and does it; sets job to its number.
submit() {
  local arguments=(--parsable --export=ALL --comment="$out" "$@")
  say "sbatch$(printf ' %q' "${arguments[@]}")"
  job=$(sbatch "${arguments[@]}")
  job=${job%%;*}
}

if [ -z "$is_plan" ]; then
  command -v sbatch >/dev/null || die "There is no sbatch here: submit from a machine of a Slurm cluster, or see --plan."
  refuse_second_run
fi
merge_left_over
missing=$(list_missing "$@")
if [ -z "$missing" ]; then
  say "No clip is missing in $out/archive.db."
  exit
fi
share_out "$missing"
say "$(wc -l <<<"$missing") clips are missing in $out/archive.db; they make $n_lists shards."
[ -z "$is_plan" ] || exit 0
submit --array="0-$((n_lists - 1))${at_once:+%$at_once}" --output="$out/shards/shard-%a.log" "${resources[@]}" \
  "$here/annotate.sbatch" "$clips" "$out" "$@"
submit --dependency="afterany:$job" --output="$out/shards/merge.log" "${merge_resources[@]}" \
  "$here/merge.sbatch" "$clips" "$out" "$@"
say "Job $job ends when the index is whole; it fails if a clip is missing then. $out/shards has what the jobs say."
