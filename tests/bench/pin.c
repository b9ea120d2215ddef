/*
 * What it costs to register memory as RDMA needs it: pages are made resident,
 * and pinned. io_uring's fixed buffers pin pages for as long as they are
 * registered, by the function of the kernel that verbs use too, and need no
 * network card. What a card then does with the addresses is not in here.
 *
 *     pin     prints, for each way: its name, milliseconds to register 1 GiB,
 *             milliseconds to give it back, MiB of it that are resident before
 *             and after; the best of several runs each
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <err.h>
#include <linux/io_uring.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define SIZE (1ul << 30)
#define PAGE 4096ul
#define HUGE_PAGE (2ul << 20)
#define RUNS 3

struct way {
    const char *name;
    bool touched;       /* the guest has written to all of it */
    bool huge;          /* in huge pages, where the kernel finds some */
    unsigned long chunk;    /* that much at a time */
};

static const struct way ways[] = {
    { "untouched", false, false, SIZE },
    { "touched", true, false, SIZE },
    { "touched, 1 MiB at a time", true, false, 1 << 20 },
    { "huge pages, touched", true, true, SIZE },
};

static double now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1e3 + time.tv_nsec / 1e6;
}

static unsigned long resident(char *memory)
{
    static unsigned char pages[SIZE / PAGE];
    unsigned long count = 0;

    if (mincore(memory, SIZE, pages)) {
        err(1, "mincore");
    }
    for (size_t i = 0; i < sizeof(pages); i++) {
        count += pages[i] & 1;
    }
    return count * PAGE >> 20;
}

static void set_buffer(int ring, unsigned index, void *data, size_t size)
{
    struct iovec buffer = { data, size };
    struct io_uring_rsrc_update2 update = {
        .offset = index,
        .data = (uintptr_t)&buffer,
        .nr = 1,
    };

    if (syscall(SYS_io_uring_register, ring, IORING_REGISTER_BUFFERS_UPDATE,
                &update, sizeof(update)) != 1) {
        err(1, "registering memory");
    }
}

static int new_ring(unsigned buffers)
{
    struct io_uring_params parameters = { 0 };
    struct io_uring_rsrc_register sparse = {
        .nr = buffers,
        .flags = IORING_RSRC_REGISTER_SPARSE,
    };
    int ring = syscall(SYS_io_uring_setup, 1, &parameters);

    if (ring < 0 || syscall(SYS_io_uring_register, ring,
                            IORING_REGISTER_BUFFERS2, &sparse,
                            sizeof(sparse))) {
        err(1, "io_uring, which is needed to pin memory");
    }
    return ring;
}

static void run(const struct way *way, double *take, double *give,
                unsigned long *before, unsigned long *after)
{
    unsigned count = SIZE / way->chunk;
    int ring = new_ring(count);
    char *area = mmap(NULL, SIZE + HUGE_PAGE, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    char *memory = (char *)(((uintptr_t)area + HUGE_PAGE - 1) &
                            -HUGE_PAGE);
    double began;

    if (area == MAP_FAILED) {
        err(1, "mmap");
    }
    madvise(memory, SIZE, way->huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
    for (unsigned long i = 0; way->touched && i < SIZE; i += PAGE) {
        memory[i] = 1;
    }
    *before = resident(memory);

    began = now();
    for (unsigned i = 0; i < count; i++) {
        set_buffer(ring, i, memory + i * way->chunk, way->chunk);
    }
    *take = now() - began;
    *after = resident(memory);

    began = now();
    for (unsigned i = 0; i < count; i++) {
        set_buffer(ring, i, NULL, 0);
    }
    *give = now() - began;

    close(ring);
    munmap(area, SIZE + HUGE_PAGE);
}

int main(void)
{
    for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
        double take, give, best_take = 0, best_give = 0;
        unsigned long before, after;

        for (int n = 0; n < RUNS; n++) {
            run(&ways[i], &take, &give, &before, &after);
            best_take = n && best_take < take ? best_take : take;
            best_give = n && best_give < give ? best_give : give;
        }
        printf("%-26s %8.1f %8.1f %6lu %6lu\n", ways[i].name, best_take,
               best_give, before, after);
    }
    return 0;
}
