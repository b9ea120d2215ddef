/*
 * Two machines: their devices
 *
 * Implements "Compare" of docs/devel/migration-v4/machine.rst.  A device is
 * found on the other side by its place; if something else is there, or
 * nothing, by its id, and then it is the same device at another address.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/qmp/qbool.h"
#include "qapi/qmp/qdict.h"
#include "qapi/qmp/qstring.h"
#include "compare-parts.h"

/* How long an advice to add a device gets, in bytes, about */
#define ADVICE_MAX 200

/* How many components of a path a device has for itself: bus and address */
#define PARENT_UP 4

/* The properties that make an address: another one is one difference */
static const char *const address_names[] = {
    "addr", "address", "cad", "channel", "iobase", "lun", "nr", "port",
    "scsi-id", "slot", "unit", NULL
};

/*
 * What can be otherwise when a guest that has booted runs on; ids of a card are
 * in its state, too, if they can be chosen
 */
static const char *const remarks[] = {
    "bootindex", "subsys", "subsys_ven", NULL
};

/* Of a drive: what the guest does with it */
static const char *const drive_state[] = { "tray-open", NULL };

/* Devices that fill memory when the machine starts, and do nothing else */
static const char *const loaders[] = { "guest-loader", "loader", NULL };

/* Which kind of back end a host property leads to; all others: an object */
static const struct {
    const char *property;
    MachineConfigBackendKind kind;
} leads[] = {
    { "audiodev", MACHINE_CONFIG_BACKEND_KIND_AUDIO },
    { "chardev", MACHINE_CONFIG_BACKEND_KIND_CHARDEV },
    { "drive", MACHINE_CONFIG_BACKEND_KIND_BLOCK },
    { "fsdev", MACHINE_CONFIG_BACKEND_KIND_FS },
    { "memdev", MACHINE_CONFIG_BACKEND_KIND_OBJECT },
    { "netdev", MACHINE_CONFIG_BACKEND_KIND_NET },
    { "pflash0", MACHINE_CONFIG_BACKEND_KIND_BLOCK },
    { "pflash1", MACHINE_CONFIG_BACKEND_KIND_BLOCK },
    { "tpmdev", MACHINE_CONFIG_BACKEND_KIND_TPM },
};

/* The devices of one side */
typedef struct Side {
    MachineConfigDeviceList *devices;
    GHashTable *by_path;        /* to MachineConfigDevice */
    GHashTable *by_id;          /* likewise */
    GHashTable *match;          /* MachineConfigDevice to that of the other */
    GHashTable *told;           /* those without one that were noted */
} Side;

static void side_init(Side *side, MachineConfigDeviceList *devices)
{
    side->devices = devices;
    side->by_path = g_hash_table_new(g_str_hash, g_str_equal);
    side->by_id = g_hash_table_new(g_str_hash, g_str_equal);
    side->match = g_hash_table_new(NULL, NULL);
    side->told = g_hash_table_new(NULL, NULL);
    for (; devices; devices = devices->next) {
        MachineConfigDevice *device = devices->value;

        g_hash_table_insert(side->by_path, device->path, device);
        if (device->has_id) {
            g_hash_table_insert(side->by_id, device->id, device);
        }
    }
}

static void side_clear(Side *side)
{
    g_hash_table_unref(side->by_path);
    g_hash_table_unref(side->by_id);
    g_hash_table_unref(side->match);
    g_hash_table_unref(side->told);
}

/* Finding */

/* What a device is on, or is a part of; NULL if nothing */
static MachineConfigDevice *parent_of(const Side *side,
                                      const MachineConfigDevice *device)
{
    g_autofree char *path = g_strdup(device->path);
    MachineConfigDevice *parent = NULL;
    char *slash;

    for (int up = 0; up < PARENT_UP && !parent &&
                     (slash = strrchr(path, '/')) > path; up++) {
        *slash = 0;
        parent = g_hash_table_lookup(side->by_path, path);
    }
    return parent;
}

/* Where a device of @here has to be on the other side, to be freed */
static char *place_of(const Side *here, const MachineConfigDevice *device)
{
    MachineConfigDevice *parent = parent_of(here, device);
    MachineConfigDevice *other = parent ? g_hash_table_lookup(here->match,
                                                              parent) : NULL;

    return other ? g_strdup_printf("%s%s", other->path,
                                   device->path + strlen(parent->path))
                 : g_strdup(device->path);
}

