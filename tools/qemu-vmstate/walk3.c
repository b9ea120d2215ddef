/*
 * qemu-vmstate: what version 3 has instead of frames
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "qapi/error.h"
#include "qapi/qmp/qlist.h"
#include "walk-internal.h"

/* What a subsection begins with: this, the length of its name, the name */
#define V3_SUBSECTION 0x05

/* The header of the subsection that the description has next */
static bool read_header(Walk *w, const char *name, Error **errp)
{
    size_t length = strlen(name);
    const uint8_t *wire = w->data + w->at;

    if (!walk_enough(w, 2 + length + 4, errp)) {
        return false;
    }
    if (wire[0] != V3_SUBSECTION || wire[1] != length ||
        memcmp(wire + 2, name, length)) {
        error_setg(errp, "the state is not what is described: expected "
                   "subsection '%s'", name);
        return false;
    }
    w->at += 2 + length + 4;
    return true;
}

bool walk_v3_subsections(Walk *w, const QDict *structure, Error **errp)
{
    const QList *list = qobject_to(QList, qdict_get(structure, "subsections"));
    const QListEntry *entry = list ? qlist_first(list) : NULL;

    if (!entry) {
        return true;
    }
    if (w->json) {
        json_writer_start_object(w->json, "subsections");
    }
    for (; entry; entry = qlist_next(entry)) {
        const QDict *sub = qobject_to(QDict, entry->value);
        const char *name = sub ? description_name(sub) : NULL;
        size_t length = w->path->len;

        if (!name) {
            error_setg(errp, "the description has a subsection without a "
                       "name");
            return false;
        }
        g_string_append_printf(w->path, "%s%s", length ? "." : "", name);
        if (!walk_spend(w, ELEMENT_COST + strlen(name), errp) ||
            !read_header(w, name, errp) ||
            !walk_structure(w, sub, name, errp)) {
            return false;
        }
        g_string_truncate(w->path, length);
    }
    if (w->json) {
        json_writer_end_object(w->json);
    }
    return true;
}
