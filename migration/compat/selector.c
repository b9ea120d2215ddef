/*
 * Which version of the migration stream is spoken
 *
 * Implements "Versions" of docs/devel/migration-v4/wire-format.rst.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/cutils.h"
#include "qemu/lockable.h"
#include "qapi/error.h"
#include "qapi/qapi-visit-migration-stream.h"
#include "hw/qdev-properties.h"
#include "conversation.h"
#include "migration/compat/peer.h"
#include "migration/compat/selector.h"
#include "migration/compat/stored.h"
#include "migration/stream/channel.h"
#include "migration/stream/file.h"
#include "migration/stream/tls.h"
#include "migration/migration.h"
#include "migration/misc.h"
#include "migration/qemu-file.h"

/* The parameter, and the property of the migration object */

static MigrationStreamVersion *version_number(int64_t number)
{
    MigrationStreamVersion *v = g_new0(MigrationStreamVersion, 1);

    v->type = QTYPE_QNUM;
    v->u.number = number;
    return v;
}

static MigrationStreamVersion *version_auto(void)
{
    MigrationStreamVersion *v = g_new0(MigrationStreamVersion, 1);

    v->type = QTYPE_QSTRING;
    v->u.word = MIGRATION_STREAM_AUTO_AUTO;
    return v;
}

static MigrationStreamVersion *version_to_qapi(int64_t version)
{
    return version == STREAM_VERSION_AUTO ? version_auto()
                                          : version_number(version);
}

static int64_t version_from_qapi(const MigrationStreamVersion *v)
{
    return v->type == QTYPE_QSTRING ? STREAM_VERSION_AUTO : v->u.number;
}

static bool version_exists(const MigrationStreamVersion *v)
{
    return v->type == QTYPE_QSTRING || v->u.number == STREAM_VERSION_LEGACY ||
           v->u.number == STREAM_VERSION;
}

static void refuse_version(Error **errp)
{
    error_setg(errp, "Parameter 'stream-version' takes a version of the "
               "migration stream, %d, %d or auto", STREAM_VERSION_LEGACY,
               STREAM_VERSION);
}

bool visit_migration_stream_version(Visitor *v, const char *name,
                                    MigrationStreamVersion **version,
                                    Error **errp)
{
    g_autofree char *word = NULL;
    int64_t number;

    /* A command line gives a string in any case */
    if (visit_type_int64(v, name, &number, NULL)) {
        *version = version_number(number);
        return true;
    }
    if (visit_type_str(v, name, &word, NULL) &&
        !strcmp(word, MigrationStreamAuto_str(MIGRATION_STREAM_AUTO_AUTO))) {
        *version = version_auto();
        return true;
    }
    /* What isn't even a number gets the same answer as a wrong one */
    refuse_version(errp);
    return false;
}

char *migration_stream_version_to_text(const MigrationStreamVersion *version)
{
    return version->type == QTYPE_QSTRING
        ? g_strdup(MigrationStreamAuto_str(version->u.word))
        : g_strdup_printf("%" PRId64, version->u.number);
}

MigrationStreamVersion *migration_stream_get_version(void)
{
    return version_to_qapi(migrate_get_current()->stream_version);
}

void migration_stream_set_version(const MigrationStreamVersion *version)
{
    migrate_get_current()->stream_version = version_from_qapi(version);
}

static void get_stream_version(Object *obj, Visitor *v, const char *name,
                               void *opaque, Error **errp)
{
    int64_t *ptr = object_field_prop_ptr(obj, opaque);
    MigrationStreamVersion *version = version_to_qapi(*ptr);

    visit_type_MigrationStreamVersion(v, name, &version, errp);
    qapi_free_MigrationStreamVersion(version);
}

static void set_stream_version(Object *obj, Visitor *v, const char *name,
                               void *opaque, Error **errp)
{
    int64_t *ptr = object_field_prop_ptr(obj, opaque);
    MigrationStreamVersion *version;

    if (!visit_migration_stream_version(v, name, &version, errp)) {
        return;
    }
    if (version_exists(version)) {
        *ptr = version_from_qapi(version);
    } else {
        refuse_version(errp);
    }
    qapi_free_MigrationStreamVersion(version);
}

static void set_default_stream_version(ObjectProperty *op,
                                       const Property *prop)
{
    object_property_set_default_int(op, prop->defval.i);
}

const PropertyInfo qdev_prop_stream_version = {
    .name = "MigrationStreamVersion",
    .description = "version of the migration stream, 3, 4 or auto",
    .get = get_stream_version,
    .set = set_stream_version,
    .set_default_value = set_default_stream_version,
};

bool migration_stream_runs(void)
{
    MigrationIncomingState *mis = migration_incoming_get_current();

    return !migration_is_idle() || mis->from_src_file ||
           mis->state == MIGRATION_STATUS_POSTCOPY_PAUSED;
}

bool migration_stream_check_version(const MigrationStreamVersion *version,
                                    Error **errp)
{
    if (!version_exists(version)) {
        refuse_version(errp);
        return false;
    }
    if (version_from_qapi(version) != migrate_get_current()->stream_version &&
        migration_stream_runs()) {
        error_setg(errp, "Parameter 'stream-version' cannot be changed while "
                   "a migration runs");
        return false;
    }
    return true;
}

/* Files */

static int64_t selected(void)
{
    return migrate_get_current()->stream_version;
}

/* What comes in may be of version 3 until it has been looked at */
static int64_t selected_for(bool outgoing)
{
    return outgoing || selected() == STREAM_VERSION_LEGACY
        ? selected() : STREAM_VERSION_AUTO;
}

bool migration_stream_may_be_v4(void)
{
    return selected() != STREAM_VERSION_LEGACY &&
           conversation_version(conversation_get()) != STREAM_VERSION_LEGACY;
}

