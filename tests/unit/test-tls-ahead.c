/*
 * What is read of a TLS session before it is asked for, and its watches
 *
 * However a channel hands its bytes out, a session gets them all and in order,
 * and then the end; whoever reads little at a time is woken for the rest.
 * The other side is GnuTLS itself, whose records reach the channel in the
 * pieces that a test wants.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/module.h"
#include "qom/object_interfaces.h"
#include "crypto/init.h"
#include "crypto/tlscreds.h"
#include "io/channel-socket.h"
#include "io/channel-tls.h"
#include "io/tls-record.h"
#include <glib/gstdio.h>
#include <gnutls/gnutls.h>

/* More than is ever read ahead, and what is enough for those who get little */
#define TEXT (2 * QIO_TLS_AHEAD_MAX + 7)
#define SHORT_TEXT (256 * KiB + 7)
#define KEY "8f3a0b7cbeefa31ddd2e66ef2d57f00d"
#define PATIENCE_MS 30000

/* A channel that hands a text out in pieces, blocks behind each, and ends */

#define TYPE_PIECES "test-pieces"
OBJECT_DECLARE_SIMPLE_TYPE(Pieces, PIECES)

struct Pieces {
    QIOChannel parent;
    const uint8_t *text;
    size_t length, given, piece, reads;
    bool blocks;                /* it has just given a piece */
    ssize_t end;                /* what a read behind the text returns */
};

static ssize_t pieces_readv(QIOChannel *ioc, const struct iovec *iov,
                            size_t niov, int **fds, size_t *nfds,
                            Error **errp)
{
    Pieces *p = PIECES(ioc);
    size_t left = MIN(p->piece, p->length - p->given);
    size_t before = p->given;

    if (p->blocks) {
        p->blocks = false;
        return QIO_CHANNEL_ERR_BLOCK;
    }
    if (!left) {
        return p->end;
    }
    for (size_t i = 0; i < niov && left; i++) {
        size_t n = MIN(left, iov[i].iov_len);

        memcpy(iov[i].iov_base, p->text + p->given, n);
        p->given += n;
        left -= n;
    }
    p->reads++;
    p->blocks = true;
    return p->given - before;
}

static void pieces_class_init(ObjectClass *klass, void *data)
{
    QIO_CHANNEL_CLASS(klass)->io_readv = pieces_readv;
}

static const TypeInfo pieces_info = {
    .parent = TYPE_QIO_CHANNEL,
    .name = TYPE_PIECES,
    .instance_size = sizeof(Pieces),
    .class_init = pieces_class_init,
};

static uint8_t *text_new(void)
{
    uint8_t *text = g_malloc(TEXT);

    for (size_t i = 0; i < TEXT; i++) {
        text[i] = i * 2654435761u >> 24;
    }
    return text;
}

/* Reads as GnuTLS does, a header and a body in turn */
static void read_pieces(size_t piece, size_t body, ssize_t end)
{
    g_autofree uint8_t *text = text_new();
    g_autofree uint8_t *got = g_malloc(TEXT + body);
    Pieces *p = PIECES(object_new(TYPE_PIECES));
    QIOTLSAhead ahead = { };
    size_t done = 0, want = 5, part = 0;
    bool header = true;
    ssize_t n;

    p->text = text;
    p->length = piece > QIO_TLS_AHEAD_MIN ? TEXT : SHORT_TEXT;
    p->piece = piece;
    p->end = end;
    g_assert_null(ahead.data);
    do {
        n = qio_tls_ahead_read(&ahead, QIO_CHANNEL(p), got + done,
                               want - part);
        if (n == QIO_CHANNEL_ERR_BLOCK) {
            g_assert_cmpint(qio_tls_ahead_left(&ahead), ==, 0);
            continue;
        }
        if (n <= 0) {
            break;
        }
        g_assert_cmpint(n, <=, want - part);
        done += n;
        part += n;
        if (part == want) {
            header = !header;
            want = header ? 5 : body;
            part = 0;
        }
    } while (true);
    g_assert_cmpint(n, ==, end);
    g_assert_cmpmem(got, done, text, p->length);
    g_assert_cmpint(ahead.size, <=, QIO_TLS_AHEAD_MAX);
    if (piece <= QIO_TLS_AHEAD_MIN) {
        g_assert_cmpint(ahead.size, ==, QIO_TLS_AHEAD_MIN);
    } else if (piece == TEXT) {
        g_assert_cmpint(ahead.size, ==, QIO_TLS_AHEAD_MAX);
        g_assert_cmpint(p->reads, <, 14);
    }
    qio_tls_ahead_free(&ahead);
    g_assert_null(ahead.data);
    object_unref(OBJECT(p));
}

