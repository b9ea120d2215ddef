/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The test guest's only program: it keeps rewriting and checking a block of
 * its own memory, uses disk, random numbers and network in threads of their
 * own, and says about five times a second how it fares:
 *
 *   beat 57 gen 9 checked 34816 pages errors 0 uptime 12.31 disk 20 rng 9 ...
 *
 * A page's content follows from (generation, page number), so a page that is
 * damaged, stale or in another's place is found.  In each generation other
 * pages are all zeros, because migration treats those differently; the last
 * quarter of the block is never rewritten, because a page that was sent once
 * must last.
 *
 * usage: memcheck MIB [DEVICE...]    (as a child of the init script)
 *
 * The devices that are named are left alone.
 */

#define _GNU_SOURCE     /* O_DIRECT */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/ip_icmp.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

enum {
    PAGE_BYTES = 4096,
    PAGE_WORDS = PAGE_BYTES / sizeof(uint64_t),
    BATCH = 64,                 /* pages between two short sleeps */
    MAX_COMPLAINTS = 20,
    STALL_SECONDS = 60,         /* no device needs that long on a busy host */
};

static unsigned long errors;

static double now(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec + ts.tv_nsec / 1e9;
}

static void rest(long milliseconds)
{
    struct timespec ts = { milliseconds / 1000,
                           milliseconds % 1000 * 1000000 };

    nanosleep(&ts, NULL);
}

/* Counts a fault and prints it, unless there have been a great many. */
__attribute__((format(printf, 2, 3)))
static void complain(const char *title, const char *format, ...)
{
    char text[256];
    va_list args;

    if (__atomic_add_fetch(&errors, 1, __ATOMIC_RELAXED) > MAX_COMPLAINTS) {
        return;
    }
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    printf("*** %s *** %s\n", title, text);
}

/* ---- memory ---- */

static uint64_t pattern(uint64_t generation, uint64_t page, unsigned word)
{
    uint64_t x = generation * 0x9e3779b97f4a7c15u + page * 0xc2b2ae3d27d4eb4fu;

    if ((generation + page) % 8 == 0) {
        return 0;
    }
    x ^= word * 0x165667b19e3779f9u;
    return x ^ x >> 29;
}

static const char *guess(const uint64_t *data, uint64_t generation,
                         uint64_t page, unsigned word)
{
    if (generation && data[word] == pattern(generation - 1, page, word)) {
        return "stale, from the generation before";
    }
    return data[word] ? "no content it ever had" : "zeros";
}

static void verify(const uint64_t *data, uint64_t generation, uint64_t page)
{
    for (unsigned i = 0; i < PAGE_WORDS; i++) {
        uint64_t wanted = pattern(generation, page, i);

        if (data[i] != wanted) {
            complain("GUEST MEMORY DAMAGED",
                     "page %llu word %u generation %llu: expected %016llx, "
                     "found %016llx (%s)", (unsigned long long)page, i,
                     (unsigned long long)generation,
                     (unsigned long long)wanted, (unsigned long long)data[i],
                     guess(data, generation, page, i));
            return;
        }
    }
}

static void fill(uint64_t *data, uint64_t generation, uint64_t page)
{
    for (unsigned i = 0; i < PAGE_WORDS; i++) {
        data[i] = pattern(generation, page, i);
    }
}

/* ---- devices: each loops in a thread, counts, and is missed if it stalls */

struct device {
    const char *name;
    void (*run)(struct device *dev);
    unsigned long uses;
    unsigned long seen;
    double seen_at;
    bool stalled;
};

enum { DISK_CHUNK = 64 << 10, DISK_CHUNKS = 64 };

static void disk_fill(uint64_t *data, uint64_t round)
{
    for (unsigned i = 0; i < DISK_CHUNK / sizeof(*data); i++) {
        data[i] = (round << 20 | i) * 0x9e3779b97f4a7c15u;
    }
}

/* Writes a chunk past the page cache, and checks one of the last round. */
static void disk_run(struct device *dev)
{
    static uint64_t rounds[DISK_CHUNKS];
    uint64_t *data = aligned_alloc(PAGE_BYTES, DISK_CHUNK);
    uint64_t *wanted = aligned_alloc(PAGE_BYTES, DISK_CHUNK);
    int fd = open("/dev/vda", O_RDWR | O_DIRECT | O_SYNC);

    if (fd < 0) {
        complain("GUEST FAULT", "/dev/vda: %s", strerror(errno));
        return;
    }
    for (uint64_t round = 1;; round++) {
        unsigned put = round % DISK_CHUNKS;
        unsigned get = (round * 7 + 1) % DISK_CHUNKS;

        disk_fill(data, round);
        if (pwrite(fd, data, DISK_CHUNK, (off_t)put * DISK_CHUNK) !=
            DISK_CHUNK) {
            complain("GUEST FAULT", "disk write: %s", strerror(errno));
        }
        rounds[put] = round;
        if (rounds[get]) {
            disk_fill(wanted, rounds[get]);
            if (pread(fd, data, DISK_CHUNK, (off_t)get * DISK_CHUNK) !=
                DISK_CHUNK) {
                complain("GUEST FAULT", "disk read: %s", strerror(errno));
            } else if (memcmp(data, wanted, DISK_CHUNK)) {
                complain("GUEST FAULT", "disk: chunk %u is not what round "
                         "%llu wrote", get, (unsigned long long)rounds[get]);
            }
        }
        dev->uses++;
        rest(300);
    }
}

