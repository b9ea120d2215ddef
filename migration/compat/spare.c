/*
 * Which of the subsections in a file are loaded
 *
 * Implements "The choice" of docs/devel/migration-v4/snapshots.rst.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "migration/compat/spare.h"

/* Where a check is: one device, or one subsection of it, on both sides */
typedef struct Check {
    const MigrationDeviceFacts *device;     /* of the file */
    const MigrationStateFacts *file;
    const MigrationStateFacts *here;
    GString *why;           /* gets what is refused, NULL if nobody asks */
    unsigned *refused;
} Check;

bool migration_spare_choose(const Combinations *c, uint64_t needed,
                            uint64_t available, uint64_t *set)
{
    if (c) {
        return combinations_largest(c, needed, needed | available, set);
    }
    *set = needed | available;
    return true;
}

static void G_GNUC_PRINTF(3, 4) refuse(const Check *check,
                                       const StreamStored *stored,
                                       const char *fmt, ...)
{
    g_autofree char *reason = NULL;
    va_list ap;

    if (!check->why || (*check->refused)++ >= MIGRATION_SPARE_SHOWN) {
        return;
    }
    va_start(ap, fmt);
    reason = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    g_string_append_printf(check->why, "%sdevice '%s' (instance %" PRIu32
                           "): '%s' %s", check->why->len ? "; " : "",
                           check->device->state.name, check->device->instance,
                           stored->name, reason);
}

/* What one side has said of the structure, NULL if nothing */
static const Combinations *combinations_of(const MigrationStateFacts *state,
                                           const char *structure)
{
    const MigrationCombinationFacts *c =
        migration_facts_find_combinations(state, structure);

    return c ? c->valid : NULL;
}

static char *combinations_text(const Combinations *c)
{
    return c ? combinations_to_text(c) : g_strdup("any");
}

static char *set_to_text(const StreamStored *stored, uint64_t set)
{
    GString *text = g_string_new(NULL);

    for (unsigned i = 0; i < stored->parts->len; i++) {
        const StreamStoredPart *part = stored->parts->pdata[i];

        if (set & (1ULL << i)) {
            g_string_append_printf(text, "%s%s", text->len ? " + " : "",
                                   part->name);
        }
    }
    return g_string_free(text, false);
}

static bool check_inside(const Check *check, const GPtrArray *inside);

/* Can this side load it?  What is @needed gets words if not, unless unknown */
static bool check_part(const Check *check, const StreamStored *stored,
                       const StreamStoredPart *part, bool needed)
{
    const MigrationStateFacts *here =
        migration_facts_find_subsection(check->here, part->name);
    Check inner = {
        .device = check->device,
        .file = migration_facts_find_subsection(check->file, part->name),
        .here = here,
        .why = needed ? check->why : NULL,
        .refused = check->refused,
    };

    if (here && (part->version < here->minimum_version ||
                 part->version > here->version)) {
        if (needed) {
            refuse(check, stored, "needs subsection '%s', which is of another "
                   "version: expected %" PRIu32 " to %" PRIu32 ", got %" PRIu32,
                   part->name, here->minimum_version, here->version,
                   part->version);
        }
        return false;
    }
    return here && check_inside(&inner, part->inside);
}

/* Who does not know it may do without it, also where it is needed */
static bool is_optional(const Check *check, const char *name)
{
    const MigrationStateFacts *sub =
        migration_facts_find_subsection(check->file, name);

    return sub && sub->optional;
}

