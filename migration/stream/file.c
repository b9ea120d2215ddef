/*
 * Migration stream version 4: sections on a QEMUFile
 *
 * The glue between savevm.c and the records.  Implements "Order" of
 * docs/devel/migration-v4/wire-format.rst.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/cutils.h"
#include "qemu/error-last.h"
#include "qemu/error-report.h"
#include "qapi/error.h"
#include "hw/boards.h"
#include "migration/stream/channel.h"
#include "migration/stream/file.h"
#include "migration/qemu-file.h"
#include "migration/colo.h"
#include "migration/migration.h"
#include "migration/misc.h"
#include "migration/savevm.h"
#include "migration/stream/figures.h"
#include "migration/stream/map.h"
#include "migration/stream/structs.h"
#include "migration/stream/unused.h"
#include "trace.h"

/* Hooks pass the values of version 3, and records keep them */
static_assert((int)STREAM_RECORD_END == QEMU_VM_EOF, "end");
static_assert((int)STREAM_RECORD_SECTION_START == QEMU_VM_SECTION_START,
              "section start");
static_assert((int)STREAM_RECORD_SECTION_PART == QEMU_VM_SECTION_PART,
              "section part");
static_assert((int)STREAM_RECORD_SECTION_END == QEMU_VM_SECTION_END,
              "section end");
static_assert((int)STREAM_RECORD_SECTION_FULL == QEMU_VM_SECTION_FULL,
              "section");
static_assert((int)STREAM_RECORD_VMDESCRIPTION == QEMU_VM_VMDESCRIPTION,
              "description");
static_assert((int)STREAM_RECORD_CONFIGURATION == QEMU_VM_CONFIGURATION,
              "configuration");
static_assert((int)STREAM_RECORD_COMMAND == QEMU_VM_COMMAND, "command");
static_assert(STREAM_MAGIC == QEMU_VM_FILE_MAGIC, "magic");

static const StreamMachine *stream_machine;

void migration_stream_set_machine(const StreamMachine *machine)
{
    stream_machine = machine;
}

/* Saving */

/*
 * Everything went through, and so did what the map is about?  Of a postcopy the
 * guest runs at the destination by now, and it can only be told.
 */
static void stream_file_check_map(QEMUFile *f, bool postcopy)
{
    Error *err = NULL;

    if (qemu_file_get_error(f) || stream_map_check(&err)) {
        return;
    }
    if (postcopy) {
        warn_report_err(err);
        return;
    }
    /* Who loads version 3 prints no more than the number */
    if (!migration_stream_is_v4(f)) {
        error_reportf_err(error_copy(err), "migration stream: ");
    }
    qemu_file_set_error_obj(f, -EINVAL, err);
}

/* Why saving failed, which the file is not always asked at the end */
static void stream_file_tell_error(QEMUFile *f)
{
    Error *err = NULL;

    qemu_file_get_error_obj(f, &err);
    if (err) {
        migrate_set_error(migrate_get_current(), err);
        error_free(err);
    }
}

static void stream_file_begin(QEMUFile *f, StreamChannel *sc, uint8_t type,
                              uint32_t section_id, const StreamIdent *ident)
{
    if (qemu_file_get_error(f)) {
        return;
    }
    trace_migration_stream_begin(stream_record_type_name(type), section_id,
                                 ident ? ident->name : "",
                                 ident ? ident->instance_id : 0);
    if (ident) {
        stream_figures_add_section();
    }
    stream_structs(sc)->whole = migration_stream_is_whole();
    /* Pages that the destination waits for */
    sc->prompt = type == QEMU_VM_SECTION_PART && migration_in_postcopy();
    stream_writer_begin(sc->writer, type,
                        ident && stream_map_drops(ident->name)
                        ? STREAM_FLAG_OPTIONAL : 0, section_id, ident);
}

bool migration_stream_put_machine(StreamChannel *sc, Error **errp)
{
    g_autoptr(GString) json = stream_machine->describe(errp);

    if (!json) {
        return false;
    }
    if (json->len > STREAM_MACHINE_MAX) {
        error_setg(errp, "the description of this machine is too long to be "
                   "sent: expected at most %d bytes, got %zu",
                   (int)STREAM_MACHINE_MAX, json->len);
        return false;
    }
    trace_migration_stream_put_machine(json->len);
    return stream_writer_preamble(sc->writer, errp) &&
           stream_channel_put_notice(sc, STREAM_RECORD_MACHINE, json->str,
                                     json->len, errp) &&
           stream_channel_put_notice(sc, STREAM_RECORD_MACHINE_END, NULL, 0,
                                     errp);
}

