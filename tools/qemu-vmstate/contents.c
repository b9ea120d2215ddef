/*
 * qemu-vmstate: what is in a stream, of either version
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/cutils.h"
#include "qapi/error.h"
#include "contents.h"
#include "description.h"

static void section_free(gpointer data)
{
    Section *section = data;

    if (section->state) {
        g_byte_array_unref(section->state);
    }
    g_array_unref(section->runs);
    g_free(section);
}

Contents *contents_new(void)
{
    Contents *c = g_new0(Contents, 1);

    c->sections = g_ptr_array_new_with_free_func(section_free);
    c->skipped = g_ptr_array_new_with_free_func(g_free);
    return c;
}

void contents_free(Contents *c)
{
    if (c) {
        g_ptr_array_unref(c->sections);
        g_ptr_array_unref(c->skipped);
        qobject_unref(c->description);
        migration_facts_free(c->facts);
        g_free(c);
    }
}

bool contents_wants(const Contents *c, const StreamIdent *ident)
{
    const char *rest;
    unsigned instance;

    if (!c->want_state) {
        return false;
    }
    if (!c->want_section || !strcmp(c->want_section, ident->name)) {
        return true;
    }
    return strstart(c->want_section, ident->name, &rest) && *rest == '/' &&
           !qemu_strtoui(rest + 1, NULL, 10, &instance) &&
           instance == ident->instance_id;
}

Section *contents_add(Contents *c, uint32_t id, const StreamIdent *ident)
{
    Section *section = g_new0(Section, 1);

    section->id = id;
    section->ident = *ident;
    section->wanted = contents_wants(c, ident);
    section->runs = g_array_new(false, false, sizeof(Run));
    g_ptr_array_add(c->sections, section);
    return section;
}

void section_append(Section *section, const void *data, size_t length,
                    uint64_t offset)
{
    Run run = { .begin = section->state->len, .offset = offset };

    g_array_append_val(section->runs, run);
    g_byte_array_append(section->state, data, length);
}

uint64_t section_offset(const Section *section, size_t at)
{
    uint64_t offset = 0;
    unsigned i;

    for (i = 0; i < section->runs->len; i++) {
        const Run *run = &g_array_index(section->runs, Run, i);

        if (run->begin > at) {
            break;
        }
        offset = run->offset;
    }
    return offset;
}

void contents_skip(Contents *c, const char *fmt, ...)
{
    va_list ap;

    if (c->skipped->len >= STREAM_SKIPPED_NAMES_MAX) {
        c->skipped_more++;
        return;
    }
    va_start(ap, fmt);
    g_ptr_array_add(c->skipped, g_strdup_vprintf(fmt, ap));
    va_end(ap);
}

bool contents_described(Contents *c, const Section *section, Error **errp)
{
    if (section->live || section->description) {
        return true;
    }
    if (section->optional) {
        contents_skip(c, "section '%s' (instance %" PRIu32 ")",
                      section->ident.name, section->ident.instance_id);
        return true;
    }
    error_setg(errp, "section '%s' (instance %" PRIu32 ") is unknown and not "
               "optional: the description has no such device",
               section->ident.name, section->ident.instance_id);
    return false;
}

bool contents_read(Contents *c, Source *source, Error **errp)
{
    g_autoptr(StreamReader) reader = stream_reader_new(source_read, source);

    c->version = stream_reader_preamble(reader, errp);
    switch (c->version) {
    case 0:
        return false;
    case OLD_VERSION:
        return contents_read_v3(c, source, errp);
    case STREAM_VERSION:
        return contents_read_v4(c, reader, source, errp);
    default:
        error_setg(errp, "the stream is of version %" PRIu32 ": expected %d "
                   "or %d", c->version, OLD_VERSION, STREAM_VERSION);
        return false;
    }
}
