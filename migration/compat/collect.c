/*
 * What this QEMU says of itself before a guest moves
 *
 * Walks the devices' descriptions.  Implements "Facts" of
 * docs/devel/migration-v4/planning.rst.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu-version.h"
#include "qapi/error.h"
#include "hw/boards.h"
#include "migration/compat/agreement.h"
#include "migration/compat/collect.h"
#include "migration/compat/versions.h"
#include "migration/compat/whitelist.h"
#include "migration/migration.h"
#include "migration/savevm.h"
#include "migration/stream/map.h"
#include "migration/stream/older.h"
#include "migration/stream/record.h"
#include "migration/stream/unused.h"
#include "migration/vmstate.h"
#include "sysemu/runstate.h"

/* Capabilities that change what is sent: both sides have to have them */
static const struct {
    MigrationCapability capability;
    bool waited_for;        /* a destination waits for what they bring */
} capabilities[] = {
    { MIGRATION_CAPABILITY_MULTIFD, true },
    { MIGRATION_CAPABILITY_POSTCOPY_RAM, false },
    { MIGRATION_CAPABILITY_POSTCOPY_PREEMPT, true },
    { MIGRATION_CAPABILITY_COMPRESS, false },
    { MIGRATION_CAPABILITY_X_COLO, false },
};

static void add_features(MigrationFacts *facts)
{
    const bool *enabled = migrate_get_current()->enabled_capabilities;
    bool incoming = runstate_check(RUN_STATE_INMIGRATE);

    if (!enabled[MIGRATION_CAPABILITY_X_COLO]) {
        migration_facts_add_feature(facts, MIGRATION_FEATURE_HAND_OVER, false);
    }
    for (size_t i = 0; i < ARRAY_SIZE(capabilities); i++) {
        MigrationCapability capability = capabilities[i].capability;

        if (enabled[capability]) {
            migration_facts_add_feature(facts,
                                        MigrationCapability_str(capability),
                                        !incoming ||
                                        capabilities[i].waited_for);
        }
    }
}

/*
 * Where a walk through descriptions is.  What is not sent is not asked what
 * it would send, nor looked into: it may not be set up.
 */
typedef struct Walk {
    MigrationDeviceFacts *device;
    MigrationStateFacts *state;     /* gets the subsections */
    int version_id;                 /* that the structure is saved at */
    bool sent;
    bool prepared;                  /* what is sent is only known later */
} Walk;

/* What is asked for is what can be loaded, whatever is here now */
static bool as_destination;

static bool is_destination(void)
{
    return as_destination || runstate_check(RUN_STATE_INMIGRATE);
}

/* State that is being loaded, or will be, is none that could be sent */
static bool can_be_sent(void)
{
    return !is_destination() && !runstate_check(RUN_STATE_RESTORE_VM);
}

static void walk_struct(const VMStateDescription *vmsd, void *opaque,
                        void *arg);
static void walk_at(const VMStateDescription *vmsd, void *opaque,
                    const Walk *walk);

static void describe(MigrationStateFacts *state,
                     const VMStateDescription *vmsd, int saved)
{
    state->version = vmsd->version_id;
    state->minimum_version = vmsd->minimum_version_id;
    state->minimum_saved = vmstate_minimum_saved(vmsd);
    state->has_saved = saved < vmsd->version_id;
    state->saved = saved;
    state->optional = vmsd->optional;
}

/* Adds to what is known of it: a structure may come several times */
static void walk_subsection(const VMStateDescription *vmsd, void *opaque,
                            const Walk *outer, int version_id)
{
    MigrationStateFacts *state =
        migration_facts_find_subsection(outer->state, vmsd->name);
    Walk walk = {
        .device = outer->device,
        .sent = outer->sent && vmstate_save_needed(vmsd, opaque),
        .prepared = outer->prepared,
    };

    walk.state = state ?: migration_facts_add_subsection(outer->state,
                                                         vmsd->name);
    /* What must not be needed may be of any version */
    walk.version_id = version_id == VMSTATE_OLDER_NONE ? vmsd->version_id
                                                       : version_id;
    describe(walk.state, vmsd, walk.version_id);
    walk.state->needed |= walk.sent;
    walk_at(vmsd, opaque, &walk);
}

/* Goes to each element that there is, and returns whether there was one */
static bool walk_elements(const VMStateField *field, void *opaque,
                          const Walk *walk)
{
    void *first = opaque + field->offset;
    unsigned i, n = vmstate_field_count(field, opaque);
    bool found = false;

    if (field->flags & VMS_POINTER) {
        first = *(void **)first;
    }
    for (i = 0; first && i < n; i++) {
        void *element = first + field->size * i;

        if (field->flags & VMS_ARRAY_OF_POINTER) {
            element = *(void **)element;
        }
        if (element) {
            walk_at(field->vmsd, element, walk);
            found = true;
        }
    }
    return found;
}

