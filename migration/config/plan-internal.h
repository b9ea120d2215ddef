/*
 * A plan while it is made
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef MIGRATION_CONFIG_PLAN_INTERNAL_H
#define MIGRATION_CONFIG_PLAN_INTERNAL_H

#include "migration/config/plan.h"

typedef struct Plan {
    MachineConfig *config;
    const MachinePlanSide *side;
    GPtrArray *arguments;
    GString *missing;           /* what leads to the host and was not given */
    unsigned missing_count;
    GHashTable *needed;         /* names that something leads to */
    Error *err;                 /* what cannot be in any plan */
} Plan;

/* Adds an option; @value is taken, and may be %NULL */
void plan_add(Plan *plan, const char *option, char *value);

/* The same for one that leads to the host: is it to be taken, or asked for? */
void plan_add_reaching(Plan *plan, const char *option, char *value);

/* Was an option with this member given? */
bool plan_member_was_given(Plan *plan, const char *option, const char *member,
                           const char *value);

/*
 * Back ends: plan-backends.c
 */

/* Marks those that something leads to: every text could be a name of one */
void plan_need_texts(Plan *plan, const QObject *object);

/* Marks all that the machine leads to, and what these lead to in turn */
void plan_need_backends(Plan *plan);

/* Makes those that are needed and not there, but for drives of the board */
void plan_add_backends(Plan *plan);

/* A drive of the board: @value is as in '-drive' */
void plan_add_drive(Plan *plan, const char *value);

/* A sound card of the board: @value has its model and its back end's id */
void plan_add_audio(Plan *plan, const char *value);

/* Is there one, or will be? */
bool plan_has_backend(Plan *plan, MachineConfigBackendKind kind,
                      const char *id);

/*
 * What a back end is called here: QEMU gives names that cannot be asked for.
 * Part of @id.
 */
const char *plan_name(const char *id);

#endif