bool migration_stream_put_header(QEMUFile *f)
{
    StreamChannel *sc = stream_channel_of(f);
    Error *err = NULL;

    if (!sc) {
        return false;
    }
    /* A hello goes before the configuration, and behind the machine */
    if (!stream_writer_bytes(sc->writer) &&
        !migration_stream_put_machine(sc, &err)) {
        qemu_file_set_error_obj(f, -EIO, err);
    }
    stream_file_begin(f, sc, QEMU_VM_CONFIGURATION, 0, NULL);
    return true;
}

void migration_stream_begin(QEMUFile *f, uint8_t type)
{
    StreamChannel *sc = stream_channel_of(f);

    if (sc) {
        stream_file_begin(f, sc, type, 0, NULL);
    } else {
        qemu_put_byte(f, type);
    }
}

bool migration_stream_begin_section(QEMUFile *f, uint8_t type,
                                    uint32_t section_id, const char *name,
                                    uint32_t instance_id, uint32_t version_id)
{
    StreamChannel *sc = stream_channel_of(f);
    StreamIdent ident = { .instance_id = instance_id };

    if (!sc) {
        return false;
    }
    if (stream_record_identifies(type)) {
        pstrcpy(ident.name, sizeof(ident.name), name);
        ident.version_id = migration_stream_choose_section(f, name, instance_id,
                                                           version_id);
    }
    stream_file_begin(f, sc, type, section_id,
                      stream_record_identifies(type) ? &ident : NULL);
    return true;
}

bool migration_stream_end(QEMUFile *f)
{
    StreamChannel *sc = stream_channel_of(f);
    Error *err = NULL;

    if (!sc) {
        return false;
    }
    qemu_fflush(f);
    if (qemu_file_get_error(f)) {
        return true;
    }
    if (!stream_writer_end(sc->writer, &err)) {
        qemu_file_set_error_obj(f, -EIO, err);
        return true;
    }
    stream_figures_written(f, sc);
    return true;
}

/* What is in the file, and what it is from, for who reads it some day */
static void stream_file_put_facts(QEMUFile *f, StreamChannel *sc)
{
    g_autoptr(GString) json = NULL;
    Error *err = NULL;

    if (!sc->stored || qemu_file_get_error(f)) {
        return;
    }
    stream_stored_finish(sc->stored);
    json = stream_spares()->describe(sc->stored, &err);
    if (json && json->len > STREAM_FACTS_MAX) {
        error_setg(&err, "the facts about this QEMU are too long to be stored: "
                   "expected at most %d bytes, got %zu", (int)STREAM_FACTS_MAX,
                   json->len);
    }
    if (!err) {
        stream_writer_begin(sc->writer, STREAM_RECORD_FACTS,
                            STREAM_FLAG_OPTIONAL, 0, NULL);
        if (stream_writer_append(sc->writer, json->str, json->len, &err)) {
            migration_stream_end(f);
        }
    }
    if (err) {
        qemu_file_set_error_obj(f, -EIO, err);
    }
}

bool migration_stream_put_tail(QEMUFile *f, const char *vmdesc)
{
    stream_file_check_map(f, migration_in_postcopy());
    stream_file_tell_error(f);
    if (!migration_stream_is_v4(f)) {
        return false;
    }
    if (vmdesc) {
        migration_stream_begin(f, QEMU_VM_VMDESCRIPTION);
        qemu_put_buffer(f, (const uint8_t *)vmdesc, strlen(vmdesc));
        migration_stream_end(f);
    }
    stream_file_put_facts(f, stream_channel_of(f));
    migration_stream_put_end(f);
    return true;
}

void migration_stream_put_end(QEMUFile *f)
{
    StreamChannel *sc = stream_channel_of(f);
    Error *err = NULL;

    if (!sc) {
        qemu_put_byte(f, QEMU_VM_EOF);
        return;
    }
    if (sc->package) {
        return;
    }
    if (!qemu_file_get_error(f) &&
        !stream_writer_put_index(sc->writer, &err)) {
        qemu_file_set_error_obj(f, -EIO, err);
    }
    migration_stream_begin(f, QEMU_VM_EOF);
    migration_stream_end(f);
    if (migrate_colo_enabled()) {
        /* This was a checkpoint, and more will come */
        sc->message = STREAM_RECORD_COLO;
        stream_index_restart(stream_writer_index(sc->writer));
    }
}

/* Loading */

/* There is no end in a package, but the package's own */
static bool stream_package_is_over(StreamChannel *sc)
{
    return sc->package && stream_reader_bytes(sc->reader) == sc->package_end;
}

bool migration_stream_at_end(QEMUFile *f)
{
    StreamChannel *sc = stream_channel_of(f);

    if (!sc || sc->type == STREAM_RECORD_END) {
        stream_file_check_map(f, migration_in_incoming_postcopy());
    }
    return sc && (sc->type == STREAM_RECORD_END ||
                  stream_package_is_over(sc));
}

