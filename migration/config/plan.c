/*
 * From a machine that travels to the command line that makes it
 *
 * Implements "The plan" of docs/devel/migration-v4/adopt.rst.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/cutils.h"
#include "qemu/id.h"
#include "qapi/error.h"
#include "qapi/qmp/qbool.h"
#include "qapi/qmp/qjson.h"
#include "qapi/qmp/qlist.h"
#include "qapi/qmp/qnum.h"
#include "qapi/qmp/qstring.h"
#include "migration/config/config.h"
#include "migration/config/plan.h"
#include "migration/stream/record.h"
#include "plan-internal.h"
#include "plan-options.h"

/*
 * How many options there may be: QEMU looks for ids among all that there are,
 * with each, and has no limit itself
 */
#define OPTIONS_MAX 2048

/* How many of what is missing are listed */
#define MISSING_MAX 64

/* And how much of each, and of what is no name, in bytes */
#define SHOWN_MAX 1024
#define NAME_SHOWN_MAX 128

/* As it can be shown to people, in one line; the caller frees it */
static char *plan_shown(const char *text, size_t most)
{
    char *shown = stream_text_mend(text, strlen(text), most);

    return g_strdelimit(shown, "\n", '?');
}

/* There can be no plan; the first reason counts */
static void plan_refuse(Plan *plan, const char *name, const char *why)
{
    g_autofree char *shown = plan_shown(name, NAME_SHOWN_MAX);

    if (!plan->err) {
        error_setg(&plan->err, "'%s' %s", shown, why);
    }
}

void plan_add(Plan *plan, const char *option, char *value)
{
    g_ptr_array_add(plan->arguments, g_strdup_printf("-%s", option));
    if (value) {
        g_ptr_array_add(plan->arguments, value);
    }
}

/* Something that leads to the host: to be taken, or to be asked for? */
void plan_add_reaching(Plan *plan, const char *option, char *value)
{
    g_autofree char *quoted = NULL;
    g_autofree char *shown = NULL;

    if (plan->side->trust) {
        plan_add(plan, option, value);
        return;
    }
    if (plan->missing_count++ < MISSING_MAX) {
        quoted = g_shell_quote(value);
        shown = plan_shown(quoted, SHOWN_MAX);
        g_string_append_printf(plan->missing, "\n  -%s %s%s", option, shown,
                               strlen(quoted) > SHOWN_MAX ? "..." : "");
    }
    g_free(value);
}

static bool was_given(Plan *plan, const char *option)
{
    const GPtrArray *options = plan->side->options;

    for (unsigned i = 0; options && i < options->len; i += 2) {
        if (!strcmp(options->pdata[i], option)) {
            return true;
        }
    }
    return false;
}

/* Was there an option with this member? */
bool plan_member_was_given(Plan *plan, const char *option,
                           const char *member, const char *value)
{
    const GPtrArray *options = plan->side->options;

    for (unsigned i = 0; options && i < options->len; i += 2) {
        g_autoptr(QDict) members = NULL;

        if (strcmp(options->pdata[i], option)) {
            continue;
        }
        members = machine_option_parse(options->pdata[i + 1], NULL);
        if (!g_strcmp0(qdict_get_try_str(members, member), value)) {
            return true;
        }
    }
    return false;
}

static bool is_set(strList *set, const char *name)
{
    for (; set; set = set->next) {
        if (!strcmp(set->value, name)) {
            return true;
        }
    }
    return false;
}

/* The machine */

/*
 * A back end that the board makes itself: memory that nobody gave it, and a
 * drive that was given to it by its place
 */
static bool is_boards_own(Plan *plan, const char *property,
                          const QObject *value)
{
    const QString *text = qobject_to(QString, value);
    const char *id = text ? qstring_get_str(text) : NULL;

    if (!id) {
        return false;
    }
    if (!strcmp(property, "memory-backend")) {
        return !plan_has_backend(plan, MACHINE_CONFIG_BACKEND_KIND_OBJECT, id);
    }
    return g_str_has_prefix(property, "pflash") &&
           plan_is_within(plan, MACHINE_CONFIG_BACKEND_KIND_BLOCK, id);
}

/* What stands first in '-machine', unless it is a member */
static void check_type(Plan *plan, const char *name)
{
    if (!*name || strpbrk(name, ",=")) {
        plan_refuse(plan, name, "is no name of a machine type");
    }
}

/* A name in an option that is no JSON must not be more than a name */
static void check_names(Plan *plan, const QObject *value)
{
    const char *bad = machine_option_bad_name(value);

    if (bad) {
        plan_refuse(plan, bad, "is no name of a property");
    }
}

