/*
 * The machine as it stands
 *
 * Implements "Collecting" of docs/devel/migration-v4/machine.rst.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef MIGRATION_CONFIG_COLLECT_H
#define MIGRATION_CONFIG_COLLECT_H

#include "migration/config/config.h"

/* What the management can have with a machine, in bytes */
#define MACHINE_COOKIE_MAX (1 * MiB)

/**
 * machine_config_init: note what only shows while the machine is made
 *
 * Before it is.
 */
void machine_config_init(void);

/**
 * machine_config_collect: the machine as it stands now
 *
 * Looks, and changes nothing.  Called with the BQL held, in the main thread,
 * when there is a machine.
 *
 * Returns: the configuration, to be freed with qapi_free_MachineConfig().
 */
MachineConfig *machine_config_collect(void);

/**
 * machine_config_cookie: what the management wants to have with the machine
 *
 * Returns: text that stays until the next machine_config_set_cookie(), or
 * %NULL.
 */
const char *machine_config_cookie(void);

/**
 * machine_config_set_cookie: give the machine another cookie
 *
 * @cookie: is copied; %NULL for none
 * @errp: it is longer than %MACHINE_COOKIE_MAX
 */
bool machine_config_set_cookie(const char *cookie, Error **errp);

/* "info machine-config" */
void hmp_info_machine_config(Monitor *mon, const QDict *qdict);

#endif
