/*
 * Which ciphers TLS prefers where nobody says
 *
 * GnuTLS has ChaCha20-Poly1305 before AES-128-GCM.  That is right where AES
 * has no instructions of its own, and several times slower than it need be
 * where it has.  A credential of a pre-shared key is hit in particular, as
 * AES-256-GCM needs another hash than such keys come with.
 *
 * So each cipher does a record here, and the slow ones go behind the others.
 * Among those that are not slow GnuTLS's own order stays, as nobody gains
 * from weaker keys that are a little faster.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include "crypto/tls-priority.h"
#include "qemu/timer.h"
#include "trace.h"

/* Slow is what takes more than this many times as long as the fastest */
#define SLOW 2

/*
 * The best of so many tries counts: the others were disturbed.  All ciphers
 * have one try each before any has the next, or a disturbance of some
 * microseconds could hit all tries of one.
 */
#define TRIES 20

/* As long as a TLS record can be, in bytes */
#define RECORD 16384

typedef struct Candidate {
    gnutls_cipher_algorithm_t algorithm;
    gnutls_aead_cipher_hd_t handle;     /* NULL if it cannot be measured */
    int64_t best;                       /* ns for a record */
} Candidate;

static void candidate_init(Candidate *c, gnutls_cipher_algorithm_t algorithm)
{
    uint8_t key[64] = { 0 };
    gnutls_datum_t datum = {
        .data = key, .size = gnutls_cipher_get_key_size(algorithm),
    };

    c->algorithm = algorithm;
    c->handle = NULL;
    c->best = INT64_MAX;
    if (!gnutls_cipher_get_tag_size(algorithm) || datum.size > sizeof(key) ||
        gnutls_aead_cipher_init(&c->handle, algorithm, &datum) < 0) {
        c->handle = NULL;
    }
}

static void candidate_try(Candidate *c, const uint8_t *text, uint8_t *sealed)
{
    static const uint8_t nonce[32];
    size_t nonce_size = gnutls_cipher_get_iv_size(c->algorithm);
    size_t size = RECORD + 64;
    int64_t begin = get_clock();

    if (c->handle && nonce_size <= sizeof(nonce) &&
        gnutls_aead_cipher_encrypt(c->handle, nonce, nonce_size, NULL, 0,
                                   gnutls_cipher_get_tag_size(c->algorithm),
                                   text, RECORD, sealed, &size) >= 0) {
        c->best = MIN(c->best, get_clock() - begin);
    }
}

/* How long each of them takes for a record; INT64_MAX if it cannot tell */
static Candidate *measure(const unsigned *ciphers, int count)
{
    Candidate *all = g_new(Candidate, count);
    g_autofree uint8_t *text = g_malloc0(RECORD);
    g_autofree uint8_t *sealed = g_malloc0(RECORD + 64);

    for (int i = 0; i < count; i++) {
        candidate_init(&all[i], ciphers[i]);
    }
    for (int i = 0; i < TRIES * count; i++) {
        candidate_try(&all[i % count], text, sealed);
    }
    for (int i = 0; i < count; i++) {
        if (all[i].handle) {
            gnutls_aead_cipher_deinit(all[i].handle);
        }
    }
    return all;
}

/* The ciphers that a priority allows, with the slow ones behind the others */
static char *fast_first(const char *priority)
{
    g_autoptr(GString) fast = g_string_new(priority);
    g_autoptr(GString) slow = g_string_new("");
    g_autofree Candidate *all = NULL;
    int64_t best = INT64_MAX;
    const unsigned *ciphers;
    gnutls_priority_t cache;
    int count;

    if (gnutls_priority_init(&cache, priority, NULL) < 0) {
        /* Who uses it will say what is wrong with it */
        return g_strdup(priority);
    }
    count = MAX(gnutls_priority_cipher_list(cache, &ciphers), 0);
    all = measure(ciphers, count);
    for (int i = 0; i < count; i++) {
        best = MIN(best, all[i].best);
    }
    if (best < INT64_MAX) {
        g_string_append(fast, ":-CIPHER-ALL");
        for (int i = 0; i < count; i++) {
            const char *name = gnutls_cipher_get_name(ciphers[i]);

            trace_qcrypto_tls_priority_cipher(name, all[i].best);
            g_string_append_printf(all[i].best / SLOW > best ? slow : fast,
                                   ":+%s", name);
        }
        g_string_append(fast, slow->str);
    }
    gnutls_priority_deinit(cache);
    return g_string_free(g_steal_pointer(&fast), false);
}

const char *qcrypto_tls_default_priority(void)
{
    static gsize priority;

    if (g_once_init_enter(&priority)) {
        g_once_init_leave(&priority, (gsize)fast_first(CONFIG_TLS_PRIORITY));
    }
    return (const char *)priority;
}
