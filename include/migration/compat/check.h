/*
 * Can the state of all devices be saved?
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef MIGRATION_COMPAT_CHECK_H
#define MIGRATION_COMPAT_CHECK_H

#include "qemu/typedefs.h"

/**
 * migration_check_devices: can what the devices are in now be saved?
 *
 * Where version 4 is selected.  What only shows when a device is prepared for
 * saving is not seen.  Called with the BQL held.
 *
 * Returns: %true, or %false with @errp naming devices, what they are in and
 * what they may be in.
 */
bool migration_check_devices(Error **errp);

/**
 * migration_check_agreed: the same, at the versions that were agreed
 */
bool migration_check_agreed(Error **errp);

/**
 * migration_save_failed: show why a device's state could not be saved
 *
 * In query-migrate, for whichever file of the migration @f is.
 */
void migration_save_failed(QEMUFile *f);

#endif