static void add_board(Plan *plan)
{
    MachineConfigBoard *board = plan->config->board;
    g_autoptr(GString) text = g_string_new(NULL);
    const QDict *parts[] = {
        qobject_to(QDict, board->properties),
        qobject_to(QDict, board->host_properties),
    };

    check_type(plan, board->type);
    machine_option_append(text, NULL, board->type);
    for (int i = 0; i < ARRAY_SIZE(parts); i++) {
        const QDict *dict = parts[i];

        check_names(plan, QOBJECT(dict));
        for (const QDictEntry *e = qdict_first(dict); e;
             e = qdict_next(dict, e)) {
            const char *name = qdict_entry_key(e);
            g_autoptr(GString) alone = g_string_new(NULL);

            if (!is_set(board->set, name) ||
                machine_property_given(plan->side->options, name) ||
                is_boards_own(plan, name, qdict_entry_value(e))) {
                continue;
            }
            machine_option_append_object(alone, name, qdict_entry_value(e));
            if (!machine_board_property_reaches_host(name)) {
                g_string_append_printf(text, "%s%s", alone->len ? "," : "",
                                       alone->str);
            } else {
                plan_add_reaching(plan, "machine", g_strdup(alone->str));
            }
        }
    }
    plan_add(plan, "machine", g_strdup(text->str));
}

static void add_accelerator(Plan *plan)
{
    if (!was_given(plan, "accel") && !was_given(plan, "enable-kvm") &&
        !machine_property_given(plan->side->options, "accel")) {
        const char *name = plan->config->board->accelerator;
        g_autoptr(GString) text = g_string_new(NULL);

        machine_option_append(text, NULL, name);
        if (machine_accelerator_is_harmless(name)) {
            plan_add(plan, "accel", g_strdup(text->str));
        } else {
            plan_add_reaching(plan, "accel", g_strdup(text->str));
        }
    }
}

static void add_cpu(Plan *plan)
{
    MachineConfigCpu *cpu = plan->config->cpu;

    /* '-machine none' has none; and 'help' is no model, but ends QEMU */
    if (!*cpu->model || !strcmp(cpu->model, "none") ||
        was_given(plan, "cpu")) {
        return;
    }
    if (strchr(cpu->model, ',') || !strcmp(cpu->model, "help") ||
        !strcmp(cpu->model, "?")) {
        plan_refuse(plan, cpu->model, "is no model of a CPU");
        return;
    }
    plan_add(plan, "cpu", cpu->has_options && *cpu->options
                     ? g_strdup_printf("%s,%s", cpu->model, cpu->options)
                     : g_strdup(cpu->model));
}

static void add_globals(Plan *plan)
{
    MachineConfigGlobalList *l;

    for (l = plan->config->board->globals; l; l = l->next) {
        MachineConfigGlobal *g = l->value;
        g_autoptr(GString) text = g_string_new(NULL);
        const char *type = plan->side->property_type
            ? plan->side->property_type(g->driver, g->property) : NULL;
        g_autoptr(QString) value = qstring_from_str(g->value);

        if (!strcmp(g->driver, "migration") ||
            machine_global_given(plan->side->options, g)) {
            continue;
        }
        machine_option_append(text, "driver", g->driver);
        machine_option_append(text, "property", g->property);
        machine_option_append(text, "value", g->value);
        if (machine_property_reaches_host(g->property, type,
                                          QOBJECT(value))) {
            plan_add_reaching(plan, "global", g_strdup(text->str));
        } else {
            plan_add(plan, "global", g_strdup(text->str));
        }
    }
}

static void add_numa(Plan *plan)
{
    g_autoptr(QDict) config = NULL;
    QListEntry *e;

    if (!plan->config->board->numa || was_given(plan, "numa")) {
        return;
    }
    config = machine_config_to_qdict(plan->config);
    QLIST_FOREACH_ENTRY(qdict_get_qlist(qdict_get_qdict(config, "board"),
                                        "numa"), e) {
        QDict *node = qobject_to(QDict, qlist_entry_obj(e));
        g_autoptr(GString) text = g_string_new(NULL);

        plan_need_texts(plan, QOBJECT(node));
        machine_option_append(text, NULL, qdict_get_str(node, "type"));
        qdict_del(node, "type");
        machine_option_append_numa(text, node);
        plan_add(plan, "numa", g_strdup(text->str));
    }
}

/* Ports and NICs: what was given takes the first places */
static const struct {
    const char *option;
    const char *as;             /* how it is written in the plan */
    const char *start;          /* of its value there */
} places[] = {
    { "serial", "serial", "" },
    { "parallel", "parallel", "" },
    { "nic", "net", "nic," },
};

