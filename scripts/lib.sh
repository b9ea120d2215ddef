# What the scripts share: where things are, how they speak, who may work here.
# Sourced, never run.
#
# SPDX-License-Identifier: GPL-2.0-or-later

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
BUILD=$ROOT/build
TREE=$BUILD/tree
LOGS=$BUILD/logs
NAME=${0##*/}

# The base: the distribution and the upstream version of its source package.
# Debian's own revisions of it (security updates) are all welcome.
BASE_DISTRIBUTION="Debian 12 (bookworm)"
BASE_CODENAME=bookworm
BASE_UPSTREAM=7.2+dfsg

# Distribution's tools before any others; nothing of the caller's environment
# reaches a compiler or git.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8
unset CFLAGS CPPFLAGS CXXFLAGS OBJCFLAGS LDFLAGS CC CXX
unset PKG_CONFIG_PATH PKG_CONFIG_LIBDIR MAKEFLAGS MAKELEVEL MFLAGS
unset GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE GIT_PREFIX GIT_OBJECT_DIRECTORY

say() { printf '%s: %s\n' "$NAME" "$*"; }

# The first argument is what is wrong, each further one what can be done.
explained=
die()
{
    explained=yes
    printf '%s: %s\n' "$NAME" "$1" >&2
    shift
    (($# == 0)) || printf '    %s\n' "$@" >&2
    exit 1
}

# Files of two owners under build/ would fail much later and much less clearly.
check_owner()
{
    local owner
    [[ -e $BUILD ]] || return 0
    owner=$(stat -c %U "$BUILD")
    [[ $(stat -c %u "$BUILD") == $(id -u) ]] ||
        die "$BUILD belongs to $owner, and you are $(id -un)" \
            "run make as $owner, or remove $BUILD as $owner and run it again"
}

# OS_RELEASE: another file to read the distribution from (for the tests).
check_distribution()
{
    local file=${OS_RELEASE:-/etc/os-release} here
    here=$(. "$file"; echo "${PRETTY_NAME:-${ID:-unknown}}")
    (. "$file"; [[ ${ID:-} == debian &&
                   ${VERSION_CODENAME:-} == "$BASE_CODENAME" ]]) ||
        die "this is $here; the build needs $BASE_DISTRIBUTION" \
            "its source package of QEMU and its libraries are what we build on"
}

free_space() { df --output=avail -m "$BUILD" | tail -n 1 | tr -d ' '; }

# Not even a small file has room: no space, or no inodes.
disk_full()
{
    [[ -d $BUILD ]] || return 1
    ! head -c 1M /dev/zero 2> /dev/null > "$BUILD/probe.$$" || {
        rm -f "$BUILD/probe.$$"
        return 1
    }
    rm -f "$BUILD/probe.$$"
}

# interrupted STATUS: it was ended by Ctrl-C or kill.
interrupted() { (($1 == 130 || $1 == 143)); }

full() { die "the disk is full: $*" "make room in $BUILD and run make again;" \
             "it goes on where it was"; }

# What is under construction: gone when a script ends, however it ends. A full
# disk makes any command fail, so that is looked at last.
scratch=()
leave()
{
    local status=$?
    hold_signals
    if ((status > 0)) && ! interrupted $status && [[ ! $explained ]] &&
        disk_full; then
        (full "that is why it stopped") || true
    fi
    ((${#scratch[@]} == 0)) || rm -rf "${scratch[@]}"
    exit "$status"
}
trap leave EXIT

# Between the two, what belongs together is done together. What git writes there
# takes apart="setsid --wait": it catches signals, ignored or not.
hold_signals() { trap '' INT TERM; }
free_signals() { trap - INT TERM; }

# For a command that takes Ctrl-C as an ordinary failure: the script ends too.
run()
{
    local status=0
    trap 'exit 130' INT
    "$@" || status=$?
    trap - INT
    return $status
}

# need_space MIB WHAT: better said before than found half way.
need_space()
{
    local free
    free=$(free_space)
    ((free >= $1)) || full "$2 needs $1 MiB, and $BUILD has $free"
}

# One at a time: the tree and the build directories are shared.
lock()
{
    [[ -z ${BUILD_LOCKED:-} ]] || return 0
    check_owner
    mkdir -p "$BUILD" "$LOGS"
    exec 9> "$BUILD/lock"
    flock -n 9 || { say "waiting for another make in $BUILD"; flock 9; }
    export BUILD_LOCKED=1
}

# logged NAME WHAT COMMAND...: its output goes to a log, and the end of that to
# the screen when it fails.
logged()
{
    local log=$LOGS/$1.log what=$2
    shift 2
    run "$@" > "$log" 2>&1 < /dev/null || {
        local status=$?
        ! interrupted $status || exit $status
        tail -n 30 "$log" >&2
        ! grep -q 'No space left on device' "$log" || full "$what failed"
        ! disk_full || full "$what failed"
        die "$what failed; all of its output is in $log"
    }
}

# Git without anybody's settings: the same commits for everyone.
plain_git()
{
    GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_NOSYSTEM=1 ${apart:-} git \
        -c core.hooksPath=/dev/null -c core.autocrlf=false \
        -c core.safecrlf=false -c gc.auto=0 "$@"
}
