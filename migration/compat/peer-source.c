/*
 * What the two sides of a migration say to each other: the source's part
 *
 * Implements "The source" of docs/devel/migration-v4/conversation.rst.
 *
 * The thread of the return path listens, and notes what it heard; the
 * migration thread waits for it.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/guest-random.h"
#include "qemu/main-loop.h"
#include "qapi/error.h"
#include "block/block.h"
#include "sysemu/runstate.h"
#include "conversation.h"
#include "migration/compat/agreement.h"
#include "migration/compat/check.h"
#include "migration/compat/collect.h"
#include "migration/compat/peer.h"
#include "migration/compat/selector.h"
#include "migration/migration.h"
#include "migration/misc.h"
#include "migration/qemu-file.h"
#include "migration/savevm.h"
#include "migration/stream/file.h"
#include "migration/stream/index.h"
#include "migration/stream/tls.h"
#include "trace.h"

/* How often a wait looks at what nobody tells it, in milliseconds */
#define GLANCE 50

#define HELLO "the destination's hello"

static char *source_uri;
static bool source_deaf;        /* the return path is over */
static bool source_cancelled;   /* read by any thread */
static bool source_ran;         /* when a postcopy began */
static const char *source_awaits;       /* what, in words; NULL if nothing */

static void source_changed(Notifier *notifier, void *data)
{
    MigrationState *s = data;

    /* What is saved later is for whoever may read it */
    if (migration_has_finished(s) || migration_has_failed(s)) {
        migration_agreement_set(NULL);
    }
}

void migration_peer_start(const char *uri)
{
    static Notifier notifier = { .notify = source_changed };

    if (!notifier.node.le_prev) {
        add_migration_state_change_notifier(&notifier);
    }
    migration_agreement_set(NULL);
    conversation_linger_end();
    conversation_reset(conversation_get());
    g_free(source_uri);
    source_uri = g_strdup(uri);
    source_deaf = false;
    qatomic_set(&source_cancelled, false);
    source_awaits = HELLO;
}

bool migration_peer_answers(MigrationState *s)
{
    StreamChannel *sc = stream_channel_under(s->to_dst_file);

    return sc && qio_channel_has_feature(sc->base,
                                         QIO_CHANNEL_FEATURE_SHUTDOWN) &&
           !migrate_colo_enabled() && !migrate_background_snapshot();
}

/*
 * Ends the connection, which wakes whoever reads or writes there.  The file is
 * left to them: it must not get an error in the middle of a structure.
 */
static void source_shut_down(MigrationState *s, QIOChannelShutdown how)
{
    QEMU_LOCK_GUARD(&s->qemu_file_lock);
    if (s->to_dst_file) {
        qio_channel_shutdown(migration_stream_transport(s->to_dst_file), how,
                             NULL);
    }
}

static void source_hang_up(MigrationState *s)
{
    source_shut_down(s, QIO_CHANNEL_SHUTDOWN_BOTH);
}

/* Listening */

static bool source_hears_hello(MigrationConversation *c, StreamChannel *sc,
                               const GByteArray *payload, Error **errp)
{
    MigrationFacts *facts;

    if (c->peer) {
        /* Over another connection, where the destination would answer RUN */
        error_setg(errp, "expected a hand-over record, got a hello record");
        return false;
    }
    facts = migration_facts_parse((const char *)payload->data, payload->len,
                                  errp);
    if (!facts) {
        return false;
    }
    c->peer = facts;
    conversation_machine()->told(facts->differences);
    return true;
}

