/*
 * qemu-vmstate: what is in a stream of version 3
 *
 * Such a stream does not say how long anything in it is, but for the
 * description at its end, which says it of each field of the devices.  They
 * are found from there, backwards: each ends where the next begins, and its
 * header tells whether that is right.  What is before them, memory and
 * whatever else is sent while the guest runs, cannot be told apart.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "qemu/cutils.h"
#include "qapi/error.h"
#include "qapi/qmp/qlist.h"
#include "contents.h"
#include "description.h"

/* What these streams have where version 4 has records */
#define V3_SECTION_FULL 0x04
#define V3_VMDESCRIPTION 0x06
#define V3_CONFIGURATION 0x07
#define V3_FOOTER 0x7e

#define V3_FOOTER_SIZE 5
#define V3_HEADER_MAX (1 + 4 + 1 + 255 + 4 + 4)

/* The devices and the description have to be within that from the end */
#define TAIL_MAX (DESCRIPTION_MAX + STATE_MAX)

/* The end of the stream */
typedef struct Tail {
    const uint8_t *data;
    size_t size;
    uint64_t offset;        /* of its first byte in the stream */
} Tail;

/* The header of a device's section, behind its id */
static size_t make_header(const StreamIdent *ident, uint8_t *wire)
{
    size_t length = strlen(ident->name);

    wire[0] = length;
    memcpy(wire + 1, ident->name, length);
    stl_be_p(wire + 1 + length, ident->instance_id);
    stl_be_p(wire + 1 + length + 4, ident->version_id);
    return 1 + length + 8;
}

/* Whether a section begins at @at; the version is left to the caller */
static bool begins_at(const Tail *tail, size_t at, const uint8_t *header,
                      size_t length)
{
    return at + 5 + length <= tail->size &&
           tail->data[at] == V3_SECTION_FULL &&
           !memcmp(tail->data + at + 5, header, length - 4);
}

static bool has_footer(const Tail *tail, size_t begin, size_t end)
{
    return end - begin >= 5 + V3_FOOTER_SIZE &&
           tail->data[end - V3_FOOTER_SIZE] == V3_FOOTER &&
           !memcmp(tail->data + end - 4, tail->data + begin + 1, 4);
}

/*
 * Finds the section of a device, which ends at *@end, and moves that to where
 * it begins.  The place that the sizes lead to is tried first, then any other
 * before: a device can have written more than it tells of.
 */
static bool find_section(Contents *c, const Tail *tail, const QDict *device,
                         size_t *end, Error **errp)
{
    uint8_t header[V3_HEADER_MAX];
    StreamIdent ident;
    uint64_t size;
    size_t length, begin, state, state_end;
    Section *section;
    unsigned footer;
    bool found = false;

    if (!description_ident(device, &ident, errp) ||
        !description_size(device, &size, errp)) {
        return false;
    }
    length = make_header(&ident, header);
    for (footer = 0; footer <= V3_FOOTER_SIZE && !found;
         footer += V3_FOOTER_SIZE) {
        uint64_t whole = 5 + length + size + footer;

        if (whole <= *end) {
            begin = *end - whole;
            found = begins_at(tail, begin, header, length) &&
                    has_footer(tail, begin, *end) == !!footer;
        }
    }
    for (begin = found ? begin : *end; !found && begin-- > 0; ) {
        found = begins_at(tail, begin, header, length);
    }
    if (!found) {
        error_setg(errp, "there is no section of device '%s' (instance %"
                   PRIu32 ") before offset %" PRIu64 ", where the "
                   "description has one", ident.name, ident.instance_id,
                   tail->offset + *end);
        return false;
    }

    state = begin + 5 + length;
    state_end = *end - (has_footer(tail, begin, *end) ? V3_FOOTER_SIZE : 0);
    ident.version_id = ldl_be_p(tail->data + state - 4);
    section = contents_add(c, ldl_be_p(tail->data + begin + 1), &ident);
    section->bytes = *end - begin;
    section->description = device;
    if (section->wanted) {
        section->state = g_byte_array_new();
        section_append(section, tail->data + state, state_end - state,
                       tail->offset + state);
    }
    *end = begin;
    return true;
}

