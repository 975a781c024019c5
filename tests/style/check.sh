#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Checks what a reviewer should not have to: layout of C, licence lines, white space, lengths. Arguments: the files to
# look at, all of the checkout if there are none.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit
status=0

if [ $# = 0 ]; then
  mapfile -t files < <(git ls-files --cached --others --exclude-standard 2>/dev/null || find . -type f -not -path './build*' -printf '%P\n')
else
  files=("$@")
fi
c_files=()
for file in "${files[@]}"; do
  case $file in *.[ch]) [ ! -f "$file" ] || c_files+=("$file") ;; esac
done

# Releases of clang-format disagree about details; the tree follows release 14, that of Debian 12.
formatter=$(command -v clang-format-14 || command -v clang-format) || {
  echo "clang-format is missing: apt-get install clang-format" >&2
  exit 1
}
case $("$formatter" --version) in
  *" version 14."*) [ ${#c_files[@]} = 0 ] || "$formatter" --dry-run -Werror "${c_files[@]}" || status=1 ;;
  *) echo "The layout of C is not checked: it follows clang-format 14, and this is $("$formatter" --version)" >&2 ;;
esac

python3 tests/style/check_text.py "${files[@]}" || status=1
exit $status
