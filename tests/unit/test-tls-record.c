/*
 * What goes into one TLS record
 *
 * Every way to cut a text into elements, and to write it in pieces, gives the
 * text again, in records that are as long as they can be.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/iov.h"
#include "io/tls-record.h"

#define TEXT (5 * QIO_TLS_RECORD_MAX + 7)

typedef struct Case {
    const char *name;
    size_t lengths[8];          /* of the elements, over and over */
    unsigned most;              /* records that it may take */
} Case;

static const Case cases[] = {
    { "one", { TEXT }, 6 },
    { "pages", { 4096 }, 6 },
    { "pages-and-headers", { 8, 4096 }, 6 },
    { "bytes", { 1 }, 6 },
    { "empty-ones-between", { 0, 4096, 0, 0, 100 }, 6 },
    { "a-record", { QIO_TLS_RECORD_MAX }, 6 },
    { "a-record-and-one", { QIO_TLS_RECORD_MAX + 1 }, 8 },
    { "a-record-less-one", { QIO_TLS_RECORD_MAX - 1 }, 6 },
    { "long-and-short", { 3 * QIO_TLS_RECORD_MAX, 8 }, 8 },
};

static void test_records(const void *opaque)
{
    const Case *c = opaque;
    g_autofree uint8_t *text = g_malloc(TEXT);
    g_autofree uint8_t *written = g_malloc(TEXT);
    g_autofree uint8_t *buffer = NULL;
    g_autoptr(GArray) iov = g_array_new(false, false, sizeof(struct iovec));
    size_t done = 0, cut = 0;
    unsigned records = 0;

    for (size_t i = 0; i < TEXT; i++) {
        text[i] = i * 2654435761u >> 24;
    }
    for (unsigned i = 0; cut < TEXT; i++) {
        size_t length = c->lengths[i % ARRAY_SIZE(c->lengths)];
        struct iovec element;

        if (!length && c->lengths[0] &&
            i % ARRAY_SIZE(c->lengths) >= 2) {
            /* The end of the list, which goes on from its beginning */
            length = c->lengths[0];
        }
        element = (struct iovec) {
            .iov_base = text + cut, .iov_len = MIN(length, TEXT - cut),
        };
        g_array_append_val(iov, element);
        cut += element.iov_len;
    }

    while (done < TEXT) {
        const struct iovec *elements = (const struct iovec *)iov->data;
        size_t length = 0, again = 0;
        const void *data = qio_tls_record_next(elements, iov->len, done,
                                               &buffer, &length);

        g_assert_cmpint(length, >, 0);
        g_assert_cmpint(length, <=, QIO_TLS_RECORD_MAX);
        g_assert_cmpint(length, <=, TEXT - done);
        memcpy(written + done, data, length);
        /* Would have blocked: it is the same when it is tried again */
        data = qio_tls_record_next(elements, iov->len, done, &buffer, &again);
        g_assert_cmpint(again, ==, length);
        g_assert_cmpmem(data, again, text + done, length);
        done += length;
        records++;
    }
    g_assert_cmpmem(written, TEXT, text, TEXT);
    g_assert_cmpint(records, <=, c->most);
}

/* A record that was sent in part goes on where it ended */
static void test_pieces(void)
{
    uint8_t text[300];
    struct iovec iov[3] = {
        { text, 100 }, { text + 100, 100 }, { text + 200, 100 },
    };
    g_autofree uint8_t *buffer = NULL;

    for (unsigned i = 0; i < sizeof(text); i++) {
        text[i] = i;
    }
    for (size_t done = 0; done < sizeof(text); done++) {
        size_t length;
        const void *data = qio_tls_record_next(iov, 3, done, &buffer, &length);

        g_assert_cmpmem(data, length, text + done, sizeof(text) - done);
        /* The last element is not copied */
        g_assert_true((data == text + done) == (done >= 200));
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        g_autofree char *path = g_strdup_printf("/tls/record/%s",
                                                cases[i].name);

        g_test_add_data_func(path, &cases[i], test_records);
    }
    g_test_add_func("/tls/record/pieces", test_pieces);
    return g_test_run();
}