static int find_place(const char *option)
{
    for (int i = 0; i < ARRAY_SIZE(places); i++) {
        if (!strcmp(places[i].option, option)) {
            return i;
        }
    }
    return -1;
}

/* The same option with the names that back ends have here */
static char *with_names(const char *option, const char *value)
{
    const char *id;
    g_autoptr(QDict) members = NULL;
    GString *text;

    if (strstart(value, "chardev:", &id)) {
        return g_strdup_printf("chardev:%s", plan_name(id));
    }
    if (strcmp(option, "nic")) {
        return g_strdup(value);
    }
    members = machine_option_words(value, NULL);
    id = qdict_get_try_str(members, "netdev");
    if (id) {
        qdict_put_str(members, "netdev", plan_name(id));
    }
    text = g_string_new(NULL);
    machine_option_append_members(text, members);
    return g_string_free(text, false);
}

/* A port leads to something that is not told of, such as a monitor's? */
static bool leads_somewhere(Plan *plan, const char *value)
{
    return !strstart(value, "chardev:", &value) ||
           plan_has_backend(plan, MACHINE_CONFIG_BACKEND_KIND_CHARDEV, value);
}

static void add_option(Plan *plan, const char *option, const char *value)
{
    int place = find_place(option);
    g_autofree char *named = with_names(option, value);
    g_autofree char *whole =
        g_strdup_printf("%s%s", place < 0 ? "" : places[place].start, named);
    MachineOptionReach reach;

    if (place >= 0) {
        option = places[place].as;
    }
    reach = machine_option_reach(place < 0 ? option : places[place].option,
                                 value);
    if (reach == MACHINE_OPTION_HARMLESS && !leads_somewhere(plan, value)) {
        reach = MACHINE_OPTION_REACHES_HOST;
    }
    switch (reach) {
    case MACHINE_OPTION_HARMLESS:
        /* Each of them takes a value: if it had none, the next option */
        plan_add(plan, option, g_steal_pointer(&whole));
        break;
    case MACHINE_OPTION_REACHES_HOST:
        plan_add_reaching(plan, option, g_steal_pointer(&whole));
        break;
    default:
        plan_refuse(plan, option, "is an option of which nothing is known");
    }
}

static void add_options(Plan *plan)
{
    const GPtrArray *given = plan->side->options;
    unsigned taken[ARRAY_SIZE(places)] = { };

    for (MachineConfigOptionList *l = plan->config->board->options; l;
         l = l->next) {
        const char *option = l->value->option, *value = l->value->value;
        int place = find_place(option);

        if (place >= 0) {
            if (taken[place]++ >= machine_places_given(given, option)) {
                add_option(plan, option, value);
            }
        } else if (!strcmp(option, "drive")) {
            plan_add_drive(plan, value);
        } else if (!strcmp(option, "audio")) {
            plan_add_audio(plan, value);
        } else if (!machine_option_given(given, option, value)) {
            add_option(plan, option, value);
        }
    }
}

/* Its devices */

/* A property, which may lead to a back end that has another name here */
static void put_named(Plan *plan, QDict *dict, const char *name,
                      QObject *value)
{
    const QString *text = qobject_to(QString, value);
    const char *id = text ? qstring_get_str(text) : "";

    if (g_hash_table_contains(plan->needed, id) && *id == '#') {
        qdict_put_str(dict, name, plan_name(id));
    } else {
        qdict_put_obj(dict, name, qobject_ref(value));
    }
}

static void add_device(Plan *plan, MachineConfigDevice *device)
{
    const QDict *parts[] = {
        qobject_to(QDict, device->properties),
        qobject_to(QDict, device->host_properties),
    };
    g_autoptr(QDict) dict = qdict_new();
    bool reaches = machine_driver_reaches_host(device->driver);
    g_autoptr(GString) json = NULL;

    qdict_put_str(dict, "driver", device->driver);
    if (device->has_id) {
        qdict_put_str(dict, "id", device->id);
    }
    if (device->has_bus) {
        qdict_put_str(dict, "bus", device->bus);
    }
    for (int i = 0; i < ARRAY_SIZE(parts); i++) {
        for (const QDictEntry *e = qdict_first(parts[i]); e;
             e = qdict_next(parts[i], e)) {
            const char *name = qdict_entry_key(e);
            const char *type;

            /* What makes a device is not among its properties */
            if (!is_set(device->set, name) || !strcmp(name, "driver") ||
                !strcmp(name, "id") || !strcmp(name, "bus")) {
                continue;
            }
            type = plan->side->property_type
                 ? plan->side->property_type(device->driver, name) : NULL;
            reaches |= machine_property_reaches_host(name, type,
                                                     qdict_entry_value(e));
            put_named(plan, dict, name, qdict_entry_value(e));
        }
    }
    json = qobject_to_json(QOBJECT(dict));
    if (reaches) {
        plan_add_reaching(plan, "device", g_strdup(json->str));
    } else {
        plan_add(plan, "device", g_strdup(json->str));
    }
}

