/*
 * Tools have no machine, and wait for none
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "migration/config/adopt.h"

bool machine_adopt_object_available(const char *type, Error **errp)
{
    return true;
}
