/*
 * What is changed on the way: this QEMU's map
 *
 * Given as -global migration.map=FILE or with migrate-set-map, on either side.
 * Implements "Using it" of docs/devel/migration-v4/map.rst.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qapi/qapi-commands-machine-config.h"
#include "qapi/qapi-visit-machine-config.h"
#include "qapi/qmp/qdict.h"
#include "qapi/qobject-output-visitor.h"
#include "migration/config/map.h"
#include "migration/config/mapping.h"
#include "migration/migration.h"
#include "migration/stream/map.h"

static MachineMapping *mapping;
static char *mapping_file;      /* that it was read from, or NULL */

static void map_start(void)
{
    machine_mapping_start(mapping);
}

static const char *map_name(const char *section, bool subsection,
                            const char *name, bool passes)
{
    return machine_mapping_name(mapping, section, subsection, name, passes);
}

static const char *map_source_name(const char *section, const char *name)
{
    return machine_mapping_source_name(mapping, section, name);
}

static unsigned map_width(const char *section, const char *structure,
                          const char *field, unsigned here, bool saving,
                          Error **errp)
{
    return machine_mapping_width(mapping, section, structure, field, here,
                                 saving, errp);
}

static bool map_drops(const char *section)
{
    return machine_mapping_drops(mapping, section);
}

static bool map_check(Error **errp)
{
    return machine_mapping_check(mapping, errp);
}

static const StreamMap stream_map = {
    .start = map_start,
    .name = map_name,
    .source_name = map_source_name,
    .width = map_width,
    .drops = map_drops,
    .check = map_check,
};

/* Takes @new and @file; NULL: nothing is changed, it is from no file */
static void set_mapping(MachineMapping *new, char *file)
{
    migration_stream_set_map(new ? &stream_map : NULL);
    machine_mapping_free(mapping);
    g_free(mapping_file);
    mapping = new;
    mapping_file = file;
}

bool migration_map_set_file(const char *path, Error **errp)
{
    ERRP_GUARD();
    g_autofree char *json = NULL;
    MachineMapping *new;
    GError *gerr = NULL;
    gsize length;

    if (!g_file_get_contents(path, &json, &length, &gerr)) {
        error_setg(errp, "Could not read the map: %s", gerr->message);
        g_error_free(gerr);
        return false;
    }
    new = machine_mapping_parse(json, length, errp);
    if (!new) {
        error_prepend(errp, "'%s': ", path);
        return false;
    }
    set_mapping(new, g_strdup(path));
    return true;
}

bool migration_map_config(MachineConfig *config, Error **errp)
{
    return !mapping || machine_mapping_apply(mapping, config, errp);
}

static char *get_map(Object *obj, Error **errp)
{
    return g_strdup(mapping_file ?: "");
}

static void set_map(Object *obj, const char *value, Error **errp)
{
    migration_map_set_file(value, errp);
}

void migration_map_add_property(ObjectClass *klass)
{
    object_class_property_add_str(klass, "map", get_map, set_map);
}

/* A state is asked about by the thread that saves or loads it */
static bool is_in_use(void)
{
    int incoming = migration_incoming_get_current()->state;

    return migration_is_running(migrate_get_current()->state) ||
           (migration_is_running(incoming) &&
            incoming != MIGRATION_STATUS_SETUP);
}

void qmp_migrate_set_map(MachineMap *arg, Error **errp)
{
    g_autoptr(QDict) dict = NULL;
    MachineMapping *new;
    QObject *object;
    Visitor *v;

    if (is_in_use()) {
        error_setg(errp, "The map cannot be changed while a migration runs");
        return;
    }
    if (!arg->operations) {
        set_mapping(NULL, NULL);
        return;
    }
    v = qobject_output_visitor_new(&object);
    visit_type_MachineMap(v, NULL, &arg, &error_abort);
    visit_complete(v, &object);
    visit_free(v);
    dict = qobject_to(QDict, object);
    new = machine_mapping_from_qlist(qdict_get_qlist(dict, "operations"),
                                     errp);
    if (new) {
        set_mapping(new, NULL);
    }
}

MachineMapInfo *qmp_query_migrate_map(Error **errp)
{
    return mapping ? machine_mapping_report(mapping)
                   : g_new0(MachineMapInfo, 1);
}
