/*
 * What the two sides of a migration say to each other: the destination's part
 *
 * Implements "The destination" of docs/devel/migration-v4/conversation.rst.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/error-report.h"
#include "qemu/lockable.h"
#include "qapi/clone-visitor.h"
#include "qapi/error.h"
#include "qapi/qapi-visit-machine-config.h"
#include "block/block.h"
#include "sysemu/runstate.h"
#include "conversation.h"
#include "migration/compat/collect.h"
#include "migration/compat/peer.h"
#include "migration/compat/stored.h"
#include "migration/migration.h"
#include "migration/postcopy-ram.h"
#include "migration/qemu-file.h"
#include "migration/stream/file.h"
#include "migration/stream/index.h"
#include "migration/yank_functions.h"
#include "trace.h"

#define WORD_RUN "the source's word that the guest may run"

/* Waits for that word, also when the connection is gone; NULL if nobody does */
static Coroutine *destination_waits;
/* The connection that brought it, if that is another one */
static StreamChannel *destination_again;
static bool destination_has_guest;

void migration_peer_expect(void)
{
    conversation_reset(conversation_get());
    destination_has_guest = false;
}

/* Listening */

/* Is the machine that has arrived this one? */
static bool destination_knows(MigrationConversation *c, Error **errp)
{
    c->strange = !conversation_machine()->check(errp);
    return !c->strange;
}

static bool destination_hears_hello(MigrationConversation *c,
                                    StreamChannel *sc,
                                    const GByteArray *payload, Error **errp)
{
    MigrationIncomingState *mis = migration_incoming_get_current();
    g_autoptr(MigrationFacts) facts = NULL;
    MigrationFacts *peer;

    if (!qio_channel_has_feature(sc->base, QIO_CHANNEL_FEATURE_SHUTDOWN)) {
        /* What was said to somebody else, and recorded */
        return true;
    }
    peer = migration_facts_parse((const char *)payload->data, payload->len,
                                 errp);
    if (!peer) {
        return false;
    }
    WITH_QEMU_LOCK_GUARD(&c->lock) {
        c->token = peer->token;
        c->peer = peer;
    }
    if (!mis->to_src_file) {
        mis->to_src_file = qemu_file_get_return_path(mis->from_src_file);
    }
    if (!destination_knows(c, errp)) {
        return false;
    }
    facts = migration_facts_collect();
    migration_facts_add_dropped(facts, peer);
    facts->differences = QAPI_CLONE(MachineDifferenceList,
                                    (MachineDifferenceList *)
                                    conversation_machine()->differences());
    WITH_QEMU_LOCK_GUARD(&mis->rp_mutex) {
        if (!conversation_put_hello(sc, facts, errp)) {
            return false;
        }
    }
    return conversation_agree(c, peer, facts, errp);
}

bool destination_notice(MigrationConversation *c, StreamChannel *sc,
                        uint16_t type, const GByteArray *payload,
                        Error **errp)
{
    MigrationHandover handover = conversation_handover(c);
    StreamHandover heard;

    if (type == STREAM_RECORD_HELLO && !c->peer) {
        return destination_hears_hello(c, sc, payload, errp);
    }
    if (type == STREAM_RECORD_HELLO) {
        /* Over another connection, where the source would say RUN */
        error_setg(errp, "expected a hand-over record, got a hello record");
        return false;
    }
    if (!stream_handover_decode(payload->data, payload->len, &heard, errp)) {
        return false;
    }
    if (heard.message != STREAM_HANDOVER_RUN ||
        (handover != MIGRATION_HANDOVER_LOADED &&
         handover != MIGRATION_HANDOVER_ORPHANED && !conversation_lingers())) {
        error_setg(errp, "the source says '%s', which it cannot say now (the "
                   "hand-over is '%s' here)",
                   stream_handover_message_name(heard.message),
                   MigrationHandover_str(handover));
        return false;
    }
    if (heard.token != c->token) {
        error_setg(errp, "the source speaks of another migration: expected "
                   "token %016" PRIx64 ", got %016" PRIx64, c->token,
                   heard.token);
        return false;
    }
    destination_has_guest = true;
    return true;
}

