/*
 * Migration stream version 4: hellos and words of the hand-over, without a
 * machine
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "qemu/cutils.h"
#include "qemu/module.h"
#include "qapi/error.h"
#include "io/channel-buffer.h"
#include "migration/stream/channel.h"
#include "migration/stream/handover.h"

#define TOKEN 0x0123456789abcdef

static void refused(const uint8_t *wire, size_t length, const char *why)
{
    g_autofree StreamHandover *h = g_new0(StreamHandover, 1);
    Error *err = NULL;

    g_assert_false(stream_handover_decode(wire, length, h, &err));
    g_assert_nonnull(strstr(error_get_pretty(err), why));
    error_free(err);
}

static void test_layout(void)
{
    static const uint8_t expected[] = {
        0, 0, 0, 4, 0, 0, 0, 3,
        0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef, 'n', 'o'
    };
    g_autofree StreamHandover *h = g_new0(StreamHandover, 1);
    uint8_t wire[STREAM_HANDOVER_MAX];

    h->message = STREAM_HANDOVER_REFUSED;
    h->detail = STREAM_PHASE_STATE;
    h->token = TOKEN;
    strcpy(h->text, "no");
    g_assert_cmpmem(wire, stream_handover_encode(h, wire), expected,
                    sizeof(expected));

    memset(h, 0xff, sizeof(*h));
    g_assert_true(stream_handover_decode(wire, sizeof(expected), h,
                                         &error_abort));
    g_assert_cmpint(h->message, ==, STREAM_HANDOVER_REFUSED);
    g_assert_cmpint(h->detail, ==, STREAM_PHASE_STATE);
    g_assert_cmphex(h->token, ==, TOKEN);
    g_assert_cmpstr(h->text, ==, "no");
}

/* Each message, with what belongs to it and what does not */
static void test_messages(void)
{
    static const struct {
        uint32_t message, detail;
        size_t text;
        const char *why;            /* NULL: it is taken */
    } cases[] = {
        { 1, 0, 0 }, { 1, 0xffffffff, 0 }, { 1, 0, 1, "'loaded' has" },
        { 2, 0, 0 }, { 2, 1, 0, "'run' has" }, { 2, 0, 1, "'run' has" },
        { 3, 0, 0 }, { 3, 1, 0, "'running' has" },
        { 4, 1, 0 }, { 4, 6, STREAM_HANDOVER_TEXT_MAX },
        { 4, 0, 0, "'refused' has" }, { 4, 7, 0, "'refused' has" },
        { 4, 1, STREAM_HANDOVER_TEXT_MAX + 1, "wrong length" },
        { 0, 0, 0, "unknown" }, { 5, 0, 0, "unknown" },
        { 0x80000001, 0, 0, "unknown" },
    };
    g_autofree StreamHandover *h = g_new0(StreamHandover, 1);
    uint8_t wire[STREAM_HANDOVER_MAX + 1];

    for (int i = 0; i < ARRAY_SIZE(cases); i++) {
        size_t length = STREAM_HANDOVER_HEADER_SIZE + cases[i].text;

        memset(wire, 'x', sizeof(wire));
        stl_be_p(wire, cases[i].message);
        stl_be_p(wire + 4, cases[i].detail);
        if (cases[i].why) {
            refused(wire, length, cases[i].why);
            continue;
        }
        g_assert_true(stream_handover_decode(wire, length, h, &error_abort));
        g_assert_cmpuint(strlen(h->text), ==, cases[i].text);
    }
    for (int n = 0; n < STREAM_HANDOVER_HEADER_SIZE; n++) {
        refused(wire, n, "wrong length");
    }
}

/* What somebody else wrote is shown to people */
static void test_text(void)
{
    static const uint8_t nasty[] = "a\nb\033[2Jc\0d\xff" "e\xc3\xa9\x7f"
                                   "\xc2\x9b";
    g_autofree StreamHandover *h = g_new0(StreamHandover, 1);
    uint8_t wire[STREAM_HANDOVER_MAX];

    stl_be_p(wire, STREAM_HANDOVER_REFUSED);
    stl_be_p(wire + 4, STREAM_PHASE_HELLO);
    memcpy(wire + STREAM_HANDOVER_HEADER_SIZE, nasty, sizeof(nasty) - 1);
    g_assert_true(stream_handover_decode(
        wire, STREAM_HANDOVER_HEADER_SIZE + sizeof(nasty) - 1, h,
        &error_abort));
    g_assert_cmpstr(h->text, ==, "a\nb?[2Jc\xef\xbf\xbd" "d\xef\xbf\xbd"
                    "e\xc3\xa9??");

    /* Mending makes it longer, and it is cut, but not within a character */
    memset(wire + STREAM_HANDOVER_HEADER_SIZE, 0xff, STREAM_HANDOVER_TEXT_MAX);
    g_assert_true(stream_handover_decode(wire, sizeof(wire), h, &error_abort));
    g_assert_cmpuint(strlen(h->text), ==, STREAM_HANDOVER_TEXT_MAX / 3 * 3);
    g_assert_true(g_utf8_validate(h->text, -1, NULL));
}

/* Notices, between the records of a channel */
typedef struct Ear {
    GString *heard;
    bool refuse;
} Ear;