/* What a destination may say, depending on how far the hand-over is */
static bool source_hears(MigrationConversation *c, StreamChannel *sc,
                         const StreamHandover *heard, Error **errp)
{
    MigrationState *s = migrate_get_current();
    uint32_t checksum;
    Error *err = NULL;

    switch (heard->message) {
    case STREAM_HANDOVER_LOADED:
        if (c->handover != MIGRATION_HANDOVER_AGREED &&
            c->handover != MIGRATION_HANDOVER_WAITING) {
            break;
        }
        if (!stream_writer_ended(sc->writer)) {
            error_setg(errp, "the destination says that it has loaded "
                       "everything, before everything was sent");
            return false;
        }
        checksum = stream_index_checksum(stream_writer_index(sc->writer));
        if (heard->detail != checksum) {
            error_setg(errp, "the destination has loaded something else than "
                       "was sent: expected an index with checksum 0x%08" PRIx32
                       ", got 0x%08" PRIx32, checksum, heard->detail);
            return false;
        }
        c->handover = MIGRATION_HANDOVER_LOADED;
        return true;
    case STREAM_HANDOVER_RUNNING:
        if (c->handover != MIGRATION_HANDOVER_COMMITTED &&
            c->handover != MIGRATION_HANDOVER_IN_DOUBT) {
            break;
        }
        c->handover = MIGRATION_HANDOVER_DONE;
        return true;
    case STREAM_HANDOVER_REFUSED:
        /*
         * The guest comes back only from who has got it: by now somebody else
         * may listen at that address, who refuses for reasons of his own.
         */
        if (c->handover == MIGRATION_HANDOVER_DONE ||
            ((c->handover == MIGRATION_HANDOVER_COMMITTED ||
              c->handover == MIGRATION_HANDOVER_IN_DOUBT) &&
             (heard->token != c->token ||
              heard->detail != STREAM_PHASE_ACTIVATION))) {
            break;
        }
        error_setg(&err, "the destination refused (phase '%s'): %s",
                   stream_handover_phase_name(heard->detail), heard->text);
        migrate_set_error(s, err);
        error_free(err);
        c->handover = MIGRATION_HANDOVER_REFUSED;
        /* Nothing that is sent now would be read */
        source_hang_up(s);
        return true;
    default:
        break;
    }
    error_setg(errp, "the destination says '%s', which it cannot say now (the "
               "hand-over is '%s' here)",
               stream_handover_message_name(heard->message),
               MigrationHandover_str(c->handover));
    return false;
}

static const MigrationPeerPages *source_pages;

void migration_peer_set_pages(const MigrationPeerPages *pages)
{
    source_pages = pages;
}

bool source_notice(MigrationConversation *c, StreamChannel *sc, uint16_t type,
                   const GByteArray *payload, Error **errp)
{
    StreamHandover heard;
    bool ok;

    if (type == STREAM_RECORD_HANDOVER) {
        if (!stream_handover_decode(payload->data, payload->len, &heard,
                                    errp)) {
            return false;
        }
        if (heard.token != c->token &&
            heard.message != STREAM_HANDOVER_REFUSED) {
            error_setg(errp, "the destination speaks of another migration: "
                       "expected token %016" PRIx64 ", got %016" PRIx64,
                       c->token, heard.token);
            return false;
        }
    }
    QEMU_LOCK_GUARD(&c->lock);
    switch (type) {
    case STREAM_RECORD_HELLO:
        ok = source_hears_hello(c, sc, payload, errp);
        break;
    case STREAM_RECORD_VERDICT:
        ok = source_pages->verdict(payload, errp);
        break;
    default:
        ok = source_hears(c, sc, &heard, errp);
        break;
    }
    qemu_cond_broadcast(&c->changed);
    return ok;
}

void migration_peer_deaf(MigrationState *s, QEMUFile *rp)
{
    MigrationConversation *c = conversation_get();
    const char *what;
    Error *err = NULL;
    bool matters;

    /* A postcopy pauses, and goes on over another connection */
    if (migration_in_postcopy()) {
        return;
    }
    WITH_QEMU_LOCK_GUARD(&c->lock) {
        what = source_awaits ?: "it to take what is sent";
        matters = c->asked || stream_channel_of(rp);
    }
    qemu_file_get_error_obj(rp, &err);
    /* What comes later is for the hand-over to judge, or for version 3 */
    if ((err || s->rp_state.error) && matters && !migration_peer_took() &&
        !qatomic_read(&source_cancelled)) {
        if (err) {
            error_prepend(&err, "the destination answers no more: expected "
                          "%s: ", what);
            migrate_set_error(s, err);
        }
        source_hang_up(s);
    }
    error_free(err);
    /* Who waits finds the reason given */
    WITH_QEMU_LOCK_GUARD(&c->lock) {
        source_deaf = true;
        qemu_cond_broadcast(&c->changed);
    }
}

/* Waiting */

static bool source_has_hello(MigrationConversation *c)
{
    return c->peer;
}

static bool source_has_loaded(MigrationConversation *c)
{
    return c->handover == MIGRATION_HANDOVER_LOADED;
}

static bool source_is_done(MigrationConversation *c)
{
    return c->handover == MIGRATION_HANDOVER_DONE;
}

