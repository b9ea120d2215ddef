/*
 * What is changed on the way: what the parts of a map share
 *
 * Private to this directory.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef MIGRATION_CONFIG_MAP_STEP_H
#define MIGRATION_CONFIG_MAP_STEP_H

#include "migration/config/map.h"

typedef struct MapStep {
    MachineMapOperation *operation;
    uint64_t applied;
    bool section_came;      /* the section that it is about, if it is */
} MapStep;

struct MachineMapping {
    MachineMapOperationList *operations;
    GArray *steps;          /* of MapStep, in the same order */
};

/* An operation in words, which the caller frees */
char *map_step_text(const MachineMapOperation *operation);

#endif
