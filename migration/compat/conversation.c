/*
 * What the two sides of a migration say to each other: common to both
 *
 * Implements docs/devel/migration-v4/conversation.rst, with peer-source.c and
 * peer-destination.c.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/cutils.h"
#include "qemu/main-loop.h"
#include "qapi/error.h"
#include "monitor/monitor.h"
#include "conversation.h"
#include "migration/compat/peer.h"
#include "migration/compat/selector.h"
#include "migration/migration.h"
#include "migration/qemu-file.h"
#include "migration/stream/index.h"
#include "trace.h"

#define PEER_TIMEOUT_MAX (3600 * 1000)

static MigrationConversation conversation;

static void __attribute__((constructor)) conversation_init(void)
{
    qemu_mutex_init(&conversation.lock);
    qemu_cond_init(&conversation.changed);
}

MigrationConversation *conversation_get(void)
{
    return &conversation;
}

void conversation_reset(MigrationConversation *c)
{
    QEMU_LOCK_GUARD(&c->lock);
    c->handover = MIGRATION_HANDOVER_NONE;
    c->token = 0;
    c->version = STREAM_VERSION_LEGACY;
    c->asked = false;
    c->strange = false;
    g_clear_pointer(&c->peer, migration_facts_free);
    g_clear_pointer(&c->agreement, migration_agreement_free);
}

void conversation_set_handover(MigrationConversation *c,
                               MigrationHandover handover)
{
    QEMU_LOCK_GUARD(&c->lock);
    trace_migration_peer_handover(MigrationHandover_str(c->handover),
                                  MigrationHandover_str(handover));
    c->handover = handover;
    qemu_cond_broadcast(&c->changed);
}

MigrationHandover conversation_handover(MigrationConversation *c)
{
    QEMU_LOCK_GUARD(&c->lock);
    return c->handover;
}

void conversation_settle(MigrationConversation *c, int64_t version)
{
    trace_migration_peer_version(version);
    c->version = version;
    qemu_cond_broadcast(&c->changed);
}

void conversation_set_version(MigrationConversation *c, int64_t version)
{
    QEMU_LOCK_GUARD(&c->lock);
    conversation_settle(c, version);
}

int64_t conversation_version(MigrationConversation *c)
{
    QEMU_LOCK_GUARD(&c->lock);
    return c->version;
}

bool migration_peer_check_timeout(uint32_t timeout, Error **errp)
{
    if (timeout < 1 || timeout > PEER_TIMEOUT_MAX) {
        error_setg(errp, "Parameter 'peer-timeout' takes 1 to %d milliseconds",
                   PEER_TIMEOUT_MAX);
        return false;
    }
    return true;
}

bool conversation_agree(MigrationConversation *c, const MigrationFacts *source,
                        const MigrationFacts *destination, Error **errp)
{
    MigrationAgreement *agreement = migration_negotiate(source, destination);

    WITH_QEMU_LOCK_GUARD(&c->lock) {
        c->agreement = agreement;
        if (c->handover == MIGRATION_HANDOVER_NONE && !agreement->refusals &&
            migration_agreement_has_feature(agreement, "hand-over")) {
            c->handover = MIGRATION_HANDOVER_AGREED;
        }
    }
    return migration_agreement_check(agreement, errp);
}

/* The machine */

static const MigrationPeerMachine *peer_machine;

void migration_peer_set_machine(const MigrationPeerMachine *machine)
{
    peer_machine = machine;
}

const MigrationPeerMachine *conversation_machine(void)
{
    return peer_machine;
}

/* Speaking and listening */

static bool conversation_notice(void *opaque, uint16_t type,
                                const GByteArray *payload, Error **errp)
{
    StreamChannel *sc = opaque;

    trace_migration_peer_notice(stream_record_type_name(type), payload->len);
    return (sc->outgoing ? source_notice : destination_notice)(
        &conversation, sc, type, payload, errp);
}

void conversation_listen(StreamChannel *sc)
{
    stream_channel_set_notice(sc, conversation_notice, sc);
}

bool conversation_put_hello(StreamChannel *sc, const MigrationFacts *facts,
                            Error **errp)
{
    g_autoptr(GString) json = migration_facts_to_json(facts);

    if (json->len > STREAM_NOTICE_MAX) {
        error_setg(errp, "the hello of this machine is too long to be sent: "
                   "expected at most %d bytes, got %zu",
                   (int)STREAM_NOTICE_MAX, json->len);
        return false;
    }
    return stream_channel_put_notice(sc, STREAM_RECORD_HELLO, json->str,
                                     json->len, errp);
}