static void rng_run(struct device *dev)
{
    uint64_t last[2] = { 0 }, fresh[2];
    int fd = open("/dev/hwrng", O_RDONLY);

    if (fd < 0) {
        complain("GUEST FAULT", "/dev/hwrng: %s", strerror(errno));
        return;
    }
    for (;;) {
        if (read(fd, fresh, sizeof(fresh)) != sizeof(fresh)) {
            complain("GUEST FAULT", "hwrng: %s", strerror(errno));
        } else if (!memcmp(fresh, last, sizeof(fresh))) {
            complain("GUEST FAULT", "hwrng: the same bytes twice");
        }
        memcpy(last, fresh, sizeof(last));
        dev->uses++;
        rest(500);
    }
}

static uint16_t inet_checksum(const uint16_t *data, size_t bytes)
{
    uint32_t sum = 0;

    for (; bytes; bytes -= 2) {
        sum += *data++;
    }
    sum = (sum >> 16) + (sum & 0xffff);
    return ~(sum + (sum >> 16));
}

/* Pings the gateway.  A packet may be lost, an answer may not be wrong; a
 * network that has fallen silent is found as a stall. */
static void net_run(struct device *dev)
{
    struct sockaddr_in gateway = { .sin_family = AF_INET };
    struct timeval patience = { .tv_sec = 1 };
    struct { struct icmphdr icmp; uint8_t data[1000]; } sent;
    struct { struct iphdr ip; uint8_t rest[1500]; } got;
    int fd = socket(AF_INET, SOCK_RAW, IPPROTO_ICMP);

    inet_pton(AF_INET, "10.0.2.2", &gateway.sin_addr);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    for (uint16_t sequence = 0;; sequence++) {
        ssize_t size;

        memset(&sent, sequence, sizeof(sent));
        sent.icmp = (struct icmphdr) { .type = ICMP_ECHO };
        sent.icmp.un.echo.sequence = htons(sequence);
        sent.icmp.checksum = inet_checksum((void *)&sent, sizeof(sent));
        sendto(fd, &sent, sizeof(sent), 0, (void *)&gateway, sizeof(gateway));
        size = recv(fd, &got, sizeof(got), 0);
        if (size > 0) {
            struct icmphdr *icmp = (void *)got.rest;

            if (icmp->type == ICMP_ECHOREPLY &&
                icmp->un.echo.sequence == sent.icmp.un.echo.sequence) {
                if (memcmp(icmp + 1, sent.data, sizeof(sent.data))) {
                    complain("GUEST FAULT", "network: a wrong echo");
                }
                dev->uses++;
            }
        }
        rest(500);
    }
}

static struct device devices[] = {
    { .name = "disk", .run = disk_run },
    { .name = "rng", .run = rng_run },
    { .name = "net", .run = net_run },
};
enum { DEVICES = sizeof(devices) / sizeof(devices[0]) };

static void *device_thread(void *opaque)
{
    struct device *dev = opaque;

    dev->run(dev);
    return NULL;
}

static void devices_start(char **without)
{
    for (int i = 0; i < DEVICES; i++) {
        pthread_t thread;

        for (char **name = without; *name; name++) {
            devices[i].stalled |= !strcmp(*name, devices[i].name);
        }
        if (devices[i].stalled) {
            continue;
        }
        devices[i].seen_at = now();
        pthread_create(&thread, NULL, device_thread, &devices[i]);
    }
}

static void devices_report(void)
{
    for (int i = 0; i < DEVICES; i++) {
        struct device *dev = &devices[i];

        if (dev->uses != dev->seen) {
            dev->seen = dev->uses;
            dev->seen_at = now();
        } else if (!dev->stalled && now() - dev->seen_at > STALL_SECONDS) {
            dev->stalled = true;
            complain("GUEST FAULT", "%s has been silent for %d s", dev->name,
                     STALL_SECONDS);
        }
        printf(" %s %lu", dev->name, dev->uses);
    }
}

/* ---- */

static void beat(uint64_t generation, unsigned long checked)
{
    static unsigned long number;
    static double last;
    double time = now();

    if (time < last) {
        complain("GUEST FAULT", "the clock went from %.3f back to %.3f",
                 last, time);
    }
    if (time - last < 0.2) {
        return;
    }
    last = time;
    printf("beat %lu gen %llu checked %lu pages errors %lu uptime %.2f",
           ++number, (unsigned long long)generation, checked, errors, time);
    devices_report();
    printf("\n");
}

int main(int argc, char **argv)
{
    uint64_t pages = strtoul(argc > 1 ? argv[1] : "", NULL, 10) * 256;
    uint64_t rewritten = pages - pages / 4;
    unsigned long checked = 0;
    struct utsname kernel;
    uint8_t *block;

    setlinebuf(stdout);
    block = mmap(NULL, pages * PAGE_BYTES, PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (!pages || block == MAP_FAILED) {
        complain("GUEST FAULT", "no memory for %s MiB",
                 argc > 1 ? argv[1] : "?");
        return 1;
    }
    uname(&kernel);
    printf("memcheck: %s %s, %llu pages under check\n", kernel.sysname,
           kernel.release, (unsigned long long)pages);
    for (uint64_t page = 0; page < pages; page++) {
        fill((uint64_t *)(block + page * PAGE_BYTES), 0, page);
    }
    devices_start(argv + 2);
    for (uint64_t generation = 0;; generation++) {
        for (uint64_t page = 0; page < pages; page++) {
            uint64_t *data = (uint64_t *)(block + page * PAGE_BYTES);

            if (page < rewritten) {
                verify(data, generation, page);
                fill(data, generation + 1, page);
            } else {
                verify(data, 0, page);
            }
            checked++;
            if (page % BATCH == BATCH - 1) {
                beat(generation, checked);
                rest(4);
            }
        }
    }
}
