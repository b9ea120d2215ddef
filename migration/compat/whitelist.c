/*
 * The sets of subsections that a structure may have
 *
 * Implements "Which combinations are valid" of
 * docs/devel/migration-v4/devices.rst.
 *
 * Each description's text is read once, when it is registered or else when it
 * is first met, and kept by the description's address.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bitops.h"
#include "qemu/lockable.h"
#include "qemu/thread.h"
#include "qapi/error.h"
#include "migration/compat/whitelist.h"
#include "migration/qemu-file.h"
#include "migration/stream/vmstate.h"

QEMU_BUILD_BUG_ON(COMBINATIONS_NAMES_MAX != STREAM_SUBSECTIONS_MAX);

/* VMStateDescription to Combinations */
static GHashTable *whitelists;
static QemuMutex lock;

static void __attribute__((constructor)) whitelists_init(void)
{
    qemu_mutex_init(&lock);
    whitelists = g_hash_table_new(NULL, NULL);
}

static unsigned count(const VMStateDescription *vmsd)
{
    unsigned n = 0;

    while (vmsd->subsections && vmsd->subsections[n]) {
        n++;
    }
    return n;
}

/* "[a] [b]" of a description that does not say */
static char *each_by_itself(const char *const *names, unsigned n)
{
    GString *text = g_string_new(NULL);

    for (unsigned i = 0; i < n; i++) {
        g_string_append_printf(text, "['%s'] ", names[i]);
    }
    return g_string_free(text, false);
}

static Combinations *compile(const VMStateDescription *vmsd, Error **errp)
{
    unsigned n = count(vmsd);
    g_autofree const char **names = g_new0(const char *, n + 1);
    g_autofree char *text = NULL;
    Combinations *c;

    for (unsigned i = 0; i < n; i++) {
        names[i] = vmsd->subsections[i]->name;
    }
    text = vmsd->combinations ? g_strdup(vmsd->combinations)
                              : each_by_itself(names, n);
    c = combinations_parse(text, names, n, errp);
    if (!c) {
        error_prepend(errp, "structure '%s': ", vmsd->name);
    }
    return c;
}

const Combinations *migration_whitelist(const VMStateDescription *vmsd,
                                        Error **errp)
{
    Combinations *c;

    if (!vmsd->subsections && !vmsd->combinations) {
        return NULL;
    }
    QEMU_LOCK_GUARD(&lock);
    c = g_hash_table_lookup(whitelists, vmsd);
    if (!c) {
        c = compile(vmsd, errp);
        if (c) {
            g_hash_table_insert(whitelists, (gpointer)vmsd, c);
        }
    }
    return c;
}

static bool check(const VMStateDescription *vmsd, GHashTable *seen,
                  Error **errp)
{
    ERRP_GUARD();

    if (!g_hash_table_add(seen, (gpointer)vmsd)) {
        return true;
    }
    migration_whitelist(vmsd, errp);
    if (*errp) {
        return false;
    }
    for (const VMStateField *field = vmsd->fields; field && field->name;
         field++) {
        if (field->vmsd && !check(field->vmsd, seen, errp)) {
            return false;
        }
    }
    for (unsigned i = 0; i < count(vmsd); i++) {
        if (!check(vmsd->subsections[i], seen, errp)) {
            return false;
        }
    }
    return true;
}

bool migration_whitelist_register(const VMStateDescription *vmsd,
                                  Error **errp)
{
    static GHashTable *checked;
    g_autoptr(GHashTable) seen = NULL;

    WITH_QEMU_LOCK_GUARD(&lock) {
        checked = checked ?: g_hash_table_new(NULL, NULL);
        if (g_hash_table_contains(checked, vmsd)) {
            return true;
        }
    }
    seen = g_hash_table_new(NULL, NULL);
    if (!check(vmsd, seen, errp ?: &error_abort)) {
        return false;
    }
    QEMU_LOCK_GUARD(&lock);
    g_hash_table_add(checked, (gpointer)vmsd);
    return true;
}

uint64_t migration_whitelist_needed(const VMStateDescription *vmsd,
                                    void *opaque)
{
    uint64_t set = 0;

    for (unsigned i = 0; i < count(vmsd); i++) {
        if (vmstate_save_needed(vmsd->subsections[i], opaque)) {
            set |= BIT_ULL(i);
        }
    }
    return set;
}

static bool allowed(const VMStateDescription *vmsd, const Combinations *c,
                    uint64_t set, Error **errp)
{
    g_autofree char *why = NULL;

    if (combinations_allow(c, set)) {
        return true;
    }
    why = combinations_refusal(c, vmsd->name, set);
    error_setg(errp, "%s", why);
    return false;
}

/* Takes those off that the other side was agreed to do without */
static uint64_t without_left_off(QEMUFile *f, const VMStateDescription *vmsd,
                                 uint64_t set)
{
    for (unsigned i = 0; i < count(vmsd); i++) {
        if (extract64(set, i, 1) &&
            migration_stream_subsection_version(f, vmsd->subsections[i]) ==
            STREAM_LEAVE_OFF) {
            set &= ~BIT_ULL(i);
        }
    }
    return set;
}

bool migration_whitelist_save(QEMUFile *f, const VMStateDescription *vmsd,
                              void *opaque, uint64_t *set)
{
    Error *err = NULL;
    const Combinations *c = migration_whitelist(vmsd, &err);

    *set = 0;
    if (c) {
        *set = without_left_off(f, vmsd,
                                migration_whitelist_needed(vmsd, opaque));
        if (qemu_file_get_error(f)) {
            return false;
        }
        allowed(vmsd, c, *set, &err);
    }
    if (err) {
        migration_stream_refuse_to_save(f, err);
        return false;
    }
    return true;
}

int migration_whitelist_load(QEMUFile *f, const VMStateDescription *vmsd)
{
    Error *err = NULL;
    const Combinations *c = migration_whitelist(vmsd, &err);

    if (!err &&
        (!c || allowed(vmsd, c, migration_stream_subsections_that_came(f),
                       &err))) {
        return 0;
    }
    migration_stream_failed(f, "%s", error_get_pretty(err));
    error_free(err);
    return -EINVAL;
}