static bool is_free(const Side *there, const MachineConfigDevice *device,
                    const MachineConfigDevice *other)
{
    return other && !strcmp(device->driver, other->driver) &&
           !g_hash_table_contains(there->match, other);
}

/*
 * Those at addresses where the other side has nothing of their kind, and with
 * no name that it has: by their driver, in a queue
 */
static GHashTable *find_movable(const Side *here, const Side *there)
{
    GHashTable *movable =
        g_hash_table_new_full(g_str_hash, g_str_equal, NULL,
                              (GDestroyNotify)g_queue_free);

    for (MachineConfigDeviceList *l = there->devices; l; l = l->next) {
        MachineConfigDevice *device = l->value;
        MachineConfigDevice *rival =
            g_hash_table_lookup(here->by_path, device->path);
        GQueue *queue = g_hash_table_lookup(movable, device->driver);

        if (device->origin != MACHINE_CONFIG_ORIGIN_USER ||
            (device->has_id &&
             g_hash_table_contains(here->by_id, device->id)) ||
            (rival && !strcmp(rival->driver, device->driver))) {
            continue;
        }
        if (!queue) {
            queue = g_queue_new();
            g_hash_table_insert(movable, device->driver, queue);
        }
        g_queue_push_tail(queue, device);
    }
    return movable;
}

/* One of the same kind that is at another address, and has no other name */
static MachineConfigDevice *find_moved(GHashTable *movable, const Side *there,
                                       const MachineConfigDevice *device)
{
    GQueue *queue = g_hash_table_lookup(movable, device->driver);
    MachineConfigDevice *other = NULL;

    while (queue && !g_queue_is_empty(queue) && !other) {
        other = g_queue_pop_head(queue);
        if (!is_free(there, device, other)) {
            other = NULL;
        }
    }
    return other;
}

static void match_devices(Side *here, Side *there)
{
    g_autoptr(GHashTable) movable = find_movable(here, there);

    for (MachineConfigDeviceList *l = here->devices; l; l = l->next) {
        MachineConfigDevice *device = l->value;
        g_autofree char *place = place_of(here, device);
        MachineConfigDevice *other = g_hash_table_lookup(there->by_path, place);

        if (!is_free(there, device, other) && device->has_id) {
            other = g_hash_table_lookup(there->by_id, device->id);
        }
        if (!is_free(there, device, other) &&
            device->origin == MACHINE_CONFIG_ORIGIN_USER) {
            other = find_moved(movable, there, device);
        }
        if (is_free(there, device, other)) {
            g_hash_table_insert(here->match, device, other);
            g_hash_table_insert(there->match, other, device);
        }
    }
}

/* Properties */

static Weight device_weight(const char *name)
{
    return compare_listed(remarks, name) ? WEIGHT_REMARK : WEIGHT_FATAL;
}

static Weight remark_weight(const char *name)
{
    return WEIGHT_REMARK;
}

static bool is_loader(const MachineConfigDevice *device)
{
    return compare_listed(loaders, device->driver);
}

/* What the guest has not used can be missing where it goes */
static Weight missing_weight(const MachineConfigDevice *device)
{
    return is_loader(device) || device->unused ? WEIGHT_REMARK : WEIGHT_FATAL;
}

bool compare_is_unused(const Comparison *c, const char *driver)
{
    bool found = false;

    for (MachineConfigDeviceList *l = c->source->devices; l; l = l->next) {
        if (!strcmp(l->value->driver, driver)) {
            if (!l->value->unused) {
                return false;
            }
            found = true;
        }
    }
    return found;
}

static char *device_advice(const Comparison *c,
                           const MachineConfigDevice *device, const char *name,
                           const QObject *value)
{
    g_autofree char *text = compare_option(value);

    if (device->origin == MACHINE_CONFIG_ORIGIN_USER) {
        return g_strdup_printf("give %s=%s", name, text);
    }
    return g_strdup_printf("start with -global %s.%s=%s", device->driver, name,
                           text);
}

