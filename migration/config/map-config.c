/*
 * What is changed on the way: the machine's configuration
 *
 * Implements "The machine" of docs/devel/migration-v4/map.rst.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qapi/qmp/qdict.h"
#include "qapi/qmp/qlist.h"
#include "qapi/qmp/qstring.h"
#include "migration/config/config.h"
#include "map-step.h"

/* Kinds of what has an id: those of back ends, and devices */
#define KIND_DEVICE MACHINE_CONFIG_BACKEND_KIND__MAX

/* Where an id stands for a device or back end of some kind */
static const struct {
    const char *property;
    int kind;
} references[] = {
    { "failover_pair_id", KIND_DEVICE },
    { "drive", MACHINE_CONFIG_BACKEND_KIND_BLOCK },
    { "file", MACHINE_CONFIG_BACKEND_KIND_BLOCK },
    { "backing", MACHINE_CONFIG_BACKEND_KIND_BLOCK },
    { "data-file", MACHINE_CONFIG_BACKEND_KIND_BLOCK },
    { "children", MACHINE_CONFIG_BACKEND_KIND_BLOCK },
    { "image", MACHINE_CONFIG_BACKEND_KIND_BLOCK },
    { "test", MACHINE_CONFIG_BACKEND_KIND_BLOCK },
    { "log", MACHINE_CONFIG_BACKEND_KIND_BLOCK },
    { "bottom", MACHINE_CONFIG_BACKEND_KIND_BLOCK },
    { "target", MACHINE_CONFIG_BACKEND_KIND_BLOCK },
    { "pflash0", MACHINE_CONFIG_BACKEND_KIND_BLOCK },
    { "pflash1", MACHINE_CONFIG_BACKEND_KIND_BLOCK },
    { "netdev", MACHINE_CONFIG_BACKEND_KIND_NET },
    { "chardev", MACHINE_CONFIG_BACKEND_KIND_CHARDEV },
    { "indev", MACHINE_CONFIG_BACKEND_KIND_CHARDEV },
    { "outdev", MACHINE_CONFIG_BACKEND_KIND_CHARDEV },
    { "audiodev", MACHINE_CONFIG_BACKEND_KIND_AUDIO },
    { "tpmdev", MACHINE_CONFIG_BACKEND_KIND_TPM },
    { "fsdev", MACHINE_CONFIG_BACKEND_KIND_FS },
    { "memdev", MACHINE_CONFIG_BACKEND_KIND_OBJECT },
    { "memory-backend", MACHINE_CONFIG_BACKEND_KIND_OBJECT },
    { "hostmem", MACHINE_CONFIG_BACKEND_KIND_OBJECT },
    { "iothread", MACHINE_CONFIG_BACKEND_KIND_OBJECT },
    { "rng", MACHINE_CONFIG_BACKEND_KIND_OBJECT },
    { "cryptodev", MACHINE_CONFIG_BACKEND_KIND_OBJECT },
    { "throttle-group", MACHINE_CONFIG_BACKEND_KIND_OBJECT },
    { "key-secret", MACHINE_CONFIG_BACKEND_KIND_OBJECT },
    { "tls-creds", MACHINE_CONFIG_BACKEND_KIND_OBJECT },
    { "tls-authz", MACHINE_CONFIG_BACKEND_KIND_OBJECT },
    { "authz", MACHINE_CONFIG_BACKEND_KIND_OBJECT },
};

/* What a guest can do without: it has a driver for it, and nothing in it */
static const char *const optional_drivers[] = {
    "virtio-rng-", "virtio-balloon-", "i6300esb", "ib700", "pvpanic",
    "isa-debugcon", "isa-debug-exit", "usb-tablet", "usb-mouse", "usb-wacom",
    "AC97", "ES1370", "intel-hda", "ich9-intel-hda", "hda-", "usb-audio",
    "edu", "pci-testdev",
};

/* What says where a device is, and what it is called */
static const char *const places[] = { "id", "bus", "addr" };