bool source_wait(MigrationState *s, MigrationConversation *c,
                 SourceCondition *condition, const char *what, Error **errp)
{
    int64_t end = qemu_clock_get_ms(QEMU_CLOCK_REALTIME) +
                  s->parameters.peer_timeout;

    QEMU_LOCK_GUARD(&c->lock);
    source_awaits = what;
    while (!condition(c)) {
        if (c->handover == MIGRATION_HANDOVER_REFUSED ||
            qatomic_read(&source_cancelled)) {
            break;
        }
        if (source_deaf) {
            error_setg(errp, "the destination answers no more: expected %s",
                       what);
            break;
        }
        if (qemu_clock_get_ms(QEMU_CLOCK_REALTIME) >= end) {
            error_setg(errp, "after %" PRIu32 " ms there is no answer: "
                       "expected %s", s->parameters.peer_timeout, what);
            break;
        }
        qemu_cond_timedwait(&c->changed, &c->lock, GLANCE);
    }
    source_awaits = NULL;
    return condition(c);
}

/*
 * The first reason is the one that counts; frees @err, which may be NULL.
 * Without the BQL: migrate_cancel, if that is the reason, comes to its end.
 */
static void source_fails(MigrationState *s, Error *err)
{
    if (err) {
        migrate_set_error(s, err);
        error_free(err);
    }
    qemu_mutex_lock_iothread();
    qemu_mutex_unlock_iothread();
}

typedef bool SourceSaid(void);
static SourceSaid *source_said;

static bool source_has_said(MigrationConversation *c)
{
    return source_said();
}

bool migration_peer_wait(bool (*said)(void), const char *what, Error **errp)
{
    source_said = said;
    return source_wait(migrate_get_current(), conversation_get(),
                       source_has_said, what, errp);
}

void migration_peer_locked(void (*func)(void *opaque), void *opaque)
{
    QEMU_LOCK_GUARD(&conversation_get()->lock);
    func(opaque);
}

/* The hello */

static bool source_greet(MigrationState *s, MigrationConversation *c,
                         Error **errp)
{
    StreamChannel *sc = stream_channel_of(s->to_dst_file);
    g_autoptr(MigrationFacts) facts = NULL;
    bool fits;

    WITH_QEMU_LOCK_GUARD(&c->lock) {
        source_awaits = HELLO;
    }
    qemu_guest_getrandom_nofail(&c->token, sizeof(c->token));
    qemu_mutex_lock_iothread();
    facts = migration_facts_collect();
    qemu_mutex_unlock_iothread();
    facts->has_token = true;
    facts->token = c->token;

    if (!migration_stream_put_machine(sc, errp) ||
        !conversation_put_hello(sc, facts, errp)) {
        error_prepend(errp, "the hello could not be sent: ");
        return false;
    }
    if (!source_wait(s, c, source_has_hello, HELLO, errp)) {
        return false;
    }
    if (!conversation_agree(c, facts, c->peer, errp)) {
        return false;
    }
    qemu_mutex_lock_iothread();
    migration_agreement_set(c->agreement);
    fits = migration_check_agreed(errp);
    qemu_mutex_unlock_iothread();
    return fits;
}

/* Sends all up to what both sides have to have agreed upon */
static bool source_begin(MigrationState *s, MigrationConversation *c,
                         Error **errp)
{
    QEMUFile *f = s->to_dst_file;

    if (migration_peer_answers(s)) {
        if (!stream_channel_of(f) && !source_ask(s, c, errp)) {
            return false;
        }
        if (!stream_channel_of(f)) {
            /* The stream that the question was in goes on */
            return true;
        }
        if (!source_greet(s, c, errp)) {
            return false;
        }
    }
    qemu_savevm_state_header(f);
    return true;
}

bool migration_peer_begin(MigrationState *s)
{
    Error *err = NULL;

    if (source_begin(s, conversation_get(), &err)) {
        return true;
    }
    source_fails(s, err);
    source_hang_up(s);
    migrate_set_state(&s->state, MIGRATION_STATUS_SETUP,
                      MIGRATION_STATUS_FAILED);
    return false;
}

/* The hand-over */

bool migration_peer_took(void)
{
    switch (conversation_handover(conversation_get())) {
    case MIGRATION_HANDOVER_COMMITTED:
    case MIGRATION_HANDOVER_IN_DOUBT:
    case MIGRATION_HANDOVER_DONE:
        return true;
    default:
        return false;
    }
}

bool migration_peer_cancel(void)
{
    if (!migration_peer_took()) {
        qatomic_set(&source_cancelled, true);
    }
    return qatomic_read(&source_cancelled);
}