static void test_pieces(void)
{
    const size_t pieces[] = { 1, 2, 5, 6, 4096, 4101, 16401, 70000, TEXT };
    const size_t bodies[] = { 1, 300, 16401 };

    for (unsigned i = 0; i < ARRAY_SIZE(pieces); i++) {
        for (unsigned j = 0; j < ARRAY_SIZE(bodies); j++) {
            read_pieces(pieces[i], bodies[j], 0);
            read_pieces(pieces[i], bodies[j], -1);
        }
    }
}

/* A session with GnuTLS, which keeps what it has to send */

typedef struct Talk {
    char *directory;
    QCryptoTLSCreds *creds;
    QIOChannelTLS *tls;
    gnutls_session_t peer;
    gnutls_psk_server_credentials_t key;
    int fd;
    GByteArray *wire;           /* what the peer has sent; NULL: to @fd */
    size_t fed;                 /* of it, to the channel */
    bool shaken;
} Talk;

static ssize_t peer_push(gnutls_transport_ptr_t opaque, const void *data,
                         size_t length)
{
    Talk *t = opaque;

    if (!t->wire) {
        return send(t->fd, data, length, 0);
    }
    g_byte_array_append(t->wire, data, length);
    return length;
}

static ssize_t peer_pull(gnutls_transport_ptr_t opaque, void *data,
                         size_t length)
{
    return recv(((Talk *)opaque)->fd, data, length, 0);
}

static void shaken(QIOTask *task, void *opaque)
{
    g_assert_false(qio_task_propagate_error(task, NULL));
    *(bool *)opaque = true;
}

static void talk_begin(Talk *t)
{
    g_autofree char *file = NULL;
    QIOChannelSocket *socket;
    bool peer_shaken = false;
    int fds[2];

    *t = (Talk) { .directory = g_dir_make_tmp("test-tls-XXXXXX", NULL) };
    g_assert_nonnull(t->directory);
    file = g_build_filename(t->directory, "keys.psk", NULL);
    g_assert_true(g_file_set_contents(file, "qemu:" KEY "\n", -1, NULL));
    t->creds = QCRYPTO_TLS_CREDS(object_new_with_props(
        "tls-creds-psk", object_get_objects_root(), "creds", &error_abort,
        "endpoint", "client", "dir", t->directory, NULL));

    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), ==, 0);
    g_unix_set_fd_nonblocking(fds[0], true, NULL);
    t->fd = fds[0];
    socket = qio_channel_socket_new_fd(fds[1], &error_abort);
    qio_channel_set_blocking(QIO_CHANNEL(socket), false, &error_abort);
    t->tls = qio_channel_tls_new_client(QIO_CHANNEL(socket), t->creds, NULL,
                                        &error_abort);
    object_unref(OBJECT(socket));

    gnutls_psk_allocate_server_credentials(&t->key);
    gnutls_psk_set_server_credentials_file(t->key, file);
    gnutls_init(&t->peer, GNUTLS_SERVER);
    g_assert_cmpint(gnutls_priority_set_direct(
        t->peer, "NORMAL:+ECDHE-PSK:+DHE-PSK:+PSK", NULL), ==, 0);
    gnutls_credentials_set(t->peer, GNUTLS_CRD_PSK, t->key);
    gnutls_transport_set_ptr(t->peer, t);
    gnutls_transport_set_push_function(t->peer, peer_push);
    gnutls_transport_set_pull_function(t->peer, peer_pull);

    qio_channel_tls_handshake(t->tls, shaken, &t->shaken, NULL, NULL);
    while (!t->shaken || !peer_shaken) {
        if (!peer_shaken) {
            int ret = gnutls_handshake(t->peer);

            g_assert_true(ret == 0 || ret == GNUTLS_E_AGAIN);
            peer_shaken = ret == 0;
        }
        g_main_context_iteration(NULL, false);
    }
    t->wire = g_byte_array_new();
}