/* Is there a combination with all that is in one set? */
static bool check_set(const Check *check, const StreamStored *stored,
                      const Combinations *c, uint64_t needed)
{
    const Combinations *source = combinations_of(check->file, stored->name);
    g_autofree char *names = NULL, *theirs = NULL, *ours = NULL;
    uint64_t least = 0, most = 0, set;
    bool found = true;

    for (unsigned i = 0; i < stored->parts->len; i++) {
        const StreamStoredPart *part = stored->parts->pdata[i];
        bool known = migration_facts_find_subsection(check->here, part->name);
        bool is_needed = needed & (1ULL << i);
        int bit = !part->usable ? -1
                : c ? combinations_find(c, part->name) : i;

        if (bit >= 0) {
            least |= is_needed ? 1ULL << bit : 0;
            most |= is_needed || !part->sometimes ? 1ULL << bit : 0;
        } else if (is_needed && known && !part->usable) {
            /* It was said why */
            return false;
        } else if (is_needed && (known || !is_optional(check, part->name))) {
            found = false;
        }
    }
    if (found && migration_spare_choose(c, least, most, &set)) {
        return true;
    }
    names = set_to_text(stored, needed);
    theirs = combinations_text(source);
    ours = combinations_text(c);
    refuse(check, stored, "needs %s, and this side has no combination with "
           "that; valid are, on the source: %s; on this side: %s",
           *names ? names : "no subsection", theirs, ours);
    return false;
}

/*
 * Of what a subsection's put() saves nobody has said anything: what is in there
 * is only found when it is loaded.
 */
static bool is_described(const Check *check)
{
    return check->here->subsections->len || check->here->combinations->len ||
           check->file == &check->device->state;
}

static bool check_structure(const Check *check, const StreamStored *stored)
{
    const Combinations *c = combinations_of(check->here, stored->name);
    uint64_t needed = 0;
    bool good = true;

    for (unsigned i = 0; i < stored->needed->len; i++) {
        needed |= g_array_index(stored->needed, uint64_t, i);
    }
    for (unsigned i = 0; i < stored->parts->len; i++) {
        StreamStoredPart *part = stored->parts->pdata[i];

        part->usable = !is_described(check) ||
                       check_part(check, stored, part, needed & (1ULL << i));
    }
    for (unsigned i = 0; is_described(check) && i < stored->needed->len; i++) {
        good &= check_set(check, stored, c,
                          g_array_index(stored->needed, uint64_t, i));
    }
    return good;
}

static bool check_inside(const Check *check, const GPtrArray *inside)
{
    bool good = true;

    for (unsigned i = 0; inside && i < inside->len; i++) {
        good &= check_structure(check, inside->pdata[i]);
    }
    return good;
}

/* As a loader finds it: by its name, or by another that it is known by */
static const MigrationDeviceFacts *find_device(const MigrationFacts *here,
                                               const char *name,
                                               uint32_t instance)
{
    const MigrationDeviceFacts *other = NULL;

    for (unsigned i = 0; i < here->devices->len; i++) {
        const MigrationDeviceFacts *device = here->devices->pdata[i];
        bool legacy = device->has_legacy_instance &&
                      device->legacy_instance == instance;

        if (!strcmp(device->state.name, name) &&
            (device->instance == instance || legacy)) {
            return device;
        }
        if (!other && device->alias && !strcmp(device->alias, name) &&
            (device->alias_instance == instance || legacy)) {
            other = device;
        }
    }
    return other;
}

bool migration_spare_check(MigrationFacts *file, const MigrationFacts *here,
                           Error **errp)
{
    g_autoptr(GString) why = g_string_new(NULL);
    unsigned refused = 0;

    for (unsigned i = 0; i < file->devices->len; i++) {
        const MigrationDeviceFacts *device = file->devices->pdata[i];
        const MigrationDeviceFacts *ours =
            find_device(here, device->state.name, device->instance);
        Check check = {
            .device = device,
            .file = &device->state,
            .why = why,
            .refused = &refused,
        };

        if (ours && device->stored) {
            check.here = &ours->state;
            check_inside(&check, device->stored);
        }
    }
    if (refused > MIGRATION_SPARE_SHOWN) {
        g_string_append_printf(why, "; and %u more",
                               refused - MIGRATION_SPARE_SHOWN);
    }
    if (refused) {
        error_setg(errp, "this QEMU cannot load it: %s", why->str);
    }
    return !refused;
}
