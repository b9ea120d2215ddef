/*
 * What the source's and the destination's part of a conversation share
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef MIGRATION_COMPAT_CONVERSATION_H
#define MIGRATION_COMPAT_CONVERSATION_H

#include "qemu/timer.h"
#include "migration/compat/facts.h"
#include "migration/compat/negotiate.h"
#include "migration/compat/peer.h"
#include "migration/stream/channel.h"
#include "migration/stream/handover.h"
#include "qapi/qapi-types-migration-stream.h"

/* One at a time: QEMU is either side of at most one migration */
typedef struct MigrationConversation {
    QemuMutex lock;             /* protects what is below */
    QemuCond changed;
    int64_t version;            /* of the stream; STREAM_VERSION_AUTO for now */
    bool asked;                 /* the source waits for the answer */
    MigrationHandover handover;
    bool strange;               /* the source's machine is not this one */
    uint64_t token;
    MigrationFacts *peer;       /* NULL until its hello has come */
    MigrationAgreement *agreement;      /* NULL likewise */
} MigrationConversation;

/**
 * conversation_get: the conversation of this QEMU
 */
MigrationConversation *conversation_get(void);

/* Forgets the one before */
void conversation_reset(MigrationConversation *c);

/* Sets @c->handover, and tells those who wait for a change */
void conversation_set_handover(MigrationConversation *c,
                               MigrationHandover handover);
MigrationHandover conversation_handover(MigrationConversation *c);

/* Sets @c->version, and tells those who wait for a change */
void conversation_set_version(MigrationConversation *c, int64_t version);
int64_t conversation_version(MigrationConversation *c);

/* Likewise, with the lock held */
void conversation_settle(MigrationConversation *c, int64_t version);

/**
 * conversation_listen: make a channel tell this side what the other says
 */
void conversation_listen(StreamChannel *sc);

/**
 * conversation_put_hello: send our hello
 *
 * @facts: of this QEMU
 */
bool conversation_put_hello(StreamChannel *sc, const MigrationFacts *facts,
                            Error **errp);

/**
 * conversation_put: send a word of the hand-over
 *
 * @detail: a phase, the sections' checksum or 0, as the message has it
 * @text: NULL if there is none; what is too long is cut
 */
bool conversation_put(StreamChannel *sc, StreamHandoverMessage message,
                      uint32_t detail, const char *text, Error **errp);

/**
 * conversation_agree: both hellos are there
 *
 * Notes what is agreed upon.
 *
 * Returns: %true, or %false with all that stands against it in @errp.
 */
bool conversation_agree(MigrationConversation *c, const MigrationFacts *source,
                        const MigrationFacts *destination, Error **errp);

/* A connection that is shut down when nothing has come over it for too long */
typedef struct MigrationPatience {
    QEMUTimer timer;
    QIOChannel *ioc;
    QEMUFile *f;
    const char *what;
} MigrationPatience;

/**
 * migration_patience_begin: 'peer-timeout' for an answer begins
 *
 * @ioc: the transport
 * @f: the file over it that gets the error, or NULL
 * @what: what is waited for, a static string; for the message
 */
void migration_patience_begin(MigrationPatience *p, QIOChannel *ioc,
                              QEMUFile *f, const char *what);

/**
 * migration_patience_end: it came, or not
 *
 * @errp: what the reader said when it did not come; replaced with what was
 * waited for when time was up
 */
void migration_patience_end(MigrationPatience *p, Error **errp);

/* For the two sides: what the other one said, from the thread that reads */
bool source_notice(MigrationConversation *c, StreamChannel *sc, uint16_t type,
                   const GByteArray *payload, Error **errp);
bool destination_notice(MigrationConversation *c, StreamChannel *sc,
                        uint16_t type, const GByteArray *payload,
                        Error **errp);

/* What knows the machines of both sides, see migration_peer_set_machine() */
const MigrationPeerMachine *conversation_machine(void);

/* The destination waits no more for a stream of its version to begin */
void destination_begun(void);

/* What the migration thread waits for, with the lock held */
typedef bool SourceCondition(MigrationConversation *c);

/**
 * source_wait: wait for the return path to hear something
 *
 * At most 'peer-timeout'.
 *
 * @condition: when it has heard it
 * @what: that is, for the message
 *
 * Returns: %false also without @errp set, when it was refused or cancelled.
 */
bool source_wait(struct MigrationState *s, MigrationConversation *c,
                 SourceCondition *condition, const char *what, Error **errp);

/**
 * source_ask: find out which version the destination speaks
 *
 * Begins a stream of version 3.  If that is what the destination speaks, the
 * stream goes on behind its return path's being opened; else both directions
 * carry records from here on.
 *
 * Returns: %true with @c->version settled, or %false as source_wait() does.
 */
bool source_ask(struct MigrationState *s, MigrationConversation *c,
                Error **errp);

/**
 * source_reconnect: ask the destination again, over a new connection
 *
 * The guest was given up, and nobody knows whether the other side heard it.
 * Says RUN once more, and returns with the answer in the conversation.
 *
 * Returns: %true when there was an answer, %false with @errp set.
 */
bool source_reconnect(MigrationConversation *c, const char *uri, Error **errp);

/**
 * conversation_linger: the source may ask once more how it went
 *
 * Takes what listens, and the connection, out of @mis.  With the BQL, as
 * below.
 */
void conversation_linger(struct MigrationIncomingState *mis);

/* Does the destination listen for that? */
bool conversation_lingers(void);

/* The address is free again, and nothing is answered any more */
void conversation_linger_end(void);

#endif
