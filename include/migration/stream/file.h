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

#include "migration/stream/vmstate.h"
#include "qapi/qapi-types-migration-stream.h"

/**
 * migration_stream_start: forget the figures of the stream before
 */
void migration_stream_start(void);

/* Saving */

/**
 * migration_stream_put_header: begin the stream, and its configuration
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

/* Loading; failures are set on the file, with their text */

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
 * migration_stream_get_header: check the preamble, go to the configuration
 *
 * Only for a version 4 file.
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

/**
 * migration_stream_report_error: say on stderr why loading failed
 *
 * @ret: the negative errno that loading returned
 */
void migration_stream_report_error(QEMUFile *f, int ret);

/**
 * migration_stream_info: figures for query-migrate
 *
 * Returns: those of the stream that was begun last, which the caller frees;
 * NULL if it was not of version 4.
 */
MigrationStreamInfo *migration_stream_info(void);

/**
 * hmp_info_migrate_stream: print @info as "info migrate" does
 */
void hmp_info_migrate_stream(Monitor *mon, const MigrationStreamInfo *info);

#endif
