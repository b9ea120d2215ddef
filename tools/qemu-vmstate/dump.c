/*
 * qemu-vmstate dump: the state of devices as JSON
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "walk.h"

static bool dump_section(Contents *c, const Section *section, JSONWriter *json,
                         uint64_t *budget, Error **errp)
{
    json_writer_start_object(json, NULL);
    json_writer_str(json, "name", section->ident.name);
    json_writer_int64(json, "instance", section->ident.instance_id);
    json_writer_int64(json, "version", section->ident.version_id);
    json_writer_int64(json, "section", section->id);
    if (!walk_section(c, section, json, budget, errp)) {
        return false;
    }
    json_writer_end_object(json);
    return true;
}

/* Says what sections there are that can be asked for */
static void refuse_section(const Contents *c, Error **errp)
{
    unsigned i;

    error_setg(errp, "there is no device state of section '%s'",
               c->want_section);
    error_append_hint(errp, "There is that of");
    for (i = 0; i < c->sections->len; i++) {
        const Section *section = g_ptr_array_index(c->sections, i);

        if (section->description) {
            error_append_hint(errp, "\n  %s/%" PRIu32, section->ident.name,
                              section->ident.instance_id);
        }
    }
    error_append_hint(errp, "\n");
}

static bool dump_sections(Contents *c, JSONWriter *json, Error **errp)
{
    uint64_t budget = TEXT_MAX;
    unsigned i, dumped = 0;

    json_writer_start_array(json, "devices");
    for (i = 0; i < c->sections->len; i++) {
        const Section *section = g_ptr_array_index(c->sections, i);

        if (!contents_described(c, section, errp)) {
            return false;
        }
        if (!section->state || !section->description) {
            continue;
        }
        if (!dump_section(c, section, json, &budget, errp)) {
            return false;
        }
        dumped++;
    }
    json_writer_end_array(json);
    if (c->want_section && !dumped) {
        refuse_section(c, errp);
        return false;
    }
    return true;
}

static void dump_skipped(const Contents *c, JSONWriter *json)
{
    unsigned i;

    json_writer_start_array(json, "skipped");
    for (i = 0; i < c->skipped->len; i++) {
        json_writer_str(json, NULL, g_ptr_array_index(c->skipped, i));
    }
    json_writer_end_array(json);
    if (c->skipped_more) {
        json_writer_int64(json, "skipped-more", c->skipped_more);
    }
}

bool tool_dump(Source *source, const char *section, GString *out, Error **errp)
{
    g_autoptr(Contents) c = contents_new();
    g_autoptr(JSONWriter) json = json_writer_new(true);

    c->want_state = true;
    c->want_section = section;
    if (!contents_read(c, source, errp)) {
        return false;
    }
    if (!c->description) {
        error_setg(errp, "the stream has no description of its devices");
        error_append_hint(errp, "Postcopy and some machine types do not send "
                          "one; without it the fields cannot be told.\n");
        return false;
    }
    if (c->not_kept) {
        error_setg(errp, "there is too much device state: expected at most %"
                   PRIu64 " bytes", (uint64_t)STATE_MAX);
        error_append_hint(errp, "Ask for one device with --section.\n");
        return false;
    }

    json_writer_start_object(json, NULL);
    json_writer_int64(json, "version", c->version);
    if (*c->machine) {
        json_writer_str(json, "machine", c->machine);
    }
    if (!dump_sections(c, json, errp)) {
        return false;
    }
    dump_skipped(c, json);
    json_writer_end_object(json);
    g_string_append(out, json_writer_get(json));
    g_string_append_c(out, '\n');
    return true;
}