/* What the guest would lose, where that is as sure now as later */
static void walk_lost(const VMStateDescription *vmsd, void *opaque,
                      const Walk *walk)
{
    Error *err = NULL;

    if (walk->sent && !walk->prepared && !walk->device->lost &&
        !vmstate_check_lost(vmsd, opaque, walk->version_id, &err)) {
        walk->device->lost = g_strdup(error_get_pretty(err));
        error_free(err);
    }
}

/* What a field holds, if that is structures */
static void walk_field(const VMStateDescription *vmsd,
                       const VMStateField *field, void *opaque,
                       const Walk *outer)
{
    /* Structures that are there, and not made for the occasion */
    bool asked = outer->sent &&
                 (field->flags & (VMS_STRUCT | VMS_VSTRUCT)) &&
                 !(field->flags & VMS_ALLOC) &&
                 (!field->field_exists ||
                  field->field_exists(opaque, outer->version_id));
    Walk walk = *outer;

    if (field->info && field->info->structs && opaque) {
        field->info->structs(opaque + field->offset, walk_struct, &walk);
        return;
    } else if (!field->vmsd) {
        return;
    }
    walk.version_id = vmstate_older_part(vmsd, outer->version_id,
                                         field->vmsd->name,
                                         vmstate_field_newest(field));
    if (!(asked && walk_elements(field, opaque, &walk))) {
        /* What they know is all that can be said */
        walk.sent = false;
        walk_at(field->vmsd, NULL, &walk);
    }
}

/* What is valid, and what is needed where that is as sure now as later */
static void walk_combinations(const VMStateDescription *vmsd, void *opaque,
                              const Walk *walk)
{
    const Combinations *valid = vmsd->combinations
        ? migration_whitelist(vmsd, NULL) : NULL;
    MigrationCombinationFacts *c;

    if (!valid) {
        return;
    }
    c = migration_facts_find_combinations(walk->state, vmsd->name);
    c = c ?: migration_facts_add_combinations(walk->state, vmsd->name,
                                              combinations_copy(valid));
    if (walk->sent && !walk->prepared) {
        migration_facts_need(c, migration_whitelist_needed(vmsd, opaque));
    }
}

static void walk_at(const VMStateDescription *vmsd, void *opaque,
                    const Walk *outer)
{
    Walk here = *outer, *walk = &here;

    walk->prepared |= !!vmsd->pre_save;
    walk_combinations(vmsd, opaque, walk);
    walk_lost(vmsd, opaque, walk);

    /* What can't be migrated has no fields at all */
    for (const VMStateField *field = vmsd->fields; field && field->name;
         field++) {
        walk_field(vmsd, field, opaque, walk);
    }
    for (const VMStateDescription **sub = vmsd->subsections; sub && *sub;
         sub++) {
        walk_subsection(*sub, opaque, walk,
                        vmstate_older_part(vmsd, walk->version_id,
                                           (*sub)->name,
                                           (*sub)->version_id));
    }
}

/* What a device saves by hand is always of the newest version */
static void walk_struct(const VMStateDescription *vmsd, void *opaque,
                        void *arg)
{
    Walk walk = *(Walk *)arg;

    walk.version_id = vmsd->version_id;
    walk_at(vmsd, opaque, &walk);
}

static void add_device(const SavevmEntry *entry, void *arg)
{
    const VMStateDescription *vmsd = entry->vmsd;
    MigrationDeviceFacts *device =
        migration_facts_add_device(arg, entry->name, entry->instance_id);
    MigrationStateFacts *state = &device->state;
    VmstateSavedWhy why;
    uint32_t version = migration_saved_version(entry, &why);

    device->alias = g_strdup(entry->compat_name);
    device->alias_instance = entry->compat_instance_id;
    device->has_legacy_instance = entry->alias_id != -1;
    device->legacy_instance = entry->alias_id;
    device->expected = entry->expected;
    device->saved_why = why == VMSTATE_SAVED_WHY_NEWEST
        ? NULL : VmstateSavedWhy_str(why);
    state->version = entry->version_id;
    state->minimum_version = state->minimum_saved = entry->version_id;
    if (vmsd) {
        Walk walk = {
            .device = device,
            .state = state,
            .version_id = migration_agreement_version(entry->name,
                                                      entry->instance_id,
                                                      version),
            .sent = can_be_sent() &&
                    vmstate_save_needed(vmsd, entry->opaque) &&
                    !migration_stream_unused(vmsd, entry->opaque),
        };

        describe(state, vmsd, walk.version_id);
        state->needed = walk.sent;
        walk_at(vmsd, entry->opaque, &walk);
    } else {
        state->needed = can_be_sent() && (!entry->ops->is_active ||
                                          entry->ops->is_active(entry->opaque));
    }
}

