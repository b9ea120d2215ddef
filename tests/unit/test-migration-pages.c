/*
 * Migration stream version 4: placing pages, suspects, verdicts, rounds
 *
 * docs/devel/migration-v4/ram.rst, without a machine.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bitmap.h"
#include "qemu/cutils.h"
#include "qemu/iov.h"
#include "qapi/error.h"
#include "migration/ram/barrier.h"
#include "migration/ram/place.h"
#include "migration/ram/suspects.h"
#include "migration/ram/verdict.h"
#include "migration/stream/record.h"
#include <zlib.h>

#define PAGE 4096
#define PAGES 16

static void expect(Error *err, const char *words)
{
    g_assert_nonnull(err);
    if (!strstr(error_get_pretty(err), words)) {
        g_test_message("expected '%s', got '%s'", words, error_get_pretty(err));
        g_test_fail();
    }
    error_free(err);
}

static RamPacket *packet_new(const char *block)
{
    RamPacket *packet = g_new0(RamPacket, 1);

    packet->round = 1;
    pstrcpy(packet->name, sizeof(packet->name), block);
    return packet;
}

static void packet_add(RamPacket *packet, uint64_t page, uint32_t zeros,
                       const uint8_t *data)
{
    packet->entries[packet->count++] = (RamPacketEntry) {
        .offset = page * PAGE,
        .zeros = zeros,
        .crc = data ? stream_crc32c(data, PAGE) : 0,
    };
}

/* Placing */

static void test_place(void)
{
    g_autofree uint8_t *sent = g_malloc(PAGES * PAGE);
    g_autofree uint8_t *memory = g_malloc(PAGES * PAGE);
    g_autofree RamPacket *packet = packet_new("pc.ram");
    struct iovec iov[PAGES];
    unsigned long wrong[BITS_TO_LONGS(RAM_PACKET_ENTRIES_MAX)];
    Error *err = NULL;

    for (unsigned i = 0; i < PAGES * PAGE; i++) {
        sent[i] = i * 7 + i / PAGE;
        memory[i] = 0xff;
    }
    packet_add(packet, 2, 0, sent);
    packet_add(packet, 3, 0, sent + PAGE);
    packet_add(packet, 8, 3, NULL);
    packet_add(packet, 5, 0, sent + 2 * PAGE);
    g_assert_true(ram_place_check(packet, 11 * PAGE, PAGE, &error_abort));
    g_assert_false(ram_place_check(packet, 11 * PAGE - 1, PAGE, &err));
    expect(err, "block 'pc.ram' is too short");

    /* Neighbours share a place */
    g_assert_cmpuint(ram_place_data(packet, memory, PAGE, iov), ==, 2);
    g_assert_cmpuint(iov[0].iov_len, ==, 2 * PAGE);
    g_assert_true(iov[1].iov_base == memory + 5 * PAGE);
    iov_from_buf(iov, 2, 0, sent, 3 * PAGE);
    ram_place_zeros(packet, memory, PAGE);
    g_assert_true(buffer_is_zero(memory + 8 * PAGE, 3 * PAGE));
    g_assert_cmpuint(memory[8 * PAGE - 1], ==, 0xff);
    g_assert_cmpuint(memory[11 * PAGE], ==, 0xff);
    g_assert_cmpuint(ram_place_sum(packet, memory, PAGE, wrong), ==, 0);

    memory[3 * PAGE + 17] ^= 1;
    g_assert_cmpuint(ram_place_sum(packet, memory, PAGE, wrong), ==, 1);
    g_assert_true(test_bit(1, wrong));
    g_assert_cmpuint(ram_place_all_wrong(packet, wrong), ==, 3);
    g_assert_false(test_bit(2, wrong));
}

