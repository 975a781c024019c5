#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# headers.sh INCLUDE-DIRECTORY HEADER...: each public header compiles alone, as C and as C++. TAP.
include=$1
shift
flags="-I$include $(pkg-config --cflags gobject-2.0 gio-2.0)"
echo "1..$(($# * 2))"
n=0
for header in "$@"; do
  name=${header#"$include"/}
  for language in c c++; do
    case $language in c) standard=11 ;; *) standard=++11 ;; esac
    n=$((n + 1))
    result='not ok'
    # shellcheck disable=SC2086
    printf '#include <%s>\n' "$name" |
      ${CC:-cc} -x $language -std="gnu$standard" -Wall -Wextra -Werror -fsyntax-only $flags - && result=ok
    echo "$result $n /headers/${name}_compiles_alone_as_$language"
  done
done
