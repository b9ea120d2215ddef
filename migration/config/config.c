/*
 * The machine that travels: in memory, and as JSON
 *
 * Implements "The machine" of docs/devel/migration-v4/machine.rst.  Text comes
 * from the other side, or out of a file.  QAPI's own visitor does the reading;
 * before it come what it does not care for: limits, and members of a later
 * QEMU, which are passed over.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <math.h>
#include "qapi/error.h"
#include "qapi/qapi-visit-machine-config.h"
#include "qapi/qmp/qjson.h"
#include "qapi/qmp/qlist.h"
#include "qapi/qmp/qnum.h"
#include "qapi/qmp/qstring.h"
#include "qapi/qobject-input-visitor.h"
#include "qapi/qobject-output-visitor.h"
#include "migration/config/config.h"
#include "migration/stream/record.h"

/* What is known of an object: its members, as in qapi/machine-config.json */
typedef struct Known {
    const char *name;
    const struct Known *members;        /* NULL: it is taken as it is */
    bool object;                        /* with any members */
} Known;

static const Known known_qemu[] = {
    { "version" }, { "package" }, { }
};

static const Known known_option[] = {
    { "option" }, { "value" }, { "guest" }, { "size" }, { "checksum" }, { }
};

static const Known known_global[] = {
    { "driver" }, { "property" }, { "value" }, { }
};

static const Known known_board[] = {
    { "type" }, { "guest-type" }, { "accelerator" },
    { "properties", .object = true }, { "host-properties", .object = true },
    { "set" }, { "options", known_option }, { "globals", known_global },
    { "numa" }, { }
};

static const Known known_cpu[] = {
    { "model" }, { "options" }, { "properties", .object = true },
    { "features" }, { }
};

static const Known known_ram_block[] = {
    { "name" }, { "size" }, { "maximum-size" }, { "page-size" },
    { "checksum" }, { }
};

static const Known known_device[] = {
    { "path" }, { "driver" }, { "id" }, { "bus" }, { "address" },
    { "origin" }, { "hotplugged" }, { "unused" },
    { "properties", .object = true },
    { "host-properties", .object = true }, { "set" }, { }
};

static const Known known_backend[] = {
    { "kind" }, { "id" }, { "type" }, { "guest", .object = true },
    { "host", .object = true }, { }
};

static const Known known_config[] = {
    { "format" }, { "qemu", known_qemu }, { "board", known_board },
    { "cpu", known_cpu }, { "ram-blocks", known_ram_block },
    { "devices", known_device }, { "backends", known_backend },
    { "cookie" }, { }
};

static const Known known_root = { "the machine", known_config };

/* JSON has no way to say what is beyond all numbers, and QNum has */
static bool is_number(const QObject *object)
{
    const QNum *number = qobject_to(QNum, object);

    return !number || isfinite(qnum_get_double((QNum *)number));
}

static bool check_key(const Known *known, const char *key, Error **errp)
{
    size_t length = strlen(key);

    if (length > MACHINE_CONFIG_NAME_MAX ||
        !stream_name_is_proper((const uint8_t *)key, length)) {
        error_setg(errp, "%s: a member's name is empty, too long or has "
                   "control characters", known->name);
        return false;
    }
    return true;
}

/* Is it within the limits, but for what is inside? */
static bool check_outside(const Known *known, const QObject *object,
                          unsigned depth, Error **errp)
{
    const QDict *dict = qobject_to(QDict, object);
    const QList *list = qobject_to(QList, object);

    if (depth > MACHINE_CONFIG_DEPTH_MAX) {
        error_setg(errp, "%s: more than %d objects and lists inside each other",
                   known->name, MACHINE_CONFIG_DEPTH_MAX);
    } else if (known->object && !dict) {
        error_setg(errp, "%s: expected an object", known->name);
    } else if (!is_number(object)) {
        error_setg(errp, "%s: a number is too large", known->name);
    } else if (dict && qdict_size(dict) > MACHINE_CONFIG_MEMBERS_MAX) {
        error_setg(errp, "%s: more than %d members", known->name,
                   MACHINE_CONFIG_MEMBERS_MAX);
    } else if (list && qlist_size(list) > MACHINE_CONFIG_LIST_MAX) {
        error_setg(errp, "%s: more than %d", known->name,
                   MACHINE_CONFIG_LIST_MAX);
    } else {
        return true;
    }
    return false;
}

