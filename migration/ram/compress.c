/*
 * Migration stream version 4: packets that are compressed
 *
 * Implements the compressing side of "Packets" of
 * docs/devel/migration-v4/wire-format.rst: all pages of a packet are one unit,
 * which neither needs nor leaves a dictionary.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <zlib.h>
#ifdef CONFIG_ZSTD
#include <zstd.h>
#endif
#include "qapi/error.h"
#include "compress.h"

/* What a method is; 0 out of run() when it does not fit into the room */
typedef struct Method {
    void *(*begin)(int level);
    size_t (*run)(void *state, int level, const void *from, size_t length,
                  void *to, size_t room);
    void (*end)(void *state);
} Method;

struct RamCompressor {
    RamPacketCompression compression;
    int level;
    void *state;            /* the method's */
    uint8_t pages[RAM_PACKET_DATA_MAX];
    uint8_t out[RAM_PACKET_DATA_MAX];
};

static void *zlib_begin(int level)
{
    z_stream *z = g_new0(z_stream, 1);

    if (deflateInit(z, level) != Z_OK) {
        g_free(z);
        return NULL;
    }
    return z;
}

static size_t zlib_run(void *state, int level, const void *from, size_t length,
                       void *to, size_t room)
{
    z_stream *z = state;

    if (deflateReset(z) != Z_OK) {
        return 0;
    }
    z->next_in = (Bytef *)from;
    z->avail_in = length;
    z->next_out = to;
    z->avail_out = room;
    return deflate(z, Z_FINISH) == Z_STREAM_END ? room - z->avail_out : 0;
}

static void zlib_end(void *state)
{
    deflateEnd(state);
    g_free(state);
}

#ifdef CONFIG_ZSTD
static void *zstd_begin(int level)
{
    return ZSTD_createCCtx();
}

static size_t zstd_run(void *state, int level, const void *from, size_t length,
                       void *to, size_t room)
{
    size_t n = ZSTD_compressCCtx(state, to, room, from, length, level);

    return ZSTD_isError(n) ? 0 : n;
}

static void zstd_end(void *state)
{
    ZSTD_freeCCtx(state);
}
#endif

static const Method methods[RAM_PACKET_COMPRESSION__MAX] = {
    [RAM_PACKET_ZLIB] = { zlib_begin, zlib_run, zlib_end },
#ifdef CONFIG_ZSTD
    [RAM_PACKET_ZSTD] = { zstd_begin, zstd_run, zstd_end },
#endif
};

RamCompressor *ram_compressor_new(RamPacketCompression compression, int level,
                                  Error **errp)
{
    const Method *method = &methods[compression];
    void *state = method->begin ? method->begin(level) : NULL;
    RamCompressor *c;

    if (!state) {
        error_setg(errp, "memory cannot be compressed: the method cannot be "
                   "prepared for level %d", level);
        return NULL;
    }
    c = g_new0(RamCompressor, 1);
    c->compression = compression;
    c->level = level;
    c->state = state;
    return c;
}

void ram_compressor_free(RamCompressor *c)
{
    if (c) {
        methods[c->compression].end(c->state);
        g_free(c);
    }
}

uint8_t *ram_compressor_pages(RamCompressor *c)
{
    return c->pages;
}

size_t ram_compressor_run(RamCompressor *c, size_t length, void **out)
{
    size_t n = methods[c->compression].run(c->state, c->level, c->pages,
                                           length, c->out, length - 1);

    if (n) {
        *out = c->out;
    }
    return n;
}

RamPacketCompression ram_compressor_method(const RamCompressor *c)
{
    return c->compression;
}
