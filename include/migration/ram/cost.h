/*
 * What a thread and a socket have waited for, as this host tells it
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef MIGRATION_RAM_COST_H
#define MIGRATION_RAM_COST_H

/* What a thread has done since it began; in nanoseconds */
typedef struct RamThreadCost {
    bool known;
    uint64_t cpu_ns;        /* on a CPU */
    uint64_t delay_ns;      /* ready to run, and no CPU was free */
} RamThreadCost;

/* What a socket has done since it was connected; in nanoseconds */
typedef struct RamSocketCost {
    bool local;             /* nothing but memory is between the two sides */
    uint64_t receiver_ns;   /* TCP: the receiver had no room for more */
} RamSocketCost;

/**
 * ram_thread_cost: what a thread of this process has done
 *
 * @tid: the thread
 *
 * Returns: its figures; not known if it has ended, or on a host that does not
 * tell.
 */
RamThreadCost ram_thread_cost(int tid);

/**
 * ram_socket_cost: what a socket has waited for
 *
 * @fd: of the socket, or of anything else
 *
 * Returns: its figures; nothing if the host does not tell.
 */
RamSocketCost ram_socket_cost(int fd);

#endif
