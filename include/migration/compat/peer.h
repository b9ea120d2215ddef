/*
 * What the two sides of a migration say to each other
 *
 * Over a channel that can answer, a version 4 stream begins with a hello from
 * either side and ends with the hand-over: the source gives the guest up only
 * when the destination has said that it has loaded and checked everything.
 * Implements docs/devel/migration-v4/conversation.rst.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef MIGRATION_COMPAT_PEER_H
#define MIGRATION_COMPAT_PEER_H

#include "io/channel.h"
#include "migration/qemu-file-types.h"
#include "qapi/qapi-types-machine-config.h"
#include "qapi/qapi-types-migration-stream.h"

struct MigrationIncomingState;
struct MigrationState;

/* How long to wait for an answer, in milliseconds */
#define MIGRATION_PEER_TIMEOUT_DEFAULT 30000

/**
 * migration_peer_check_timeout: may 'peer-timeout' be set to this?
 *
 * @timeout: in milliseconds
 *
 * Returns: %true, or %false with @errp set.
 */
bool migration_peer_check_timeout(uint32_t timeout, Error **errp);

/**
 * migration_peer_info: what is known of the other side, for query-migrate
 *
 * Returns: a new object, or NULL when nothing is known.
 */
MigrationPeerInfo *migration_peer_info(void);

/* Prints that for HMP "info migrate" */
void hmp_info_migrate_peer(Monitor *mon, const MigrationPeerInfo *info);

/* What knows whether the machine that arrives is this one */
typedef struct MigrationPeerMachine {
    /**
     * ready: is there a machine that the one that has arrived can become?
     *
     * Asked once, before anything is answered; in a migration it may let the
     * coroutine wait until there is one.
     *
     * Returns: %true, or %false with @errp set.
     */
    bool (*ready)(Error **errp);
    /**
     * legacy: can a stream be loaded that says nothing of a machine?
     *
     * Returns: %true, or %false with @errp set.
     */
    bool (*legacy)(Error **errp);
    /**
     * check: may the machine that has arrived be loaded into this one?
     *
     * Asked before anything of it is; also more than once.
     *
     * Returns: %true, or %false with all that stands against it in @errp.
     */
    bool (*check)(Error **errp);
    /**
     * differences: in what the two differ, as check() found
     *
     * Returns: a list that stays the callee's.
     */
    const MachineDifferenceList *(*differences)(void);
    /**
     * told: what the other side has found; the list is the caller's
     */
    void (*told)(const MachineDifferenceList *differences);
} MigrationPeerMachine;

/**
 * migration_peer_set_machine: who knows that
 *
 * Before any migration begins.
 */
void migration_peer_set_machine(const MigrationPeerMachine *machine);

/* What takes the destination's verdicts on the pages that it got */
typedef struct MigrationPeerPages {
    /**
     * verdict: a VERDICT record has come
     *
     * With what migration_peer_wait() looks at locked.
     *
     * Returns: %true, or %false with @errp set.
     */
    bool (*verdict)(const GByteArray *payload, Error **errp);
} MigrationPeerPages;

/**
 * migration_peer_set_pages: who that is
 *
 * Before any migration begins.
 */
void migration_peer_set_pages(const MigrationPeerPages *pages);

/* The source */

/**
 * migration_peer_wait: wait for the destination to say something
 *
 * At most 'peer-timeout'.  For the migration thread.
 *
 * @said: whether it has; asked with that locked
 * @what: that is, a static string, for the message
 *
 * Returns: %true, or %false; then @errp is set unless it was refused or
 * cancelled.
 */
bool migration_peer_wait(bool (*said)(void), const char *what, Error **errp);

/* Runs @func with that locked */
void migration_peer_locked(void (*func)(void *opaque), void *opaque);

/**
 * migration_peer_start: an outgoing migration begins
 *
 * @uri: where it goes to; the hand-over may have to connect there again
 */
void migration_peer_start(const char *uri);

/**
 * migration_peer_answers: will the destination say something?
 *
 * Returns: %true if the return path has to be opened for it.
 */
bool migration_peer_answers(struct MigrationState *s);

/**
 * migration_peer_begin: begin the stream, with all that is to be agreed upon
 *
 * Finds out which version to speak, exchanges hellos, and sends the stream's
 * configuration.  Waits for each answer, at most 'peer-timeout'.
 *
 * Returns: %true, or %false when the migration has failed.
 */
bool migration_peer_begin(struct MigrationState *s);

/**
 * migration_peer_pong: the destination answers a ping
 *
 * @rp: the return path
 * @value: what it says
 *
 * Returns: %true, or %false with the file's error set.
 */
bool migration_peer_pong(QEMUFile *rp, uint32_t value);

