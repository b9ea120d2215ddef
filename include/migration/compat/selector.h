/*
 * Which version of the migration stream is spoken
 *
 * Chosen by the machine type through the property "stream-version" of the
 * migration object, by -global over that, and by the migration parameter of
 * the same name over both.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef MIGRATION_COMPAT_SELECTOR_H
#define MIGRATION_COMPAT_SELECTOR_H

#include "hw/qdev-properties.h"
#include "io/channel.h"
#include "migration/stream/record.h"
#include "qapi/qapi-types-migration-stream.h"

/* What can be selected besides STREAM_VERSION */
#define STREAM_VERSION_AUTO   0         /* the newest that both sides speak */
#define STREAM_VERSION_LEGACY 3

/* What a property of an int64_t needs, to take only what can be selected */
extern const PropertyInfo qdev_prop_stream_version;

#define DEFINE_PROP_STREAM_VERSION(_name, _state, _field)               \
    DEFINE_PROP_SIGNED(_name, _state, _field, 3,                        \
                       qdev_prop_stream_version, int64_t)

/**
 * visit_migration_stream_version: read the parameter from a person's input
 *
 * @v: an input visitor, also of a string
 * @version: filled with what can be a number or a word; to be freed
 *
 * Returns: %true, or %false with @errp set.
 */
bool visit_migration_stream_version(Visitor *v, const char *name,
                                    MigrationStreamVersion **version,
                                    Error **errp);

/* The parameter as a person types it; to be freed */
char *migration_stream_version_to_text(const MigrationStreamVersion *version);

/**
 * migration_stream_check_version: may the version be set to this?
 *
 * @version: of the stream, as given by the user
 *
 * Returns: %true, or %false with @errp set when there is no such version, or
 * when a migration runs that uses another.
 */
bool migration_stream_check_version(const MigrationStreamVersion *version,
                                    Error **errp);

/* What is selected; the former to be freed, the latter checked before */
MigrationStreamVersion *migration_stream_get_version(void);
void migration_stream_set_version(const MigrationStreamVersion *version);

/**
 * migration_stream_may_be_v4: is what comes in of version 4, or may it be yet?
 */
bool migration_stream_may_be_v4(void);

/**
 * migration_stream_runs: does a migration run, in whichever direction?
 */
bool migration_stream_runs(void);

/*
 * The functions below make files of the version that is selected, of which
 * the caller closes each with qemu_fclose().  Each takes the transport, and
 * the file takes a reference of its own to it.
 */

/**
 * migration_stream_output: the file to send a migration's stream to
 * migration_stream_input: the file to receive a migration's stream from
 *
 * While a postcopy is paused this continues its stream.
 */
QEMUFile *migration_stream_output(QIOChannel *ioc);
QEMUFile *migration_stream_input(QIOChannel *ioc);

/**
 * migration_stream_snapshot: the file to save a snapshot to or load it from
 *
 * @saving: %true to save, %false to load
 */
QEMUFile *migration_stream_snapshot(QIOChannel *ioc, bool saving);

/**
 * migration_stream_pages_output: the file to send urgent pages to
 * migration_stream_pages_input: the file to receive urgent pages from
 *
 * These are a channel of their own, beside that of the stream.
 */
QEMUFile *migration_stream_pages_output(QIOChannel *ioc);
QEMUFile *migration_stream_pages_input(QIOChannel *ioc);

/**
 * migration_stream_check: can the selected version go over that transport, and
 * over the channels of the capabilities that are set?
 *
 * @uri: where the stream goes to or comes from
 * @outgoing: whether it goes there
 *
 * Returns: %true, or %false with @errp saying why not, and what to do.
 */
bool migration_stream_check(const char *uri, bool outgoing, Error **errp);

#endif