/*
 * The point of no return.  migrate_cancel comes with the BQL, so that either
 * it was before and the guest stays, or it finds that it is too late.
 */
static bool source_commit(MigrationConversation *c)
{
    bool committed = false;

    qemu_mutex_lock_iothread();
    WITH_QEMU_LOCK_GUARD(&c->lock) {
        if (!qatomic_read(&source_cancelled) &&
            c->handover == MIGRATION_HANDOVER_LOADED) {
            c->handover = MIGRATION_HANDOVER_COMMITTED;
            committed = true;
        }
    }
    qemu_mutex_unlock_iothread();
    return committed;
}

/* The destination may or may not have heard it */
static void source_doubt(MigrationState *s, MigrationConversation *c)
{
    int64_t end = qemu_clock_get_ms(QEMU_CLOCK_REALTIME) +
                  s->parameters.peer_timeout;
    Error *err = NULL;

    conversation_set_handover(c, MIGRATION_HANDOVER_IN_DOUBT);
    while (!source_reconnect(c, source_uri, &err) &&
           qemu_clock_get_ms(QEMU_CLOCK_REALTIME) < end) {
        trace_migration_peer_reconnect(error_get_pretty(err));
        error_free(err);
        err = NULL;
        g_usleep(GLANCE * 1000);
    }
    error_free(err);
}

bool migration_peer_hand_over(MigrationState *s)
{
    MigrationConversation *c = conversation_get();
    StreamChannel *sc = stream_channel_of(s->to_dst_file);
    Error *err = NULL;

    if (conversation_handover(c) == MIGRATION_HANDOVER_NONE ||
        migration_in_postcopy()) {
        return true;
    }
    WITH_QEMU_LOCK_GUARD(&c->lock) {
        if (c->handover == MIGRATION_HANDOVER_AGREED) {
            c->handover = MIGRATION_HANDOVER_WAITING;
        }
    }
    /* Who waits for the rest of what could not be saved has to hear of it */
    if (qemu_file_get_error(s->to_dst_file)) {
        source_shut_down(s, QIO_CHANNEL_SHUTDOWN_WRITE);
    }
    if (!source_wait(s, c, source_has_loaded, "the destination's word that it "
                     "has loaded everything", &err) || !source_commit(c)) {
        source_fails(s, err);
        source_hang_up(s);
        return false;
    }
    /* Where sending fails, it may have got there all the same */
    if (!conversation_put(sc, STREAM_HANDOVER_RUN, 0, NULL, &err) ||
        !source_wait(s, c, source_is_done, "the destination's word that it "
                     "has taken the guest", &err)) {
        if (conversation_handover(c) != MIGRATION_HANDOVER_REFUSED) {
            source_doubt(s, c);
        }
    }
    if (conversation_handover(c) == MIGRATION_HANDOVER_DONE) {
        migration_tls_bye(migration_stream_transport(s->to_dst_file));
    }
    source_hang_up(s);

    switch (conversation_handover(c)) {
    case MIGRATION_HANDOVER_DONE:
        error_free(err);
        return true;
    case MIGRATION_HANDOVER_REFUSED:
        error_free(err);
        return false;
    default:
        /* It may run there, so it must not run here, nor use the disks */
        s->vm_was_running = false;
        s->block_inactive = false;
        error_prepend(&err, "the guest was given to the destination and may "
                      "run there; it is paused here, and 'cont' is only for "
                      "who knows that it never ran there: ");
        source_fails(s, err);
        return false;
    }
}

/* A postcopy */

void migration_peer_postcopy(void)
{
    source_ran = runstate_is_running();
}

void migration_peer_keep(MigrationState *s)
{
    s->vm_was_running = source_ran;
    migration_peer_failed(s);
}

bool migration_peer_take_back(MigrationState *s)
{
    Error *err = NULL;

    if (conversation_handover(conversation_get()) !=
        MIGRATION_HANDOVER_REFUSED || migrate_release_ram()) {
        return false;
    }
    qemu_mutex_lock_iothread();
    bdrv_activate_all(&err);
    qemu_mutex_unlock_iothread();
    if (err) {
        source_fails(s, err);
        return false;
    }
    migration_peer_keep(s);
    return true;
}

void migration_peer_failed(MigrationState *s)
{
    if (!s->parameters.resume_after_failure) {
        s->vm_was_running = false;
    }
}
