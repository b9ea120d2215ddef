/*
 * Migration stream version 4: the sections of a stream, and its index
 *
 * Implements "Index" of docs/devel/migration-v4/wire-format.rst.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "qemu/lockable.h"
#include "qapi/error.h"
#include "migration/stream/index.h"

static_assert(sizeof(StreamIndexEntry) == STREAM_INDEX_ENTRY_SIZE,
              "an entry of the index");
static_assert(offsetof(StreamIndexEntry, instance_id) == 4, "instance");
static_assert(offsetof(StreamIndexEntry, version_id) == 8, "version");
static_assert(offsetof(StreamIndexEntry, flags) == 12, "flags");
static_assert(offsetof(StreamIndexEntry, name_length) == 14, "name length");
static_assert(offsetof(StreamIndexEntry, length) == 15, "length");
static_assert(offsetof(StreamIndexEntry, crc) == 23, "crc");

/* Things that are counted, the first of them by name */
typedef struct StreamNotes {
    uint64_t count;
    GPtrArray *names;
} StreamNotes;

struct StreamIndex {
    int refs;
    QemuMutex lock;
    GHashTable *by_id;      /* of StreamSection, by their id */
    GPtrArray *in_order;    /* the same, which belong to it */
    StreamNotes skipped;
    StreamNotes dropped;
};

StreamIndex *stream_index_new(void)
{
    StreamIndex *index = g_new0(StreamIndex, 1);

    index->refs = 1;
    qemu_mutex_init(&index->lock);
    index->by_id = g_hash_table_new(g_int_hash, g_int_equal);
    index->in_order = g_ptr_array_new_with_free_func(g_free);
    index->skipped.names = g_ptr_array_new_with_free_func(g_free);
    index->dropped.names = g_ptr_array_new_with_free_func(g_free);
    return index;
}

StreamIndex *stream_index_ref(StreamIndex *index)
{
    qatomic_inc(&index->refs);
    return index;
}

void stream_index_unref(StreamIndex *index)
{
    if (index && qatomic_fetch_dec(&index->refs) == 1) {
        g_hash_table_unref(index->by_id);
        g_ptr_array_unref(index->in_order);
        g_ptr_array_unref(index->skipped.names);
        g_ptr_array_unref(index->dropped.names);
        qemu_mutex_destroy(&index->lock);
        g_free(index);
    }
}

static StreamSection *stream_index_lookup(StreamIndex *index, uint32_t id)
{
    return g_hash_table_lookup(index->by_id, &id);
}

static StreamSection *stream_index_at(StreamIndex *index, unsigned n)
{
    return n < index->in_order->len ? g_ptr_array_index(index->in_order, n)
                                    : NULL;
}

bool stream_index_begin(StreamIndex *index, uint16_t type, uint32_t id,
                        const StreamIdent *ident, Error **errp)
{
    StreamSection *section;

    QEMU_LOCK_GUARD(&index->lock);
    if (stream_index_lookup(index, id)) {
        error_setg(errp, "section id %" PRIu32 " is taken", id);
        return false;
    }
    if (index->in_order->len >= STREAM_SECTIONS_MAX) {
        error_setg(errp, "too many sections: expected at most %d",
                   STREAM_SECTIONS_MAX);
        return false;
    }
    section = g_new0(StreamSection, 1);
    section->id = id;
    section->type = type;
    section->open = type == STREAM_RECORD_SECTION_START;
    section->ident = *ident;
    g_ptr_array_add(index->in_order, section);
    g_hash_table_insert(index->by_id, &section->id, section);
    return true;
}

bool stream_index_check(StreamIndex *index, uint16_t type, uint32_t id,
                        Error **errp)
{
    StreamSection *section;

    QEMU_LOCK_GUARD(&index->lock);
    section = stream_index_lookup(index, id);
    if (stream_record_identifies(type) && section) {
        error_setg(errp, "section id %" PRIu32 " is taken: expected a new "
                   "one, got that of section '%s' (instance %" PRIu32 ")", id,
                   section->ident.name, section->ident.instance_id);
        return false;
    }
    if ((type == STREAM_RECORD_SECTION_PART ||
         type == STREAM_RECORD_SECTION_END) && !(section && section->open)) {
        error_setg(errp, "there is no open section of id %" PRIu32
                   ": expected one that has started and not ended", id);
        return false;
    }
    return true;
}