static void test_unpack(void)
{
    uint8_t pages[2 * PAGE] = { 1, 2, 3 };
    uint8_t packed[3 * PAGE], out[3 * PAGE];
    uLongf length = sizeof(packed);

    g_assert_cmpint(compress(packed, &length, pages, sizeof(pages)), ==, Z_OK);
    g_assert_true(ram_place_unpack(RAM_PACKET_ZLIB, packed, length, out,
                                   sizeof(pages)));
    g_assert_cmpmem(out, sizeof(pages), pages, sizeof(pages));
    /* More, less, damaged, cut short */
    g_assert_false(ram_place_unpack(RAM_PACKET_ZLIB, packed, length, out,
                                    PAGE));
    g_assert_false(ram_place_unpack(RAM_PACKET_ZLIB, packed, length, out,
                                    3 * PAGE));
    g_assert_false(ram_place_unpack(RAM_PACKET_ZLIB, packed, length - 1, out,
                                    sizeof(pages)));
    packed[length / 2] ^= 0x10;
    g_assert_false(ram_place_unpack(RAM_PACKET_ZLIB, packed, length, out,
                                    sizeof(pages)));
}

/* Suspects */

/* A page that comes, right or wrong */
static void note(RamSuspects *s, const char *block, uint64_t page,
                 uint32_t zeros, bool wrong)
{
    g_autofree RamPacket *packet = packet_new(block);
    unsigned long bits[BITS_TO_LONGS(RAM_PACKET_ENTRIES_MAX)] = { 1 };

    packet_add(packet, page, zeros, NULL);
    ram_suspects_note(s, packet, 1 << 20, wrong ? bits : NULL);
}

static void test_suspects(void)
{
    g_autoptr(RamSuspects) s = ram_suspects_new(PAGE);
    g_auto(RamVerdict) verdict = { };
    Error *err = NULL;

    note(s, "b", 7, 0, false);
    g_assert_true(ram_suspects_check(s, &error_abort));
    note(s, "b", 7, 0, true);
    note(s, "b", 7, 0, true);
    note(s, "b", 8, 0, true);
    note(s, "b", 10, 0, true);
    note(s, "a", 3, 0, true);
    g_assert_cmpuint(ram_suspects_count(s), ==, 4);
    g_assert_false(ram_suspects_check(s, &err));
    expect(err, "block 'b', offset 0x7000: the page is damaged");

    ram_suspects_verdict(s, 5, true, &verdict);
    g_assert_cmpuint(verdict.round, ==, 5);
    g_assert_cmpuint(verdict.count, ==, 3);
    g_assert_cmpstr(verdict.ranges[0].block, ==, "b");
    g_assert_cmpuint(verdict.ranges[0].offset, ==, 7 * PAGE);
    g_assert_cmpuint(verdict.ranges[0].pages, ==, 2);
    g_assert_cmpuint(verdict.ranges[1].offset, ==, 10 * PAGE);
    g_assert_cmpstr(verdict.ranges[2].block, ==, "a");

    /* Zeros are right, wherever they come */
    note(s, "b", 0, 9, false);
    g_assert_cmpuint(ram_suspects_count(s), ==, 2);
    note(s, "b", 10, 0, false);
    note(s, "a", 3, 1, false);
    g_assert_cmpuint(ram_suspects_count(s), ==, 0);
    g_assert_true(ram_suspects_check(s, &error_abort));
    ram_verdict_clear(&verdict);
    ram_suspects_verdict(s, 6, false, &verdict);
    g_assert_cmpuint(verdict.count, ==, 0);
}

/* However many they are, a verdict has all of them */
static void test_suspects_many(void)
{
    g_autoptr(RamSuspects) s = ram_suspects_new(PAGE);
    g_auto(RamVerdict) verdict = { };
    uint64_t next = 0;

    for (unsigned i = 0; i < 10000; i++) {
        note(s, "b", i * 97, 0, true);
    }
    ram_suspects_verdict(s, 1, false, &verdict);
    g_assert_cmpuint(verdict.count, <=, RAM_VERDICT_RANGES_MAX);
    g_assert_cmpuint(verdict.count, >, 0);
    for (unsigned i = 0; i < verdict.count; i++) {
        const RamVerdictRange *range = &verdict.ranges[i];

        g_assert_cmpuint(range->offset, <=, next * PAGE);
        next = range->offset / PAGE + range->pages - 1 + 97;
    }
    g_assert_cmpuint(next, ==, 10000 * 97);
}

