/*
 * What is changed on the way: the list of operations
 *
 * Implements "The file" of docs/devel/migration-v4/map.rst.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/id.h"
#include "qapi/error.h"
#include "qapi/qapi-visit-machine-config.h"
#include "qapi/qmp/qjson.h"
#include "qapi/qmp/qlist.h"
#include "qapi/qobject-input-visitor.h"
#include "migration/config/config.h"
#include "migration/stream/record.h"
#include "map-step.h"

static const char *of_device(bool has_device, const char *device,
                             const char *driver)
{
    return has_device ? device : driver;
}

char *map_step_text(const MachineMapOperation *o)
{
    switch (o->op) {
    case MACHINE_MAP_OP_RENAME:
        return g_strdup_printf("rename %s '%s' to '%s'",
            o->u.rename.has_kind
            ? MachineConfigBackendKind_str(o->u.rename.kind) : "device",
            o->u.rename.id, o->u.rename.to);
    case MACHINE_MAP_OP_RENAME_PROPERTY:
        return g_strdup_printf("rename property '%s' of '%s' to '%s'",
            o->u.rename_property.property,
            of_device(o->u.rename_property.has_device,
                      o->u.rename_property.device,
                      o->u.rename_property.driver),
            o->u.rename_property.to);
    case MACHINE_MAP_OP_SET_PROPERTY:
        return g_strdup_printf("set property '%s' of '%s'",
            o->u.set_property.property,
            of_device(o->u.set_property.has_device, o->u.set_property.device,
                      o->u.set_property.driver));
    case MACHINE_MAP_OP_DROP_DEVICE:
        return g_strdup_printf("drop device '%s'", o->u.drop_device.device);
    case MACHINE_MAP_OP_RENAME_SUBSECTION:
        return g_strdup_printf("rename subsection '%s' of '%s' to '%s'",
            o->u.rename_subsection.from, o->u.rename_subsection.section,
            o->u.rename_subsection.to);
    case MACHINE_MAP_OP_RENAME_FIELD:
        return g_strdup_printf("rename field '%s' of '%s' to '%s'",
            o->u.rename_field.from, o->u.rename_field.section,
            o->u.rename_field.to);
    case MACHINE_MAP_OP_FIELD_WIDTH:
        return g_strdup_printf("change field '%s' in '%s' of '%s' from %u to "
            "%u bits", o->u.field_width.field, o->u.field_width.structure,
            o->u.field_width.section, o->u.field_width.from,
            o->u.field_width.to);
    default:
        g_assert_not_reached();
    }
}

static bool check_text(const char *text, Error **errp)
{
    if (!stream_name_is_proper((const uint8_t *)text, strlen(text)) ||
        strlen(text) > MACHINE_CONFIG_NAME_MAX) {
        error_setg(errp, "expected names of 1 to %d bytes without control "
                   "characters", MACHINE_CONFIG_NAME_MAX);
        return false;
    }
    return true;
}

static bool check_names(const char *from, const char *to, Error **errp)
{
    if (!check_text(from, errp) || !check_text(to, errp)) {
        return false;
    }
    if (g_str_equal(from, to)) {
        error_setg(errp, "it changes nothing");
        return false;
    }
    return true;
}

/* A frame's name has a byte for its length */
static bool check_state_name(const char *name, Error **errp)
{
    if (strlen(name) > UINT8_MAX) {
        error_setg(errp, "a name in the stream has at most %d bytes",
                   UINT8_MAX);
        return false;
    }
    return true;
}

static bool check_devices(bool has_device, const char *device, bool has_driver,
                          const char *driver, const char *property,
                          Error **errp)
{
    if (has_device == has_driver) {
        error_setg(errp, "expected either 'device' or 'driver'");
        return false;
    }
    return check_text(has_device ? device : driver, errp) &&
           check_text(property, errp);
}

static bool check_width(unsigned bits, Error **errp)
{
    if (bits != 8 && bits != 16 && bits != 32 && bits != 64) {
        error_setg(errp, "expected 8, 16, 32 or 64 bits, got %u", bits);
        return false;
    }
    return true;
}

static bool check_one(const MachineMapOperation *o, Error **errp)
{
    const MachineMapRenameState *state;

    switch (o->op) {
    case MACHINE_MAP_OP_RENAME:
        if (!check_names(o->u.rename.id, o->u.rename.to, errp)) {
            return false;
        }
        if (!id_wellformed(o->u.rename.to)) {
            error_setg(errp, "'%s' cannot be an id", o->u.rename.to);
            return false;
        }
        return true;
    case MACHINE_MAP_OP_RENAME_PROPERTY:
        return check_devices(o->u.rename_property.has_device,
                             o->u.rename_property.device,
                             o->u.rename_property.has_driver,
                             o->u.rename_property.driver,
                             o->u.rename_property.property, errp) &&
               check_names(o->u.rename_property.property,
                           o->u.rename_property.to, errp);
    case MACHINE_MAP_OP_SET_PROPERTY:
        return check_devices(o->u.set_property.has_device,
                             o->u.set_property.device,
                             o->u.set_property.has_driver,
                             o->u.set_property.driver,
                             o->u.set_property.property, errp);
    case MACHINE_MAP_OP_DROP_DEVICE:
        for (strList *l = o->u.drop_device.sections; l; l = l->next) {
            if (!check_text(l->value, errp)) {
                return false;
            }
        }
        return check_text(o->u.drop_device.device, errp);
    case MACHINE_MAP_OP_RENAME_SUBSECTION:
    case MACHINE_MAP_OP_RENAME_FIELD:
        state = o->op == MACHINE_MAP_OP_RENAME_FIELD ? &o->u.rename_field
                                                     : &o->u.rename_subsection;
        return check_text(state->section, errp) &&
               check_names(state->from, state->to, errp) &&
               check_state_name(state->to, errp);
    case MACHINE_MAP_OP_FIELD_WIDTH:
        if (!check_text(o->u.field_width.section, errp) ||
            !check_text(o->u.field_width.structure, errp) ||
            !check_text(o->u.field_width.field, errp) ||
            !check_width(o->u.field_width.from, errp) ||
            !check_width(o->u.field_width.to, errp)) {
            return false;
        }
        if (o->u.field_width.from == o->u.field_width.to) {
            error_setg(errp, "it changes nothing");
            return false;
        }
        return true;
    default:
        g_assert_not_reached();
    }
}