void stream_index_account(StreamIndex *index, const StreamRecord *record)
{
    uint32_t crc = cpu_to_be32(record->payload_crc);
    StreamSection *section;

    QEMU_LOCK_GUARD(&index->lock);
    section = stream_index_lookup(index, record->section_id);
    section->records++;
    section->length += record->length;
    section->crc = stream_crc32c_extend(section->crc, &crc, sizeof(crc));
    if (record->type == STREAM_RECORD_SECTION_END &&
        (record->flags & STREAM_FLAG_LAST)) {
        section->open = false;
    }
}

static bool stream_index_copy(const StreamSection *from, StreamSection *to)
{
    if (from) {
        *to = *from;
    }
    return from;
}

bool stream_index_get(StreamIndex *index, uint32_t id, StreamSection *section)
{
    QEMU_LOCK_GUARD(&index->lock);
    return stream_index_copy(stream_index_lookup(index, id), section);
}

bool stream_index_nth(StreamIndex *index, unsigned n, StreamSection *section)
{
    QEMU_LOCK_GUARD(&index->lock);
    return stream_index_copy(stream_index_at(index, n), section);
}

void stream_index_bind(StreamIndex *index, uint32_t id, const void *user)
{
    QEMU_LOCK_GUARD(&index->lock);
    stream_index_lookup(index, id)->user = user;
}

bool stream_index_bound(StreamIndex *index, const void *user)
{
    QEMU_LOCK_GUARD(&index->lock);
    for (unsigned n = 0; n < index->in_order->len; n++) {
        if (stream_index_at(index, n)->user == user) {
            return true;
        }
    }
    return false;
}

void stream_index_skip(StreamIndex *index, uint32_t id)
{
    QEMU_LOCK_GUARD(&index->lock);
    stream_index_lookup(index, id)->skipped = true;
}

static void stream_index_note(StreamIndex *index, StreamNotes *notes,
                              const char *what)
{
    QEMU_LOCK_GUARD(&index->lock);
    notes->count++;
    if (notes->names->len < STREAM_SKIPPED_NAMES_MAX) {
        g_ptr_array_add(notes->names, g_strdup(what));
    }
}

static char *stream_index_noted(StreamIndex *index, const StreamNotes *notes,
                                unsigned n)
{
    QEMU_LOCK_GUARD(&index->lock);
    return n < notes->names->len ? g_strdup(notes->names->pdata[n]) : NULL;
}

void stream_index_note_skipped(StreamIndex *index, const char *what)
{
    stream_index_note(index, &index->skipped, what);
}

void stream_index_note_dropped(StreamIndex *index, const char *what)
{
    stream_index_note(index, &index->dropped, what);
}

uint64_t stream_index_skipped(StreamIndex *index)
{
    QEMU_LOCK_GUARD(&index->lock);
    return index->skipped.count;
}

uint64_t stream_index_dropped(StreamIndex *index)
{
    QEMU_LOCK_GUARD(&index->lock);
    return index->dropped.count;
}

char *stream_index_skipped_name(StreamIndex *index, unsigned n)
{
    return stream_index_noted(index, &index->skipped, n);
}

char *stream_index_dropped_name(StreamIndex *index, unsigned n)
{
    return stream_index_noted(index, &index->dropped, n);
}

static void stream_section_reset(StreamSection *section)
{
    section->records = 0;
    section->length = 0;
    section->crc = 0;
}

void stream_index_resume(StreamIndex *index)
{
    QEMU_LOCK_GUARD(&index->lock);
    for (unsigned n = 0; n < index->in_order->len; n++) {
        StreamSection *section = stream_index_at(index, n);

        if (section->open) {
            stream_section_reset(section);
            section->flags |= STREAM_INDEX_RESUMED;
        }
    }
}

void stream_index_restart(StreamIndex *index)
{
    unsigned n = 0;

    QEMU_LOCK_GUARD(&index->lock);
    while (n < index->in_order->len) {
        StreamSection *section = stream_index_at(index, n);

        if (section->type == STREAM_RECORD_SECTION_START) {
            stream_section_reset(section);
            section->open = true;
            n++;
        } else {
            g_hash_table_remove(index->by_id, &section->id);
            g_ptr_array_remove_index(index->in_order, n);
        }
    }
}