/* Finds all devices, of which the last ends at @end */
static bool find_sections(Contents *c, const Tail *tail, size_t end,
                          Error **errp)
{
    const QList *list = description_devices(c->description);
    g_autoptr(GPtrArray) devices = g_ptr_array_new();
    const QListEntry *entry;
    bool good = true;
    guint i;

    QLIST_FOREACH_ENTRY(list, entry) {
        g_ptr_array_add(devices, qobject_to(QDict, entry->value));
    }
    for (i = devices->len; i > 0 && good; i--) {
        good = find_section(c, tail, g_ptr_array_index(devices, i - 1), &end,
                            errp);
    }
    /* They were found from the last to the first */
    for (i = 0; i < c->sections->len / 2; i++) {
        gpointer *data = c->sections->pdata;
        gpointer other = data[c->sections->len - 1 - i];

        data[c->sections->len - 1 - i] = data[i];
        data[i] = other;
    }
    c->live_bytes = tail->offset + end;
    return good;
}

/* Where the description's text begins, 0 if there is none */
static size_t find_description(const Tail *tail)
{
    static const char beginning[] = "{\"page_size\"";
    size_t most = MIN(tail->size, DESCRIPTION_MAX);
    size_t length;

    for (length = strlen(beginning); length + 6 <= most; length++) {
        const uint8_t *text = tail->data + tail->size - length;

        if (!memcmp(text, beginning, strlen(beginning)) &&
            text[-5] == V3_VMDESCRIPTION && ldl_be_p(text - 4) == length) {
            return tail->size - length;
        }
    }
    return 0;
}

/* What machine it is stands right behind the preamble, if it does at all */
static bool read_machine(Contents *c, Source *source, Error **errp)
{
    uint8_t wire[5 + sizeof(c->machine)];
    size_t have = 0, want = 5;
    uint32_t length;
    ssize_t n = 1;

    while (have < want && n > 0) {
        n = source_read(source, wire + have, want - have, errp);
        if (n < 0) {
            return false;
        }
        have += n;
        length = have >= 5 ? ldl_be_p(wire + 1) : 0;
        if (have == 5 && wire[0] == V3_CONFIGURATION &&
            length < sizeof(c->machine)) {
            want = 5 + length;
        }
    }
    if (have == want && want > 5) {
        memcpy(c->machine, wire + 5, length);
        c->machine[length] = '\0';
    }
    return true;
}

bool contents_read_v3(Contents *c, Source *source, Error **errp)
{
    g_autoptr(GByteArray) bytes = NULL;
    Tail tail;
    size_t text;

    if (!read_machine(c, source, errp)) {
        return false;
    }
    bytes = source_read_tail(source, TAIL_MAX, &c->bytes, errp);
    if (!bytes) {
        return false;
    }
    tail = (Tail) {
        .data = bytes->data,
        .size = bytes->len,
        .offset = c->bytes - bytes->len,
    };
    c->live_bytes = c->bytes;
    text = find_description(&tail);
    if (!text) {
        error_setg(errp, "the stream does not end in a description");
        error_append_hint(errp, "Without one nothing can be told of a version "
                          "%d stream.  Either it was cut short, or the "
                          "machine type does not send one.\n", OLD_VERSION);
        return false;
    }
    c->description = description_parse((char *)tail.data + text,
                                       tail.size - text, errp);
    if (!c->description) {
        return false;
    }
    c->others[STREAM_RECORD_VMDESCRIPTION].bytes = tail.size - text + 5;
    /* Before the description stands a byte that ends the sections */
    return find_sections(c, &tail, text - 6, errp);
}
