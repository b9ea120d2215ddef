/*
 * qemu-vmstate compat: could a guest go from one QEMU to another?
 *
 * Calls what the two sides of a migration call, see "Negotiation" in
 * docs/devel/migration-v4/planning.rst.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "migration/compat/negotiate.h"
#include "facts.h"

static void add_side(GString *out, const char *title,
                     const MigrationFacts *facts)
{
    g_string_append_printf(out, "%-12s  QEMU %s", title, facts->qemu_version);
    if (facts->qemu_package) {
        g_string_append_printf(out, " (%s)", facts->qemu_package);
    }
    g_string_append_printf(out, ", machine %s\n", facts->machine);
}

static void add_names(GString *out, const char *title, const GPtrArray *names)
{
    if (!names->len) {
        return;
    }
    g_string_append_printf(out, "%-12s", title);
    for (unsigned i = 0; i < names->len; i++) {
        g_string_append_printf(out, "%s%s", i ? ", " : "  ",
                               (char *)names->pdata[i]);
    }
    g_string_append_c(out, '\n');
}

static void add_remarks(GString *out, const MigrationAgreement *a, bool fatal)
{
    for (unsigned i = 0; i < a->remarks->len; i++) {
        const MigrationRemark *remark = a->remarks->pdata[i];

        if (remark->fatal == fatal) {
            g_autofree char *text = migration_remark_to_text(remark);

            g_string_append_printf(out, "%-12s  %s\n",
                                   fatal ? "refused" : "note", text);
        }
    }
}

bool tool_compat(const MigrationFacts *source,
                 const MigrationFacts *destination, GString *out)
{
    g_autoptr(MigrationAgreement) a = migration_negotiate(source, destination);

    add_side(out, "source", source);
    add_side(out, "destination", destination);
    if (a->stream_version) {
        g_string_append_printf(out, "%-12s  version %" PRIu32 "\n", "stream",
                               a->stream_version);
    }
    g_string_append_printf(out, "%-12s  %u\n", "devices", a->devices->len);
    add_names(out, "features", a->features);
    add_names(out, "left off", a->left_off);
    add_remarks(out, a, true);
    add_remarks(out, a, false);
    if (a->refusals) {
        g_string_append_printf(out, "The guest cannot go: %u %s.\n",
                               a->refusals,
                               a->refusals == 1 ? "refusal" : "refusals");
    } else {
        g_string_append(out, "The guest can go.\n");
    }
    return !a->refusals;
}
