#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# fetch-pictures.sh [DIRECTORY]: unpacks the Debian packages that SOURCES.md names into a folder (build/demo-pictures), where
# pictures.py looks for them. Nothing is installed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
dest=$(realpath -m "${1:-build/demo-pictures}")
mapfile -t packages < <(awk -F' *[|] *' '/^[|] [a-z]/ && $2 != "package" {print $2}' pipelines/demo-training/SOURCES.md | sort -u)

mkdir -p "$dest/packages"
cd "$dest/packages"
apt-get download -q "${packages[@]}"
for file in *.deb; do dpkg-deb -x "$file" "$dest"; done
rm -r "$dest/packages"
echo "$dest"
