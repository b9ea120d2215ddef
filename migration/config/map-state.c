/*
 * What is changed on the way: the state
 *
 * Implements "State" of docs/devel/migration-v4/map.rst.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "map-step.h"

/* Is @section what an operation names, wholly or by its last part? */
static bool is_section(const char *named, const char *section)
{
    const char *slash = strrchr(section, '/');

    return g_str_equal(named, section) ||
           (slash && g_str_equal(named, slash + 1));
}

const char *machine_mapping_name(MachineMapping *map, const char *section,
                                 bool subsection, const char *name,
                                 bool passes)
{
    const char *to = name;

    for (unsigned i = 0; i < map->steps->len; i++) {
        MapStep *step = &g_array_index(map->steps, MapStep, i);
        const MachineMapOperation *o = step->operation;
        const MachineMapRenameState *state =
            o->op == MACHINE_MAP_OP_RENAME_SUBSECTION ? &o->u.rename_subsection
            : o->op == MACHINE_MAP_OP_RENAME_FIELD ? &o->u.rename_field : NULL;

        if (!state || !is_section(state->section, section)) {
            continue;
        }
        step->section_came |= passes;
        if (subsection == (o->op == MACHINE_MAP_OP_RENAME_SUBSECTION) &&
            g_str_equal(state->from, name) && to == name) {
            step->applied += passes;
            to = state->to;
        }
    }
    return to;
}

const char *machine_mapping_source_name(const MachineMapping *map,
                                        const char *section, const char *name)
{
    for (unsigned i = 0; i < map->steps->len; i++) {
        const MachineMapOperation *o =
            g_array_index(map->steps, MapStep, i).operation;

        if (o->op == MACHINE_MAP_OP_RENAME_SUBSECTION &&
            is_section(o->u.rename_subsection.section, section) &&
            g_str_equal(o->u.rename_subsection.to, name)) {
            return o->u.rename_subsection.from;
        }
    }
    return name;
}

unsigned machine_mapping_width(MachineMapping *map, const char *section,
                               const char *structure, const char *field,
                               unsigned here, bool source, Error **errp)
{
    for (unsigned i = 0; i < map->steps->len; i++) {
        MapStep *step = &g_array_index(map->steps, MapStep, i);
        const MachineMapFieldWidth *width = &step->operation->u.field_width;
        unsigned expected, there;

        if (step->operation->op != MACHINE_MAP_OP_FIELD_WIDTH ||
            !g_str_equal(width->field, field) ||
            !g_str_equal(width->structure, structure) ||
            !is_section(width->section, section)) {
            continue;
        }
        expected = (source ? width->from : width->to) / 8;
        there = (source ? width->to : width->from) / 8;
        if (here != expected) {
            error_setg(errp, "the map is not about this field '%s': expected "
                       "%u bits on this side, got %u", field, expected * 8,
                       here * 8);
            return 0;
        }
        step->applied++;
        return there;
    }
    return here;
}

bool machine_mapping_drops(MachineMapping *map, const char *section)
{
    for (unsigned i = 0; i < map->steps->len; i++) {
        MapStep *step = &g_array_index(map->steps, MapStep, i);

        if (step->operation->op != MACHINE_MAP_OP_DROP_DEVICE) {
            continue;
        }
        for (strList *l = step->operation->u.drop_device.sections; l;
             l = l->next) {
            /* Wholly: another device may be of the same kind */
            if (g_str_equal(l->value, section)) {
                step->section_came = true;
                return true;
            }
        }
    }
    return false;
}

/* A subsection is not always needed; all else is there if its section is */
static bool is_done(const MapStep *step)
{
    switch (step->operation->op) {
    case MACHINE_MAP_OP_RENAME_SUBSECTION:
        return step->section_came;
    case MACHINE_MAP_OP_RENAME_FIELD:
    case MACHINE_MAP_OP_FIELD_WIDTH:
        return step->applied;
    case MACHINE_MAP_OP_DROP_DEVICE:
        return step->applied &&
               (step->section_came || !step->operation->u.drop_device.sections);
    default:
        /* About the machine, which comes with all streams of version 4 */
        return step->applied;
    }
}

bool machine_mapping_check(const MachineMapping *map, Error **errp)
{
    for (unsigned i = 0; i < map->steps->len; i++) {
        const MapStep *step = &g_array_index(map->steps, MapStep, i);

        if (!is_done(step)) {
            g_autofree char *text = map_step_text(step->operation);

            error_setg(errp, "operation %u of the map (%s) is about what did "
                       "not come", i + 1, text);
            return false;
        }
    }
    return true;
}
