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

/* The best of so many tries counts: the others were disturbed */
#define TRIES 5

/* As long as a TLS record can be, in bytes */
#define RECORD 16384

/* How long a cipher takes for a record, in ns; INT64_MAX if it cannot tell */
static int64_t cipher_time(gnutls_cipher_algorithm_t algorithm)
{
    g_autofree uint8_t *text = g_malloc0(RECORD);
    g_autofree uint8_t *sealed = g_malloc0(RECORD + 64);
    uint8_t key[64] = { 0 }, nonce[32] = { 0 };
    size_t nonce_size = gnutls_cipher_get_iv_size(algorithm);
    size_t tag_size = gnutls_cipher_get_tag_size(algorithm);
    gnutls_datum_t datum = {
        .data = key, .size = gnutls_cipher_get_key_size(algorithm),
    };
    gnutls_aead_cipher_hd_t handle;
    int64_t best = INT64_MAX;

    if (!tag_size || datum.size > sizeof(key) || nonce_size > sizeof(nonce) ||
        gnutls_aead_cipher_init(&handle, algorithm, &datum) < 0) {
        return INT64_MAX;
    }
    for (int i = 0; i < TRIES; i++) {
        size_t size = RECORD + 64;
        int64_t begin = get_clock();

        if (gnutls_aead_cipher_encrypt(handle, nonce, nonce_size, NULL, 0,
                                       tag_size, text, RECORD, sealed,
                                       &size) < 0) {
            best = INT64_MAX;
            break;
        }
        best = MIN(best, get_clock() - begin);
    }
    gnutls_aead_cipher_deinit(handle);
    return best;
}

/* The ciphers that a priority allows, with the slow ones behind the others */
static char *fast_first(const char *priority)
{
    g_autoptr(GString) fast = g_string_new(priority);
    g_autoptr(GString) slow = g_string_new("");
    g_autofree int64_t *times = NULL;
    int64_t best = INT64_MAX;
    const unsigned *ciphers;
    gnutls_priority_t cache;
    int count;

    if (gnutls_priority_init(&cache, priority, NULL) < 0) {
        /* Who uses it will say what is wrong with it */
        return g_strdup(priority);
    }
    count = MAX(gnutls_priority_cipher_list(cache, &ciphers), 0);
    times = g_new0(int64_t, count);
    for (int i = 0; i < count; i++) {
        times[i] = cipher_time(ciphers[i]);
        best = MIN(best, times[i]);
    }
    if (best < INT64_MAX) {
        g_string_append(fast, ":-CIPHER-ALL");
        for (int i = 0; i < count; i++) {
            const char *name = gnutls_cipher_get_name(ciphers[i]);

            trace_qcrypto_tls_priority_cipher(name, times[i]);
            g_string_append_printf(times[i] / SLOW > best ? slow : fast,
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