size_t stream_index_encode(StreamIndex *index, unsigned n, uint8_t *wire)
{
    const StreamSection *section;
    StreamIndexEntry e;
    size_t name_length;

    QEMU_LOCK_GUARD(&index->lock);
    section = stream_index_at(index, n);
    if (!section) {
        return 0;
    }
    name_length = strlen(section->ident.name);
    e = (StreamIndexEntry) {
        .section_id = cpu_to_be32(section->id),
        .instance_id = cpu_to_be32(section->ident.instance_id),
        .version_id = cpu_to_be32(section->ident.version_id),
        .flags = cpu_to_be16(section->flags),
        .name_length = name_length,
        .length = cpu_to_be64(section->length),
        .crc = cpu_to_be32(section->crc),
    };
    memcpy(wire, &e, sizeof(e));
    memcpy(wire + sizeof(e), section->ident.name, name_length);
    return sizeof(e) + name_length;
}

uint32_t stream_index_checksum(StreamIndex *index)
{
    uint8_t wire[STREAM_INDEX_ENTRY_MAX];
    uint32_t crc = 0;
    size_t length;

    for (unsigned n = 0; (length = stream_index_encode(index, n, wire)); n++) {
        crc = stream_crc32c_extend(crc, wire, length);
    }
    return crc;
}

size_t stream_index_entry_name_length(const uint8_t *wire)
{
    return wire[offsetof(StreamIndexEntry, name_length)];
}

bool stream_index_verify(StreamIndex *index, unsigned n, const uint8_t *wire,
                         Error **errp)
{
    uint8_t expected[STREAM_INDEX_ENTRY_MAX];
    size_t length = stream_index_encode(index, n, expected);
    StreamSection seen;
    StreamIndexEntry e;
    g_autofree char *name = NULL;

    memcpy(&e, wire, sizeof(e));
    if (length == sizeof(e) + e.name_length &&
        !memcmp(wire, expected, length)) {
        return true;
    }

    if (!stream_name_is_proper(wire + sizeof(e), e.name_length)) {
        error_setg(errp, "an entry of the index has no proper name: expected "
                   "1 to 255 bytes without control characters");
        return false;
    }
    name = g_strndup((const char *)wire + sizeof(e), e.name_length);
    if (!stream_index_nth(index, n, &seen)) {
        error_setg(errp, "section '%s' (instance %" PRIu32 ") is missing: the "
                   "index has it, but it did not come", name,
                   be32_to_cpu(e.instance_id));
    } else if (be32_to_cpu(e.section_id) != seen.id ||
               be32_to_cpu(e.instance_id) != seen.ident.instance_id ||
               strcmp(name, seen.ident.name)) {
        error_setg(errp, "the sections are not those of the index: expected "
                   "section '%s' (instance %" PRIu32 ") as number %u, got "
                   "section '%s' (instance %" PRIu32 ")", name,
                   be32_to_cpu(e.instance_id), n + 1, seen.ident.name,
                   seen.ident.instance_id);
    } else {
        error_setg(errp, "section '%s' (instance %" PRIu32 ") is not what the "
                   "index says: expected version %" PRIu32 ", %" PRIu64
                   " bytes, checksum 0x%08" PRIx32 ", flags 0x%04x, got "
                   "version %" PRIu32 ", %" PRIu64 " bytes, checksum 0x%08"
                   PRIx32 ", flags 0x%04x", name, seen.ident.instance_id,
                   be32_to_cpu(e.version_id), be64_to_cpu(e.length),
                   be32_to_cpu(e.crc), be16_to_cpu(e.flags),
                   seen.ident.version_id, seen.length, seen.crc, seen.flags);
    }
    return false;
}

bool stream_index_verify_end(StreamIndex *index, unsigned n, Error **errp)
{
    StreamSection seen;

    if (!stream_index_nth(index, n, &seen)) {
        return true;
    }
    error_setg(errp, "section '%s' (instance %" PRIu32 ") came, but the index "
               "does not have it: expected %u sections, got more",
               seen.ident.name, seen.ident.instance_id, n);
    return false;
}
