#!/bin/sh
# The commands of a new user on a bare machine, and checks of their results. tests/bare/__main__.py runs it there.
# Usage: newcomer.sh BUNDLE PYTEST_ARGUMENTS
set -eu
cd "$HOME"
git -c advice.detachedHead=false clone --quiet "$1" csi-powerflex
cd csi-powerflex

# Runs a command as `nohup ... &` in a script: without a terminal, and with SIGINT ignored.
in_background() {
    began=$(date +%s)
    nohup "$@" >"$HOME/output" 2>&1 </dev/null &
    if ! wait $!; then
        cat "$HOME/output"
        echo "FAILED as $(id -un): $*"
        exit 1
    fi
    echo "$(id -un): $* ($(($(date +%s) - began)) s)"
}

traces() {
    ls -A /tmp
    grep -h /tmp/ /sys/block/loop*/loop/backing_file 2>/dev/null || true
    cut -d ' ' -f 5 /proc/self/mountinfo | grep ^/tmp/ || true
    grep -lz csi_powerflex /proc/[0-9]*/cmdline 2>/dev/null || true
}

nothing_is_left() {
    left=$(traces)
    if [ "$left" != "$before" ]; then
        echo "FAILED as $(id -un): left over: $left; before: $before"
        exit 1
    fi
}

before=$(traces)
in_background make demo
grep "Nothing is left" "$HOME/output"
nothing_is_left
in_background make test ARGS="$2"
sed -n '/= left out =/,$p' "$HOME/output"