static void peer_send(Talk *t, const void *data, size_t length)
{
    for (size_t sent = 0; sent < length;) {
        ssize_t n = gnutls_record_send(t->peer, (uint8_t *)data + sent,
                                       length - sent);

        g_assert_cmpint(n, >, 0);
        sent += n;
    }
}

/* Up to that much of what the peer has sent reaches the channel */
static void feed(Talk *t, size_t length)
{
    length = MIN(length, t->wire->len - t->fed);
    g_assert_cmpint(send(t->fd, t->wire->data + t->fed, length, 0), ==,
                    length);
    t->fed += length;
}

static void hang_up(Talk *t)
{
    close(t->fd);
    t->fd = -1;
}

static void talk_end(Talk *t)
{
    g_autofree char *file = g_build_filename(t->directory, "keys.psk", NULL);

    object_unref(OBJECT(t->tls));
    gnutls_deinit(t->peer);
    gnutls_psk_free_server_credentials(t->key);
    if (t->fd >= 0) {
        close(t->fd);
    }
    object_unparent(OBJECT(t->creds));
    g_byte_array_unref(t->wire);
    g_unlink(file);
    g_rmdir(t->directory);
    g_free(t->directory);
}

static ssize_t take(Talk *t, void *data, size_t length)
{
    return qio_channel_read(QIO_CHANNEL(t->tls), data, length, &error_abort);
}

/* Two records, cut at every byte */
static void test_cut(void)
{
    Talk t;
    uint8_t sent[2][40], got[100];
    size_t all;

    talk_begin(&t);
    for (size_t cut = 0;; cut++) {
        ssize_t first, more = 0;

        memset(sent, cut, sizeof(sent));
        peer_send(&t, sent[0], sizeof(sent[0]));
        peer_send(&t, sent[1], sizeof(sent[1]));
        all = t.wire->len - t.fed;
        if (cut > all) {
            break;
        }
        feed(&t, cut);
        first = take(&t, got, sizeof(got));
        if (first == QIO_CHANNEL_ERR_BLOCK) {
            g_assert_cmpint(cut, <, all / 2);
            first = 0;
        }
        feed(&t, all);
        while (first + more < sizeof(sent)) {
            ssize_t n = take(&t, got + first + more,
                             sizeof(got) - first - more);

            g_assert_cmpint(n, >, 0);
            more += n;
        }
        g_assert_cmpmem(got, first + more, sent, sizeof(sent));
        g_assert_cmpint(take(&t, got, sizeof(got)), ==,
                        QIO_CHANNEL_ERR_BLOCK);
    }
    talk_end(&t);
}

typedef struct Reading {
    Talk *talk;
    uint8_t *got;
    size_t done, step, wakes;
} Reading;

static gboolean read_step(QIOChannel *ioc, GIOCondition condition,
                          void *opaque)
{
    Reading *r = opaque;
    ssize_t n;

    g_assert_true(ioc == QIO_CHANNEL(r->talk->tls));
    g_assert_cmpint(condition, ==, G_IO_IN);
    n = take(r->talk, r->got + r->done, r->step);
    g_assert_cmpint(n, !=, 0);
    r->done += MAX(n, 0);
    r->wakes++;
    return G_SOURCE_CONTINUE;
}

static gboolean give_up(void *opaque)
{
    g_assert_not_reached();
}

