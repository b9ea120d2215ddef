/*
 * The bare limit: how long it takes to move the same bytes over a loopback
 * connection with nothing around it. One thread sends the file that a source
 * would have as its memory, another receives it into memory of its own that
 * was touched before.
 *
 *     limit FILE      prints seconds, CPU seconds of the sender, of the
 *                     receiver, bytes
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <err.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* Larger ones are no faster. */
#define CHUNK (1 << 20)

struct side {
    int fd;
    char *data;
    size_t size;
    double cpu;
};

static double now(clockid_t clock)
{
    struct timespec t;

    clock_gettime(clock, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static size_t chunk(const struct side *s, size_t done)
{
    return s->size - done < CHUNK ? s->size - done : CHUNK;
}

static void *sender(void *opaque)
{
    struct side *s = opaque;
    double began = now(CLOCK_THREAD_CPUTIME_ID);
    size_t done = 0;

    while (done < s->size) {
        ssize_t n = send(s->fd, s->data + done, chunk(s, done), MSG_NOSIGNAL);

        if (n < 0) {
            err(1, "send");
        }
        done += n;
    }
    s->cpu = now(CLOCK_THREAD_CPUTIME_ID) - began;
    return NULL;
}

static void *receiver(void *opaque)
{
    struct side *s = opaque;
    double began = now(CLOCK_THREAD_CPUTIME_ID);
    size_t done = 0;

    while (done < s->size) {
        ssize_t n = recv(s->fd, s->data + done, chunk(s, done), 0);

        if (n <= 0) {
            err(1, "recv");
        }
        done += n;
    }
    s->cpu = now(CLOCK_THREAD_CPUTIME_ID) - began;
    return NULL;
}

static void connect_both(struct side *from, struct side *to)
{
    struct sockaddr_in at = {
        .sin_family = AF_INET,
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    socklen_t len = sizeof(at);
    int listener = socket(AF_INET, SOCK_STREAM, 0);

    from->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (listener < 0 || from->fd < 0 ||
        bind(listener, (struct sockaddr *)&at, sizeof(at)) ||
        listen(listener, 1) ||
        getsockname(listener, (struct sockaddr *)&at, &len) ||
        connect(from->fd, (struct sockaddr *)&at, sizeof(at))) {
        err(1, "loopback connection");
    }
    to->fd = accept(listener, NULL, NULL);
    if (to->fd < 0) {
        err(1, "accept");
    }
    close(listener);
}

static char *map(size_t size, int flags, int fd)
{
    char *data = mmap(NULL, size, PROT_READ | PROT_WRITE, flags, fd, 0);

    if (data == MAP_FAILED) {
        err(1, "mmap of %zu bytes", size);
    }
    return data;
}

int main(int argc, char **argv)
{
    struct side from = { 0 }, to = { 0 };
    pthread_t threads[2];
    struct stat st;
    double began;
    int fd;

    if (argc != 2) {
        errx(2, "usage: limit FILE");
    }
    fd = open(argv[1], O_RDWR);
    if (fd < 0 || fstat(fd, &st)) {
        err(1, "%s", argv[1]);
    }
    from.size = to.size = st.st_size;
    from.data = map(from.size, MAP_SHARED | MAP_POPULATE, fd);
    to.data = map(to.size, MAP_PRIVATE | MAP_ANONYMOUS, -1);
    /* As QEMU advises for the memory of a guest. */
    madvise(to.data, to.size, MADV_HUGEPAGE);
    memset(to.data, 1, to.size);
    connect_both(&from, &to);

    began = now(CLOCK_MONOTONIC);
    if (pthread_create(&threads[0], NULL, sender, &from) ||
        pthread_create(&threads[1], NULL, receiver, &to)) {
        errx(1, "no threads");
    }
    pthread_join(threads[0], NULL);
    pthread_join(threads[1], NULL);
    printf("%.6f %.6f %.6f %zu\n", now(CLOCK_MONOTONIC) - began,
           from.cpu, to.cpu, from.size);

    /* What arrived at the end has to be what was sent. */
    if (from.size && memcmp(from.data, to.data, from.size)) {
        errx(1, "what was received is not what was sent");
    }
    return 0;
}
