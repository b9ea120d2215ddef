/*
 * Machine types whose migration stream is of version 4
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef HW_MACHINE_STREAM_H
#define HW_MACHINE_STREAM_H

#include "hw/boards.h"

/**
 * machine_class_set_stream_v4: turn a machine type into its version 4 twin
 *
 * @mc: has the options of the machine type that it is a twin of; it loses
 * that type's alias and place as the default
 * @guest_name: name of that machine type, a static string
 *
 * The guest sees the same machine in both, by the same name.
 */
void machine_class_set_stream_v4(MachineClass *mc, const char *guest_name);

#endif