/* Verdicts */

static void verdict_fill(RamVerdict *verdict, uint32_t count)
{
    ram_verdict_clear(verdict);
    verdict->round = 9;
    verdict->count = count;
    verdict->ranges = g_new0(RamVerdictRange, count);
    for (uint32_t i = 0; i < count; i++) {
        pstrcpy(verdict->ranges[i].block, 256, i % 2 ? "vga.vram" : "pc.ram");
        verdict->ranges[i].offset = (uint64_t)i * 2 * PAGE;
        verdict->ranges[i].pages = i + 1;
    }
}

static void test_verdict(void)
{
    g_auto(RamVerdict) verdict = { };
    g_auto(RamVerdict) back = { };
    g_autoptr(GByteArray) wire = g_byte_array_new();
    g_autofree uint8_t *bad = NULL;
    Error *err = NULL;

    verdict_fill(&verdict, 3);
    ram_verdict_encode(&verdict, wire);
    g_assert_true(ram_verdict_decode(wire->data, wire->len, PAGE, &back,
                                     &error_abort));
    g_assert_cmpuint(back.round, ==, 9);
    g_assert_cmpuint(back.count, ==, 3);
    for (unsigned i = 0; i < 3; i++) {
        g_assert_cmpstr(back.ranges[i].block, ==, verdict.ranges[i].block);
        g_assert_cmpuint(back.ranges[i].offset, ==, verdict.ranges[i].offset);
        g_assert_cmpuint(back.ranges[i].pages, ==, verdict.ranges[i].pages);
    }
    for (guint n = 0; n < wire->len; n++) {
        g_auto(RamVerdict) none = { };

        g_assert_false(ram_verdict_decode(wire->data, n, PAGE, &none, &err));
        error_free(err);
        err = NULL;
    }
    g_byte_array_append(wire, (uint8_t *)"", 1);
    ram_verdict_clear(&back);
    g_assert_false(ram_verdict_decode(wire->data, wire->len, PAGE, &back,
                                      &err));
    expect(err, "wrong length");

    /* No page, an offset that is none, too many, a name that is none */
    static const struct {
        unsigned at;
        uint8_t byte;
        const char *words;
    } damages[] = {
        { 4, 1, "too many ranges" },
        { 8, 0, "names no block" },
        { 9, '\n', "names no block" },
        { 8 + 7, 0x80, "is about no pages" },
        { 8 + 7 + 7, 1, "is about no pages" },
        { 8 + 7 + 11, 0, "is about no pages" },
    };

    for (unsigned i = 0; i < ARRAY_SIZE(damages); i++) {
        g_auto(RamVerdict) none = { };

        bad = g_memdup2(wire->data, wire->len - 1);
        bad[damages[i].at] = damages[i].byte;
        err = NULL;
        g_assert_false(ram_verdict_decode(bad, wire->len - 1, PAGE, &none,
                                          &err));
        expect(err, damages[i].words);
        g_clear_pointer(&bad, g_free);
    }
}

/* Whatever comes, nothing but a verdict is made of it */
static void test_verdict_any(void)
{
    g_auto(RamVerdict) verdict = { };
    g_autoptr(GByteArray) wire = g_byte_array_new();

    verdict_fill(&verdict, 5);
    ram_verdict_encode(&verdict, wire);
    for (guint n = 0; n < wire->len * 8; n++) {
        g_auto(RamVerdict) back = { };
        Error *err = NULL;

        wire->data[n / 8] ^= 1 << n % 8;
        if (ram_verdict_decode(wire->data, wire->len, PAGE, &back, &err)) {
            g_autoptr(GByteArray) again = g_byte_array_new();

            ram_verdict_encode(&back, again);
            g_assert_cmpmem(again->data, again->len, wire->data, wire->len);
        }
        error_free(err);
        wire->data[n / 8] ^= 1 << n % 8;
    }
}