int migration_stream_refuse_version(QEMUFile *f, uint32_t version)
{
    int ours = migration_stream_is_v4(f) ? STREAM_VERSION
                                         : QEMU_VM_FILE_VERSION;
    Error *err = NULL;

    error_setg(&err, "the stream is of version %" PRIu32 ", but machine type "
               "'%s' expects version %d here", version,
               current_machine ? MACHINE_GET_CLASS(current_machine)->name
                               : "incoming", ours);
    if (version == STREAM_VERSION || version == QEMU_VM_FILE_VERSION) {
        error_append_hint(&err, "Start this side with -global "
                          "migration.stream-version=%" PRIu32 ", or the other "
                          "with -global migration.stream-version=%d.\n",
                          version, ours);
    }
    /* Who loads version 3 prints no more than the number */
    if (ours != STREAM_VERSION) {
        error_reportf_err(error_copy(err), "migration stream: ");
    }
    qemu_file_set_error_obj(f, -ENOTSUP, err);
    return -ENOTSUP;
}

int migration_stream_get_machine(QEMUFile *f)
{
    StreamChannel *sc = stream_channel_of(f);
    g_autoptr(GByteArray) json = g_byte_array_new();
    Error *err = NULL;
    uint32_t version = stream_reader_preamble(sc->reader, &err);

    if (version && version != STREAM_VERSION) {
        return migration_stream_refuse_version(f, version);
    }
    if (!version || !stream_reader_machine(sc->reader, json, &err) ||
        !stream_machine->arrived(json, &err)) {
        qemu_file_set_error_obj(f, -EINVAL, err);
        return -EINVAL;
    }
    trace_migration_stream_get_machine(json->len);
    return 0;
}

int migration_stream_get_header(QEMUFile *f)
{
    int type = migration_stream_next(f);
    Error *err = NULL;

    if (qemu_file_get_error(f)) {
        return qemu_file_get_error(f);
    }
    if (type != QEMU_VM_CONFIGURATION) {
        error_setg(&err, "the stream begins wrong: expected a %s record, got a "
                   "%s record",
                   stream_record_type_name(STREAM_RECORD_CONFIGURATION),
                   stream_record_type_name(type));
        qemu_file_set_error_obj(f, -EINVAL, err);
        return -EINVAL;
    }
    return 0;
}

/* What the type of a record means to the loader */
static int stream_file_check_type(QEMUFile *f, StreamChannel *sc, int type)
{
    g_autofree char *where = NULL;
    Error *err = NULL;

    switch (type) {
    case STREAM_RECORD_PAGES:
    case STREAM_RECORD_RETURN_PATH:
        break;
    case STREAM_RECORD_COLO:
        if (sc->message == type) {
            /* The RAM of a checkpoint ends where the message begins */
            return QEMU_VM_EOF;
        }
        break;
    case STREAM_RECORD_END:
        if (migration_incoming_colo_enabled()) {
            sc->message = STREAM_RECORD_COLO;
        }
        return type;
    default:
        return type;
    }
    where = stream_reader_where(sc->reader);
    error_setg(&err, "%s: expected something of the stream itself, got a %s "
               "record", where, stream_record_type_name(type));
    qemu_file_set_error_obj(f, -EINVAL, err);
    return QEMU_VM_EOF;
}

int migration_stream_next(QEMUFile *f)
{
    StreamChannel *sc = stream_channel_of(f);
    Error *err = NULL;
    bool passed;
    int type;

    if (!sc) {
        return qemu_get_byte(f);
    }
    if (qemu_file_get_error(f)) {
        return QEMU_VM_EOF;
    }
    if (stream_package_is_over(sc)) {
        return QEMU_VM_EOF;
    }
    do {
        error_report_forget();
        type = stream_channel_next(sc, qemu_file_buffered(f), &err);
        /*
         * A description is for tools, and who could look ahead knows the facts:
         * that they came through is enough here.
         */
        passed = type == STREAM_RECORD_VMDESCRIPTION ||
                 type == STREAM_RECORD_FACTS;
        if (type < 0 || (passed && !stream_reader_discard(sc->reader, &err))) {
            qemu_file_set_error_obj(f, -EINVAL, err);
            return QEMU_VM_EOF;
        }
    } while (passed);

    if (stream_record_identifies(type)) {
        stream_figures_add_section();
    }
    stream_figures_read(sc);
    if (trace_event_get_state_backends(TRACE_MIGRATION_STREAM_NEXT)) {
        g_autofree char *where = stream_reader_where(sc->reader);

        trace_migration_stream_next(where, stream_reader_records(sc->reader),
                                    stream_index_skipped(
                                        stream_reader_index(sc->reader)));
    }
    return stream_file_check_type(f, sc, type);
}

