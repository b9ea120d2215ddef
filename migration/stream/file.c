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
#include "qemu/error-report.h"
#include "qemu/stats64.h"
#include "qapi/error.h"
#include "hw/boards.h"
#include "monitor/monitor.h"
#include "migration/stream/channel.h"
#include "migration/stream/file.h"
#include "migration/qemu-file.h"
#include "migration/savevm.h"
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

/* Figures that outlive the channel, and that the monitor reads meanwhile */
typedef struct StreamFigures {
    Stat64 sections;
    Stat64 records;
    Stat64 bytes;
    Stat64 skipped;
} StreamFigures;

static StreamFigures stream_figures;

void migration_stream_start(void)
{
    stat64_init(&stream_figures.sections, 0);
    stat64_init(&stream_figures.records, 0);
    stat64_init(&stream_figures.bytes, 0);
    stat64_init(&stream_figures.skipped, 0);
}

static void stream_figures_update(uint64_t records, uint64_t bytes,
                                  uint64_t skipped)
{
    StreamFigures *s = &stream_figures;

    stat64_add(&s->records, records - stat64_get(&s->records));
    stat64_add(&s->bytes, bytes - stat64_get(&s->bytes));
    stat64_add(&s->skipped, skipped - stat64_get(&s->skipped));
}

MigrationStreamInfo *migration_stream_info(void)
{
    MigrationStreamInfo *info;

    if (!stat64_get(&stream_figures.bytes)) {
        return NULL;
    }
    info = g_new0(MigrationStreamInfo, 1);
    info->version = STREAM_VERSION;
    info->sections = stat64_get(&stream_figures.sections);
    info->records = stat64_get(&stream_figures.records);
    info->bytes = stat64_get(&stream_figures.bytes);
    info->skipped = stat64_get(&stream_figures.skipped);
    return info;
}

void hmp_info_migrate_stream(Monitor *mon, const MigrationStreamInfo *info)
{
    monitor_printf(mon, "stream version: %" PRIu32 "\n", info->version);
    monitor_printf(mon, "stream sections: %" PRIu64 "\n", info->sections);
    monitor_printf(mon, "stream records: %" PRIu64 "\n", info->records);
    monitor_printf(mon, "stream records skipped: %" PRIu64 "\n",
                   info->skipped);
    monitor_printf(mon, "stream bytes: %" PRIu64 "\n", info->bytes);
}

/* Saving */

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
        stat64_add(&stream_figures.sections, 1);
    }
    stream_writer_begin(sc->writer, type, 0, section_id, ident);
}