typedef struct Rename {
    int kind;
    const char *id, *to;
    uint64_t *count;
} Rename;

static bool is_reference(const Rename *r, const char *property)
{
    for (size_t i = 0; property && i < ARRAY_SIZE(references); i++) {
        if (references[i].kind == r->kind &&
            g_str_equal(references[i].property, property)) {
            return true;
        }
    }
    return false;
}

/* What is to stand for a value that refers to something; NULL: itself */
static char *renamed_text(const Rename *r, const char *value)
{
    static const char path[] = "/objects/";
    size_t skip = r->kind == MACHINE_CONFIG_BACKEND_KIND_OBJECT &&
                  g_str_has_prefix(value, path) ? strlen(path) : 0;

    if (!g_str_equal(value + skip, r->id)) {
        return NULL;
    }
    (*r->count)++;
    return g_strdup_printf("%.*s%s", (int)skip, value, r->to);
}

/* A value of @property, or part of it, as it is to be */
static QObject *renamed(const Rename *r, const char *property,
                        const QObject *value)
{
    const QDict *dict = qobject_to(QDict, value);
    const QList *list = qobject_to(QList, value);
    const QString *string = qobject_to(QString, value);

    if (dict) {
        QDict *copy = qdict_new();

        for (const QDictEntry *e = qdict_first(dict); e;
             e = qdict_next(dict, e)) {
            qdict_put_obj(copy, qdict_entry_key(e),
                          renamed(r, qdict_entry_key(e),
                                  qdict_entry_value(e)));
        }
        return QOBJECT(copy);
    } else if (list) {
        QList *copy = qlist_new();
        const QListEntry *e;

        QLIST_FOREACH_ENTRY(list, e) {
            qlist_append_obj(copy, renamed(r, property, qlist_entry_obj(e)));
        }
        return QOBJECT(copy);
    } else if (string && is_reference(r, property)) {
        char *text = renamed_text(r, qstring_get_str(string));

        if (text) {
            QString *copy = qstring_from_str(text);

            g_free(text);
            return QOBJECT(copy);
        }
    }
    return qobject_ref((QObject *)value);
}

static void rename_in(const Rename *r, QObject **object)
{
    QObject *copy = renamed(r, NULL, *object);

    qobject_unref(*object);
    *object = copy;
}

/* As in "model=e1000,netdev=ID": what stands there is up to the next comma */
static void rename_in_option(const Rename *r, char **value)
{
    g_auto(GStrv) parts = g_strsplit(*value, ",", -1);

    for (char **part = parts; *part; part++) {
        char *equals = strchr(*part, '=');
        g_autofree char *property = equals ? g_strndup(*part, equals - *part)
                                           : NULL;
        g_autofree char *text = is_reference(r, property)
                                ? renamed_text(r, equals + 1) : NULL;

        if (text) {
            g_free(*part);
            *part = g_strdup_printf("%s=%s", property, text);
        }
    }
    g_free(*value);
    *value = g_strjoinv(",", parts);
}

static void rename_references(const Rename *r, MachineConfig *config)
{
    rename_in(r, &config->board->properties);
    rename_in(r, &config->board->host_properties);
    for (MachineConfigOptionList *l = config->board->options; l; l = l->next) {
        rename_in_option(r, &l->value->value);
    }
    for (MachineConfigGlobalList *l = config->board->globals; l; l = l->next) {
        char *text = is_reference(r, l->value->property)
                     ? renamed_text(r, l->value->value) : NULL;

        if (text) {
            g_free(l->value->value);
            l->value->value = text;
        }
    }
    for (NumaOptionsList *l = config->board->numa; l; l = l->next) {
        NumaNodeOptions *node = &l->value->u.node;
        char *text = l->value->type == NUMA_OPTIONS_TYPE_NODE &&
                     node->has_memdev && is_reference(r, "memdev")
                     ? renamed_text(r, node->memdev) : NULL;

        if (text) {
            g_free(node->memdev);
            node->memdev = text;
        }
    }
    for (MachineConfigDeviceList *l = config->devices; l; l = l->next) {
        rename_in(r, &l->value->properties);
        rename_in(r, &l->value->host_properties);
    }
    for (MachineConfigBackendList *l = config->backends; l; l = l->next) {
        rename_in(r, &l->value->host);
    }
}

