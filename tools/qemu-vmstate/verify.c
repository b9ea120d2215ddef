/*
 * qemu-vmstate verify: check all of a stream
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "walk.h"

/* Goes through the state of the devices, as far as there is a description */
static bool verify_sections(Contents *c, unsigned *walked, Error **errp)
{
    uint64_t budget = TEXT_MAX;
    unsigned i;

    for (i = 0; c->description && i < c->sections->len; i++) {
        const Section *section = g_ptr_array_index(c->sections, i);

        if (!contents_described(c, section, errp)) {
            return false;
        }
        if (section->state && section->description) {
            if (!walk_section(c, section, NULL, &budget, errp)) {
                return false;
            }
            (*walked)++;
        }
    }
    return true;
}

static void add_count(GString *out, uint64_t count, const char *what)
{
    g_string_append_printf(out, ", %" PRIu64 " %s%s", count, what,
                           count == 1 ? "" : "s");
}

bool tool_verify(Source *source, GString *out, Error **errp)
{
    g_autoptr(Contents) c = contents_new();
    unsigned walked = 0;

    c->want_state = true;
    if (!contents_read(c, source, errp) ||
        !verify_sections(c, &walked, errp)) {
        return false;
    }

    g_string_append_printf(out, "good: version %" PRIu32, c->version);
    add_count(out, c->sections->len, "section");
    if (c->records) {
        add_count(out, c->records, "record");
    }
    if (c->packets.packets) {
        add_count(out, c->packets.pages + c->packets.zeros, "page");
    }
    add_count(out, c->bytes, "byte");
    if (c->skipped->len) {
        g_string_append_printf(out, ", %" PRIu64 " skipped",
                               c->skipped->len + c->skipped_more);
    }
    if (c->version == OLD_VERSION) {
        g_string_append(out, "; it has no checksums, and only the devices "
                        "were looked at");
    } else if (!c->description) {
        g_string_append(out, "; it has no description, and no fields were "
                        "looked at");
    } else if (c->not_kept) {
        g_string_append_printf(out, "; the fields of %u sections were too "
                               "much to be looked at", c->not_kept);
    }
    g_string_append_c(out, '\n');
    return true;
}