/* The same, with all that is inside, of which anything is taken */
static bool check_any(const Known *known, const QObject *object,
                      unsigned depth, Error **errp)
{
    const Known inside = { .name = known->name };
    const QDict *dict = qobject_to(QDict, object);
    const QList *list = qobject_to(QList, object);
    const QListEntry *l;

    if (!check_outside(known, object, depth, errp)) {
        return false;
    }
    for (const QDictEntry *e = dict ? qdict_first(dict) : NULL; e;
         e = qdict_next(dict, e)) {
        if (!check_key(known, qdict_entry_key(e), errp) ||
            !check_any(&inside, qdict_entry_value(e), depth + 1, errp)) {
            return false;
        }
    }
    for (l = list ? qlist_first(list) : NULL; l; l = qlist_next(l)) {
        if (!check_any(&inside, qlist_entry_obj(l), depth + 1, errp)) {
            return false;
        }
    }
    return true;
}

static bool prune(const Known *known, QObject *object, unsigned depth,
                  Error **errp);

static bool prune_dict(const Known *known, QDict *dict, unsigned depth,
                       Error **errp)
{
    const QDictEntry *e, *next;

    for (e = qdict_first(dict); e; e = next) {
        const char *key = qdict_entry_key(e);
        const Known *member = known->members;

        next = qdict_next(dict, e);
        if (!check_key(known, key, errp)) {
            return false;
        }
        while (member->name && strcmp(member->name, key)) {
            member++;
        }
        if (!member->name) {
            qdict_del(dict, key);
        } else if (!prune(member, qdict_entry_value(e), depth + 1, errp)) {
            return false;
        }
    }
    return true;
}

static bool prune_list(const Known *known, QList *list, unsigned depth,
                       Error **errp)
{
    const QListEntry *e;

    QLIST_FOREACH_ENTRY(list, e) {
        if (!prune(known, qlist_entry_obj(e), depth + 1, errp)) {
            return false;
        }
    }
    return true;
}

/* Leaves of an object what is known of it, and checks that */
static bool prune(const Known *known, QObject *object, unsigned depth,
                  Error **errp)
{
    QDict *dict = qobject_to(QDict, object);
    QList *list = qobject_to(QList, object);

    if (!known->members || (!dict && !list)) {
        return check_any(known, object, depth, errp);
    }
    return check_outside(known, object, depth, errp) &&
           (dict ? prune_dict(known, dict, depth, errp)
                 : prune_list(known, list, depth, errp));
}

/* Is a name something that can be shown, and looked for? */
static bool check_name(const char *what, const char *name, Error **errp)
{
    if (!stream_name_is_proper((const uint8_t *)name, strlen(name)) ||
        strlen(name) > MACHINE_CONFIG_NAME_MAX) {
        error_setg(errp, "%s: empty, too long or with control characters",
                   what);
        return false;
    }
    return true;
}

static bool check_once(GHashTable *seen, const char *what, const char *kind,
                       const char *name, Error **errp)
{
    g_autofree char *key = g_strdup_printf("%s %s", kind, name);

    if (!check_name(what, name, errp)) {
        return false;
    }
    if (!g_hash_table_add(seen, g_steal_pointer(&key))) {
        error_setg(errp, "%s '%s' is there twice", what, name);
        return false;
    }
    return true;
}

static bool check_names(MachineConfig *config, Error **errp)
{
    g_autoptr(GHashTable) seen =
        g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);

    if (!check_name("board.type", config->board->type, errp) ||
        !check_name("board.accelerator", config->board->accelerator, errp) ||
        (*config->cpu->model &&
         !check_name("cpu.model", config->cpu->model, errp))) {
        return false;
    }
    for (MachineConfigDeviceList *l = config->devices; l; l = l->next) {
        MachineConfigDevice *device = l->value;

        if (!check_name("devices.driver", device->driver, errp) ||
            (device->has_bus &&
             !check_name("devices.bus", device->bus, errp)) ||
            !check_once(seen, "device", "path", device->path, errp) ||
            (device->has_id &&
             !check_once(seen, "device", "id", device->id, errp))) {
            return false;
        }
    }
    for (MachineConfigBackendList *l = config->backends; l; l = l->next) {
        MachineConfigBackend *backend = l->value;
        const char *kind = MachineConfigBackendKind_str(backend->kind);

        if (!check_name("backends.type", backend->type, errp) ||
            !check_once(seen, "back end", kind, backend->id, errp)) {
            return false;
        }
    }
    for (MachineConfigRamBlockList *l = config->ram_blocks; l; l = l->next) {
        if (!check_once(seen, "RAM block", "ram", l->value->name, errp)) {
            return false;
        }
    }
    return true;
}

static bool check_format(const QDict *dict, Error **errp)
{
    QNum *format = qobject_to(QNum, qdict_get(dict, "format"));
    uint64_t number;

    if (!format || !qnum_get_try_uint(format, &number)) {
        error_setg(errp, "it does not say which format it has");
        return false;
    }
    if (number != MACHINE_CONFIG_FORMAT) {
        error_setg(errp, "it has format %" PRIu64 ", and %d is known", number,
                   MACHINE_CONFIG_FORMAT);
        return false;
    }
    return true;
}

