# What is known of the source package in build/apt/source. Sourced, never run.
#
# SPDX-License-Identifier: GPL-2.0-or-later

# The .dsc, and its version once have_source has said yes.
DSC=
VERSION=

# check_version VERSION: of another upstream version, or not.
check_version()
{
    local upstream=${1#*:}
    upstream=${upstream%-*}
    [[ $upstream == "$BASE_UPSTREAM" ]] ||
        die "the source package is QEMU $upstream ($1);" \
            "the series is for QEMU $BASE_UPSTREAM and no other"
}

# The package is there, whole, and the right one.
have_source()
{
    local found=("$BUILD"/apt/source/*.dsc)
    [[ -e ${found[0]} ]] || return 1
    DSC=${found[-1]}
    VERSION=$(sed -n 's/^Version: //p' "$DSC")
    check_version "$VERSION"
    sed -n '/^Checksums-Sha256:/,/^[^ ]/s/^ \([0-9a-f]*\) [0-9]* /\1  /p' \
        "$DSC" | (cd "${DSC%/*}" && sha256sum --quiet --status --check -)
}
