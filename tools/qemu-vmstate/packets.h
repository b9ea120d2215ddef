/*
 * qemu-vmstate: the pages of memory in a stream
 *
 * Implements what "Packets" of docs/devel/migration-v4/wire-format.rst says of
 * a stream that nobody answers: a page may come wrong, as the guest was
 * running, if it comes right later.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef QEMU_VMSTATE_PACKETS_H
#define QEMU_VMSTATE_PACKETS_H

#include "migration/stream/reader.h"

typedef struct PacketCounts {
    uint64_t packets;       /* that had pages */
    uint64_t rounds;
    uint64_t pages;         /* sent, zeros aside */
    uint64_t zeros;         /* pages of zeros */
} PacketCounts;

typedef struct Packets Packets;

/* Counts into @counts, which stays the caller's */
Packets *packets_new(PacketCounts *counts);
void packets_free(Packets *p);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Packets, packets_free)

/* A StreamPacketFunc, to be given the packets */
bool packets_take(void *packets, StreamReader *r, const uint8_t *head,
                  size_t head_length, size_t data_length, Error **errp);

/**
 * packets_check: have all pages come right in the end?
 *
 * Returns: %true; %false with @errp set, which names the first that has not.
 */
bool packets_check(Packets *p, Error **errp);

#endif
