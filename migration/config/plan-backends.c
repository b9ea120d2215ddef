/*
 * The back ends in the command line that makes a machine
 *
 * Implements "Back ends" in "The plan" of docs/devel/migration-v4/adopt.rst.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/cutils.h"
#include "qapi/qmp/qjson.h"
#include "qapi/qmp/qlist.h"
#include "qapi/qmp/qstring.h"
#include "migration/config/config.h"
#include "plan-internal.h"
#include "plan-options.h"

const char *plan_name(const char *id)
{
    return id + (*id == '#');
}

/* What is needed */

static void need(Plan *plan, const char *name)
{
    char *copy = g_strdup(name);

    if (g_hash_table_add(plan->needed, copy)) {
        g_queue_push_tail(plan->pending, copy);
    }
}

void plan_need_texts(Plan *plan, const QObject *object)
{
    const QDict *dict = qobject_to(QDict, object);
    const QString *text = qobject_to(QString, object);
    const QList *list = qobject_to(QList, object);
    const QListEntry *e;

    if (text) {
        need(plan, qstring_get_str(text));
    }
    if (list) {
        QLIST_FOREACH_ENTRY(list, e) {
            plan_need_texts(plan, qlist_entry_obj(e));
        }
    }
    for (const QDictEntry *m = dict ? qdict_first(dict) : NULL; m;
         m = qdict_next(dict, m)) {
        plan_need_texts(plan, qdict_entry_value(m));
    }
}

static bool was_given(Plan *plan, const MachineConfigBackend *backend)
{
    const MachineBackendOption *o = machine_backend_option(backend->kind);
    const char *id = plan_name(backend->id);

    return plan_member_was_given(plan, o->option, o->id, id) ||
           (o->other && plan_member_was_given(plan, o->other, "id", id)) ||
           (plan->side->has_backend &&
            plan->side->has_backend(backend->kind, id));
}

bool plan_has_backend(Plan *plan, MachineConfigBackendKind kind,
                      const char *id)
{
    const MachineConfigBackend wanted = { .kind = kind, .id = (char *)id };

    return plan_find_backend(plan, kind, id) || was_given(plan, &wanted);
}

/* One that is trusted is taken as it is */
static bool is_needed(Plan *plan, const MachineConfigBackend *backend)
{
    return plan->side->trust ||
           g_hash_table_contains(plan->needed, backend->id);
}

/* All that a name leads to */
static void follow(Plan *plan, const char *name)
{
    GPtrArray *hub = g_hash_table_lookup(plan->hubs, name);

    for (unsigned i = 0; hub && i < hub->len; i++) {
        need(plan, hub->pdata[i]);
    }
    for (int kind = 0; kind < MACHINE_CONFIG_BACKEND_KIND__MAX; kind++) {
        MachineConfigBackend *backend = plan_find_backend(plan, kind, name);
        g_autofree char *on = backend ? plan_hub_of(backend) : NULL;

        if (on) {
            need(plan, on);
        }
        if (backend && !was_given(plan, backend)) {
            plan_need_texts(plan, backend->host);
        }
    }
}

void plan_need_backends(Plan *plan)
{
    MachineConfig *config = plan->config;
    const char *name;

    plan_need_texts(plan, config->board->properties);
    plan_need_texts(plan, config->board->host_properties);
    for (MachineConfigOptionList *l = config->board->options; l; l = l->next) {
        g_autoptr(QDict) members = machine_option_words(l->value->value, NULL);
        const char *id;

        plan_need_texts(plan, QOBJECT(members));
        if (strstart(l->value->value, "chardev:", &id)) {
            need(plan, id);
        }
    }
    for (MachineConfigDeviceList *l = config->devices; l; l = l->next) {
        plan_need_texts(plan, l->value->host_properties);
    }
    while ((name = g_queue_pop_head(plan->pending))) {
        follow(plan, name);
    }
}

/* Making them */

static void add_one(Plan *plan, MachineConfigBackend *backend, char *value)
{
    const char *option = machine_backend_option(backend->kind)->option;

    if (machine_backend_is_harmless(backend)) {
        plan_add(plan, option, value);
    } else {
        plan_add_reaching(plan, option, value);
    }
}

/* A copy with the names that others have here */
static MachineConfigBackend renamed(MachineConfigBackend *backend, QDict *host)
{
    const char *netdev = qdict_get_try_str(host, "netdev");
    MachineConfigBackend copy = *backend;

    if (netdev) {
        qdict_put_str(host, "netdev", plan_name(netdev));
    }
    copy.host = QOBJECT(host);
    return copy;
}

/*
 * A node has a name.  A drive is what '-drive' makes: it can be empty, and what
 * goes by the name of a disk has its own.
 */
static bool is_drive(const MachineConfigBackend *backend)
{
    return backend->kind == MACHINE_CONFIG_BACKEND_KIND_BLOCK &&
           !qdict_haskey(qobject_to(QDict, backend->host), "node-name");
}

/* What is in a drive */
static void append_medium(GString *text, const MachineConfigBackend *backend)
{
    g_autoptr(QDict) host =
        qdict_clone_shallow(qobject_to(QDict, backend->host));

    if (strcmp(backend->type, "none")) {
        qdict_put_str(host, "driver", backend->type);
    }
    machine_option_append_members(text, host);
}

static void add_drive(Plan *plan, const MachineConfigBackend *backend)
{
    g_autoptr(GString) text = g_string_new("if=none");

    machine_option_append(text, "id", backend->id);
    append_medium(text, backend);
    if (machine_backend_is_harmless(backend)) {
        plan_add(plan, "drive", g_strdup(text->str));
    } else {
        plan_add_reaching(plan, "drive", g_strdup(text->str));
    }
}