static MachineConfigDevice *find_device(MachineConfig *config,
                                        const char *name, Error **errp)
{
    for (MachineConfigDeviceList *l = config->devices; l; l = l->next) {
        if (l->value->has_id && g_str_equal(l->value->id, name)) {
            return l->value;
        }
    }
    for (MachineConfigDeviceList *l = config->devices; l; l = l->next) {
        if (g_str_equal(l->value->path, name)) {
            return l->value;
        }
    }
    error_setg(errp, "there is no device '%s'", name);
    return NULL;
}

/* The rest of the path of what is on a device or part of it, or NULL */
static const char *path_below(const MachineConfigDevice *device,
                              const char *path)
{
    size_t length = strlen(device->path);

    return strncmp(path, device->path, length) || path[length] != '/'
        ? NULL : path + length + 1;
}

/*
 * Buses are called after the device that has them, or of which that is a part:
 * 'ID' or 'ID.N'.  In paths they are called after what they are.
 */
static void rename_buses(const Rename *r, MachineConfigDevice *device,
                         MachineConfigDeviceList *devices)
{
    size_t length = strlen(r->id);

    for (MachineConfigDeviceList *l = devices; l; l = l->next) {
        MachineConfigDevice *on = l->value;
        char *bus;

        if (!path_below(device, on->path) || !on->has_bus ||
            !g_str_has_prefix(on->bus, r->id) ||
            !memchr(".", on->bus[length], 2)) {
            continue;
        }
        bus = g_strdup_printf("%s%s", r->to, on->bus + length);
        g_free(on->bus);
        on->bus = bus;
        (*r->count)++;
    }
}

static bool rename_device(MapStep *step, MachineConfig *config, Error **errp)
{
    const MachineMapRename *o = &step->operation->u.rename;
    Rename r = { KIND_DEVICE, o->id, o->to, &step->applied };
    MachineConfigDevice *device = find_device(config, o->id, errp);

    if (!device) {
        return false;
    }
    if (!device->has_id || !g_str_equal(device->id, o->id)) {
        error_setg(errp, "device '%s' has no id", o->id);
        return false;
    }
    for (MachineConfigDeviceList *l = config->devices; l; l = l->next) {
        if (l->value->has_id && g_str_equal(l->value->id, o->to)) {
            error_setg(errp, "there is a device '%s'", o->to);
            return false;
        }
    }
    rename_buses(&r, device, config->devices);
    g_free(device->id);
    device->id = g_strdup(o->to);
    step->applied++;
    rename_references(&r, config);
    return true;
}

static bool rename_backend(MapStep *step, MachineConfig *config, Error **errp)
{
    const MachineMapRename *o = &step->operation->u.rename;
    Rename r = { o->kind, o->id, o->to, &step->applied };
    MachineConfigBackend *backend =
        machine_config_find_backend(config, o->kind, o->id);
    static const char *const own[] = { "id", "node-name" };
    QDict *host;

    if (!backend) {
        error_setg(errp, "there is no %s '%s'",
                   MachineConfigBackendKind_str(o->kind), o->id);
        return false;
    }
    if (machine_config_find_backend(config, o->kind, o->to)) {
        error_setg(errp, "there is a %s '%s'",
                   MachineConfigBackendKind_str(o->kind), o->to);
        return false;
    }
    for (MachineConfigRamBlockList *l = config->ram_blocks;
         l && o->kind == MACHINE_CONFIG_BACKEND_KIND_OBJECT; l = l->next) {
        const char *name = l->value->name;

        /* That name is in the state, with each page */
        if (g_str_equal(name, o->id) ||
            (g_str_has_prefix(name, "/objects/") &&
             g_str_equal(name + strlen("/objects/"), o->id))) {
            error_setg(errp, "the guest's memory '%s' is called after it",
                       name);
            return false;
        }
    }
    g_free(backend->id);
    backend->id = g_strdup(o->to);
    step->applied++;
    rename_references(&r, config);

    host = qobject_to(QDict, backend->host);
    for (size_t i = 0; i < ARRAY_SIZE(own); i++) {
        if (!g_strcmp0(qdict_get_try_str(host, own[i]), o->id)) {
            qdict_put_str(host, own[i], o->to);
        }
    }
    return true;
}

