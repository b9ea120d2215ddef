/*
 * What was given on this side already
 *
 * Implements "What is given" of docs/devel/migration-v4/adopt.rst.  Pure.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/cutils.h"
#include "qapi/qmp/qdict.h"
#include "plan-options.h"

/* The options that make ports and NICs, each of which takes the next place */
static bool takes_place(const char *option, const char *value,
                        const char *of)
{
    if (!strcmp(of, "nic")) {
        return (!strcmp(option, "nic") && strcmp(value, "none")) ||
               (!strcmp(option, "net") && strstart(value, "nic", &value) &&
                (!*value || *value == ','));
    }
    return !strcmp(option, of);
}

unsigned machine_places_given(const GPtrArray *options, const char *option)
{
    unsigned count = 0;

    for (unsigned i = 0; options && i < options->len; i += 2) {
        count += takes_place(options->pdata[i], options->pdata[i + 1], option);
    }
    return count;
}

/* Drives of the board have a place: of an interface, the n-th */

static const struct {
    const char *option;
    const char *interface;
    int place;                  /* or the next free one */
} drives[] = {
    { "hda", "ide", 0 }, { "hdb", "ide", 1 }, { "hdc", "ide", 2 },
    { "hdd", "ide", 3 }, { "cdrom", "ide", 2 }, { "fda", "floppy", 0 },
    { "fdb", "floppy", 1 }, { "pflash", "pflash", -1 }, { "sd", "sd", -1 },
    { "mtdblock", "mtd", -1 },
};

static int number(const QDict *members, const char *name, int missing)
{
    const char *text = qdict_get_try_str(members, name);
    int value;

    return text && !qemu_strtoi(text, NULL, 10, &value) ? value : missing;
}

static int drive_place(const QDict *members, const char *interface,
                       unsigned units)
{
    int bus = number(members, "bus", -1), unit = number(members, "unit", -1);

    if (bus < 0 && unit < 0) {
        return number(members, "index", -1);
    }
    /* Others than disks have one bus */
    return strcmp(interface, "ide") ? unit
                                    : MAX(bus, 0) * (int)units + MAX(unit, 0);
}

/* Which drive does an option make?  false: none for the board */
static bool find_drive(const char *option, const char *value, unsigned units,
                       char **interface, int *place)
{
    g_autoptr(QDict) members = NULL;

    for (int i = 0; i < ARRAY_SIZE(drives); i++) {
        if (!strcmp(drives[i].option, option)) {
            *interface = g_strdup(drives[i].interface);
            *place = drives[i].place;
            return true;
        }
    }
    if (strcmp(option, "drive")) {
        return false;
    }
    members = machine_option_parse(value, NULL);
    *interface = g_strdup(qdict_get_try_str(members, "if") ?: "ide");
    *place = drive_place(members, *interface, units);
    return strcmp(*interface, "none");
}

bool machine_drive_given(const GPtrArray *options, const QDict *members,
                         unsigned units)
{
    const char *wanted = qdict_get_try_str(members, "if");
    g_autoptr(GHashTable) taken = g_hash_table_new(NULL, NULL);

    for (unsigned i = 0; wanted && options && i < options->len; i += 2) {
        g_autofree char *interface = NULL;
        int place;

        if (!find_drive(options->pdata[i], options->pdata[i + 1], units,
                        &interface, &place) || strcmp(interface, wanted)) {
            continue;
        }
        if (place < 0) {
            place = 0;
            while (g_hash_table_contains(taken, GINT_TO_POINTER(place))) {
                place++;
            }
        }
        g_hash_table_add(taken, GINT_TO_POINTER(place));
    }
    return wanted &&
           g_hash_table_contains(taken, GINT_TO_POINTER(
                                     drive_place(members, wanted, units)));
}

/*
 * What tells one of an option from another.  Of an option that is not here
 * there is one, or all belong together.
 */
static const struct {
    const char *option;
    const char *implied;
    const char *key;
} several[] = {
    { "fw_cfg", "name", "name" },
    { "smbios", NULL, "type" },
};

bool machine_option_given(const GPtrArray *options, const char *option,
                          const char *value)
{
    for (unsigned i = 0; options && i < options->len; i += 2) {
        const char *implied = NULL, *key = NULL;
        g_autoptr(QDict) given = NULL;
        g_autoptr(QDict) wanted = NULL;

        if (strcmp(options->pdata[i], option)) {
            continue;
        }
        for (int j = 0; j < ARRAY_SIZE(several); j++) {
            if (!strcmp(several[j].option, option)) {
                implied = several[j].implied;
                key = several[j].key;
            }
        }
        if (!key) {
            return true;
        }
        given = machine_option_parse(options->pdata[i + 1], implied);
        wanted = machine_option_parse(value, implied);
        if (qdict_haskey(given, key) &&
            !g_strcmp0(qdict_get_try_str(given, key),
                       qdict_get_try_str(wanted, key))) {
            return true;
        }
    }
    return false;
}

bool machine_property_given(const GPtrArray *options, const char *property)
{
    /* Options of their own that are not called after the property */
    const char *own = !strcmp(property, "firmware") ? "bios" :
                      !strcmp(property, "memory") ? "m" : property;

    for (unsigned i = 0; options && i < options->len; i += 2) {
        const char *option = options->pdata[i];
        g_autoptr(QDict) members = NULL;

        if (!strcmp(option, own)) {
            return true;
        }
        if (!strcmp(option, "machine") || !strcmp(option, "M")) {
            members = machine_option_parse(options->pdata[i + 1], "type");
            if (qdict_haskey(members, property)) {
                return true;
            }
        }
    }
    return false;
}

bool machine_global_given(const GPtrArray *options,
                          const MachineConfigGlobal *global)
{
    g_autofree char *start = g_strdup_printf("%s.%s=", global->driver,
                                             global->property);

    for (unsigned i = 0; options && i < options->len; i += 2) {
        g_autoptr(QDict) members = NULL;

        if (strcmp(options->pdata[i], "global")) {
            continue;
        }
        members = machine_option_parse(options->pdata[i + 1], NULL);
        if (strstart(options->pdata[i + 1], start, NULL) ||
            (!g_strcmp0(qdict_get_try_str(members, "driver"),
                        global->driver) &&
             !g_strcmp0(qdict_get_try_str(members, "property"),
                        global->property))) {
            return true;
        }
    }
    return false;
}
