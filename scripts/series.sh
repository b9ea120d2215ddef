# Between patches/ and the commits of a tree. Sourced, never run.
#
# A tree knows what it was made from: .git/series has the checksum of the
# series and the commit that it led to.
#
# SPDX-License-Identifier: GPL-2.0-or-later

PATCHES=$ROOT/patches

plain_commit()
{
    GIT_AUTHOR_NAME=series GIT_AUTHOR_EMAIL=series@localhost \
    GIT_COMMITTER_NAME=series GIT_COMMITTER_EMAIL=series@localhost \
    GIT_COMMITTER_DATE=${GIT_AUTHOR_DATE:-} plain_git \
        -c commit.gpgSign=false "$@"
}

# The patches in their order, or nothing.
patches() { find "$PATCHES" -maxdepth 1 -name '*.patch' 2>/dev/null | sort; }

series_hash()
{
    patches | xargs -r -d '\n' sha256sum | sed "s|  $PATCHES/|  |" |
        sha256sum | cut -d ' ' -f 1
}

# apply_series DIRECTORY [COUNT]: all of it, or the first COUNT patches.
apply_series()
{
    local list patch
    mapfile -t list < <(patches | head -n "${2:-100000}")
    ((${#list[@]} == 0)) || say "applying ${#list[@]} patches"
    for patch in "${list[@]}"; do
        plain_commit -C "$1" am -q --keep-non-patch --keep-cr --no-3way \
            --committer-date-is-author-date "$patch" \
            > "$LOGS/apply.log" 2>&1 < /dev/null || {
            cat "$LOGS/apply.log" >&2
            die "${patch#"$ROOT"/} does not apply; build/tree is as it was"
        }
    done
}

# write_stamp DIRECTORY: it stands at the series, as it is now.
write_stamp()
{
    local stamp=$1/.git/series
    printf 'series %s\nhead %s\n' "$(series_hash)" \
        "$(plain_git -C "$1" rev-parse HEAD)" > "$stamp.new"
    mv "$stamp.new" "$stamp"
}

stamped() { sed -n "s/^$1 //p" "$TREE/.git/series"; }

# Commits and edits of the tree that patches/ lacks, a line each.
beyond_series()
{
    plain_git -C "$TREE" log --oneline "$(stamped head)..HEAD"
    [[ $(plain_git -C "$TREE" merge-base HEAD "$(stamped head)") == \
       "$(stamped head)" ]] || echo "commits of the series were rewritten"
    plain_git -C "$TREE" status --porcelain
}
