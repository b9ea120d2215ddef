/*
 * Which version of the stream two sides speak, found out by asking
 *
 * A stream of version 3 begins, whose first command is a question that every
 * destination answers.  One that knows version 4 answers it in another way,
 * and then both begin anew.  Implements
 * docs/devel/migration-v4/upgrade.rst.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/error-report.h"
#include "qemu/lockable.h"
#include "qapi/error.h"
#include "conversation.h"
#include "migration/compat/peer.h"
#include "migration/compat/selector.h"
#include "migration/migration.h"
#include "migration/qemu-file.h"
#include "migration/savevm.h"
#include "migration/stream/file.h"

#define QUESTION 0x51344856u
#define ANSWER (~QUESTION)

/* Two commands of version 3, to the byte: open the return path, and ping */
static const uint8_t question[] = {
    QEMU_VM_COMMAND, 0, 1, 0, 0,
    QEMU_VM_COMMAND, 0, 2, 0, 4,
    QUESTION >> 24, QUESTION >> 16 & 0xff, QUESTION >> 8 & 0xff,
    QUESTION & 0xff,
};

/* The source */

static bool source_knows_version(MigrationConversation *c)
{
    return c->version != STREAM_VERSION_AUTO;
}

bool source_ask(MigrationState *s, MigrationConversation *c, Error **errp)
{
    QEMUFile *f = s->to_dst_file;

    qemu_savevm_state_header(f);
    WITH_QEMU_LOCK_GUARD(&c->lock) {
        /* Nothing is on the way when the answer turns the channel around */
        qemu_put_buffer(f, question, sizeof(question));
        qemu_fflush(f);
        c->asked = true;
    }
    return source_wait(s, c, source_knows_version, "the destination's answer "
                       "which version of the stream it speaks", errp);
}

static bool source_hears_answer(MigrationConversation *c, QEMUFile *rp,
                                uint32_t value, Error **errp)
{
    QEMU_LOCK_GUARD(&c->lock);
    if (!c->asked) {
        /* The answer to some other ping, of which nothing depends */
        return true;
    }
    if (value != QUESTION && value != ANSWER) {
        error_setg(errp, "the destination answers something else than it was "
                   "asked: expected 0x%08x or 0x%08x, got 0x%08" PRIx32,
                   QUESTION, ANSWER, value);
        return false;
    }
    if (value == ANSWER && qemu_file_buffered(rp)) {
        error_setg(errp, "the destination says something behind its answer, "
                   "before the source's hello: expected nothing, got %zu "
                   "bytes", qemu_file_buffered(rp));
        return false;
    }
    if (value == ANSWER) {
        stream_channel_start(stream_channel_under(rp));
    }
    c->asked = false;
    conversation_settle(c, value == ANSWER ? STREAM_VERSION
                                           : STREAM_VERSION_LEGACY);
    return true;
}

bool migration_peer_pong(QEMUFile *rp, uint32_t value)
{
    Error *err = NULL;

    if (source_hears_answer(conversation_get(), rp, value, &err)) {
        return true;
    }
    qemu_file_set_error_obj(rp, -EINVAL, err);
    return false;
}

/* The destination */

static bool destination_insists(void)
{
    return migrate_get_current()->stream_version == STREAM_VERSION;
}

static bool destination_can_answer(const StreamChannel *sc)
{
    return qio_channel_has_feature(sc->base, QIO_CHANNEL_FEATURE_SHUTDOWN);
}

/* Until version 4 begins.  A source of version 3 may take its time, as ever */
static MigrationPatience patience;

static void destination_expects(StreamChannel *sc, QEMUFile *f)
{
    if (destination_insists() && destination_can_answer(sc)) {
        migration_patience_begin(&patience, sc->base, f,
                                 "the source's machine");
    }
}

void destination_begun(void)
{
    Error *err = NULL;

    if (patience.what) {
        migration_patience_end(&patience, &err);
        patience.what = NULL;
    }
}

void migration_peer_look(QEMUFile *f)
{
    StreamChannel *sc = stream_channel_under(f);
    uint32_t version;

    if (!sc || stream_channel_of(f)) {
        return;
    }
    destination_expects(sc, f);
    version = stream_channel_look(sc);
    /* What is neither version is best refused by who reads version 4 */
    if (version != STREAM_VERSION_LEGACY ||
        (destination_insists() && !destination_can_answer(sc))) {
        destination_begun();
        stream_channel_start(sc);
        conversation_set_version(conversation_get(), STREAM_VERSION);
    }
}

/* Looks no further than to where a source that asks something else differs */
static bool destination_is_asked(QEMUFile *f)
{
    for (int n = 0; n < sizeof(question); n++) {
        if (qemu_peek_byte(f, n) != question[n]) {
            return false;
        }
    }
    qemu_file_skip(f, sizeof(question));
    return true;
}

/* Version 3 has come, and no other will */
static int destination_takes_legacy(QEMUFile *f, StreamChannel *sc)
{
    Error *err = NULL;

    if (conversation_machine()->legacy(&err)) {
        return 0;
    }
    if (sc) {
        stream_channel_start(sc);
    } else {
        /* Who loads version 3 prints no more than the number */
        error_reportf_err(error_copy(err), "migration stream: ");
    }
    qemu_file_set_error_obj(f, -ENOTSUP, err);
    return -ENOTSUP;
}

int migration_peer_answer(QEMUFile *f)
{
    MigrationIncomingState *mis = migration_incoming_get_current();
    MigrationConversation *c = conversation_get();
    StreamChannel *sc = stream_channel_under(f);
    Error *err = NULL;
    bool asked;

    if (!sc) {
        return destination_takes_legacy(f, NULL);
    }
    asked = destination_can_answer(sc) && destination_is_asked(f);
    destination_begun();
    if (!asked && !destination_insists()) {
        int ret = destination_takes_legacy(f, sc);

        if (!ret) {
            conversation_set_version(c, STREAM_VERSION_LEGACY);
        }
        return ret;
    }
    if (!asked) {
        stream_channel_start(sc);
        return migration_stream_refuse_version(f, STREAM_VERSION_LEGACY);
    }
    if (qemu_file_buffered(f)) {
        stream_channel_start(sc);
        error_setg(&err, "the source says something behind its question, "
                   "before it is answered: expected nothing, got %zu bytes",
                   qemu_file_buffered(f));
        qemu_file_set_error_obj(f, -EINVAL, err);
        return -EINVAL;
    }
    mis->to_src_file = qemu_file_get_return_path(f);
    migrate_send_rp_pong(mis, ANSWER);
    stream_channel_start(sc);
    conversation_set_version(c, STREAM_VERSION);
    return 1;
}
