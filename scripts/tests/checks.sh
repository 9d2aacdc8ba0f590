# Sourced by each test: the tools on PATH, a directory to work in, and how results are told.
# shellcheck shell=bash disable=SC2034
#
# A result is one line, `ok`, `FAIL` or `SKIP`; scripts/test counts them.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
tools=$("$here/tools")
PATH=$tools:$PATH:/usr/sbin:/sbin
root=$([ "$(id -u)" = 0 ] && echo yes || echo no)
work=$(mktemp -d "${TMPDIR:-/dev/shm}/pk-test.XXXXXX")
trap 'cd / && rm -rf "$work"' EXIT
cd "$work"

ok() { echo "ok    $1"; }
fail() { printf 'FAIL  %s\n' "$1"; shift; printf '      %s\n' "$@"; }
skip() { echo "SKIP  $1: $2"; }

# same NAME WANTED GOT, and its opposite for negative controls.
same() { if [ "$2" = "$3" ]; then ok "$1"; else fail "$1" "wanted: $2" "got:    $3"; fi; }
differ() { if [ "$2" != "$3" ]; then ok "$1"; else fail "$1" "both: $2"; fi; }
# holds NAME TEXT PATTERN: an extended regular expression.
holds() { if grep -qE -- "$3" <<< "$2"; then ok "$1"; else fail "$1" "wanted: $3" "got:    $2"; fi; }

# status COMMAND...: runs it, and leaves its output in $out, its errors in $err, its status in $rc.
status() { rc=0; out=$("$@" 2> err < /dev/null) || rc=$?; err=$(< err); }

# rootfs: unpacks the demo's image, once. $PK_IMAGE is one that was made already.
rootfs() { [ -d rootfs ] || pk-unpack "${PK_IMAGE:-$("$here/make-image" -o "$work/image.tar")}" rootfs > digest; }

# An ordinary user stands on a user namespace, which owns the others.
if [ "$root" = yes ]; then ground=(); else ground=(--user --map-root); fi
