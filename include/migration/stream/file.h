/*
 * Migration stream version 4: sections on a QEMUFile
 *
 * What the saver and the loader in savevm.c call.  Each of these does on a
 * version 3 file what has always been done there.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef MIGRATION_STREAM_FILE_H
#define MIGRATION_STREAM_FILE_H

#include "io/channel-buffer.h"
#include "migration/stream/channel.h"
#include "migration/stream/index.h"
#include "migration/stream/vmstate.h"
#include "qapi/qapi-types-migration-stream.h"

/**
 * migration_stream_start: forget the figures of the stream before
 *
 * @index: of the stream that begins, NULL if it is not of version 4; this takes
 * a reference
 */
void migration_stream_start(StreamIndex *index);

/* The machine that travels first in a stream, which is somebody else's */
typedef struct StreamMachine {
    /**
     * describe: what this machine is, as JSON
     *
     * With or without the BQL.
     *
     * Returns: the text, which the caller frees, or %NULL with @errp set.
     */
    GString *(*describe)(Error **errp);
    /**
     * arrived: all of a machine has come
     *
     * @json: what another side's describe() has said; the caller's
     *
     * Returns: %true, or %false with @errp set.
     */
    bool (*arrived)(const GByteArray *json, Error **errp);
} StreamMachine;

/**
 * migration_stream_set_machine: who knows the machine
 *
 * Before any stream begins.
 */
void migration_stream_set_machine(const StreamMachine *machine);

/* Saving */

/**
 * migration_stream_put_machine: begin the stream: the preamble, the machine
 *
 * Returns: %true, or %false with @errp set.
 */
bool migration_stream_put_machine(StreamChannel *sc, Error **errp);

/**
 * migration_stream_put_header: begin the stream, and its configuration
 *
 * The machine comes before, if it was not put already.
 *
 * The configuration's fields follow, then migration_stream_end().
 *
 * Returns: %false on a version 3 file, to which nothing was written.
 */
bool migration_stream_put_header(QEMUFile *f);

/**
 * migration_stream_begin: begin something that isn't a device's section
 *
 * @type: one of the QEMU_VM_ values
 */
void migration_stream_begin(QEMUFile *f, uint8_t type);

/**
 * migration_stream_begin_section: begin a device's section, or a part of it
 *
 * @type: one of the QEMU_VM_SECTION_ values
 * @name: of the device, 1 to 255 bytes
 *
 * Returns: %false on a version 3 file, to which nothing was written.
 */
bool migration_stream_begin_section(QEMUFile *f, uint8_t type,
                                    uint32_t section_id, const char *name,
                                    uint32_t instance_id, uint32_t version_id);

/**
 * migration_stream_end: end what was begun
 *
 * It is on its way to the destination when this returns.
 *
 * Returns: %false on a version 3 file, to which nothing was written.
 */
bool migration_stream_end(QEMUFile *f);

/**
 * migration_stream_put_tail: end the stream
 *
 * @vmdesc: the description of the device state in JSON, or NULL
 *
 * Returns: %false on a version 3 file, to which nothing was written.
 */
bool migration_stream_put_tail(QEMUFile *f, const char *vmdesc);

/**
 * migration_stream_put_end: end what a loader reads in one go
 *
 * In version 4 the index comes before it; and nothing is written to a package,
 * which is read up to its end, and the end of the stream is behind it.
 */
void migration_stream_put_end(QEMUFile *f);

/*
 * Packages: device state that is put aside and sent, or read, in one go.
 * They are records of the stream, and have their places in it.
 */

/**
 * migration_stream_package_output: a file to save a package to
 * migration_stream_package_input: a file to load packages from
 *
 * @f: what it goes to, or comes from
 * @bioc: holds the package; the new file takes a reference of its own
 */
QEMUFile *migration_stream_package_output(QEMUFile *f, QIOChannelBuffer *bioc);
QEMUFile *migration_stream_package_input(QEMUFile *f, QIOChannelBuffer *bioc);

/**
 * migration_stream_put_package: send a package
 *
 * @data: what was saved
 * @length: in bytes
 */
void migration_stream_put_package(QEMUFile *f, const uint8_t *data,
                                  size_t length);

/**
 * migration_stream_get_package: take a package off the stream
 *
 * @package: made with migration_stream_package_input(); it is loaded from
 * there
 * @length: in bytes
 *
 * Returns: how many bytes came; if it is not @length, then @f has an error.
 */
size_t migration_stream_get_package(QEMUFile *f, QEMUFile *package,
                                    size_t length);

/**
 * migration_stream_fail_package: loading a package failed
 *
 * @ret: the negative errno that loading it returned
 *
 * In version 4 the reason is handed on to @f, which outlives @package.
 */
void migration_stream_fail_package(QEMUFile *f, QEMUFile *package, int ret);

/* Loading; failures are set on the file, with their text */

