/*
 * qemu-vmstate: where the bytes of a stream come from
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/cutils.h"
#include "qapi/error.h"
#include "tool.h"

/* How long nothing is said, and then between two lines, in microseconds */
#define PROGRESS_TIME G_USEC_PER_SEC

/* How much is read at once when it is to be kept */
#define CHUNK (1 * MiB)

struct Source {
    int fd;                 /* -1 for bytes in memory */
    const uint8_t *data;    /* which are these */
    uint64_t size;          /* of everything, 0 if that is not known */
    uint64_t position;

    const char *progress;
    bool told;              /* there is a line on stderr now */
    int64_t next_time;
};

Source *source_new_fd(int fd, const char *progress)
{
    Source *s = g_new0(Source, 1);
    off_t begin = lseek(fd, 0, SEEK_CUR);
    off_t end = begin < 0 ? -1 : lseek(fd, 0, SEEK_END);

    s->fd = fd;
    if (end > begin && lseek(fd, begin, SEEK_SET) == begin) {
        s->size = end - begin;
    }
    s->progress = progress;
    s->next_time = g_get_monotonic_time() + PROGRESS_TIME;
    return s;
}

Source *source_new_buffer(const void *data, size_t size)
{
    Source *s = g_new0(Source, 1);

    s->fd = -1;
    s->data = data;
    s->size = size;
    return s;
}

void source_end_progress(Source *s)
{
    if (s->told) {
        fprintf(stderr, "\r\033[K");
        s->told = false;
    }
}

static void source_tell_progress(Source *s)
{
    g_autofree char *done = NULL;
    int64_t now = g_get_monotonic_time();

    if (now < s->next_time) {
        return;
    }
    s->next_time = now + PROGRESS_TIME;
    done = size_to_str(s->position);
    source_end_progress(s);
    if (s->size) {
        g_autofree char *size = size_to_str(s->size);

        fprintf(stderr, "%s: %s of %s, %d %%", s->progress, done, size,
                (int)(MIN(s->position, s->size) * 100.0 / s->size));
    } else {
        fprintf(stderr, "%s: %s", s->progress, done);
    }
    s->told = true;
}

ssize_t source_read(void *source, void *data, size_t length, Error **errp)
{
    Source *s = source;
    ssize_t n;

    if (s->fd < 0) {
        n = MIN(length, s->size - s->position);
        if (n) {
            memcpy(data, s->data + s->position, n);
        }
    } else {
        TFR(n = read(s->fd, data, length));
        if (n < 0) {
            error_setg_errno(errp, errno, "cannot read");
            return -1;
        }
    }
    s->position += n;
    if (s->progress) {
        source_tell_progress(s);
    }
    return n;
}

GByteArray *source_read_tail(Source *s, size_t most, uint64_t *end,
                             Error **errp)
{
    g_autoptr(GByteArray) tail = g_byte_array_new();
    g_autofree uint8_t *chunk = g_malloc(CHUNK);
    ssize_t n;

    if (s->size > most && s->position < s->size - most) {
        off_t ahead = s->size - most - s->position;

        if (s->fd < 0 || lseek(s->fd, ahead, SEEK_CUR) >= 0) {
            s->position += ahead;
        }
    }
    while ((n = source_read(s, chunk, CHUNK, errp)) > 0) {
        if (tail->len + n > 2 * most) {
            g_byte_array_remove_range(tail, 0, tail->len + n - most);
        }
        g_byte_array_append(tail, chunk, n);
    }
    if (n < 0) {
        return NULL;
    }
    if (tail->len > most) {
        g_byte_array_remove_range(tail, 0, tail->len - most);
    }
    *end = s->position;
    return g_steal_pointer(&tail);
}

void source_free(Source *s)
{
    if (s) {
        source_end_progress(s);
        g_free(s);
    }
}
