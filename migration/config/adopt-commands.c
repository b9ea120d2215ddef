/*
 * -M incoming: what a monitor can do before there is a machine
 *
 * Implements "Before there is a machine" of docs/devel/migration-v4/adopt.rst.
 * Most commands take it for granted that there is one, whether they say so or
 * not; those that are known to do without are listed here.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/cutils.h"
#include "qapi/error.h"
#include "migration/config/adopt.h"

static const char *const qmp_commands_without_machine[] = {
    "qmp_capabilities", "quit",
    "query-commands", "query-name", "query-qmp-schema", "query-status",
    "query-uuid", "query-version", "query-machines",
    "query-command-line-options",
    "human-monitor-command",

    "migrate-incoming", "query-migrate", "query-machine-config",
    "migrate-set-capabilities", "query-migrate-capabilities",
    "migrate-set-parameters", "query-migrate-parameters",
    "query-yank", "yank",

    "object-add", "object-del",
    "chardev-add", "chardev-remove", "query-chardev",
    "query-chardev-backends",
    "blockdev-add", "blockdev-del", "query-named-block-nodes",
    "getfd", "closefd", "add-fd", "remove-fd", "query-fdsets",
    NULL
};

/* Words of a command line: 'info' and what can be asked, too */
static const char *const hmp_commands_without_machine[] = {
    "help", "quit", "info",
    "name", "status", "uuid", "version", "history",
    "migrate_incoming", "machine-config",
    "migrate", "migrate_set_capability", "migrate_capabilities",
    "migrate_set_parameter", "migrate_parameters",
    "object_add", "object_del",
    "chardev-add", "chardev-remove", "chardev",
    "getfd", "closefd",
    NULL
};

bool machine_adopt_command_available(const char *name, Error **errp)
{
    if (!g_strv_contains(qmp_commands_without_machine, name)) {
        error_setg(errp, "The command '%s' needs a machine, and there is no "
                   "machine yet: it comes with the incoming migration", name);
        return false;
    }
    return true;
}

bool machine_adopt_hmp_available(const char *names)
{
    g_auto(GStrv) each = g_strsplit(names, "|", -1);

    for (char **name = each; *name; name++) {
        if (g_strv_contains(hmp_commands_without_machine, *name)) {
            return true;
        }
    }
    return false;
}

bool machine_adopt_object_available(const char *type, Error **errp)
{
    if (machine_adopt_waiting() && (strstart(type, "memory-backend-", NULL) ||
                                    !strcmp(type, "qtest"))) {
        error_setg(errp, "An object '%s' needs a machine, and there is no "
                   "machine yet: it comes with the incoming migration", type);
        error_append_hint(errp, "Give it with '-object' on the command line."
                          "\n");
        return false;
    }
    return true;
}