uint32_t migration_stream_get_section_id(QEMUFile *f)
{
    StreamChannel *sc = stream_channel_of(f);

    return sc ? stream_reader_section_id(sc->reader) : qemu_get_be32(f);
}

bool migration_stream_get_section(QEMUFile *f, uint32_t *section_id,
                                  char *name, uint32_t *instance_id,
                                  uint32_t *version_id)
{
    StreamChannel *sc = stream_channel_of(f);

    *section_id = migration_stream_get_section_id(f);
    if (sc) {
        const StreamIdent *ident = stream_reader_ident(sc->reader);

        pstrcpy(name, 256, ident->name);
        *instance_id = ident->instance_id;
        *version_id = ident->version_id;
        return true;
    }
    if (!qemu_get_counted_string(f, name)) {
        return false;
    }
    *instance_id = qemu_get_be32(f);
    *version_id = qemu_get_be32(f);
    return true;
}

bool migration_stream_end_loaded(QEMUFile *f)
{
    StreamChannel *sc = stream_channel_of(f);
    Error *err = NULL;

    if (!sc) {
        return true;
    }
    if (qemu_file_get_error(f) || stream_structs(sc)->reason) {
        return false;
    }
    if (!stream_reader_check_end(sc->reader, qemu_file_buffered(f), &err)) {
        qemu_file_set_error_obj(f, -EINVAL, err);
        return false;
    }
    return true;
}

/* Loads the present section: NULL if it is not known who does */
static const void *stream_section_user(StreamChannel *sc, bool *skipped)
{
    StreamSection section;

    if (!stream_index_get(stream_reader_index(sc->reader),
                          stream_reader_section_id(sc->reader), &section)) {
        return NULL;
    }
    *skipped = section.skipped;
    return section.user;
}

bool migration_stream_is_free(QEMUFile *f, const void *user)
{
    StreamChannel *sc = stream_channel_of(f);

    return !sc || !stream_index_bound(stream_reader_index(sc->reader), user);
}

bool migration_stream_is_user(QEMUFile *f, const void *user)
{
    StreamChannel *sc = stream_channel_of(f);
    bool skipped;

    return !sc || stream_section_user(sc, &skipped) == user;
}

/* Passes over the present section */
static int stream_section_skip(QEMUFile *f, StreamChannel *sc)
{
    Error *err = NULL;

    if (!stream_reader_discard(sc->reader, &err)) {
        qemu_file_set_error_obj(f, -EINVAL, err);
    }
    return qemu_file_get_error(f);
}

int migration_stream_bind(QEMUFile *f, const void *user, int version_id,
                          bool known)
{
    StreamChannel *sc = stream_channel_of(f);
    const StreamIdent *ident;
    StreamIndex *index;
    uint32_t id;

    if (!sc) {
        return 0;
    }
    index = stream_reader_index(sc->reader);
    id = stream_reader_section_id(sc->reader);
    ident = stream_reader_ident(sc->reader);
    if (!user && !known && (stream_reader_optional(sc->reader) ||
                            stream_map_drops(ident->name))) {
        g_autofree char *where = stream_reader_where(sc->reader);

        trace_migration_stream_skip(where);
        stream_reader_skip(sc->reader, NULL);
        stream_index_skip(index, id);
        return stream_section_skip(f, sc) ?: STREAM_SKIPPED;
    }
    if (!user && known) {
        migration_stream_failed(f, "its state comes twice: expected it once");
        return -EINVAL;
    }
    if (!user) {
        migration_stream_failed_hint(f, "Start this side with the same "
                                     "devices as the other, those plugged in "
                                     "later included.", "this machine has no "
                                     "such device: expected one named '%s' "
                                     "with instance %" PRIu32 ", got none",
                                     ident->name, ident->instance_id);
        return -EINVAL;
    }
    if (ident->version_id > version_id) {
        migration_stream_failed_hint(f, "The stream comes from a newer QEMU; "
                                     "there, use a machine type that this one "
                                     "has too.", "its state is of another "
                                     "version: expected at most %d, got %"
                                     PRIu32, version_id, ident->version_id);
        return -EINVAL;
    }
    stream_index_bind(index, id, user);
    return 0;
}

int migration_stream_skip_part(QEMUFile *f)
{
    StreamChannel *sc = stream_channel_of(f);
    bool skipped = false;

    if (!sc || (stream_section_user(sc, &skipped), !skipped)) {
        return 0;
    }
    return stream_section_skip(f, sc) ?: STREAM_SKIPPED;
}

int migration_stream_refuse_missing(QEMUFile *f, const char *name,
                                    uint32_t instance_id)
{
    migration_stream_failed_hint(f, "Start this side without the device, or "
                                 "the other side with it.", "device '%s' "
                                 "(instance %" PRIu32 ") of this machine got "
                                 "no state: expected a section for it, got "
                                 "none", name, instance_id);
    return -EINVAL;
}