/**
 * migration_stream_at_end: was the end read, of the stream or of a package?
 *
 * Returns: %false on a version 3 file.
 */
bool migration_stream_at_end(QEMUFile *f);

/**
 * migration_stream_refuse_version: the stream is not of the file's version
 *
 * @version: of the stream
 *
 * Says so, on a version 3 file at once.
 *
 * Returns: -ENOTSUP.
 */
int migration_stream_refuse_version(QEMUFile *f, uint32_t version);

/**
 * migration_stream_get_machine: check the preamble, read the machine
 *
 * Only for a version 4 file.
 *
 * Returns: 0, or a negative errno with the error set on @f.
 */
int migration_stream_get_machine(QEMUFile *f);

/**
 * migration_stream_get_header: go to the configuration
 *
 * Behind the machine.  Only for a version 4 file.
 *
 * Returns: 0, or a negative errno with the error set on @f.
 */
int migration_stream_get_header(QEMUFile *f);

/**
 * migration_stream_next: go to the next record, or read a type's byte
 *
 * Returns: one of the QEMU_VM_ values; look at the file's error first.
 */
int migration_stream_next(QEMUFile *f);

/**
 * migration_stream_get_section_id: which section a part belongs to
 */
uint32_t migration_stream_get_section_id(QEMUFile *f);

/**
 * migration_stream_get_section: which device a section is about
 *
 * @name: room for 256 bytes
 *
 * Returns: %false when the name cannot be read; look at the file's error for
 * the rest.
 */
bool migration_stream_get_section(QEMUFile *f, uint32_t *section_id,
                                  char *name, uint32_t *instance_id,
                                  uint32_t *version_id);

/**
 * migration_stream_end_loaded: was what was begun read to its end?
 *
 * Returns: %true if so, or on a version 3 file.
 */
bool migration_stream_end_loaded(QEMUFile *f);

/* Returned for an optional section that was passed over; no errno, positive */
#define STREAM_SKIPPED 1

/**
 * migration_stream_is_free: has @user got no state from this stream yet?
 *
 * @user: stands for a device
 *
 * Returns: %true if so, or on a version 3 file.
 */
bool migration_stream_is_free(QEMUFile *f, const void *user);

/**
 * migration_stream_is_user: is it @user that loads the present section?
 *
 * Returns: %true if so, or on a version 3 file.
 */
bool migration_stream_is_user(QEMUFile *f, const void *user);

/**
 * migration_stream_bind: settle who loads the section that has begun
 *
 * @user: stands for a device; NULL if there is none that has no state yet
 * @version_id: the newest that it can load
 * @known: there is a device of that name and instance
 *
 * Returns: 0; %STREAM_SKIPPED when the section was passed over, because it is
 * optional and nobody knows it; a negative errno with the reason kept.  0 on a
 * version 3 file.
 */
int migration_stream_bind(QEMUFile *f, const void *user, int version_id,
                          bool known);

/**
 * migration_stream_skip_part: pass over a part of a section that is skipped
 *
 * Returns: %STREAM_SKIPPED if it was, a negative errno, or 0 if it is not.
 */
int migration_stream_skip_part(QEMUFile *f);

/**
 * migration_stream_refuse_missing: a device of this machine got no state
 *
 * Returns: -EINVAL, with the reason kept.
 */
int migration_stream_refuse_missing(QEMUFile *f, const char *name,
                                    uint32_t instance_id);

/**
 * migration_stream_get_error: why loading failed
 *
 * @f: of version 4
 * @ret: the negative errno that loading returned
 * @errp: set to section, place in the stream, path of the field, and reason
 */
void migration_stream_get_error(QEMUFile *f, int ret, Error **errp);

/**
 * migration_stream_explain: why loading failed, if it is known
 *
 * @ret: the negative errno that loading returned
 *
 * Returns: %false, with @errp unset, if no more than @ret is known.
 */
bool migration_stream_explain(QEMUFile *f, int ret, Error **errp);

/**
 * migration_stream_report_error: print why loading failed
 *
 * Nothing on a version 3 file.
 */
void migration_stream_report_error(QEMUFile *f, int ret);

/**
 * migration_stream_report_pause: print why a postcopy pauses
 *
 * @f: of the stream
 * @pages: of urgent pages, or NULL
 *
 * Nothing on a version 3 file.
 */
void migration_stream_report_pause(QEMUFile *f, QEMUFile *pages);

/**
 * migration_stream_info: figures for query-migrate
 *
 * Returns: those of the stream that was begun last, which the caller frees;
 * NULL if it was not of version 4.
 */
MigrationStreamInfo *migration_stream_info(void);

/* So many pages came damaged, and are asked for again; for query-migrate */
void migration_stream_count_damaged(uint64_t pages);

/**
 * hmp_info_migrate_stream: print @info as "info migrate" does
 */
void hmp_info_migrate_stream(Monitor *mon, const MigrationStreamInfo *info);

#endif
