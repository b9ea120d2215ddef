/*
 * qemu-vmstate info: what there is in a stream, as a table
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/cutils.h"
#include "qemu/host-utils.h"
#include "contents.h"

/* How long the longest bar can be, in characters */
#define BAR 30

/* Columns of text that someone else has written are as wide as they need */
#define WIDTH_MIN 12
#define WIDTH_MAX 60

/* A name as it can be put on a terminal, which the caller frees */
static char *printable(const char *name)
{
    char *text = g_strdup(name);
    char *p;

    for (p = text; *p; p++) {
        if (!g_ascii_isprint(*p)) {
            *p = '?';
        }
    }
    return text;
}

static void add_bar(GString *out, uint64_t bytes, uint64_t total)
{
    unsigned i, length = total ? (double)bytes / total * BAR + 0.5 : 0;

    /* What is there at all can be seen */
    if (!length) {
        g_string_append(out, bytes ? "." : "");
    }
    for (i = 0; i < length; i++) {
        g_string_append_c(out, '#');
    }
}

static void add_title(GString *out, int width)
{
    g_string_append_printf(out, "%5s  %-*s %8s %7s %9s %14s\n", "id", width,
                           "section", "instance", "version", "records",
                           "bytes");
}

/* A row for something that is no section, if there is any of it */
static void add_other(GString *out, const Contents *c, int width,
                      const char *name, const Other *other)
{
    if (!other->bytes) {
        return;
    }
    g_string_append_printf(out, "%5s  %-*s %8s %7s ", "", width, name, "", "");
    if (other->records) {
        g_string_append_printf(out, "%9" PRIu64, other->records);
    } else {
        g_string_append_printf(out, "%9s", "");
    }
    g_string_append_printf(out, " %14" PRIu64 "  ", other->bytes);
    add_bar(out, other->bytes, c->bytes);
    g_string_append_c(out, '\n');
}

static void add_section(GString *out, const Contents *c, int width,
                        const Section *section)
{
    g_autofree char *name = printable(section->ident.name);

    g_string_append_printf(out, "%5" PRIu32 "  %-*s %8" PRIu32 " %7" PRIu32
                           " ", section->id, width, name,
                           section->ident.instance_id,
                           section->ident.version_id);
    if (section->records) {
        g_string_append_printf(out, "%9" PRIu64, section->records);
    } else {
        g_string_append_printf(out, "%9s", "");
    }
    g_string_append_printf(out, " %14" PRIu64 "  ", section->bytes);
    add_bar(out, section->bytes, c->bytes);
    g_string_append_c(out, '\n');
}

static int name_width(const Contents *c)
{
    size_t width = WIDTH_MIN;
    unsigned i;

    for (i = 0; i < c->sections->len; i++) {
        const Section *section = g_ptr_array_index(c->sections, i);

        width = MAX(width, strlen(section->ident.name));
    }
    return MIN(width, WIDTH_MAX);
}

static void add_table(GString *out, const Contents *c)
{
    const Other live = { .bytes = c->live_bytes };
    Other rest = { .bytes = c->bytes - c->live_bytes };
    int width = name_width(c);
    unsigned i;

    add_title(out, width);
    add_other(out, c, width, "(up to the devices)", &live);
    for (i = 0; i < c->sections->len; i++) {
        const Section *section = g_ptr_array_index(c->sections, i);

        add_section(out, c, width, section);
        rest.bytes -= section->bytes;
    }
    for (i = 0; i < OTHER_TYPES; i++) {
        const char *type = stream_record_type_name(i);

        if (type && !stream_record_has_section(i)) {
            g_autofree char *name = g_strdup_printf("(%s)", type);

            add_other(out, c, width, name, &c->others[i]);
            rest.bytes -= c->others[i].bytes;
        }
    }
    add_other(out, c, width, "(all else)", &rest);
}

static void add_totals(GString *out, const Contents *c)
{
    g_autofree char *size = size_to_str(c->bytes);
    unsigned i;

    g_string_append_printf(out, "%u sections, ", c->sections->len);
    if (c->records) {
        g_string_append_printf(out, "%" PRIu64 " records, ", c->records);
    }
    g_string_append_printf(out, "%" PRIu64 " bytes (%s)\n", c->bytes, size);
    if (c->packets.packets) {
        g_string_append_printf(out, "memory: %" PRIu64 " packets in %" PRIu64
                               " rounds, %" PRIu64 " pages and %" PRIu64
                               " of zeros\n", c->packets.packets,
                               c->packets.rounds, c->packets.pages,
                               c->packets.zeros);
    }
    for (i = 0; i < c->skipped->len; i++) {
        g_autofree char *name = printable(g_ptr_array_index(c->skipped, i));

        g_string_append_printf(out, "skipped: %s\n", name);
    }
    if (c->skipped_more) {
        g_string_append_printf(out, "skipped: %" PRIu64 " more\n",
                               c->skipped_more);
    }
    if (c->version == OLD_VERSION) {
        g_string_append_printf(
            out, "Version %d does not say how long anything is that comes "
            "before the devices:\nof the %" PRIu64 " bytes there, nothing can "
            "be told apart.\n", OLD_VERSION, c->live_bytes);
    }
}

/* How many subsections a file has, and how many of them its guest needs */
static void count_stored(const GPtrArray *inside, unsigned *all,
                         unsigned *needed)
{
    for (unsigned i = 0; inside && i < inside->len; i++) {
        const StreamStored *stored = inside->pdata[i];
        uint64_t set = 0;

        for (unsigned n = 0; n < stored->needed->len; n++) {
            set |= g_array_index(stored->needed, uint64_t, n);
        }
        *all += stored->parts->len;
        *needed += ctpop64(set);
        for (unsigned n = 0; n < stored->parts->len; n++) {
            const StreamStoredPart *part = stored->parts->pdata[n];

            count_stored(part->inside, all, needed);
        }
    }
}

static void add_facts(GString *out, const MigrationFacts *facts)
{
    g_autofree char *version = printable(facts->qemu_version);
    g_autofree char *package = printable(facts->qemu_package ?: "");
    unsigned all = 0, needed = 0;

    for (unsigned i = 0; i < facts->devices->len; i++) {
        const MigrationDeviceFacts *device = facts->devices->pdata[i];

        count_stored(device->stored, &all, &needed);
    }
    g_string_append_printf(out, "saved by QEMU %s%s%s%s, with %u subsections, "
                           "%u of them needed\n", version,
                           *package ? " (" : "", package, *package ? ")" : "",
                           all, needed);
}

bool tool_info(Source *source, GString *out, Error **errp)
{
    g_autoptr(Contents) c = contents_new();
    bool good = contents_read(c, source, errp);

    if (c->version) {
        g_autofree char *machine = printable(c->machine);

        g_string_append_printf(out, "migration stream, version %" PRIu32 "%s%s"
                               "\n", c->version, *machine ? ", of machine " :
                               "", machine);
    }
    if (c->bytes) {
        add_table(out, c);
        add_totals(out, c);
    }
    if (c->facts) {
        add_facts(out, c->facts);
    }
    return good;
}