/*
 * Something may be plugged in later that leads to it.  What leads on itself is
 * left out with what it leads to.
 */
static bool is_spare(const MachineConfigBackend *backend)
{
    return machine_backend_is_harmless(backend) &&
           !qdict_haskey(qobject_to(QDict, backend->host), "netdev");
}

void plan_add_backends(Plan *plan)
{
    for (MachineConfigBackendList *l = plan->config->backends; l;
         l = l->next) {
        MachineConfigBackend *backend = l->value, *shared;
        g_autoptr(QDict) host =
            qdict_clone_shallow(qobject_to(QDict, backend->host));
        MachineConfigBackend copy = renamed(backend, host);
        g_autofree char *value = NULL;

        if (!(is_needed(plan, backend) || is_spare(backend)) ||
            was_given(plan, backend) ||
            g_hash_table_contains(plan->shared, backend) ||
            plan_is_within(plan, backend->kind, backend->id)) {
            continue;
        }
        if (is_drive(backend)) {
            add_drive(plan, backend);
            continue;
        }
        shared = plan_find_shared(plan, backend);
        value = machine_backend_to_option(shared ?: &copy,
                                          plan_name(backend->id));
        if (shared) {
            g_autofree char *mux = g_strdup_printf("%s,mux=on", value);

            add_one(plan, shared, g_steal_pointer(&mux));
        } else {
            add_one(plan, backend, g_steal_pointer(&value));
        }
    }
}

/* Drives of the board */

static unsigned unit_of(const QDict *members)
{
    unsigned unit = 0;

    qemu_strtoui(qdict_get_try_str(members, "unit") ?: "0", NULL, 10, &unit);
    return unit;
}

static char *drive_device(const char *interface, const QDict *members)
{
    g_autoptr(QDict) device = qdict_new();
    const char *media = qdict_get_try_str(members, "media");
    g_autoptr(GString) json = NULL;

    qdict_put_str(device, "drive", qdict_get_str(members, "id"));
    qdict_put_int(device, "unit", unit_of(members));
    if (!strcmp(interface, "ide")) {
        g_autofree char *bus = g_strdup_printf("ide.%s",
            qdict_get_try_str(members, "bus") ?: "0");

        qdict_put_str(device, "driver",
                      g_strcmp0(media, "cdrom") ? "ide-hd" : "ide-cd");
        qdict_put_str(device, "bus", bus);
    } else {
        qdict_put_str(device, "driver", "floppy");
    }
    json = qobject_to_json(QOBJECT(device));
    return g_strdup(json->str);
}

/* It was given by its name, and has no place yet */
static void place_drive(Plan *plan, const QDict *members)
{
    const char *interface = qdict_get_try_str(members, "if") ?: "";

    if (!strcmp(interface, "pflash")) {
        g_autofree char *name = g_strdup_printf("pflash%u", unit_of(members));
        g_autoptr(GString) text = g_string_new(NULL);

        machine_option_append(text, name, qdict_get_str(members, "id"));
        plan_add(plan, "machine", g_strdup(text->str));
    } else if (!strcmp(interface, "ide") || !strcmp(interface, "floppy")) {
        plan_add(plan, "device", drive_device(interface, members));
    }
}

void plan_add_drive(Plan *plan, const char *value)
{
    g_autoptr(QDict) members = machine_option_words(value, NULL);
    const char *id = qdict_get_try_str(members, "id");
    MachineConfigBackend *backend = !id ? NULL :
        plan_find_backend(plan, MACHINE_CONFIG_BACKEND_KIND_BLOCK, id);
    g_autoptr(GString) text = g_string_new(NULL);

    if (machine_drive_given(plan->side->options, members,
                            plan->side->units ?: 2)) {
        return;
    }
    if (backend && was_given(plan, backend)) {
        place_drive(plan, members);
        return;
    }
    machine_option_append_members(text, members);
    if (backend) {
        append_medium(text, backend);
    }
    if (machine_option_reach("drive", value) == MACHINE_OPTION_HARMLESS &&
        (!backend || machine_backend_is_harmless(backend))) {
        plan_add(plan, "drive", g_strdup(text->str));
    } else {
        plan_add_reaching(plan, "drive", g_strdup(text->str));
    }
}

/* '-audio' makes the back end, too */
void plan_add_audio(Plan *plan, const char *value)
{
    g_autoptr(QDict) members = machine_option_words(value, NULL);
    const char *id = qdict_get_try_str(members, "id");
    MachineConfigBackend *backend = !id ? NULL :
        plan_find_backend(plan, MACHINE_CONFIG_BACKEND_KIND_AUDIO, id);
    g_autoptr(GString) text = g_string_new(NULL);

    if (machine_option_given(plan->side->options, "audio", value)) {
        return;
    }
    machine_option_append(text, "driver", backend ? backend->type : "none");
    machine_option_append_members(text, members);
    if (backend) {
        machine_option_append_members(text,
                                      qobject_to(QDict, backend->host));
    }
    if (backend && machine_backend_is_harmless(backend) &&
        machine_option_reach("audio", value) == MACHINE_OPTION_HARMLESS &&
        !was_given(plan, backend)) {
        plan_add(plan, "audio", g_strdup(text->str));
    } else {
        plan_add_reaching(plan, "audio", g_strdup(text->str));
    }
}