static QEMUFile *new_file(QIOChannel *ioc, bool outgoing)
{
    return outgoing ? qemu_file_new_output(ioc) : qemu_file_new_input(ioc);
}

/* @version: STREAM_VERSION_AUTO if that will turn out later */
static QEMUFile *new_stream(QIOChannel *ioc, bool outgoing, int64_t version,
                            StreamIndex *index)
{
    g_autoptr(StreamChannel) sc = NULL;

    if (version == STREAM_VERSION_LEGACY) {
        return new_file(ioc, outgoing);
    }
    sc = version == STREAM_VERSION ? stream_channel_new(ioc, outgoing)
                                   : stream_channel_new_passing(ioc, outgoing);
    stream_channel_set_index(sc, index);
    migration_stored_begin(sc);
    return new_file(QIO_CHANNEL(sc), outgoing);
}

/*
 * A connection of a migration.  @kept holds on to the index of the stream, so
 * that another connection can continue the stream.
 */
static QEMUFile *new_connection(QIOChannel *ioc, bool outgoing, bool resumed,
                                StreamIndex **kept)
{
    MigrationConversation *c = conversation_get();
    StreamChannel *sc;
    QEMUFile *f;

    migration_tls_begin(ioc);
    if (resumed) {
        stream_index_resume(*kept);
    } else {
        stream_index_unref(*kept);
        *kept = stream_index_new();
        migration_stream_start(*kept);
        conversation_set_version(c, selected_for(outgoing));
    }
    f = new_stream(ioc, outgoing, conversation_version(c), *kept);
    sc = stream_channel_under(f);
    if (sc) {
        /* The other side has something to say, in version 4 */
        conversation_listen(sc);
    }
    return f;
}

QEMUFile *migration_stream_output(QIOChannel *ioc)
{
    static StreamIndex *index;
    int state = migrate_get_current()->state;

    return new_connection(ioc, true, state == MIGRATION_STATUS_POSTCOPY_PAUSED,
                          &index);
}

QEMUFile *migration_stream_input(QIOChannel *ioc)
{
    static StreamIndex *index;
    int state = migration_incoming_get_current()->state;
    bool resumed = state == MIGRATION_STATUS_POSTCOPY_PAUSED;

    if (!resumed) {
        migration_peer_expect();
    }
    return new_connection(ioc, false, resumed, &index);
}

QEMUFile *migration_stream_snapshot(QIOChannel *ioc, bool saving)
{
    g_autoptr(StreamIndex) index = stream_index_new();
    int64_t version = selected_for(saving);

    if (saving && version == STREAM_VERSION_AUTO) {
        /* Nobody is there to be asked */
        version = STREAM_VERSION_LEGACY;
    }
    migration_stream_start(index);
    return new_stream(ioc, saving, version, index);
}

/* They are of the version of the stream that they belong to */
static QEMUFile *new_pages(QIOChannel *ioc, bool outgoing, QEMUFile *stream)
{
    StreamChannel *lead = stream ? stream_channel_under(stream) : NULL;
    g_autoptr(StreamChannel) sc = NULL;

    if (lead) {
        sc = stream_channel_new(ioc, outgoing);
        sc->message = STREAM_RECORD_PAGES;
        stream_channel_follow(sc, lead);
        ioc = QIO_CHANNEL(sc);
    }
    return new_file(ioc, outgoing);
}

QEMUFile *migration_stream_pages_output(QIOChannel *ioc)
{
    MigrationState *s = migrate_get_current();

    QEMU_LOCK_GUARD(&s->qemu_file_lock);
    return new_pages(ioc, true, s->to_dst_file);
}

QEMUFile *migration_stream_pages_input(QIOChannel *ioc)
{
    return new_pages(ioc, false,
                     migration_incoming_get_current()->from_src_file);
}

/*
 * In version 3 a destination waits for ever for the channel for urgent pages to
 * say which one of multifd's it is
 */
static bool check_channels(Error **errp)
{
    if (selected() != STREAM_VERSION_LEGACY || !migrate_use_multifd() ||
        !migrate_postcopy_preempt()) {
        return true;
    }
    error_setg(errp, "Migration stream version 3 cannot go over channels of "
               "'multifd' and of 'postcopy-preempt': expected only one of "
               "these capabilities, got both");
    error_append_hint(errp, "Switch one of them off with "
                      "migrate_set_capability, or set the migration parameter "
                      "'stream-version' to 4 on both sides.\n");
    return false;
}

/* What a command says is read to its end, which comes behind the stream's */
static bool check_answer(const char *uri, Error **errp)
{
    if (!strstart(uri, "exec:", NULL) ||
        (!migrate_use_return_path() && !migrate_postcopy_ram())) {
        return true;
    }
    error_setg(errp, "In migration stream version 4 nobody answers to 'exec:', "
               "and the capability '%s' would wait for it",
               migrate_postcopy_ram() ? "postcopy-ram" : "return-path");
    error_append_hint(errp, "Switch it off with migrate_set_capability.\n");
    return false;
}

static bool check_transport(const char *uri, Error **errp)
{
    if (!strstart(uri, "rdma:", NULL)) {
        return true;
    }
    error_setg(errp, "Migration stream version 4 cannot go over 'rdma', which "
               "puts pages into the destination's memory without a record "
               "that could be checked; for that, set the migration parameter "
               "'stream-version' to 3 on both sides");
    return false;
}

bool migration_stream_check(const char *uri, bool outgoing, Error **errp)
{
    if (!check_channels(errp)) {
        return false;
    }
    return selected() != STREAM_VERSION ||
           (check_transport(uri, errp) &&
            (!outgoing || check_answer(uri, errp)));
}