MachineConfig *machine_config_from_qdict(QDict *dict, Error **errp)
{
    ERRP_GUARD();
    g_autoptr(MachineConfig) config = NULL;
    Visitor *v;

    if (check_format(dict, errp) &&
        prune(&known_root, QOBJECT(dict), 1, errp)) {
        v = qobject_input_visitor_new(QOBJECT(dict));
        visit_type_MachineConfig(v, NULL, &config, errp);
        visit_free(v);
    }
    if (!config || !check_names(config, errp)) {
        error_prepend(errp, "The machine's configuration cannot be read: ");
        return NULL;
    }
    return g_steal_pointer(&config);
}

bool machine_config_check_json(const char *json, Error **errp)
{
    struct {
        unsigned count, most;
    } open[MACHINE_CONFIG_DEPTH_MAX + 1] = {{ .most = 1 }};
    unsigned depth = 0, values = 0, objects = 0;
    char quote = 0;

    for (; *json; json++) {
        if (quote) {
            if (*json == '\\' && json[1]) {
                json++;
            } else if (*json == quote) {
                quote = 0;
            }
        } else if (*json == '"' || *json == '\'') {
            quote = *json;
        } else if (*json == '{' || *json == '[') {
            if (++depth > MACHINE_CONFIG_DEPTH_MAX) {
                error_setg(errp, "more than %d objects and lists inside each "
                           "other", MACHINE_CONFIG_DEPTH_MAX);
                return false;
            }
            open[depth].count = 1;
            open[depth].most = *json == '{' ? MACHINE_CONFIG_MEMBERS_MAX
                                            : MACHINE_CONFIG_LIST_MAX;
            objects += *json == '{';
            values++;
        } else if (*json == '}' || *json == ']') {
            depth -= depth > 0;
        } else if (*json == ',') {
            if (++open[depth].count > open[depth].most) {
                error_setg(errp, "an object or list has more than %u values",
                           open[depth].most);
                return false;
            }
            values++;
        }
    }
    if (values > MACHINE_CONFIG_VALUES_MAX ||
        objects > MACHINE_CONFIG_OBJECTS_MAX) {
        error_setg(errp, "more than %d values, or %d objects",
                   (int)MACHINE_CONFIG_VALUES_MAX,
                   (int)MACHINE_CONFIG_OBJECTS_MAX);
        return false;
    }
    return true;
}

MachineConfig *machine_config_parse(const char *json, size_t length,
                                    Error **errp)
{
    g_autofree char *text = NULL;
    QObject *object;
    MachineConfig *config = NULL;
    Error *err = NULL;

    /* What is empty may be nowhere */
    json = length ? json : "";
    if (length > MACHINE_CONFIG_SIZE_MAX || memchr(json, 0, length)) {
        error_setg(errp, "The machine's configuration cannot be read: it is "
                   "no text of at most %" PRIu64 " bytes",
                   (uint64_t)MACHINE_CONFIG_SIZE_MAX);
        return NULL;
    }
    text = g_strndup(json, length);
    object = machine_config_check_json(text, &err)
        ? qobject_from_json(text, &err) : NULL;
    if (!object || !qobject_to(QDict, object)) {
        g_autofree char *why = err ? stream_text_mend(error_get_pretty(err),
                                         strlen(error_get_pretty(err)), 256)
                                   : g_strdup("it is no JSON object");

        error_setg(errp, "The machine's configuration cannot be read: %s", why);
        error_free(err);
    } else {
        config = machine_config_from_qdict(qobject_to(QDict, object), errp);
    }
    qobject_unref(object);
    return config;
}

QDict *machine_config_to_qdict(MachineConfig *config)
{
    QObject *object;
    Visitor *v = qobject_output_visitor_new(&object);

    visit_type_MachineConfig(v, NULL, &config, &error_abort);
    visit_complete(v, &object);
    visit_free(v);
    return qobject_to(QDict, object);
}

GString *machine_config_to_json(MachineConfig *config)
{
    g_autoptr(QDict) dict = machine_config_to_qdict(config);

    return qobject_to_json(QOBJECT(dict));
}

MachineConfigDevice *machine_config_find_device(MachineConfig *config,
                                                const char *path)
{
    for (MachineConfigDeviceList *l = config->devices; l; l = l->next) {
        if (!strcmp(l->value->path, path)) {
            return l->value;
        }
    }
    return NULL;
}

MachineConfigBackend *machine_config_find_backend(MachineConfig *config,
                                                  MachineConfigBackendKind kind,
                                                  const char *id)
{
    for (MachineConfigBackendList *l = config->backends; l; l = l->next) {
        if (l->value->kind == kind && !strcmp(l->value->id, id)) {
            return l->value;
        }
    }
    return NULL;
}