static void test_stubborn(void)
{
    RamStubborn s = { };
    g_auto(RamVerdict) verdict = { };
    Error *err = NULL;

    /* Pages that come right make place for others */
    for (unsigned i = 1; i < 10; i++) {
        verdict_fill(&verdict, 1);
        verdict.ranges[0].offset = i * PAGE;
        g_assert_true(ram_stubborn_check(&s, &verdict, PAGE, &error_abort));
    }
    verdict_fill(&verdict, 0);
    g_assert_true(ram_stubborn_check(&s, &verdict, PAGE, &error_abort));

    /* One that stays is found among others */
    for (unsigned i = 0; i <= RAM_VERDICT_TRIES; i++) {
        verdict_fill(&verdict, 3);
        verdict.ranges[0].offset = (100 + i) * PAGE;
        verdict.ranges[1].offset = (50 - i) * PAGE;
        verdict.ranges[1].pages = 1 + i;
        verdict.ranges[2].offset = (200 + 5 * i) * PAGE;
        if (i < RAM_VERDICT_TRIES) {
            g_assert_true(ram_stubborn_check(&s, &verdict, PAGE,
                                             &error_abort));
        } else {
            g_assert_false(ram_stubborn_check(&s, &verdict, PAGE, &err));
        }
    }
    expect(err, "block 'vga.vram', offset 0x32000: the page came damaged 3");
    ram_verdict_clear(&s.last);
}

/* Pages all over a block, each damaged as often as @times(page) says */
static unsigned heal_scattered(unsigned (*times)(unsigned), unsigned pages,
                               Error **errp)
{
    g_autoptr(RamSuspects) s = ram_suspects_new(PAGE);
    g_autofree unsigned *left = g_new(unsigned, pages);
    RamStubborn stubborn = { };
    unsigned sent = 0;
    bool ok = true;

    for (unsigned i = 0; i < pages; i++) {
        note(s, "b", 3 * i, 0, true);
        left[i] = times(i);
    }
    while (ok && ram_suspects_count(s)) {
        g_auto(RamVerdict) verdict = { };

        ram_suspects_verdict(s, 1, true, &verdict);
        g_assert_cmpuint(verdict.count, ==,
                         MIN(ram_suspects_count(s), RAM_VERDICT_RANGES_MAX));
        g_assert_cmpuint(ram_verdict_pages(&verdict), ==, verdict.count);
        ok = ram_stubborn_check(&stubborn, &verdict, PAGE, errp);
        for (uint32_t n = 0; ok && n < verdict.count; n++) {
            unsigned i = verdict.ranges[n].offset / PAGE / 3;

            g_assert_cmpuint(verdict.ranges[n].offset, ==, 3 * i * PAGE);
            g_assert_cmpuint(left[i], >, 0);
            note(s, "b", 3 * i, 0, --left[i]);
            sent++;
        }
    }
    ram_verdict_clear(&stubborn.last);
    return sent;
}

static unsigned once(unsigned page)
{
    return 1;
}

static unsigned up_to_three_times(unsigned page)
{
    return 1 + page % RAM_VERDICT_TRIES;
}

static unsigned one_never_right(unsigned page)
{
    return page == 4000 ? UINT_MAX : 1;
}

/* What is left for another verdict does not count against any page */
static void test_stubborn_many(void)
{
    Error *err = NULL;

    g_assert_cmpuint(heal_scattered(once, 9999, &error_abort), ==, 9999);
    g_assert_cmpuint(heal_scattered(up_to_three_times, 9999, &error_abort), ==,
                     2 * 9999);
    heal_scattered(one_never_right, 9999, &err);
    expect(err, "block 'b', offset 0x2ee0000: the page came damaged 3");
}

