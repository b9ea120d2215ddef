/*
 * qemu-vmstate: going through a device's state, field by field
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef QEMU_VMSTATE_WALK_H
#define QEMU_VMSTATE_WALK_H

#include "qapi/qmp/json-writer.h"
#include "contents.h"

/* Most text that a dump may become, in bytes */
#define TEXT_MAX (512 * MiB)

/**
 * walk_section: go through a section's state as its description says
 *
 * @section: one with state and description
 * @json: where to put the fields, into the present object; NULL to check only
 * @budget: TEXT_MAX, shared by all sections of a stream
 *
 * What is optional and not described is noted as skipped in @c.
 *
 * Returns: %false with @errp set if state and description do not agree.
 */
bool walk_section(Contents *c, const Section *section, JSONWriter *json,
                  uint64_t *budget, Error **errp);

/**
 * value_write: a field's value as JSON
 *
 * @type: a VMStateInfo's name
 * @data: @size bytes of state
 */
void value_write(JSONWriter *json, const char *name, const char *type,
                 const uint8_t *data, size_t size);

#endif