/* Reads a part of the beginning; if the source can answer it has to hurry */
static int destination_gets(QEMUFile *f, StreamChannel *sc,
                            int (*get)(QEMUFile *f), const char *what)
{
    MigrationPatience patience;
    Error *err = NULL;
    int ret;

    if (!qio_channel_has_feature(sc->base, QIO_CHANNEL_FEATURE_SHUTDOWN)) {
        return get(f);
    }
    migration_patience_begin(&patience, sc->base, f, what);
    ret = get(f);
    migration_patience_end(&patience, &err);
    return ret;
}

int migration_peer_get_header(QEMUFile *f)
{
    MigrationIncomingState *mis = migration_incoming_get_current();
    StreamChannel *sc = stream_channel_of(f);
    Error *err = NULL;
    int ret;

    ret = destination_gets(f, sc, migration_stream_get_machine,
                           "the source's machine");
    if (ret) {
        return ret;
    }
    if (!conversation_machine()->ready(&err)) {
        qemu_file_set_error_obj(f, -EINVAL, err);
        return -EINVAL;
    }
    if (!migration_stored_arrived(sc, &err)) {
        qemu_file_set_error_obj(f, -EINVAL, err);
        return -EINVAL;
    }
    ret = destination_gets(f, sc, migration_stream_get_header,
                           "the source's hello and configuration");
    if (!ret && !destination_knows(conversation_get(), &err)) {
        qemu_file_set_error_obj(f, -EINVAL, err);
        return -EINVAL;
    }
    if (!ret && mis->to_src_file && !conversation_get()->peer) {
        error_setg(&err, "the source asked which version this side speaks, and "
                   "says no hello: expected one right behind the preamble");
        qemu_file_set_error_obj(f, -EINVAL, err);
        return -EINVAL;
    }
    return ret;
}

/* Speaking */

static bool destination_says(MigrationIncomingState *mis,
                             StreamHandoverMessage message, uint32_t detail,
                             const char *text, Error **errp)
{
    StreamChannel *sc = stream_channel_of(mis->from_src_file);

    QEMU_LOCK_GUARD(&mis->rp_mutex);
    return conversation_put(sc, message, detail, text, errp);
}

bool migration_peer_put_verdict(const GByteArray *payload, Error **errp)
{
    MigrationIncomingState *mis = migration_incoming_get_current();
    StreamChannel *sc = stream_channel_of(mis->from_src_file);

    QEMU_LOCK_GUARD(&mis->rp_mutex);
    if (!mis->to_src_file) {
        return true;
    }
    return stream_channel_put_notice(sc, STREAM_RECORD_VERDICT, payload->data,
                                     payload->len, errp);
}

/* How far loading has come, by what was read last */
static StreamHandoverPhase destination_phase(const MigrationConversation *c,
                                             StreamChannel *sc)
{
    if (c->strange) {
        return STREAM_PHASE_MACHINE;
    }
    if (!stream_reader_records(sc->reader)) {
        return STREAM_PHASE_HELLO;
    }
    switch (stream_reader_type(sc->reader)) {
    case STREAM_RECORD_MACHINE:
    case STREAM_RECORD_MACHINE_END:
        return STREAM_PHASE_MACHINE;
    case STREAM_RECORD_HELLO:
        return STREAM_PHASE_HELLO;
    case STREAM_RECORD_CONFIGURATION:
        return STREAM_PHASE_CONFIGURATION;
    case STREAM_RECORD_INDEX:
    case STREAM_RECORD_END:
        return STREAM_PHASE_COMPLETION;
    default:
        return STREAM_PHASE_STATE;
    }
}

/*
 * Reads on and throws away, until the source has hung up: if this side closed
 * the connection with something unread, that would be all that the source
 * hears.
 */