/* Rounds */

#define CHANNELS 4
#define ROUNDS 2000

typedef struct Runner {
    RamBarrier *barrier;
    unsigned channel;
    uint32_t *shared;           /* the round that each has begun */
    QemuThread thread;
    Error *err;
} Runner;

static void *runner_run(void *opaque)
{
    Runner *r = opaque;

    for (uint32_t round = 1; round <= ROUNDS; round++) {
        qatomic_set(&r->shared[r->channel], round);
        if (!ram_barrier_arrive(r->barrier, r->channel, round, &r->err)) {
            return NULL;
        }
        /* Nobody is a round behind, nor two ahead */
        for (unsigned n = 0; n < CHANNELS; n++) {
            uint32_t other = qatomic_read(&r->shared[n]);

            g_assert_cmpuint(other, >=, round);
            g_assert_cmpuint(other, <=, round + 1);
        }
    }
    ram_barrier_end(r->barrier, r->channel);
    return NULL;
}

static void runners_begin(RamBarrier *b, Runner *runners, unsigned count,
                          uint32_t *shared)
{
    ram_barrier_init(b, CHANNELS, NULL, NULL);
    for (unsigned n = 0; n < count; n++) {
        runners[n] = (Runner) { b, n, shared };
        qemu_thread_create(&runners[n].thread, "channel", runner_run,
                           &runners[n], QEMU_THREAD_JOINABLE);
    }
}

static void test_barrier(void)
{
    uint32_t shared[CHANNELS] = { };
    Runner runners[CHANNELS];
    RamBarrier b;
    Error *err = NULL;

    runners_begin(&b, runners, CHANNELS, shared);
    g_assert_true(ram_barrier_wait(&b, ROUNDS, &error_abort));
    for (unsigned n = 0; n < CHANNELS; n++) {
        qemu_thread_join(&runners[n].thread);
        g_assert_null(runners[n].err);
    }
    g_assert_cmpint(ram_barrier_passed(&b, ROUNDS, &error_abort), ==, 1);
    g_assert_cmpint(ram_barrier_passed(&b, ROUNDS + 1, &err), ==, -1);
    expect(err, "multifd channel 0 is over before its pages have come");
    err = NULL;
    g_assert_false(ram_barrier_arrive(&b, 1, ROUNDS, &err));
    expect(err, "a round ends out of order");
    ram_barrier_destroy(&b);
}

/* Whoever waits is told when it is in vain */
static void test_barrier_broken(void)
{
    uint32_t shared[CHANNELS] = { };
    Runner runners[CHANNELS - 1];
    RamBarrier b;
    Error *why = NULL, *err = NULL;

    error_setg(&why, "the weather");
    runners_begin(&b, runners, CHANNELS - 1, shared);
    g_assert_cmpint(ram_barrier_passed(&b, 1, &error_abort), ==, 0);
    ram_barrier_break(&b, why);
    for (unsigned n = 0; n < CHANNELS - 1; n++) {
        qemu_thread_join(&runners[n].thread);
        expect(runners[n].err, "the weather");
    }
    g_assert_false(ram_barrier_wait(&b, 1, &err));
    expect(err, "the weather");
    error_free(why);
    ram_barrier_destroy(&b);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/migration/pages/place", test_place);
    g_test_add_func("/migration/pages/unpack", test_unpack);
    g_test_add_func("/migration/pages/suspects", test_suspects);
    g_test_add_func("/migration/pages/suspects/many", test_suspects_many);
    g_test_add_func("/migration/pages/verdict", test_verdict);
    g_test_add_func("/migration/pages/verdict/any", test_verdict_any);
    g_test_add_func("/migration/pages/stubborn", test_stubborn);
    g_test_add_func("/migration/pages/stubborn/many", test_stubborn_many);
    g_test_add_func("/migration/pages/barrier", test_barrier);
    g_test_add_func("/migration/pages/barrier/broken", test_barrier_broken);
    return g_test_run();
}
