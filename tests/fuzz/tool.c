/*
 * Migration stream version 4: any bytes at all to qemu-vmstate
 *
 * All of its commands read the input.  What they print is text, and what dump
 * prints is JSON as long as it does not fail; a stream that verify takes is
 * one that the loader's reader takes.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "qapi/error.h"
#include "qapi/qmp/qjson.h"
#include "qapi/qmp/qobject.h"
#include "migration/stream/reader.h"
#include "tools/qemu-vmstate/tool.h"
#include "forge.h"

/* Deeper or longer ones are more than the JSON reader's limits allow */
#define JSON_MAX (1 * MiB)

typedef bool Command(Source *source, GString *out, Error **errp);

static bool dump_all(Source *source, GString *out, Error **errp)
{
    return tool_dump(source, NULL, out, errp);
}

static bool dump_one(Source *source, GString *out, Error **errp)
{
    return tool_dump(source, "timer/0", out, errp);
}

static bool hex_all(Source *source, GString *out, Error **errp)
{
    return tool_hex(source, NULL, out, errp);
}

static bool hex_one(Source *source, GString *out, Error **errp)
{
    return tool_hex(source, "timer", out, errp);
}

/* Runs a command: what it has printed, or NULL if it failed */
static GString *run(Command *command, const uint8_t *data, size_t size)
{
    g_autoptr(Source) source = source_new_buffer(data, size);
    GString *out = g_string_new("");
    Error *err = NULL;
    bool good = command(source, out, &err);

    assert(good == !err);
    assert(g_utf8_validate(out->str, out->len, NULL));
    if (!good) {
        assert(error_get_pretty(err)[0]);
        error_free(err);
        g_string_free(out, true);
        return NULL;
    }
    return out;
}

static bool run_dump(Command *command, const uint8_t *data, size_t size)
{
    GString *out = run(command, data, size);

    if (!out) {
        return false;
    }
    if (out->len < JSON_MAX) {
        qobject_unref(qobject_from_json(out->str, &error_abort));
    }
    g_string_free(out, true);
    return true;
}

static bool run_text(Command *command, const uint8_t *data, size_t size)
{
    GString *out = run(command, data, size);

    if (!out) {
        return false;
    }
    assert(out->len && out->str[out->len - 1] == '\n');
    g_string_free(out, true);
    return true;
}

static bool pass_packet(void *opaque, StreamReader *r, const uint8_t *head,
                        size_t head_length, size_t data_length, Error **errp)
{
    g_autofree uint8_t *data = g_malloc(data_length);
    struct iovec iov = { .iov_base = data, .iov_len = data_length };

    return stream_reader_get_data(r, &iov, 1, errp);
}

/* Does the reader take all of it?  Of version 4 only. */
static bool reader_takes(const uint8_t *data, size_t size)
{
    g_autoptr(Source) source = source_new_buffer(data, size);
    g_autoptr(StreamReader) r = stream_reader_new(source_read, source);
    uint8_t ignored[4096];
    ssize_t n = 0;
    int type = -1;

    stream_reader_set_packet(r, pass_packet, NULL);
    stream_reader_preamble(r, &error_abort);
    do {
        type = stream_reader_next(r, 0, NULL);
        do {
            n = type < 0 ? 0 : stream_reader_read(r, ignored, sizeof(ignored),
                                                  NULL);
        } while (n > 0);
    } while (n == 0 && type > STREAM_RECORD_END);
    return n == 0 && type == STREAM_RECORD_END;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    bool good = run_text(tool_verify, data, size);

    run_text(tool_info, data, size);
    run_text(hex_all, data, size);
    run_text(hex_one, data, size);
    run_dump(dump_all, data, size);
    run_dump(dump_one, data, size);
    if (good && ldl_be_p(data + 4) == STREAM_VERSION) {
        assert(reader_takes(data, size));
    }
    return 0;
}