bool conversation_put(StreamChannel *sc, StreamHandoverMessage message,
                      uint32_t detail, const char *text, Error **errp)
{
    StreamHandover handover = {
        .message = message,
        .detail = detail,
        .token = conversation.token,
    };
    uint8_t wire[STREAM_HANDOVER_MAX];

    pstrcpy(handover.text, sizeof(handover.text), text ?: "");
    trace_migration_peer_say(stream_handover_message_name(message), detail,
                             handover.text);
    return stream_channel_put_notice(sc, STREAM_RECORD_HANDOVER, wire,
                                     stream_handover_encode(&handover, wire),
                                     errp);
}

/* Patience */

static Error *migration_patience_error(const MigrationPatience *p)
{
    Error *err = NULL;

    error_setg(&err, "after %" PRIu32 " ms there is no answer: expected %s",
               migrate_get_current()->parameters.peer_timeout, p->what);
    return err;
}

static void migration_patience_over(void *opaque)
{
    MigrationPatience *p = opaque;

    if (p->f) {
        /* The first error is the one that counts */
        qemu_file_set_error_obj(p->f, -ETIMEDOUT, migration_patience_error(p));
    }
    qio_channel_shutdown(p->ioc, QIO_CHANNEL_SHUTDOWN_BOTH, NULL);
    p->ioc = NULL;
}

void migration_patience_begin(MigrationPatience *p, QIOChannel *ioc,
                              QEMUFile *f, const char *what)
{
    *p = (MigrationPatience) { .ioc = ioc, .f = f, .what = what };
    timer_init_ms(&p->timer, QEMU_CLOCK_REALTIME, migration_patience_over, p);
    timer_mod(&p->timer, qemu_clock_get_ms(QEMU_CLOCK_REALTIME) +
              migrate_get_current()->parameters.peer_timeout);
}

void migration_patience_end(MigrationPatience *p, Error **errp)
{
    bool locked = qemu_mutex_iothread_locked();

    /* With the BQL the timer does not run meanwhile, nor later */
    if (!locked) {
        qemu_mutex_lock_iothread();
    }
    timer_del(&p->timer);
    if (!locked) {
        qemu_mutex_unlock_iothread();
    }
    if (!p->ioc && *errp) {
        error_free(*errp);
        *errp = migration_patience_error(p);
    }
}

/* For people */

static strList *conversation_features(const MigrationAgreement *agreement)
{
    strList *features = NULL;

    for (guint n = agreement->features->len; n-- > 0; ) {
        QAPI_LIST_PREPEND(features,
                          g_strdup(g_ptr_array_index(agreement->features, n)));
    }
    return features;
}

static strList *conversation_notes(const MigrationAgreement *agreement)
{
    strList *notes = NULL;

    for (guint n = agreement->remarks->len; n-- > 0; ) {
        const MigrationRemark *remark =
            g_ptr_array_index(agreement->remarks, n);

        if (!remark->fatal) {
            QAPI_LIST_PREPEND(notes, migration_remark_to_text(remark));
        }
    }
    return notes;
}

MigrationPeerInfo *migration_peer_info(void)
{
    MigrationConversation *c = &conversation;
    MigrationPeerInfo *info;

    QEMU_LOCK_GUARD(&c->lock);
    if (!c->agreement) {
        return NULL;
    }
    info = g_new0(MigrationPeerInfo, 1);
    info->qemu_version = g_strdup(c->peer->qemu_version);
    info->has_qemu_package = c->peer->qemu_package;
    info->qemu_package = g_strdup(c->peer->qemu_package);
    info->machine = g_strdup(c->peer->machine);
    info->stream_version = c->agreement->stream_version;
    info->features = conversation_features(c->agreement);
    info->notes = conversation_notes(c->agreement);
    info->hand_over = c->handover;
    return info;
}

void hmp_info_migrate_peer(Monitor *mon, const MigrationPeerInfo *info)
{
    monitor_printf(mon, "peer: QEMU %s%s%s%s, machine type '%s'\n",
                   info->qemu_version, info->has_qemu_package ? " (" : "",
                   info->has_qemu_package ? info->qemu_package : "",
                   info->has_qemu_package ? ")" : "", info->machine);
    monitor_printf(mon, "peer stream version: %" PRIu32 "\n",
                   info->stream_version);
    monitor_printf(mon, "peer features:");
    for (strList *feature = info->features; feature; feature = feature->next) {
        monitor_printf(mon, " %s", feature->value);
    }
    monitor_printf(mon, "\npeer hand-over: %s\n",
                   MigrationHandover_str(info->hand_over));
    for (strList *note = info->notes; note; note = note->next) {
        monitor_printf(mon, "  %s\n", note->value);
    }
}
