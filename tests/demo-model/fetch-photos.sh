#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# fetch-photos.sh [DIRECTORY]: unpacks the Debian packages that photos.txt names into a folder (build/demo-photos), where
# evaluate.py looks for them. Nothing is installed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
dest=$(realpath -m "${1:-build/demo-photos}")
mapfile -t packages < <(awk '!/^#/{print $2}' tests/demo-model/photos.txt | sort -u)

mkdir -p "$dest/packages"
cd "$dest/packages"
apt-get download -q "${packages[@]}"
for file in *.deb; do dpkg-deb -x "$file" "$dest"; done
rm -r "$dest/packages"
echo "$dest"
