/*
 * The bare limit: how long it takes to move the same bytes over loopback
 * connections with nothing around it. One thread for each sends a piece of the
 * file that a source would have as its memory, another receives it into memory
 * of its own that was touched before.
 *
 *     limit FILE CONNECTIONS [HOW [PAGES]]
 *
 * HOW: bare       the bytes alone, in large pieces
 *      summed     packets of so many PAGES, with a checksum of each page that
 *                 is taken where the page is, and checked where it arrives
 *      copied     likewise, but each page is copied first, and the copy is
 *                 summed and sent: a guest that changes it is no matter
 *      -unix behind it: over unix sockets rather than tcp
 *
 * Prints seconds, CPU seconds of the senders, of the receivers, bytes.
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
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include <isa-l.h>

/* Larger ones are no faster. */
#define CHUNK (1 << 20)

#define PAGE 4096
#define ENTRY 16        /* bytes that a packet's head takes for each page */
#define PAGES_MAX (CHUNK / PAGE)

#define CONNECTIONS_MAX 64

enum how { BARE, SUMMED, COPIED };

struct side {
    int fd;
    char *data;
    size_t size;
    double cpu;
};

static enum how how = BARE;
static int family = AF_INET;
static size_t piece = CHUNK;

static double now(clockid_t clock)
{
    struct timespec t;

    clock_gettime(clock, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static size_t chunk(const struct side *s, size_t done)
{
    return s->size - done < piece ? s->size - done : piece;
}

static void send_all(int fd, struct iovec *iov, int n)
{
    while (n) {
        ssize_t sent = writev(fd, iov, n);

        if (sent < 0) {
            err(1, "writev");
        }
        for (; n && (size_t)sent >= iov->iov_len; iov++, n--) {
            sent -= iov->iov_len;
        }
        if (n) {
            iov->iov_base = (char *)iov->iov_base + sent;
            iov->iov_len -= sent;
        }
    }
}

static void receive_all(int fd, void *data, size_t size)
{
    for (size_t done = 0; done < size; ) {
        ssize_t n = recv(fd, (char *)data + done, size - done, 0);

        if (n <= 0) {
            err(1, "recv");
        }
        done += n;
    }
}

/* The checksum of each page, where a packet's head has it */
static void sum(const char *data, size_t size, char *head)
{
    for (size_t at = 0; at < size; at += PAGE, head += ENTRY) {
        uint32_t crc = crc32_iscsi((unsigned char *)data + at, PAGE, ~0u);

        memcpy(head, &crc, sizeof(crc));
    }
}

static void *sender(void *opaque)
{
    struct side *s = opaque;
    char *copy = aligned_alloc(PAGE, piece);
    char head[PAGES_MAX * ENTRY] = { 0 };
    double began;

    memset(copy, 1, piece);
    began = now(CLOCK_THREAD_CPUTIME_ID);
    for (size_t done = 0, n; done < s->size; done += n) {
        char *data = s->data + done;
        struct iovec iov[2];

        n = chunk(s, done);
        if (how == COPIED) {
            data = memcpy(copy, data, n);
        }
        if (how != BARE) {
            sum(data, n, head);
        }
        iov[0] = (struct iovec) { head, how == BARE ? 0 : n / PAGE * ENTRY };
        iov[1] = (struct iovec) { data, n };
        send_all(s->fd, iov, 2);
    }
    s->cpu = now(CLOCK_THREAD_CPUTIME_ID) - began;
    free(copy);
    return NULL;
}

static void *receiver(void *opaque)
{
    struct side *s = opaque;
    double began = now(CLOCK_THREAD_CPUTIME_ID);

    for (size_t done = 0, n; done < s->size; done += n) {
        char head[PAGES_MAX * ENTRY], wanted[PAGES_MAX * ENTRY] = { 0 };

        n = chunk(s, done);
        if (how != BARE) {
            receive_all(s->fd, head, n / PAGE * ENTRY);
        }
        receive_all(s->fd, s->data + done, n);
        if (how != BARE) {
            sum(s->data + done, n, wanted);
            if (memcmp(head, wanted, n / PAGE * ENTRY)) {
                errx(1, "a page came wrong");
            }
        }
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
    int two[2];
    int listener;

    if (family == AF_UNIX) {
        if (socketpair(AF_UNIX, SOCK_STREAM, 0, two)) {
            err(1, "socketpair");
        }
        from->fd = two[0];
        to->fd = two[1];
        return;
    }
    listener = socket(AF_INET, SOCK_STREAM, 0);
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
    struct side from[CONNECTIONS_MAX] = { 0 }, to[CONNECTIONS_MAX] = { 0 };
    pthread_t threads[2 * CONNECTIONS_MAX];
    double began, seconds, sent = 0, received = 0;
    char *source, *target;
    struct stat st;
    int fd, n;

    n = argc >= 3 && argc <= 5 ? atoi(argv[2]) : 0;
    if (argc > 3) {
        how = !strncmp(argv[3], "summed", 6) ? SUMMED :
              !strncmp(argv[3], "copied", 6) ? COPIED : BARE;
        family = strstr(argv[3], "-unix") ? AF_UNIX : AF_INET;
    }
    piece = argc > 4 ? atoi(argv[4]) * PAGE : CHUNK;
    if (n < 1 || n > CONNECTIONS_MAX || piece < PAGE || piece > CHUNK) {
        errx(2, "usage: limit FILE CONNECTIONS [HOW [PAGES]]");
    }
    fd = open(argv[1], O_RDWR);
    if (fd < 0 || fstat(fd, &st)) {
        err(1, "%s", argv[1]);
    }
    source = map(st.st_size, MAP_SHARED | MAP_POPULATE, fd);
    target = map(st.st_size, MAP_PRIVATE | MAP_ANONYMOUS, -1);
    /* As QEMU advises for the memory of a guest. */
    madvise(target, st.st_size, MADV_HUGEPAGE);
    memset(target, 1, st.st_size);
    for (int i = 0; i < n; i++) {
        size_t part = st.st_size / n / PAGE * PAGE;

        from[i].data = source + part * i;
        to[i].data = target + part * i;
        from[i].size = to[i].size = i < n - 1 ? part : st.st_size - part * i;
        connect_both(&from[i], &to[i]);
    }

    began = now(CLOCK_MONOTONIC);
    for (int i = 0; i < n; i++) {
        if (pthread_create(&threads[2 * i], NULL, sender, &from[i]) ||
            pthread_create(&threads[2 * i + 1], NULL, receiver, &to[i])) {
            errx(1, "no threads");
        }
    }
    for (int i = 0; i < 2 * n; i++) {
        pthread_join(threads[i], NULL);
    }
    seconds = now(CLOCK_MONOTONIC) - began;
    for (int i = 0; i < n; i++) {
        sent += from[i].cpu;
        received += to[i].cpu;
    }
    printf("%.6f %.6f %.6f %zu\n", seconds, sent, received,
           (size_t)st.st_size);

    /* What arrived at the end has to be what was sent. */
    if (memcmp(source, target, st.st_size)) {
        errx(1, "what was received is not what was sent");
    }
    return 0;
}
