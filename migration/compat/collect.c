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
#include "hw/boards.h"
#include "migration/compat/collect.h"
#include "migration/migration.h"
#include "migration/savevm.h"
#include "migration/stream/map.h"
#include "migration/stream/record.h"
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
    MigrationStateFacts *state;     /* gets the subsections */
    bool sent;
} Walk;

/* State that is being loaded, or will be, is none that could be sent */
static bool can_be_sent(void)
{
    return !runstate_check(RUN_STATE_INMIGRATE) &&
           !runstate_check(RUN_STATE_RESTORE_VM);
}

static void walk_struct(const VMStateDescription *vmsd, void *opaque,
                        void *arg);

static void describe(MigrationStateFacts *state,
                     const VMStateDescription *vmsd)
{
    state->version = vmsd->version_id;
    state->minimum_version = vmsd->minimum_version_id;
    state->minimum_saved = vmsd->minimum_saved_version_id ?:
                           vmsd->minimum_version_id;
    state->optional = vmsd->optional;
}

/* Adds to what is known of it: a structure may come several times */
static void walk_subsection(const VMStateDescription *vmsd, void *opaque,
                            const Walk *outer)
{
    MigrationStateFacts *state =
        migration_facts_find_subsection(outer->state, vmsd->name);
    Walk walk = { .sent = outer->sent && vmstate_save_needed(vmsd, opaque) };

    walk.state = state ?: migration_facts_add_subsection(outer->state,
                                                         vmsd->name);
    describe(walk.state, vmsd);
    walk.state->needed |= walk.sent;
    walk_struct(vmsd, opaque, &walk);
}

static unsigned count_of(const VMStateField *field, void *opaque)
{
    void *at = opaque + field->num_offset;
    unsigned factor = field->flags & VMS_MULTIPLY_ELEMENTS ? field->num : 1;

    if (field->flags & VMS_ARRAY) {
        return field->num * factor;
    } else if (field->flags & VMS_VARRAY_INT32) {
        return MAX(*(int32_t *)at, 0) * factor;
    } else if (field->flags & VMS_VARRAY_UINT32) {
        return *(uint32_t *)at * factor;
    } else if (field->flags & VMS_VARRAY_UINT16) {
        return *(uint16_t *)at * factor;
    } else if (field->flags & VMS_VARRAY_UINT8) {
        return *(uint8_t *)at * factor;
    }
    return 1;
}

/* Goes to each element that there is, and returns whether there was one */
static bool walk_elements(const VMStateField *field, void *opaque, Walk *walk)
{
    void *first = opaque + field->offset;
    unsigned i, n = count_of(field, opaque);
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
            walk_struct(field->vmsd, element, walk);
            found = true;
        }
    }
    return found;
}

/* What a field holds, if that is structures */
static void walk_field(const VMStateDescription *vmsd,
                       const VMStateField *field, void *opaque, Walk *walk)
{
    /* Structures that are there, and not made for the occasion */
    bool asked = walk->sent &&
                 (field->flags & (VMS_STRUCT | VMS_VSTRUCT)) &&
                 !(field->flags & VMS_ALLOC) &&
                 (!field->field_exists ||
                  field->field_exists(opaque, vmsd->version_id));

    if (field->info && field->info->structs && opaque) {
        field->info->structs(opaque + field->offset, walk_struct, walk);
    } else if (field->vmsd && !(asked && walk_elements(field, opaque, walk))) {
        /* What they know is all that can be said */
        Walk known = { .state = walk->state };

        walk_struct(field->vmsd, NULL, &known);
    }
}

static void walk_struct(const VMStateDescription *vmsd, void *opaque,
                        void *arg)
{
    Walk *walk = arg;

    for (const VMStateField *field = vmsd->fields; field->name; field++) {
        walk_field(vmsd, field, opaque, walk);
    }
    for (const VMStateDescription **sub = vmsd->subsections; sub && *sub;
         sub++) {
        walk_subsection(*sub, opaque, walk);
    }
}

static void add_device(const SavevmEntry *entry, void *arg)
{
    const VMStateDescription *vmsd = entry->vmsd;
    MigrationDeviceFacts *device =
        migration_facts_add_device(arg, entry->name, entry->instance_id);
    MigrationStateFacts *state = &device->state;

    device->alias = g_strdup(entry->compat_name);
    device->alias_instance = entry->compat_instance_id;
    device->has_legacy_instance = entry->alias_id != -1;
    device->legacy_instance = entry->alias_id;
    device->expected = entry->expected;
    state->version = entry->version_id;
    state->minimum_version = state->minimum_saved = entry->version_id;
    if (vmsd) {
        Walk walk = {
            .state = state,
            .sent = can_be_sent() && vmstate_save_needed(vmsd, entry->opaque),
        };

        describe(state, vmsd);
        state->needed = walk.sent;
        walk_struct(vmsd, entry->opaque, &walk);
    } else {
        state->needed = can_be_sent() && (!entry->ops->is_active ||
                                          entry->ops->is_active(entry->opaque));
    }
}

/*
 * What is changed on the way has for the other side the name that is in the
 * stream: the destination's on a source, and the source's on a destination.
 */
static void map_subsections(const char *section, MigrationStateFacts *state)
{
    for (unsigned i = 0; i < state->subsections->len; i++) {
        MigrationStateFacts *sub = state->subsections->pdata[i];
        const char *name = runstate_check(RUN_STATE_INMIGRATE)
            ? stream_map_source_name(section, sub->name)
            : stream_map_name(section, true, sub->name, false);

        map_subsections(section, sub);
        if (name != sub->name) {
            g_free(sub->name);
            sub->name = g_strdup(name);
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
    to->optional = from->optional;
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