/* Who takes little at a time is woken as long as anything is left */
static void test_watch(void)
{
    const size_t steps[] = { 100, 4096, QIO_TLS_RECORD_MAX, 100000 };
    g_autofree uint8_t *text = text_new();
    const size_t length = 5 * QIO_TLS_RECORD_MAX;
    Talk t;

    talk_begin(&t);
    for (unsigned i = 0; i < ARRAY_SIZE(steps); i++) {
        Reading r = { &t, g_malloc(length + steps[i]), 0, steps[i] };
        guint watch = qio_channel_add_watch(QIO_CHANNEL(t.tls), G_IO_IN,
                                            read_step, &r, NULL);
        guint timer = g_timeout_add(PATIENCE_MS, give_up, NULL);
        size_t wakes;

        peer_send(&t, text, length);
        feed(&t, t.wire->len);
        while (r.done < length) {
            g_main_context_iteration(NULL, true);
        }
        g_assert_cmpmem(r.got, r.done, text, length);
        /* And not when there is nothing */
        while (g_main_context_iteration(NULL, false)) {
            g_assert_cmpint(r.wakes, <=, 2 * length);
        }
        wakes = r.wakes;
        for (unsigned j = 0; j < 10; j++) {
            g_main_context_iteration(NULL, false);
        }
        g_assert_cmpint(r.wakes, ==, wakes);
        g_source_remove(watch);
        g_source_remove(timer);
        g_free(r.got);
    }
    talk_end(&t);
}

/* A watch for room to write is not woken for what is left to read */
static gboolean count_out(QIOChannel *ioc, GIOCondition condition,
                          void *opaque)
{
    g_assert_cmpint(condition, ==, G_IO_OUT);
    ++*(unsigned *)opaque;
    return G_SOURCE_CONTINUE;
}

static void test_watch_out(void)
{
    Talk t;
    char got[4];
    unsigned woken = 0;
    guint watch;

    talk_begin(&t);
    peer_send(&t, "ahead of its time", 17);
    feed(&t, t.wire->len);
    g_assert_cmpint(take(&t, got, sizeof(got)), ==, sizeof(got));
    watch = qio_channel_add_watch(QIO_CHANNEL(t.tls), G_IO_OUT, count_out,
                                  &woken, NULL);
    g_main_context_iteration(NULL, true);
    g_assert_cmpint(woken, ==, 1);
    g_source_remove(watch);
    talk_end(&t);
}

/*
 * GnuTLS wants to be called again behind a record of its own, which is not
 * because there is nothing to read: nobody would be woken for it
 */
static void test_new_key(void)
{
    Talk t;
    char got[16];

    talk_begin(&t);
    if (gnutls_protocol_get_version(t.peer) < GNUTLS_TLS1_3) {
        g_test_skip("keys are not replaced before TLS 1.3");
    } else {
        peer_send(&t, "before", 6);
        g_assert_cmpint(gnutls_session_key_update(t.peer, 0), ==, 0);
        peer_send(&t, "after", 5);
        feed(&t, t.wire->len);
        g_assert_cmpint(take(&t, got, sizeof(got)), ==, 6);
        g_assert_cmpint(take(&t, got, sizeof(got)), ==, 5);
        g_assert_cmpmem(got, 5, "after", 5);
    }
    talk_end(&t);
}

/* Ends between records, and inside of one */
static void test_end(void)
{
    uint8_t text[300] = { }, got[1000];

    for (unsigned bye = 0; bye < 2; bye++) {
        Error *err = NULL;
        size_t records;
        Talk t;

        talk_begin(&t);
        peer_send(&t, text, sizeof(text));
        records = t.wire->len;
        if (bye) {
            g_assert_cmpint(gnutls_bye(t.peer, GNUTLS_SHUT_WR), ==, 0);
            feed(&t, t.wire->len);
        } else {
            peer_send(&t, text, sizeof(text));
            feed(&t, records + (t.wire->len - records) / 2);
        }
        hang_up(&t);
        g_assert_cmpint(take(&t, got, sizeof(got)), ==, sizeof(text));
        g_assert_cmpint(qio_channel_read_all_eof(QIO_CHANNEL(t.tls),
                                                 (char *)got, sizeof(got),
                                                 &err), ==, bye ? 0 : -1);
        g_assert_true((err == NULL) == bye);
        error_free(err);
        talk_end(&t);
    }
}

int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN);
    module_call_init(MODULE_INIT_QOM);
    type_register_static(&pieces_info);
    qcrypto_init(&error_abort);
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/tls/ahead/pieces", test_pieces);
    g_test_add_func("/tls/ahead/cut", test_cut);
    g_test_add_func("/tls/ahead/watch", test_watch);
    g_test_add_func("/tls/ahead/watch-out", test_watch_out);
    g_test_add_func("/tls/ahead/new-key", test_new_key);
    g_test_add_func("/tls/ahead/end", test_end);
    return g_test_run();
}