/* What an operation on state looks for, which no two may; else NULL */
static char *state_key(const MachineMapOperation *o)
{
    switch (o->op) {
    case MACHINE_MAP_OP_RENAME_SUBSECTION:
        return g_strdup_printf("subsection %s\n%s",
                               o->u.rename_subsection.section,
                               o->u.rename_subsection.from);
    case MACHINE_MAP_OP_RENAME_FIELD:
        return g_strdup_printf("field %s\n%s", o->u.rename_field.section,
                               o->u.rename_field.from);
    case MACHINE_MAP_OP_FIELD_WIDTH:
        return g_strdup_printf("width %s\n%s\n%s", o->u.field_width.section,
                               o->u.field_width.structure,
                               o->u.field_width.field);
    default:
        return NULL;
    }
}

static bool check_all(const MachineMapOperationList *operations, Error **errp)
{
    ERRP_GUARD();
    g_autoptr(GHashTable) seen =
        g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    unsigned number = 0;

    for (const MachineMapOperationList *l = operations; l; l = l->next) {
        g_autofree char *key = NULL;

        if (++number > MACHINE_MAP_OPERATIONS_MAX) {
            error_setg(errp, "The map has more than %d operations",
                       MACHINE_MAP_OPERATIONS_MAX);
            return false;
        }
        if (check_one(l->value, errp)) {
            key = state_key(l->value);
            if (!key || g_hash_table_add(seen, g_steal_pointer(&key))) {
                continue;
            }
            error_setg(errp, "one before it is about the same");
        }
        error_prepend(errp, "Operation %u of the map (%s): ", number,
                      MachineMapOp_str(l->value->op));
        return false;
    }
    return true;
}

/* Takes @operations, also on failure */
static MachineMapping *mapping_new(MachineMapOperationList *operations,
                                   Error **errp)
{
    MachineMapping *map;

    if (!check_all(operations, errp)) {
        qapi_free_MachineMapOperationList(operations);
        return NULL;
    }
    map = g_new0(MachineMapping, 1);
    map->operations = operations;
    map->steps = g_array_new(false, true, sizeof(MapStep));
    for (MachineMapOperationList *l = map->operations; l; l = l->next) {
        MapStep step = { .operation = l->value };

        g_array_append_val(map->steps, step);
    }
    return map;
}

MachineMapping *machine_mapping_from_qlist(const QList *list, Error **errp)
{
    ERRP_GUARD();
    MachineMapOperationList *operations = NULL;
    MachineMapping *map = NULL;
    Visitor *v = qobject_input_visitor_new(QOBJECT(list));

    if (visit_type_MachineMapOperationList(v, NULL, &operations, errp)) {
        map = mapping_new(operations, errp);
    } else {
        error_prepend(errp, "The map cannot be read: ");
    }
    visit_free(v);
    return map;
}

MachineMapping *machine_mapping_parse(const char *json, size_t length,
                                      Error **errp)
{
    ERRP_GUARD();
    MachineMapping *map;
    g_autofree char *text = NULL;
    QObject *object;

    /* What is empty may be nowhere */
    json = length ? json : "";
    if (length > MACHINE_MAP_SIZE_MAX || memchr(json, 0, length)) {
        error_setg(errp, "The map cannot be read: it is no text of at most %"
                   PRIu64 " bytes", (uint64_t)MACHINE_MAP_SIZE_MAX);
        return NULL;
    }
    text = g_strndup(json, length);
    object = machine_config_check_json(text, errp)
        ? qobject_from_json(text, errp) : NULL;
    if (object && !qobject_to(QList, object)) {
        error_setg(errp, "it is no list");
    }
    if (!object || *errp) {
        if (!*errp) {
            error_setg(errp, "it is empty");
        }
        error_prepend(errp, "The map cannot be read: ");
        qobject_unref(object);
        return NULL;
    }
    map = machine_mapping_from_qlist(qobject_to(QList, object), errp);
    qobject_unref(object);
    return map;
}

void machine_mapping_free(MachineMapping *map)
{
    if (map) {
        qapi_free_MachineMapOperationList(map->operations);
        g_array_free(map->steps, true);
        g_free(map);
    }
}

void machine_mapping_start(MachineMapping *map)
{
    for (unsigned i = 0; i < map->steps->len; i++) {
        MapStep *step = &g_array_index(map->steps, MapStep, i);

        step->applied = 0;
        step->section_came = false;
    }
}

MachineMapInfo *machine_mapping_report(const MachineMapping *map)
{
    MachineMapInfo *info = g_new0(MachineMapInfo, 1);
    MachineMapReportList **tail = &info->operations;

    for (unsigned i = 0; i < map->steps->len; i++) {
        const MapStep *step = &g_array_index(map->steps, MapStep, i);
        MachineMapReport *report = g_new0(MachineMapReport, 1);

        report->text = map_step_text(step->operation);
        report->applied = step->applied;
        QAPI_LIST_APPEND(tail, report);
    }
    return info;
}
