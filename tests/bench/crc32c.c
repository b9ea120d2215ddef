/*
 * How fast candidates for the checksum of a record are: CRC32C (and CRC32,
 * for libraries that have no other) over blocks of memory that is in the
 * cache and of memory that is not. memcpy is there for scale.
 *
 *     crc32c      prints: name, polynomial, bytes in a block, GB/s in the
 *                 cache, GB/s out of it; the best of several runs each
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <err.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <gcrypt.h>
#include <isa-l.h>
#include <libdeflate.h>

#define COLD_SIZE (512u << 20)
#define RUNS 5
#define RUN_SECONDS 0.05

static uint32_t table[256];
static char *sink;

static void make_table(void)
{
    for (uint32_t byte = 0; byte < 256; byte++) {
        uint32_t crc = byte;

        for (int bit = 0; bit < 8; bit++) {
            crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78 : 0);
        }
        table[byte] = crc;
    }
}

/* One look-up per byte, as QEMU's util/crc32c.c does it. */
static uint32_t crc_table(const uint8_t *data, size_t size)
{
    uint32_t crc = 0xffffffff;

    while (size--) {
        crc = crc >> 8 ^ table[(crc ^ *data++) & 0xff];
    }
    return ~crc;
}

/* The instruction, in one chain: each waits for the one before. */
__attribute__((target("sse4.2")))
static uint32_t crc_sse42(const uint8_t *data, size_t size)
{
    uint64_t crc = 0xffffffff;

    for (; size >= 8; size -= 8, data += 8) {
        uint64_t word;

        memcpy(&word, data, 8);
        crc = __builtin_ia32_crc32di(crc, word);
    }
    while (size--) {
        crc = __builtin_ia32_crc32qi(crc, *data++);
    }
    return ~(uint32_t)crc;
}

static uint32_t crc_isal(const uint8_t *data, size_t size)
{
    return ~crc32_iscsi((unsigned char *)data, size, 0xffffffff);
}

static uint32_t crc_gcrypt(const uint8_t *data, size_t size)
{
    uint8_t digest[4];

    gcry_md_hash_buffer(GCRY_MD_CRC32, digest, data, size);
    return (uint32_t)digest[0] << 24 | digest[1] << 16 | digest[2] << 8 |
           digest[3];
}

static uint32_t crc_libdeflate(const uint8_t *data, size_t size)
{
    return libdeflate_crc32(0, data, size);
}

static uint32_t copy(const uint8_t *data, size_t size)
{
    memcpy(sink, data, size);
    return sink[size / 2];
}

static const struct candidate {
    const char *name;
    const char *polynomial;
    uint32_t (*function)(const uint8_t *data, size_t size);
    uint32_t check;                 /* of the digits 1 to 9; 0: none */
} candidates[] = {
    { "table", "CRC32C", crc_table, 0xe3069283 },
    { "sse4.2", "CRC32C", crc_sse42, 0xe3069283 },
    { "isa-l", "CRC32C", crc_isal, 0xe3069283 },
    /* libgcrypt and libdeflate have no CRC32C. */
    { "libgcrypt", "CRC32", crc_gcrypt, 0xcbf43926 },
    { "libdeflate", "CRC32", crc_libdeflate, 0xcbf43926 },
    { "memcpy", "-", copy, 0 },
};

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

/* The best of several runs, in GB/s, on blocks that go round in size bytes. */
static double speed(const struct candidate *c, const uint8_t *data,
                    size_t size, size_t block)
{
    static volatile uint32_t keep;
    double best = 0;
    size_t at = 0;

    for (int run = 0; run < RUNS; run++) {
        double began = now(), took;
        size_t done = 0;

        do {
            /* Some blocks between two looks at the clock. */
            for (int i = 0; i < 16; i++) {
                keep += c->function(data + at, block);
                at = at + 2 * block <= size ? at + block : 0;
                done += block;
            }
            took = now() - began;
        } while (took < RUN_SECONDS);
        if (done / took / 1e9 > best) {
            best = done / took / 1e9;
        }
    }
    return best;
}

int main(void)
{
    static const size_t blocks[] = { 4 << 10, 64 << 10, 256 << 10 };
    uint8_t *data = aligned_alloc(4096, COLD_SIZE);

    sink = aligned_alloc(4096, blocks[2]);
    if (!data || !sink) {
        err(1, "memory");
    }
    for (size_t i = 0; i < COLD_SIZE; i += 8) {
        uint64_t word = (i + 1) * 0x9e3779b97f4a7c15;

        memcpy(data + i, &word, 8);
    }
    memset(sink, 1, blocks[2]);
    make_table();
    gcry_check_version(NULL);

    for (size_t i = 0; i < sizeof(candidates) / sizeof(*candidates); i++) {
        const struct candidate *c = &candidates[i];

        if (!strcmp(c->name, "sse4.2") && !__builtin_cpu_supports("sse4.2")) {
            continue;
        }
        if (c->check &&
            c->function((const uint8_t *)"123456789", 9) != c->check) {
            errx(1, "%s is wrong about the digits 1 to 9", c->name);
        }
        for (size_t b = 0; b < sizeof(blocks) / sizeof(*blocks); b++) {
            printf("%s %s %zu %.2f %.2f\n", c->name, c->polynomial, blocks[b],
                   speed(c, data, blocks[b], blocks[b]),
                   speed(c, data, COLD_SIZE, blocks[b]));
            fflush(stdout);
        }
    }
    return 0;
}