/*
 * What is changed on the way has for the other side the name that is in the
 * stream: the destination's on a source, and the source's on a destination.
 */
static const char *map_name(const char *section, const char *name)
{
    const char *to = stream_map_name(section, true, name, false);
    const char *from = stream_map_source_name(section, name);

    /* What is called so there is another here: this one does not come */
    return is_destination() && from != name ? from : to;
}

static bool map_combinations(const char *section, Combinations *c)
{
    bool ok = true;

    for (unsigned i = 0; i < combinations_count(c); i++) {
        ok &= combinations_rename(c, i, map_name(section,
                                                 combinations_name(c, i)));
    }
    return ok;
}

static void map_subsections(const char *section, MigrationStateFacts *state)
{
    for (unsigned i = 0; i < state->subsections->len; i++) {
        MigrationStateFacts *sub = state->subsections->pdata[i];
        const char *name = map_name(section, sub->name);

        map_subsections(section, sub);
        if (name != sub->name) {
            g_free(sub->name);
            sub->name = g_strdup(name);
        }
    }
    for (unsigned i = state->combinations->len; i-- > 0;) {
        MigrationCombinationFacts *c = state->combinations->pdata[i];

        /* What cannot be said is left to be found when it is loaded */
        if (!map_combinations(section, c->valid)) {
            g_ptr_array_remove_index(state->combinations, i);
        }
    }
}

static void map_devices(MigrationFacts *facts)
{
    for (unsigned i = 0; i < facts->devices->len; i++) {
        MigrationStateFacts *state = facts->devices->pdata[i];

        state->optional |= stream_map_drops(state->name);
        map_subsections(state->name, state);
    }
}

static void copy_state(MigrationStateFacts *to, const MigrationStateFacts *from)
{
    to->version = from->version;
    to->minimum_version = from->minimum_version;
    to->minimum_saved = from->minimum_saved;
    to->has_saved = from->has_saved;
    to->saved = from->saved;
    to->optional = from->optional;
    for (unsigned i = 0; i < from->combinations->len; i++) {
        const MigrationCombinationFacts *c = from->combinations->pdata[i];

        migration_facts_add_combinations(to, c->structure,
                                         combinations_copy(c->valid));
    }
    for (unsigned i = 0; i < from->subsections->len; i++) {
        const MigrationStateFacts *sub = from->subsections->pdata[i];

        copy_state(migration_facts_add_subsection(to, sub->name), sub);
    }
}

static bool has_device(const MigrationFacts *facts, const char *name)
{
    for (unsigned i = 0; i < facts->devices->len; i++) {
        const MigrationStateFacts *state = facts->devices->pdata[i];

        if (!strcmp(state->name, name)) {
            return true;
        }
    }
    return false;
}

void migration_facts_add_dropped(MigrationFacts *facts,
                                 const MigrationFacts *source)
{
    for (unsigned i = 0; i < source->devices->len; i++) {
        const MigrationDeviceFacts *device = source->devices->pdata[i];

        if (stream_map_drops(device->state.name) &&
            !has_device(facts, device->state.name)) {
            copy_state(&migration_facts_add_device(facts, device->state.name,
                                                   device->instance)->state,
                       &device->state);
        }
    }
}

MigrationFacts *migration_facts_collect(void)
{
    MigrationFacts *facts = migration_facts_new();
    MachineClass *mc = MACHINE_GET_CLASS(current_machine);

    facts->qemu_version = g_strdup(QEMU_VERSION);
    if (*QEMU_PKGVERSION) {
        facts->qemu_package = g_strdup(QEMU_PKGVERSION);
    }
    facts->machine = g_strdup(mc->name);
    facts->guest_machine = g_strdup(mc->guest_name ?: mc->name);
    migration_facts_add_stream_version(facts, STREAM_VERSION);
    add_features(facts);
    qemu_savevm_foreach(add_device, facts);
    map_devices(facts);
    return facts;
}

MigrationFacts *migration_facts_collect_loading(void)
{
    MigrationFacts *facts;

    as_destination = true;
    facts = migration_facts_collect();
    as_destination = false;
    return facts;
}