bool migration_stream_put_header(QEMUFile *f)
{
    StreamChannel *sc = stream_channel_of(f);
    Error *err = NULL;

    if (!sc) {
        return false;
    }
    if (!stream_writer_preamble(sc->writer, &err)) {
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
    StreamIdent ident = {
        .instance_id = instance_id,
        .version_id = version_id,
    };
    bool identifies = type == QEMU_VM_SECTION_START ||
                      type == QEMU_VM_SECTION_FULL;

    if (!sc) {
        return false;
    }
    pstrcpy(ident.name, sizeof(ident.name), name);
    stream_file_begin(f, sc, type, section_id, identifies ? &ident : NULL);
    return true;
}

bool migration_stream_end(QEMUFile *f)
{
    StreamChannel *sc = stream_channel_of(f);
    uint64_t bytes, records;
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

    bytes = stream_writer_bytes(sc->writer);
    records = stream_writer_records(sc->writer);
    stream_figures_update(records, bytes, 0);
    /* The file has counted what it wrote; headers come on top */
    qemu_file_credit_transfer(f, bytes - qemu_file_total_transferred_fast(f));
    trace_migration_stream_end(records, bytes);
    return true;
}

bool migration_stream_put_tail(QEMUFile *f, const char *vmdesc)
{
    if (!migration_stream_is_v4(f)) {
        return false;
    }
    if (vmdesc) {
        migration_stream_begin(f, QEMU_VM_VMDESCRIPTION);
        qemu_put_buffer(f, (const uint8_t *)vmdesc, strlen(vmdesc));
        migration_stream_end(f);
    }
    migration_stream_begin(f, QEMU_VM_EOF);
    migration_stream_end(f);
    return true;
}

/* Loading */

int migration_stream_refuse_version(QEMUFile *f, uint32_t version)
{
    int ours = migration_stream_is_v4(f) ? STREAM_VERSION
                                         : QEMU_VM_FILE_VERSION;
    Error *err = NULL;

    error_setg(&err, "the stream is of version %" PRIu32 ", but machine type "
               "'%s' expects version %d here", version,
               MACHINE_GET_CLASS(current_machine)->name, ours);
    if (version == STREAM_VERSION || version == QEMU_VM_FILE_VERSION) {
        error_append_hint(&err, "Start this side with -global "
                          "migration.stream-version=%" PRIu32 ", or the other "
                          "with -global migration.stream-version=%d.\n",
                          version, ours);
    }
    if (ours == STREAM_VERSION) {
        qemu_file_set_error_obj(f, -ENOTSUP, err);
    } else {
        error_reportf_err(err, "migration stream: ");
    }
    return -ENOTSUP;
}

int migration_stream_get_header(QEMUFile *f)
{
    StreamChannel *sc = stream_channel_of(f);
    Error *err = NULL;
    uint32_t version = stream_reader_preamble(sc->reader, &err);
    int type;

    if (!version) {
        qemu_file_set_error_obj(f, -EINVAL, err);
        return -EINVAL;
    }
    if (version != STREAM_VERSION) {
        return migration_stream_refuse_version(f, version);
    }
    type = migration_stream_next(f);
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

int migration_stream_next(QEMUFile *f)
{
    StreamChannel *sc = stream_channel_of(f);
    Error *err = NULL;
    int type;

    if (!sc) {
        return qemu_get_byte(f);
    }
    if (qemu_file_get_error(f)) {
        return QEMU_VM_EOF;
    }
    do {
        /* A description is for tools; that it came through is enough here */
        uint8_t ignored[1024];
        ssize_t n = 1;

        type = stream_reader_next(sc->reader, qemu_file_buffered(f), &err);
        while (type == QEMU_VM_VMDESCRIPTION && n > 0) {
            n = stream_reader_read(sc->reader, ignored, sizeof(ignored), &err);
        }
        if (type < 0 || n < 0) {
            qemu_file_set_error_obj(f, -EINVAL, err);
            return QEMU_VM_EOF;
        }
    } while (type == QEMU_VM_VMDESCRIPTION);

    if (type == QEMU_VM_SECTION_START || type == QEMU_VM_SECTION_FULL) {
        stat64_add(&stream_figures.sections, 1);
    }
    stream_figures_update(stream_reader_records(sc->reader),
                          stream_reader_bytes(sc->reader),
                          stream_reader_skipped(sc->reader));
    if (trace_event_get_state_backends(TRACE_MIGRATION_STREAM_NEXT)) {
        g_autofree char *where = stream_reader_where(sc->reader);

        trace_migration_stream_next(where, stream_reader_records(sc->reader),
                                    stream_reader_skipped(sc->reader));
    }
    return type;
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
    if (qemu_file_get_error(f)) {
        return false;
    }
    if (!stream_reader_check_end(sc->reader, qemu_file_buffered(f), &err)) {
        qemu_file_set_error_obj(f, -EINVAL, err);
        return false;
    }
    return true;
}

void migration_stream_report_error(QEMUFile *f, int ret)
{
    StreamChannel *sc = stream_channel_of(f);
    Error *err = NULL;

    if (!sc) {
        return;
    }
    qemu_file_get_error_obj(f, &err);
    if (!err) {
        g_autofree char *where = stream_reader_where(sc->reader);

        error_setg_errno(&err, -ret, "%s: what it holds was refused",
                         where);
    }
    error_reportf_err(err, "migration stream: ");
}
