/*
 * Machine types whose migration stream is of version 4
 *
 * Implements "Versions" of docs/devel/migration-v4/wire-format.rst.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "hw/machine-stream.h"

static GlobalProperty stream_v4_props[] = {
    { "migration", "stream-version", "4" },
};

void machine_class_set_stream_v4(MachineClass *mc, const char *guest_name)
{
    mc->alias = NULL;
    mc->is_default = false;
    mc->guest_name = guest_name;
    compat_props_add(mc->compat_props, stream_v4_props,
                     G_N_ELEMENTS(stream_v4_props));
}
