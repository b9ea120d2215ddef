/*
 * What a thread and a socket have waited for, as this host tells it
 *
 * Implements "Progress" of docs/devel/migration-v4/progress.rst.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "migration/ram/cost.h"

/*
 * Linux's tcp_info, which the C library's header has but the beginning of, and
 * that header cannot be beside Linux's own.  All that is used is one figure.
 */
typedef struct TcpInfo {
    uint8_t bytes[8];
    uint32_t words[24];
    uint64_t rates_and_bytes[4];
    uint32_t segments_and_rtt[6];
    uint64_t delivery_rate;
    uint64_t busy_time;
    uint64_t rwnd_limited;      /* in microseconds */
} TcpInfo;

static_assert(offsetof(TcpInfo, rwnd_limited) == 176, "tcpi_rwnd_limited");

RamThreadCost ram_thread_cost(int tid)
{
    g_autofree char *path = g_strdup_printf("/proc/self/task/%d/schedstat",
                                            tid);
    g_autofree char *text = NULL;
    RamThreadCost cost = { 0 };

    if (tid > 0 && g_file_get_contents(path, &text, NULL, NULL)) {
        cost.known = sscanf(text, "%" SCNu64 " %" SCNu64, &cost.cpu_ns,
                            &cost.delay_ns) == 2;
    }
    return cost;
}

RamSocketCost ram_socket_cost(int fd)
{
    RamSocketCost cost = { 0 };
#ifdef CONFIG_LINUX
    struct sockaddr_storage name = { 0 };
    socklen_t length = sizeof(name);

    if (fd < 0 || getsockname(fd, (struct sockaddr *)&name, &length)) {
        return cost;
    }
    cost.local = name.ss_family == AF_UNIX;
    if (name.ss_family == AF_INET || name.ss_family == AF_INET6) {
        TcpInfo info = { 0 };

        length = sizeof(info);
        if (!getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length)) {
            cost.receiver_ns = info.rwnd_limited * 1000;
        }
    }
#endif
    return cost;
}