static bool apply_rename(MapStep *step, MachineConfig *config, Error **errp)
{
    return step->operation->u.rename.has_kind
        ? rename_backend(step, config, errp)
        : rename_device(step, config, errp);
}

typedef bool ChangeDevice(MapStep *step, MachineConfigDevice *device,
                          Error **errp);

/* Changes one device, or all of a driver, of which there has to be one */
static bool change_devices(MapStep *step, MachineConfig *config,
                           bool has_device, const char *name,
                           const char *driver, ChangeDevice *change,
                           Error **errp)
{
    bool any = false;

    if (has_device) {
        MachineConfigDevice *device = find_device(config, name, errp);

        return device && change(step, device, errp);
    }
    for (MachineConfigDeviceList *l = config->devices; l; l = l->next) {
        if (g_str_equal(l->value->driver, driver)) {
            if (!change(step, l->value, errp)) {
                return false;
            }
            any = true;
        }
    }
    if (!any) {
        error_setg(errp, "there is no device of driver '%s'", driver);
    }
    return any;
}

/* Those among which a property is, or NULL */
static QDict *properties_with(MachineConfigDevice *device, const char *name)
{
    QDict *guest = qobject_to(QDict, device->properties);
    QDict *host = qobject_to(QDict, device->host_properties);

    return qdict_haskey(guest, name) ? guest
         : qdict_haskey(host, name) ? host : NULL;
}

static QDict *find_property(MachineConfigDevice *device, const char *name,
                            Error **errp)
{
    QDict *properties = properties_with(device, name);

    for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
        if (g_str_equal(places[i], name)) {
            error_setg(errp, "'%s' of device '%s' says where it is, and its "
                       "state comes for that place", name, device->path);
            return NULL;
        }
    }
    if (!properties) {
        error_setg(errp, "device '%s' has no property '%s'", device->path,
                   name);
    }
    return properties;
}

static bool rename_property(MapStep *step, MachineConfigDevice *device,
                            Error **errp)
{
    const MachineMapRenameProperty *o = &step->operation->u.rename_property;
    QDict *properties = find_property(device, o->property, errp);

    if (!properties) {
        return false;
    }
    if (properties_with(device, o->to)) {
        error_setg(errp, "device '%s' has a property '%s'", device->path,
                   o->to);
        return false;
    }
    qdict_put_obj(properties, o->to,
                  qobject_ref(qdict_get(properties, o->property)));
    qdict_del(properties, o->property);
    for (strList *l = device->set; l; l = l->next) {
        if (g_str_equal(l->value, o->property)) {
            g_free(l->value);
            l->value = g_strdup(o->to);
        }
    }
    step->applied++;
    return true;
}

static bool set_property(MapStep *step, MachineConfigDevice *device,
                         Error **errp)
{
    const MachineMapSetProperty *o = &step->operation->u.set_property;
    QDict *properties = find_property(device, o->property, errp);
    QObject *value;
    bool is_set = false;

    if (!properties) {
        return false;
    }
    value = qdict_get(properties, o->property);
    if (qobject_type(value) != qobject_type(o->value)) {
        error_setg(errp, "property '%s' of device '%s' is of another type",
                   o->property, device->path);
        return false;
    }
    qdict_put_obj(properties, o->property, qobject_ref(o->value));
    for (strList *l = device->set; l; l = l->next) {
        is_set |= g_str_equal(l->value, o->property);
    }
    if (!is_set) {
        QAPI_LIST_PREPEND(device->set, g_strdup(o->property));
    }
    step->applied++;
    return true;
}