/**
 * migration_peer_deaf: the return path is over
 *
 * @rp: its file; an error of it is the migration's
 */
void migration_peer_deaf(struct MigrationState *s, QEMUFile *rp);

/**
 * migration_peer_hand_over: give the guest up, when the destination takes it
 *
 * Everything has been sent.  Called without the BQL.
 *
 * Returns: %true when it runs there or when there is nobody to ask; %false
 * when the migration has failed.  Then the caller makes the guest run on if
 * @s says that it was running.
 */
bool migration_peer_hand_over(struct MigrationState *s);

/**
 * migration_peer_took: has the guest been given up?
 *
 * From then on nothing makes it run here but the destination's word that it
 * never ran there, and a person's.
 */
bool migration_peer_took(void);

/**
 * migration_peer_cancel: a person does not want the migration any more
 *
 * With the BQL.
 *
 * Returns: %true, or %false if it is too late.
 */
bool migration_peer_cancel(void);

/**
 * migration_peer_postcopy: a postcopy begins
 *
 * With the BQL, before the guest is stopped.
 */
void migration_peer_postcopy(void);

/**
 * migration_peer_keep: a postcopy ends before the destination could run
 *
 * The guest runs on if it ran.
 */
void migration_peer_keep(struct MigrationState *s);

/**
 * migration_peer_take_back: can a postcopy that failed end here?
 *
 * It can when the destination says that it never ran the guest, and all of its
 * memory is still here.  Then its disks are active again, and @s says whether
 * it runs on.
 *
 * Returns: %true, or %false if the two have to go on from where they are.
 */
bool migration_peer_take_back(struct MigrationState *s);

/**
 * migration_peer_failed: the migration fails with the guest stopped
 *
 * Sees to it that it runs on only if 'resume-after-failure' says so.
 */
void migration_peer_failed(struct MigrationState *s);

/* The destination */

/**
 * migration_peer_expect: an incoming migration begins
 */
void migration_peer_expect(void);

/**
 * migration_peer_look: find out which version a stream begins with
 *
 * From then on @f is a file of that version.  One of version 3 is read on also
 * where version 4 was asked for, if the source can still be told so.
 */
void migration_peer_look(QEMUFile *f);

/**
 * migration_peer_answer: say which version this side speaks, if it is asked
 *
 * The configuration of a version 3 stream was read.
 *
 * Returns: 1 if it was: then @f is a file of version 4, at its beginning; 0 if
 * version 3 goes on; a negative errno with the file's error set.
 */
int migration_peer_answer(QEMUFile *f);

/**
 * migration_peer_get_header: read the beginning of a version 4 stream
 *
 * The machine, which is checked; and the hellos, if the source sends one and
 * the transport can answer; there each has to come within 'peer-timeout'.
 *
 * Returns: 0, or a negative errno value with the file's error set.
 */
int migration_peer_get_header(QEMUFile *f);

/**
 * migration_peer_put_verdict: send a VERDICT record
 *
 * Nothing is sent where there is no source that listens, as in a file.
 *
 * Returns: %true, or %false with @errp set.
 */
bool migration_peer_put_verdict(const GByteArray *payload, Error **errp);

/**
 * migration_peer_accept: everything is loaded; wait until the guest is given
 *
 * In the coroutine that loads.  Where the source asked for a hand-over, this
 * returns when the guest may run here: because the source said so, be it over
 * another connection, or because a person did, see migration_peer_claim().
 */
void coroutine_fn
migration_peer_accept(struct MigrationIncomingState *mis);

/**
 * migration_peer_claim: a person says that the guest is to run here
 *
 * Matters only where the source was lost before it gave the guest up.
 */
void migration_peer_claim(void);

/**
 * migration_peer_decline: the disks cannot be taken
 *
 * @err: why; stays the caller's
 *
 * Returns: %true when the guest went back to the source, and there is nothing
 * to do; %false when nobody is there to take it back.
 */
bool migration_peer_decline(struct MigrationIncomingState *mis,
                            const Error *err);

/**
 * migration_peer_running: the guest has been taken
 */
void migration_peer_running(struct MigrationIncomingState *mis);

/**
 * migration_peer_refuse: say why the stream was not loaded
 *
 * @f: the stream; does nothing if it has no one who listens
 * @err: why; stays the caller's
 */
void migration_peer_refuse(QEMUFile *f, const Error *err);

/**
 * migration_peer_waits: may the source connect once more?
 */
bool migration_peer_waits(void);

/**
 * migration_peer_reconnected: is this connection about a guest that waits?
 *
 * @ioc: a connection that has just been made
 *
 * Returns: %true when it is taken care of.
 */
bool migration_peer_reconnected(QIOChannel *ioc);

#endif
