/*
 * Which version of the migration stream is spoken
 *
 * Chosen by the machine type through the property "stream-version" of the
 * migration object, and by -global over that.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef MIGRATION_COMPAT_SELECTOR_H
#define MIGRATION_COMPAT_SELECTOR_H

#include "hw/qdev-properties.h"
#include "io/channel.h"

/* What a property of a uint32_t needs, to take only versions that exist */
extern const PropertyInfo qdev_prop_stream_version;

#define DEFINE_PROP_STREAM_VERSION(_name, _state, _field)               \
    DEFINE_PROP_UNSIGNED(_name, _state, _field, 3,                      \
                         qdev_prop_stream_version, uint32_t)

/**
 * migration_stream_output: the file to send a migration stream to
 * migration_stream_input: the file to receive a migration stream from
 *
 * @ioc: the transport; the file takes a reference of its own
 *
 * Returns: a file of the version that is selected, which the caller closes
 * with qemu_fclose().
 */
QEMUFile *migration_stream_output(QIOChannel *ioc);
QEMUFile *migration_stream_input(QIOChannel *ioc);

/**
 * migration_stream_check: can the selected version do what is asked for?
 *
 * @uri: where the stream goes to or comes from
 *
 * Returns: %true, or %false with @errp naming the mode and how to get it.
 */
bool migration_stream_check(const char *uri, Error **errp);

#endif