static bool apply_rename_property(MapStep *step, MachineConfig *config,
                                  Error **errp)
{
    const MachineMapRenameProperty *o = &step->operation->u.rename_property;

    return change_devices(step, config, o->has_device, o->device, o->driver,
                          rename_property, errp);
}

static bool apply_set_property(MapStep *step, MachineConfig *config,
                               Error **errp)
{
    const MachineMapSetProperty *o = &step->operation->u.set_property;

    return change_devices(step, config, o->has_device, o->device, o->driver,
                          set_property, errp);
}

static bool is_optional(const MachineConfigDevice *device)
{
    for (size_t i = 0; i < ARRAY_SIZE(optional_drivers); i++) {
        if (g_str_has_prefix(device->driver, optional_drivers[i])) {
            return true;
        }
    }
    return false;
}

static bool check_drop(const MachineConfigDevice *device,
                       MachineConfig *config, Error **errp)
{
    uint64_t count = 0;
    Rename r = { KIND_DEVICE, device->has_id ? device->id : "", "", &count };

    if (device->origin != MACHINE_CONFIG_ORIGIN_USER) {
        error_setg(errp, "device '%s' is part of %s", device->path,
                   device->origin == MACHINE_CONFIG_ORIGIN_BOARD
                   ? "the board" : "another device");
        return false;
    }
    if (!is_optional(device)) {
        error_setg(errp, "the guest needs device '%s', which is a '%s'",
                   device->path, device->driver);
        return false;
    }
    for (MachineConfigDeviceList *l = config->devices; l; l = l->next) {
        QObject *copies[] = {
            renamed(&r, NULL, l->value->properties),
            renamed(&r, NULL, l->value->host_properties),
        };

        qobject_unref(copies[0]);
        qobject_unref(copies[1]);
        if (count || (path_below(device, l->value->path) &&
                      l->value->origin == MACHINE_CONFIG_ORIGIN_USER)) {
            error_setg(errp, "device '%s' needs device '%s'", l->value->path,
                       device->path);
            return false;
        }
    }
    return true;
}

static bool apply_drop_device(MapStep *step, MachineConfig *config,
                              Error **errp)
{
    MachineConfigDevice *device =
        find_device(config, step->operation->u.drop_device.device, errp);
    MachineConfigDeviceList **link = &config->devices, *parts = NULL;

    if (!device || !check_drop(device, config, errp)) {
        return false;
    }
    while (*link) {
        MachineConfigDeviceList *l = *link;

        if (l->value == device || path_below(device, l->value->path)) {
            *link = l->next;
            l->next = parts;
            parts = l;
            step->applied++;
        } else {
            link = &l->next;
        }
    }
    /* The device is among them, and was looked at until here */
    qapi_free_MachineConfigDeviceList(parts);
    return true;
}

/* By MachineMapOp; what is not here is about state alone */
static bool (*const apply[MACHINE_MAP_OP__MAX])(MapStep *, MachineConfig *,
                                                Error **) = {
    [MACHINE_MAP_OP_RENAME] = apply_rename,
    [MACHINE_MAP_OP_RENAME_PROPERTY] = apply_rename_property,
    [MACHINE_MAP_OP_SET_PROPERTY] = apply_set_property,
    [MACHINE_MAP_OP_DROP_DEVICE] = apply_drop_device,
};

bool machine_mapping_apply(MachineMapping *map, MachineConfig *config,
                           Error **errp)
{
    ERRP_GUARD();

    for (unsigned i = 0; i < map->steps->len; i++) {
        MapStep *step = &g_array_index(map->steps, MapStep, i);

        if (apply[step->operation->op] &&
            !apply[step->operation->op](step, config, errp)) {
            g_autofree char *text = map_step_text(step->operation);

            error_prepend(errp, "Operation %u of the map (%s) cannot be done: ",
                          i + 1, text);
            return false;
        }
    }
    return true;
}
