/*
 * Migration stream version 4: what sends pages on a channel
 *
 * Used by one thread at a time.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef MIGRATION_RAM_SENDER_H
#define MIGRATION_RAM_SENDER_H

#include "qemu/stats64.h"
#include "io/channel.h"
#include "migration/ram/packet.h"
#include "migration/stream/channel.h"
#include "compress.h"
#include "cursor.h"

/* What a sender has done, for others to look at */
typedef struct RamFigures {
    Stat64 bytes;
    Stat64 saved;           /* bytes that were not sent, thanks to compression */
    Stat64 pages;
    Stat64 zeros;
    Stat64 blocked_ns;
    Stat64 since;           /* when it began to write; 0: it does not */
} RamFigures;

typedef struct RamSender RamSender;

/**
 * ram_sender_new_main: a sender into the main stream
 *
 * @sc: carries records, and stays the caller's
 * @figures: stay the caller's too
 */
RamSender *ram_sender_new_main(StreamChannel *sc, RamFigures *figures);

/**
 * ram_sender_new_channel: a sender on a channel of its own
 *
 * @ioc: behind the initial packet; stays the caller's
 * @zero_copy: let the kernel send out of guest memory
 * @compressor: %NULL to send as it is; taken
 */
RamSender *ram_sender_new_channel(QIOChannel *ioc, bool zero_copy,
                                  RamCompressor *compressor,
                                  RamFigures *figures);

void ram_sender_free(RamSender *s);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(RamSender, ram_sender_free)

/**
 * ram_sender_take: where to put pages that were taken
 *
 * Only if ram_sender_wants().
 */
RamTake *ram_sender_take(RamSender *s);

/**
 * ram_sender_add: put what was taken into the packet, as far as it belongs there
 *
 * In the RCU read section in which it was taken; guest memory is read here.
 */
void ram_sender_add(RamSender *s);

/* Whether the packet has room, and all that was taken is in it */
bool ram_sender_wants(const RamSender *s);

/* Whether something was taken that is in no packet yet */
bool ram_sender_left(const RamSender *s);

/**
 * ram_sender_send: send the packet, if there is anything in it
 *
 * In the same RCU read section.  Ends the rounds before its own, too.
 *
 * Returns: %true, or %false with @errp set.
 */
bool ram_sender_send(RamSender *s, Error **errp);

/**
 * ram_sender_end_round: say that all of a round was sent here
 *
 * @flags: %RAM_PACKET_VERDICT or 0
 *
 * Does nothing if that was said.
 *
 * Returns: %true, or %false with @errp set.
 */
bool ram_sender_end_round(RamSender *s, uint32_t round, uint16_t flags,
                          Error **errp);

/* The last round that was said to have ended, 0 for none */
uint32_t ram_sender_ended(const RamSender *s);

#endif