/*
 * A sound card that names no back end takes the first that there is; if there
 * is none it looks for one on the host.
 */
static void add_sound(Plan *plan)
{
    const MachinePlanSide *side = plan->side;
    bool wanted = false, there = side->trust || was_given(plan, "audiodev") ||
                                 was_given(plan, "audio");

    for (unsigned i = 0; i < plan->arguments->len; i++) {
        there |= !strcmp(plan->arguments->pdata[i], "-audiodev") ||
                 !strcmp(plan->arguments->pdata[i], "-audio");
    }
    for (MachineConfigDeviceList *l = plan->config->devices;
         l && side->property_type; l = l->next) {
        const QDict *host = qobject_to(QDict, l->value->host_properties);

        /* The board's speaker is silent then */
        wanted |= l->value->origin == MACHINE_CONFIG_ORIGIN_USER &&
                  side->property_type(l->value->driver, "audiodev") &&
                  !*(qdict_get_try_str(host, "audiodev") ?: "");
    }
    if (wanted && !there) {
        plan_add_reaching(plan, "audiodev", g_strdup("none,id=audio"));
    }
}

/* JSON is taken with any id, and some are more than a name to QOM */
static void check_id(Plan *plan, const char *id)
{
    if (!id_wellformed(id)) {
        plan_refuse(plan, id, "is no id");
    }
}

static void check_ids(Plan *plan)
{
    for (MachineConfigDeviceList *l = plan->config->devices; l; l = l->next) {
        if (l->value->has_id) {
            check_id(plan, l->value->id);
        }
    }
    for (MachineConfigBackendList *l = plan->config->backends; l;
         l = l->next) {
        check_id(plan, plan_name(l->value->id));
    }
}

static void plan_all(Plan *plan)
{
    check_ids(plan);
    plan_add(plan, "nodefaults", NULL);
    add_board(plan);
    add_accelerator(plan);
    add_cpu(plan);
    add_globals(plan);
    add_numa(plan);
    plan_need_backends(plan);
    plan_add_backends(plan);
    add_options(plan);
    for (MachineConfigDeviceList *l = plan->config->devices; l; l = l->next) {
        MachineConfigDevice *device = l->value;

        if (device->origin == MACHINE_CONFIG_ORIGIN_USER &&
            !(device->has_id &&
              plan_member_was_given(plan, "device", "id", device->id))) {
            add_device(plan, device);
        }
    }
    add_sound(plan);
}

GPtrArray *machine_plan(MachineConfig *config, const MachinePlanSide *side,
                        Error **errp)
{
    g_autoptr(GPtrArray) arguments = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(GString) missing = g_string_new(NULL);
    Plan plan = {
        .config = config, .side = side, .arguments = arguments,
        .missing = missing,
    };

    plan_index(&plan);
    plan_all(&plan);
    plan_index_clear(&plan);
    if (arguments->len > 2 * OPTIONS_MAX && !plan.err) {
        error_setg(&plan.err, "it takes more than %d options", OPTIONS_MAX);
    }
    if (plan.err) {
        error_propagate_prepend(errp, plan.err,
                                "The machine that arrives cannot be made: ");
        return NULL;
    }
    if (plan.missing_count > MISSING_MAX) {
        g_string_append_printf(missing, "\n  and %u more",
                               plan.missing_count - MISSING_MAX);
    }
    if (plan.missing_count) {
        error_setg(errp, "The machine that arrives needs what only this side "
                   "can give; the other side has%s", missing->str);
        error_append_hint(errp, "Give such options, with the same ids and this "
                          "host's paths, to this QEMU, or "
                          "'-M incoming,backends=trust' to take them as they "
                          "are.\n");
        return NULL;
    }
    return g_steal_pointer(&arguments);
}

char *machine_plan_to_shell(const GPtrArray *arguments)
{
    g_autoptr(GString) line = g_string_new(NULL);

    for (unsigned i = 0; i < arguments->len; i++) {
        const char *argument = arguments->pdata[i];
        g_autofree char *quoted = g_shell_quote(argument);
        bool plain = *argument && strspn(argument,
            "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
            "-_=.,:/+@%") == strlen(argument);

        g_string_append_printf(line, "%s%s", i ? " " : "",
                               plain ? argument : quoted);
    }
    return g_string_free(g_steal_pointer(&line), false);
}
