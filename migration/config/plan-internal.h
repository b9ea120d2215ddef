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
    GQueue *pending;            /* of them, those not yet followed */
    GHashTable *backends;       /* of the machine, by kind and id */
    GHashTable *shared;         /* those that a multiplexer brings with it */
    GHashTable *within;         /* kind and id of what comes with an option */
    GHashTable *hubs;           /* the ids of all on a hub, by its name */
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
 * Finding back ends: plan-index.c
 */

void plan_index(Plan *plan);
void plan_index_clear(Plan *plan);

/* By its kind and id, or %NULL */
MachineConfigBackend *plan_find_backend(const Plan *plan,
                                        MachineConfigBackendKind kind,
                                        const char *id);

/* Is there an option of the board that brings it with it? */
bool plan_is_within(const Plan *plan, MachineConfigBackendKind kind,
                    const char *id);

/* One that several share comes with the one that it shares, else %NULL */
MachineConfigBackend *plan_find_shared(const Plan *plan,
                                       const MachineConfigBackend *mux);

/*
 * What is on a hub leads to all that is on it.  Their number is part of no
 * name, so it is made one, which the caller frees; %NULL if it is on none.
 */
char *plan_hub_of(const MachineConfigBackend *backend);

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
