/*
 * qemu-vmstate: what QEMUs say of themselves, and what follows
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef QEMU_VMSTATE_FACTS_H
#define QEMU_VMSTATE_FACTS_H

#include "migration/compat/facts.h"

/**
 * tool_facts_parse: read what a monitor has said
 *
 * @json: of @length bytes; the answer to query-vmstate, or what it returns
 *
 * Returns: the facts, which the caller frees, or NULL with @errp set.
 */
MigrationFacts *tool_facts_parse(const char *json, size_t length,
                                 Error **errp);

/**
 * tool_facts_read: what is in a file, or what a QEMU says
 *
 * @name: of a file; "-" is standard input; of a socket, if a QEMU has its
 * monitor there
 *
 * Returns: the facts, which the caller frees, or NULL with @errp set.
 */
MigrationFacts *tool_facts_read(const char *name, Error **errp);

/**
 * tool_facts_ask: what the QEMU with its monitor at a UNIX socket says
 *
 * Waits for each of its answers for at most 20 seconds.
 *
 * Returns: the facts, which the caller frees, or NULL with @errp set.
 */
MigrationFacts *tool_facts_ask(const char *path, Error **errp);

/**
 * tool_compat: could a guest go from one QEMU to another?
 *
 * @out: filled with what would become of it, device by device
 *
 * Returns: %true if it could.
 */
bool tool_compat(const MigrationFacts *source,
                 const MigrationFacts *destination, GString *out);

#endif