static void destination_drain(StreamChannel *sc)
{
    MigrationPatience patience;
    uint8_t bytes[4096];
    Error *err = NULL;

    migration_patience_begin(&patience, sc->base, NULL, "the source to hang up");
    while (stream_channel_receive(sc, bytes, sizeof(bytes), &err) > 0) {
        continue;
    }
    migration_patience_end(&patience, &err);
    error_free(err);
}

/* Does the source wait for an answer, of which the token has not come yet? */
static bool destination_is_spoken_to(StreamChannel *sc)
{
    switch (stream_reader_type(sc->reader)) {
    case STREAM_RECORD_MACHINE:
    case STREAM_RECORD_MACHINE_END:
    case STREAM_RECORD_HELLO:
        return true;
    default:
        return false;
    }
}

void migration_peer_refuse(QEMUFile *f, const Error *err)
{
    MigrationIncomingState *mis = migration_incoming_get_current();
    MigrationConversation *c = conversation_get();
    StreamChannel *sc = f ? stream_channel_of(f) : NULL;

    destination_begun();
    if (!sc || destination_has_guest ||
        postcopy_state_get() >= POSTCOPY_INCOMING_RUNNING ||
        !qio_channel_has_feature(sc->base, QIO_CHANNEL_FEATURE_SHUTDOWN) ||
        !(c->peer || destination_is_spoken_to(sc))) {
        return;
    }
    if (destination_says(mis, STREAM_HANDOVER_REFUSED, destination_phase(c, sc),
                         error_get_pretty(err), NULL) && qemu_in_coroutine()) {
        destination_drain(sc);
    }
    conversation_set_handover(c, MIGRATION_HANDOVER_REFUSED);
}

/* The hand-over */

static void destination_close(MigrationIncomingState *mis)
{
    WITH_QEMU_LOCK_GUARD(&mis->rp_mutex) {
        qemu_fclose(mis->to_src_file);
        mis->to_src_file = NULL;
    }
    migration_ioc_unregister_yank_from_file(mis->from_src_file);
    qemu_fclose(mis->from_src_file);
    mis->from_src_file = NULL;
}

/* Says that all is loaded, and waits for the guest */
static bool destination_offer(MigrationIncomingState *mis,
                              MigrationConversation *c, Error **errp)
{
    StreamChannel *sc = stream_channel_of(mis->from_src_file);
    MigrationPatience patience;
    bool ok;

    conversation_set_handover(c, MIGRATION_HANDOVER_LOADED);
    migration_patience_begin(&patience, sc->base, NULL, WORD_RUN);
    ok = destination_says(mis, STREAM_HANDOVER_LOADED,
                          stream_index_checksum(
                              stream_reader_index(sc->reader)), NULL, errp) &&
         stream_channel_get_notice(sc, errp);
    migration_patience_end(&patience, errp);
    return ok;
}

/* The connection is gone, and with it the source, for all that is known */
static void destination_orphaned(MigrationIncomingState *mis,
                                 MigrationConversation *c)
{
    conversation_set_handover(c, MIGRATION_HANDOVER_ORPHANED);
    destination_close(mis);
    migrate_set_state(&mis->state, MIGRATION_STATUS_ACTIVE,
                      MIGRATION_STATUS_FAILED);
    while (!destination_has_guest) {
        qemu_coroutine_yield();
    }
    migrate_set_state(&mis->state, MIGRATION_STATUS_FAILED,
                      MIGRATION_STATUS_ACTIVE);
}

void migration_peer_accept(MigrationIncomingState *mis)
{
    MigrationConversation *c = conversation_get();
    Error *err = NULL;

    if (conversation_handover(c) != MIGRATION_HANDOVER_AGREED) {
        return;
    }
    destination_waits = qemu_coroutine_self();
    if (!destination_offer(mis, c, &err) && !destination_has_guest) {
        error_append_hint(&err, "The source may run the guest, so it is paused "
                          "here with all of its state.  If the source is gone "
                          "for good, 'cont' makes it run here.\n");
        error_reportf_err(err, "migration stream: the guest was not given to "
                          "this side: ");
        destination_orphaned(mis, c);
    } else {
        error_free(err);
    }
    destination_waits = NULL;
    if (destination_again) {
        if (mis->from_src_file) {
            destination_close(mis);
        }
        mis->from_src_file = qemu_file_new_input(QIO_CHANNEL(
                                                     destination_again));
        mis->to_src_file = qemu_file_get_return_path(mis->from_src_file);
        object_unref(OBJECT(destination_again));
        destination_again = NULL;
    }
}