static char *address_advice(const MachineConfigDevice *device,
                            const MachineConfigDevice *other)
{
    const QDict *here = qobject_to(QDict, device->properties);
    const QDict *there = qobject_to(QDict, other->properties);
    GString *advice = g_string_new("give ");
    const char *comma = "";

    if (device->has_bus && g_strcmp0(device->bus, other->bus)) {
        g_string_append_printf(advice, "bus=%s", device->bus);
        comma = ",";
    }
    for (const char *const *name = address_names; *name; name++) {
        const QObject *value = qdict_get(here, *name);

        if (value && !qobject_is_equal(value, qdict_get(there, *name))) {
            g_autofree char *text = compare_option(value);

            g_string_append_printf(advice, "%s%s=%s", comma, *name, text);
            comma = ",";
        }
    }
    return g_string_free(advice, !*comma);
}

static void compare_device(Comparison *c, const MachineConfigDevice *device,
                           const MachineConfigDevice *other, bool moved)
{
    if (moved) {
        g_autoptr(QString) here = qstring_from_str(device->path);
        g_autoptr(QString) there = qstring_from_str(other->path);

        compare_note(c, device, WEIGHT_FATAL, g_strdup("address"),
                     compare_value(QOBJECT(here)),
                     compare_value(QOBJECT(there)),
                     address_advice(device, other));
    }
    compare_members(c, device, "", device->properties, other->properties,
                    moved ? address_names : NULL,
                    is_loader(device) ? remark_weight : device_weight,
                    device_advice);
    compare_backends(c, device, device->host_properties,
                     other->host_properties);
}

/* Devices that the other side does not have */

/* A device as '-device' takes it */
static QDict *device_options(const MachineConfigDevice *device)
{
    const QDict *properties = qobject_to(QDict, device->properties);
    QDict *options = qdict_new();

    qdict_put_str(options, "driver", device->driver);
    if (device->has_id) {
        qdict_put_str(options, "id", device->id);
    }
    if (device->has_bus) {
        qdict_put_str(options, "bus", device->bus);
    }
    for (const char *const *name = address_names; *name; name++) {
        if (qdict_haskey(properties, *name)) {
            qdict_put_obj(options, *name,
                          qobject_ref(qdict_get(properties, *name)));
        }
    }
    for (const strList *l = device->set; l; l = l->next) {
        if (qdict_haskey(properties, l->value)) {
            qdict_put_obj(options, l->value,
                          qobject_ref(qdict_get(properties, l->value)));
        }
    }
    return options;
}

static char *device_value(const MachineConfigDevice *device)
{
    g_autoptr(QDict) options = device ? device_options(device) : NULL;

    return options ? compare_value(QOBJECT(options)) : NULL;
}

static void add_member(GString *advice, const char *name,
                       const QObject *value)
{
    g_autofree char *text = value ? compare_option(value) : NULL;

    if (text && *text && advice->len + strlen(text) < ADVICE_MAX) {
        g_string_append_printf(advice, ",%s=%s", name, text);
    }
}

/* Back ends by the source's names, as nothing else is known to be there */
static char *add_advice(const Comparison *c, const MachineConfigDevice *device)
{
    const QDict *properties = qobject_to(QDict, device->properties);
    const QDict *host = qobject_to(QDict, device->host_properties);
    GString *advice;

    if (device->origin != MACHINE_CONFIG_ORIGIN_USER) {
        return compare_shown_options(c, false);
    }
    advice = g_string_new("add -device ");
    g_string_append(advice, device->driver);
    if (device->has_id) {
        g_string_append_printf(advice, ",id=%s", device->id);
    }
    if (device->has_bus) {
        g_string_append_printf(advice, ",bus=%s", device->bus);
    }
    for (const char *const *name = address_names; *name; name++) {
        add_member(advice, *name, qdict_get(properties, *name));
    }
    for (size_t i = 0; i < ARRAY_SIZE(leads); i++) {
        add_member(advice, leads[i].property,
                   qdict_get(host, leads[i].property));
    }
    for (const strList *l = device->set; l; l = l->next) {
        if (!compare_listed(address_names, l->value)) {
            add_member(advice, l->value, qdict_get(properties, l->value));
        }
    }
    return g_string_free(advice, false);
}

static char *drop_advice(const Comparison *c,
                         const MachineConfigDevice *device)
{
    if (device->origin != MACHINE_CONFIG_ORIGIN_USER) {
        return compare_shown_options(c, true);
    }
    return g_strdup_printf("leave -device %s%s%s out", device->driver,
                           device->has_id ? ",id=" : "",
                           device->has_id ? device->id : "");
}

