#!/bin/sh
# Runs every fuzz test of the module for a while, one after the other.
#
#   scripts/fuzz.sh [TIME]    as go test -fuzztime has it: 20000x (default), 30s
set -eu
time=${1:-20000x}
cd "$(dirname "$0")/.."
grep -rl --include='*_test.go' '^func Fuzz' . | sort | while read -r file; do
	for name in $(sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p' "$file"); do
		echo "== $(dirname "$file") $name"
		${GO:-go} test -run '^$' -fuzz "^$name\$" -fuzztime "$time" -fuzzminimizetime 10x "$(dirname "$file")" </dev/null
	done
done
