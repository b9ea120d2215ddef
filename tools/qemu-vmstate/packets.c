/*
 * qemu-vmstate: the pages of memory in a stream
 *
 * Memory is not kept: of pages that came wrong, where they are.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "migration/ram/packet.h"
#include "migration/ram/place.h"
#include "packets.h"

/* Of the guests whose streams these are */
#define GUEST_PAGE 4096

/* Most pages that may be wrong at a time: more are no accident */
#define WRONG_MAX (1 << 20)

struct Packets {
    PacketCounts *counts;
    GHashTable *wrong;      /* of GSequence, by the block's name */
    uint64_t wrong_count;
    uint32_t round;         /* that has ended */
    RamPacket packet;
};

static void free_pages(gpointer pages)
{
    g_sequence_free(pages);
}

Packets *packets_new(PacketCounts *counts)
{
    Packets *p = g_new0(Packets, 1);

    p->counts = counts;
    p->wrong = g_hash_table_new_full(g_str_hash, g_str_equal, g_free,
                                     free_pages);
    return p;
}

void packets_free(Packets *p)
{
    if (p) {
        g_hash_table_unref(p->wrong);
        g_free(p);
    }
}

static gint compare_pages(gconstpointer a, gconstpointer b, gpointer unused)
{
    uintptr_t one = (uintptr_t)a, other = (uintptr_t)b;

    return one < other ? -1 : one > other;
}

/* What stands for a page in a sequence: its number from 1 on */
static gpointer key(uint64_t offset)
{
    return (gpointer)(uintptr_t)(offset / GUEST_PAGE + 1);
}

static bool set_wrong(Packets *p, uint64_t offset, Error **errp)
{
    GSequence *pages = g_hash_table_lookup(p->wrong, p->packet.name);

    if (!pages) {
        pages = g_sequence_new(NULL);
        g_hash_table_insert(p->wrong, g_strdup(p->packet.name), pages);
    }
    if (!g_sequence_lookup(pages, key(offset), compare_pages, NULL)) {
        if (p->wrong_count == WRONG_MAX) {
            error_setg(errp, "block '%s', offset 0x%" PRIx64 ": too many pages "
                       "are damaged: expected at most %d", p->packet.name,
                       offset, WRONG_MAX);
            return false;
        }
        g_sequence_insert_sorted(pages, key(offset), compare_pages, NULL);
        p->wrong_count++;
    }
    return true;
}

static void set_right(Packets *p, uint64_t offset, uint64_t count)
{
    GSequence *pages = p->wrong_count
        ? g_hash_table_lookup(p->wrong, p->packet.name) : NULL;
    GSequenceIter *begin, *end;
    gint before;

    if (!pages) {
        return;
    }
    /* Both are behind whatever is equal */
    begin = g_sequence_search(pages, key(offset) - 1, compare_pages, NULL);
    end = g_sequence_search(pages, key(offset) + count - 1, compare_pages,
                            NULL);
    before = g_sequence_get_length(pages);
    g_sequence_remove_range(begin, end);
    p->wrong_count -= before - g_sequence_get_length(pages);
}

/* Looks at the pages of a packet; @data is %NULL if they cannot be had */
static bool sum_pages(Packets *p, const uint8_t *data, Error **errp)
{
    for (uint32_t i = 0; i < p->packet.count; i++) {
        const RamPacketEntry *entry = &p->packet.entries[i];

        if (entry->zeros) {
            p->counts->zeros += entry->zeros;
            set_right(p, entry->offset, entry->zeros);
            continue;
        }
        p->counts->pages++;
        if (data && stream_crc32c(data, GUEST_PAGE) == entry->crc) {
            set_right(p, entry->offset, 1);
        } else if (!set_wrong(p, entry->offset, errp)) {
            return false;
        }
        data = data ? data + GUEST_PAGE : NULL;
    }
    return true;
}

/* One round ends after the other, and pages are of the next */
static bool check_round(Packets *p, Error **errp)
{
    bool end = p->packet.kind == RAM_PACKET_ROUND;

    if (p->packet.round != p->round + 1) {
        error_setg(errp, "%s: expected round %" PRIu32 ", got %" PRIu32,
                   end ? "a round ends out of order"
                       : "pages come in a wrong round",
                   p->round + 1, p->packet.round);
        return false;
    }
    p->round += end;
    return true;
}

bool packets_take(void *packets, StreamReader *r, const uint8_t *head,
                  size_t head_length, size_t data_length, Error **errp)
{
    Packets *p = packets;
    RamPacket *packet = &p->packet;
    const StreamIdent *ident = stream_reader_ident(r);
    g_autofree uint8_t *data = g_malloc(data_length);
    struct iovec iov = { .iov_base = data, .iov_len = data_length };

    if (!ident || strcmp(ident->name, "ram")) {
        error_setg(errp, "a packet comes elsewhere: expected it in section "
                   "'ram'");
        return false;
    }
    if (!ram_packet_decode(head, head_length, data_length, GUEST_PAGE, packet,
                           errp) ||
        !check_round(p, errp) ||
        !ram_place_can_unpack(packet->compression, errp) ||
        !stream_reader_get_data(r, &iov, 1, errp)) {
        return false;
    }
    if (packet->kind == RAM_PACKET_ROUND) {
        p->counts->rounds++;
        return true;
    }
    p->counts->packets++;
    if (packet->compression) {
        size_t size = ram_packet_pages(packet) * GUEST_PAGE;
        g_autofree uint8_t *unpacked = g_malloc(size);
        bool good = ram_place_unpack(packet->compression, data, data_length,
                                     unpacked, size);

        return sum_pages(p, good ? unpacked : NULL, errp);
    }
    return sum_pages(p, data, errp);
}

bool packets_check(Packets *p, Error **errp)
{
    GHashTableIter iter;
    gpointer name, pages;

    g_hash_table_iter_init(&iter, p->wrong);
    while (g_hash_table_iter_next(&iter, &name, &pages)) {
        GSequenceIter *first = g_sequence_get_begin_iter(pages);

        if (!g_sequence_iter_is_end(first)) {
            uint64_t page = (uintptr_t)g_sequence_get(first) - 1;

            error_setg(errp, "block '%s', offset 0x%" PRIx64 ": the page is "
                       "damaged: its checksum does not fit (pages in all that "
                       "are: %" PRIu64 ")", (char *)name, page * GUEST_PAGE,
                       p->wrong_count);
            return false;
        }
    }
    return true;
}