static bool listen_to(void *opaque, uint16_t type, const GByteArray *payload,
                      Error **errp)
{
    Ear *ear = opaque;

    g_string_append_printf(ear->heard, "%s %u;", stream_record_type_name(type),
                           payload->len);
    if (ear->refuse) {
        error_setg(errp, "I do not like it");
    }
    return !ear->refuse;
}

static StreamChannel *new_channel(QIOChannelBuffer *buffer, bool outgoing)
{
    return stream_channel_new(QIO_CHANNEL(buffer), outgoing);
}

static void put(StreamChannel *sc, uint16_t type, size_t length)
{
    g_autofree char *bytes = g_malloc0(length);

    g_assert_true(stream_channel_put_notice(sc, type, bytes, length,
                                            &error_abort));
}

static void test_notices(void)
{
    g_autoptr(QIOChannelBuffer) buffer = qio_channel_buffer_new(0);
    g_autoptr(StreamChannel) out = new_channel(buffer, true);
    Ear ear = { .heard = g_string_new("") };
    Error *err = NULL;

    /* More than one record */
    put(out, STREAM_RECORD_HELLO, STREAM_PAYLOAD_MAX + 1);
    stream_writer_begin(out->writer, STREAM_RECORD_CONFIGURATION, 0, 0, NULL);
    g_assert_true(stream_writer_end(out->writer, &error_abort));
    put(out, STREAM_RECORD_HANDOVER, 16);
    put(out, STREAM_RECORD_HELLO, 1);

    for (int listens = 0; listens < 3; listens++) {
        g_autoptr(StreamChannel) in = new_channel(buffer, false);

        buffer->offset = 0;
        g_string_truncate(ear.heard, 0);
        ear.refuse = listens == 2;
        if (listens) {
            stream_channel_set_notice(in, listen_to, &ear);
        }
        if (ear.refuse) {
            g_assert_cmpint(stream_channel_next(in, 0, &err), ==, -1);
            g_assert_nonnull(strstr(error_get_pretty(err),
                                    "the hello record, record at offset"));
            g_assert_nonnull(strstr(error_get_pretty(err), "I do not like"));
        } else {
            g_assert_cmpint(stream_channel_next(in, 0, &error_abort), ==,
                            STREAM_RECORD_CONFIGURATION);
            g_assert_cmpstr(ear.heard->str, ==,
                            listens ? "hello 131073;" : "");
            g_assert_cmpint(stream_channel_next(in, 0, &err), ==, -1);
            g_assert_nonnull(strstr(error_get_pretty(err),
                                    listens ? "a hello comes late"
                                            : "got a hand-over record"));
        }
        error_free(err);
        err = NULL;
    }
    g_string_free(ear.heard, true);
}

static void test_too_long(void)
{
    g_autoptr(QIOChannelBuffer) buffer = qio_channel_buffer_new(0);
    g_autoptr(StreamChannel) out = new_channel(buffer, true);
    g_autoptr(StreamChannel) in = new_channel(buffer, false);
    g_autofree char *bytes = g_malloc0(STREAM_NOTICE_MAX + 1);
    Ear ear = { .heard = g_string_new("") };
    Error *err = NULL;

    stream_writer_begin(out->writer, STREAM_RECORD_HELLO, 0, 0, NULL);
    g_assert_true(stream_writer_append(out->writer, bytes,
                                       STREAM_NOTICE_MAX + 1, &error_abort));
    g_assert_true(stream_writer_end(out->writer, &error_abort));
    buffer->offset = 0;
    stream_channel_set_notice(in, listen_to, &ear);
    g_assert_cmpint(stream_channel_next(in, 0, &err), ==, -1);
    g_assert_nonnull(strstr(error_get_pretty(err), "it is too long"));
    g_assert_cmpstr(ear.heard->str, ==, "");
    error_free(err);
    g_string_free(ear.heard, true);
}

/* A verdict is an answer, and no notice in the direction of the stream */
static void test_verdict(void)
{
    for (int outgoing = 0; outgoing < 2; outgoing++) {
        g_autoptr(QIOChannelBuffer) buffer = qio_channel_buffer_new(0);
        g_autoptr(StreamChannel) out = new_channel(buffer, !outgoing);
        g_autoptr(StreamChannel) in = new_channel(buffer, outgoing);
        Ear ear = { .heard = g_string_new("") };
        Error *err = NULL;

        put(out, STREAM_RECORD_VERDICT, STREAM_PAYLOAD_MAX + 9);
        buffer->offset = 0;
        stream_channel_set_notice(in, listen_to, &ear);
        if (outgoing) {
            g_assert_true(stream_channel_get_notice(in, &error_abort));
            g_assert_cmpstr(ear.heard->str, ==, "verdict 131081;");
        } else {
            g_assert_false(stream_channel_get_notice(in, &err));
            g_assert_nonnull(strstr(error_get_pretty(err),
                                    "got a verdict record"));
            g_assert_cmpstr(ear.heard->str, ==, "");
            error_free(err);
        }
        g_string_free(ear.heard, true);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    module_call_init(MODULE_INIT_QOM);
    g_test_add_func("/migration-handover/layout", test_layout);
    g_test_add_func("/migration-handover/messages", test_messages);
    g_test_add_func("/migration-handover/text", test_text);
    g_test_add_func("/migration-handover/notices", test_notices);
    g_test_add_func("/migration-handover/too-long", test_too_long);
    g_test_add_func("/migration-handover/verdict", test_verdict);
    return g_test_run();
}