void migration_peer_claim(void)
{
    if (conversation_handover(conversation_get()) ==
        MIGRATION_HANDOVER_ORPHANED) {
        destination_has_guest = true;
        qemu_coroutine_enter(destination_waits);
    }
}

bool migration_peer_decline(MigrationIncomingState *mis, const Error *err)
{
    MigrationConversation *c = conversation_get();

    if (!destination_has_guest || !mis->from_src_file) {
        return false;
    }
    /* Disks that could be taken are given back */
    bdrv_inactivate_all();
    destination_has_guest = false;
    destination_says(mis, STREAM_HANDOVER_REFUSED, STREAM_PHASE_ACTIVATION,
                     error_get_pretty(err), NULL);
    conversation_set_handover(c, MIGRATION_HANDOVER_REFUSED);
    migrate_set_state(&mis->state, MIGRATION_STATUS_ACTIVE,
                      MIGRATION_STATUS_FAILED);
    return true;
}

void migration_peer_running(MigrationIncomingState *mis)
{
    if (destination_has_guest) {
        if (mis->from_src_file) {
            destination_says(mis, STREAM_HANDOVER_RUNNING, 0, NULL, NULL);
        }
        conversation_set_handover(conversation_get(), MIGRATION_HANDOVER_DONE);
        conversation_linger(mis);
    }
}

/* Being asked again */

bool migration_peer_waits(void)
{
    return destination_waits && !destination_again;
}

/* A connection that may bring the word which another one lost */
static void coroutine_fn destination_reconnected(void *opaque)
{
    MigrationIncomingState *mis = migration_incoming_get_current();
    g_autoptr(StreamChannel) sc = opaque;
    MigrationPatience patience;
    Error *err = NULL;
    uint32_t version;
    bool ok;

    migration_patience_begin(&patience, sc->base, NULL, WORD_RUN);
    version = stream_reader_preamble(sc->reader, &err);
    if (version && version != STREAM_VERSION) {
        error_setg(&err, "expected a stream of version %d, got one of version "
                   "%" PRIu32, STREAM_VERSION, version);
    }
    ok = !err && stream_channel_get_notice(sc, &err);
    migration_patience_end(&patience, &err);
    if (ok && conversation_lingers()) {
        conversation_put(sc, STREAM_HANDOVER_RUNNING, 0, NULL, NULL);
        qio_channel_close(sc->base, NULL);
        return;
    }
    if (ok && (!destination_waits || destination_again)) {
        error_setg(&err, "the guest was taken meanwhile");
    }
    if (err) {
        error_reportf_err(err, "migration stream: another connection, which "
                          "is not the source's: ");
        qio_channel_close(sc->base, NULL);
        return;
    }
    /* Only now, as yanks cannot outlive the migration, and strangers may */
    migration_ioc_register_yank(sc->base);
    destination_again = g_steal_pointer(&sc);
    if (mis->from_src_file) {
        /* Its reader wakes up, and finds that the word has come */
        qemu_file_shutdown(mis->from_src_file);
    } else {
        qemu_coroutine_enter(destination_waits);
    }
}

bool migration_peer_reconnected(QIOChannel *ioc)
{
    StreamChannel *sc;

    if (!migration_peer_waits() && !conversation_lingers()) {
        return false;
    }
    sc = stream_channel_new(ioc, false);
    conversation_listen(sc);
    qio_channel_set_blocking(ioc, false, NULL);
    qemu_coroutine_enter(qemu_coroutine_create(destination_reconnected, sc));
    return true;
}