/*
 * Is it to be told that the other side has no such device?  Not of the parts
 * of one that is missing, nor of what is on one that was never used, nor of the
 * board's CPUs, which are compared as such.
 */
static bool is_missing(const Side *side, const MachineConfigDevice *device)
{
    MachineConfigDevice *parent;

    if (g_hash_table_contains(side->match, device) ||
        g_hash_table_contains(side->told, device)) {
        return false;
    }
    if (device->origin == MACHINE_CONFIG_ORIGIN_BOARD &&
        g_str_has_prefix(device->path, "/cpu/")) {
        return false;
    }
    parent = parent_of(side, device);
    if (parent && parent->unused &&
        !g_hash_table_contains(side->match, parent)) {
        return false;
    }
    return device->origin == MACHINE_CONFIG_ORIGIN_USER || !parent ||
           g_hash_table_contains(side->match, parent);
}

static void compare_missing(Comparison *c, const Side *here, const Side *there)
{
    for (MachineConfigDeviceList *l = here->devices; l; l = l->next) {
        MachineConfigDevice *device = l->value, *other;
        g_autofree char *place = NULL;

        if (!is_missing(here, device)) {
            continue;
        }
        place = place_of(here, device);
        other = g_hash_table_lookup(there->by_path, place);
        if (other && is_missing(there, other)) {
            /* Told here, and not once more as one too many */
            g_hash_table_add(there->told, other);
        } else {
            other = NULL;
        }
        compare_note(c, device, other ? WEIGHT_FATAL : missing_weight(device),
                     g_strdup(other ? "driver" : "device"),
                     device_value(device), device_value(other),
                     add_advice(c, device));
    }
    for (MachineConfigDeviceList *l = there->devices; l; l = l->next) {
        if (is_missing(there, l->value)) {
            compare_note(c, l->value, is_loader(l->value) ? WEIGHT_REMARK
                                                          : WEIGHT_FATAL,
                         g_strdup("device"), NULL, device_value(l->value),
                         drop_advice(c, l->value));
        }
    }
}

void compare_devices(Comparison *c)
{
    Side here, there;

    side_init(&here, c->source->devices);
    side_init(&there, c->destination->devices);
    match_devices(&here, &there);
    for (MachineConfigDeviceList *l = here.devices; l; l = l->next) {
        MachineConfigDevice *other = g_hash_table_lookup(here.match, l->value);
        g_autofree char *place = place_of(&here, l->value);

        if (other) {
            compare_device(c, l->value, other, strcmp(place, other->path));
        }
    }
    compare_missing(c, &here, &there);
    side_clear(&here);
    side_clear(&there);
}

/* What stands behind them */

static MachineConfigBackend *find_backend(MachineConfig *config,
                                          const char *property,
                                          const QObject *value)
{
    MachineConfigBackendKind kind = MACHINE_CONFIG_BACKEND_KIND_OBJECT;
    QString *id = qobject_to(QString, value);

    for (size_t i = 0; i < ARRAY_SIZE(leads); i++) {
        if (!strcmp(property, leads[i].property)) {
            kind = leads[i].kind;
        }
    }
    return id ? machine_config_find_backend(config, kind, qstring_get_str(id))
              : NULL;
}

/* A medium comes and goes, as the guest has to expect */
static bool is_removable(const MachineConfigBackend *backend)
{
    const QDict *guest = qobject_to(QDict, backend->guest);
    QBool *removable = qobject_to(QBool, qdict_get(guest, "removable"));

    return removable && qbool_get_bool(removable);
}

void compare_backends(Comparison *c, const MachineConfigDevice *device,
                      const QObject *source, const QObject *destination)
{
    const QDict *here = qobject_to(QDict, source);
    const QDict *there = qobject_to(QDict, destination);

    for (const QDictEntry *e = qdict_first(here); e; e = qdict_next(here, e)) {
        const char *name = qdict_entry_key(e);
        MachineConfigBackend *a = find_backend(c->source, name,
                                               qdict_entry_value(e));
        MachineConfigBackend *b = find_backend(c->destination, name,
                                               qdict_get(there, name));
        g_autofree char *prefix = g_strdup_printf("%s.", name);

        if (a && b) {
            compare_members(c, device, prefix, a->guest, b->guest, drive_state,
                            is_removable(a) && is_removable(b) ? remark_weight
                                                               : NULL, NULL);
        }
    }
}
