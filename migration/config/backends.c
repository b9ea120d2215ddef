/*
 * What stands behind the devices of the machine as it stands
 *
 * Implements "Back ends" of docs/devel/migration-v4/machine.rst, but for block
 * nodes.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "block/qdict.h"
#include "chardev/char.h"
#include "hw/boards.h"
#include "net/hub.h"
#include "net/net.h"
#include "qapi/error.h"
#include "qapi/qapi-commands-tpm.h"
#include "qapi/qapi-visit-audio.h"
#include "qapi/qapi-visit-char.h"
#include "qapi/qapi-visit-net.h"
#include "qapi/qapi-visit-tpm.h"
#include "qapi/qmp/qbool.h"
#include "qapi/qmp/qstring.h"
#include "qapi/qobject-output-visitor.h"
#include "qapi/util.h"
#include "qemu/config-file.h"
#include "qemu/cutils.h"
#include "qemu/option_int.h"
#include "qom/object_interfaces.h"
#include "sysemu/hostmem.h"
#include "collect-parts.h"

typedef MachineConfigBackendList **Tail;

/* Of these only what they are is told; the name may end in '*' */
static const char *const secret_types[] = {
    "authz-*", "input-barrier", "secret", "secret_keyring", "tls-*",
};

/* Made after what they name: net clients, chardevs, block nodes */
static const char *const late_types[] = {
    "colo-compare", "cryptodev-vhost*", "filter-*", "rng-egd",
    "vhost-user-*",
};

/* Chardevs that are the user's way in and no part of a machine */
static const char *const tools[] = { "gdb", "qtest" };

static bool is_listed(const char *const *names, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++) {
        if (g_pattern_match_simple(names[i], name)) {
            return true;
        }
    }
    return false;
}

void machine_add_backend(MachineConfigBackendList ***tail,
                         MachineConfigBackendKind kind, const char *id,
                         const char *type, QDict *guest, QDict *host)
{
    MachineConfigBackend *backend = g_new0(MachineConfigBackend, 1);

    backend->kind = kind;
    backend->id = g_strdup(id);
    backend->type = g_strdup(type);
    backend->guest = QOBJECT(guest ?: qdict_new());
    backend->host = QOBJECT(host ?: qdict_new());
    machine_properties_hide(backend->host);
    QAPI_LIST_APPEND(*tail, backend);
}

/* QAPI's types as objects; each has its own function to visit it */
#define TO_QDICT(type, pointer) ({                                      \
    QObject *object_;                                                   \
    type *pointer_ = (type *)(pointer);                                 \
    Visitor *v_ = qobject_output_visitor_new(&object_);                 \
    visit_type_##type(v_, NULL, &pointer_, &error_abort);               \
    visit_complete(v_, &object_);                                       \
    visit_free(v_);                                                     \
    qobject_to(QDict, object_);                                         \
})

/* The properties that differ from those of a new one */
static QDict *read_object(MachineTypes *types, Object *object)
{
    MachineProperties p;
    QDict *values = qdict_new();

    machine_properties_read(types, object, NULL, NULL, &p);
    for (strList *l = p.set; l; l = l->next) {
        QObject *value = qdict_get(p.guest, l->value) ?:
                         qdict_get(p.host, l->value);

        qdict_put_obj(values, l->value, qobject_ref(value));
    }
    /* A throttle group shows its limits one by one too, to be set otherwise */
    for (strList *l = qdict_haskey(values, "limits") ? p.set : NULL; l;
         l = l->next) {
        if (g_str_has_prefix(l->value, "x-")) {
            qdict_del(values, l->value);
        }
    }
    qobject_unref(p.guest);
    qobject_unref(p.host);
    qapi_free_strList(p.set);
    return values;
}

/* The board itself makes memory that nobody gave it */
static bool is_boards_memory(MachineTypes *types, Object *object)
{
    const char *id = MACHINE_GET_CLASS(current_machine)->default_ram_id;
    g_autoptr(QDict) values = NULL;

    if (!id || OBJECT(current_machine->memdev) != object ||
        strcmp(id, object_get_canonical_path_component(object)) ||
        strcmp(object_get_typename(object), TYPE_MEMORY_BACKEND_RAM)) {
        return false;
    }
    values = read_object(types, object);
    return qdict_size(values) == 1 && qdict_haskey(values, "size");
}

static void add_object(Tail *tail, MachineTypes *types, Object *object)
{
    const char *id = object_get_canonical_path_component(object);
    const char *type = object_get_typename(object);
    QDict *guest = qdict_new();
    QDict *host = is_listed(secret_types, ARRAY_SIZE(secret_types), type)
                  ? NULL : read_object(types, object);

    if (object_dynamic_cast(object, TYPE_MEMORY_BACKEND)) {
        qdict_put_int(guest, "size",
                      object_property_get_uint(object, "size", &error_abort));
    }
    machine_add_backend(tail, MACHINE_CONFIG_BACKEND_KIND_OBJECT, id, type,
                        guest, host);
}

static int gather(Object *object, void *opaque)
{
    if (object_dynamic_cast(object, TYPE_USER_CREATABLE)) {
        g_ptr_array_add(opaque, object);
    }
    return 0;
}

static int compare_objects(const void *a, const void *b)
{
    Object *const *x = a, *const *y = b;

    return strcmp(object_get_canonical_path_component(*x),
                  object_get_canonical_path_component(*y));
}

static GPtrArray *list_objects(void)
{
    GPtrArray *objects = g_ptr_array_new();

    object_child_foreach(object_get_objects_root(), gather, objects);
    qsort(objects->pdata, objects->len, sizeof(objects->pdata[0]),
          compare_objects);
    return objects;
}

static void add_objects(Tail *tail, MachineTypes *types,
                        const GPtrArray *objects, bool late)
{
    for (guint i = 0; i < objects->len; i++) {
        Object *object = objects->pdata[i];

        if (is_listed(late_types, ARRAY_SIZE(late_types),
                      object_get_typename(object)) == late &&
            !is_boards_memory(types, object)) {
            add_object(tail, types, object);
        }
    }
}

static int note_monitor(void *opaque, QemuOpts *opts, Error **errp)
{
    const char *chardev = qemu_opt_get(opts, "chardev");

    if (chardev) {
        g_hash_table_add(opaque, (char *)chardev);
    }
    return 0;
}

static int gather_chardev(Object *object, void *opaque)
{
    g_ptr_array_add(opaque, CHARDEV(object));
    return 0;
}

/* What another is on top of comes before it */
static int compare_chardevs(const void *a, const void *b)
{
    Chardev *const *x = a, *const *y = b;
    int mux = (*x)->options && (*x)->options->type == CHARDEV_BACKEND_KIND_MUX;
    int mux_y = (*y)->options &&
                (*y)->options->type == CHARDEV_BACKEND_KIND_MUX;

    return mux != mux_y ? mux - mux_y : strcmp((*x)->label, (*y)->label);
}

/*
 * '-chardev' has words for these whether they were said or not, and QMP has
 * not: a chardev is the same either way.
 */
static void forget_defaults(QDict *dict)
{
    static const struct {
        const char *name;
        bool value;
    } defaults[] = {
        { "abstract", false }, { "append", false }, { "logappend", false },
        { "tight", true },
    };

    for (size_t i = 0; i < ARRAY_SIZE(defaults); i++) {
        const QBool *value = qobject_to(QBool, qdict_get(dict,
                                                         defaults[i].name));

        if (value && qbool_get_bool(value) == defaults[i].value) {
            qdict_del(dict, defaults[i].name);
        }
    }
    for (const QDictEntry *e = qdict_first(dict); e; e = qdict_next(dict, e)) {
        QDict *inner = qobject_to(QDict, qdict_entry_value(e));

        if (inner) {
            forget_defaults(inner);
        }
    }
}

static QDict *read_chardev(const Chardev *chr)
{
    QDict *all = TO_QDICT(ChardevBackend, chr->options);
    QDict *data = qdict_get_qdict(all, "data");

    qobject_ref(data);
    qobject_unref(all);
    forget_defaults(data);
    return data;
}

/* '-chardev' takes all that have no options of their own for 'null' */
static const char *chardev_type(const Chardev *chr)
{
    const char *type = object_get_typename(OBJECT(chr));

    return chr->options->type == CHARDEV_BACKEND_KIND_NULL &&
           strstart(type, "chardev-", &type)
           ? type : ChardevBackendKind_str(chr->options->type);
}

static void add_chardevs(Tail *tail)
{
    g_autoptr(GHashTable) monitors = g_hash_table_new(g_str_hash, g_str_equal);
    g_autoptr(GPtrArray) chardevs = g_ptr_array_new();

    qemu_opts_foreach(qemu_find_opts("mon"), note_monitor, monitors, NULL);
    object_child_foreach(container_get(object_get_root(), "/chardevs"),
                         gather_chardev, chardevs);
    qsort(chardevs->pdata, chardevs->len, sizeof(chardevs->pdata[0]),
          compare_chardevs);
    for (guint i = 0; i < chardevs->len; i++) {
        const Chardev *chr = chardevs->pdata[i];

        /* One that is shared may have a port of the guest on it, too */
        if (!chr->options ||
            (g_hash_table_contains(monitors, chr->label) &&
             chr->options->type != CHARDEV_BACKEND_KIND_MUX) ||
            is_listed(tools, ARRAY_SIZE(tools), chr->label)) {
            continue;
        }
        machine_add_backend(tail, MACHINE_CONFIG_BACKEND_KIND_CHARDEV,
                            chr->label, chardev_type(chr), NULL,
                            read_chardev(chr));
    }
}

static QDict *read_netdev(const NetClientState *nc)
{
    const Netdev *noted = machine_noted_netdev(nc->name);
    QDict *host = noted ? TO_QDICT(Netdev, noted) : qdict_new();
    int hub;

    qdict_del(host, "id");
    qdict_del(host, "type");
    if (!noted && nc->info->type == NET_CLIENT_DRIVER_HUBPORT &&
        !net_hub_id_for_client((NetClientState *)nc, &hub)) {
        qdict_put_int(host, "hubid", hub);
    }
    return host;
}

/* Each of them once, whatever queues it has */
static GPtrArray *list_clients(void)
{
    int n = qemu_find_net_clients_except(NULL, NULL, NET_CLIENT_DRIVER_NIC, 0);
    g_autofree NetClientState **clients = g_new(NetClientState *, n);
    g_autoptr(GHashTable) seen = g_hash_table_new(g_str_hash, g_str_equal);
    GPtrArray *list = g_ptr_array_new();

    qemu_find_net_clients_except(NULL, clients, NET_CLIENT_DRIVER_NIC, n);
    for (int i = 0; i < n; i++) {
        if (g_hash_table_add(seen, clients[i]->name)) {
            g_ptr_array_add(list, clients[i]);
        }
    }
    return list;
}

void machine_name_backends(MachineTypes *types)
{
    g_autoptr(GPtrArray) clients = list_clients();
    Object *memory = OBJECT(current_machine->memdev);
    unsigned number = 0;

    if (memory && is_boards_memory(types, memory)) {
        machine_types_hide(types, memory);
    }
    for (guint i = 0; i < clients->len; i++) {
        const NetClientState *nc = clients->pdata[i];
        char *called = NULL;

        if (*nc->name != '#') {
            continue;
        }
        do {
            g_free(called);
            called = g_strdup_printf("net%u", number++);
        } while (qemu_find_netdev(called));
        machine_types_rename(types, nc->name, called);
    }
    machine_name_nodes(types);
}

/*
 * A client of '-net' is on a hub, through a port that it does not name: the
 * port does.
 */
static void add_netdevs(Tail *tail, const MachineTypes *types)
{
    g_autoptr(GPtrArray) clients = list_clients();
    g_autoptr(GPtrArray) ports = g_ptr_array_new();

    for (guint i = 0; i < clients->len; i++) {
        NetClientState *nc = clients->pdata[i];

        if (nc->info->type == NET_CLIENT_DRIVER_HUBPORT) {
            g_ptr_array_add(ports, nc);
            continue;
        }
        machine_add_backend(tail, MACHINE_CONFIG_BACKEND_KIND_NET,
                            machine_types_name(types, nc->name),
                            NetClientDriver_str(nc->info->type), NULL,
                            read_netdev(nc));
    }
    for (guint i = 0; i < ports->len; i++) {
        NetClientState *port = ports->pdata[i];
        QDict *host = read_netdev(port);

        if (port->peer && port->peer->info->type != NET_CLIENT_DRIVER_NIC) {
            qdict_put_str(host, "netdev",
                          machine_types_name(types, port->peer->name));
        }
        machine_add_backend(tail, MACHINE_CONFIG_BACKEND_KIND_NET, port->name,
                            NetClientDriver_str(port->info->type), NULL, host);
    }
}

static void add_audiodevs(Tail *tail)
{
    const GPtrArray *audiodevs = machine_noted_audiodevs();

    for (guint i = 0; audiodevs && i < audiodevs->len; i++) {
        const Audiodev *dev = audiodevs->pdata[i];
        QDict *host = TO_QDICT(Audiodev, dev);

        qdict_del(host, "id");
        qdict_del(host, "driver");
        machine_add_backend(tail, MACHINE_CONFIG_BACKEND_KIND_AUDIO, dev->id,
                            AudiodevDriver_str(dev->driver), NULL, host);
    }
}

#ifdef CONFIG_TPM
static void add_tpms(Tail *tail)
{
    TPMInfoList *tpms = qmp_query_tpm(NULL);

    for (TPMInfoList *l = tpms; l; l = l->next) {
        TpmTypeOptions *options = l->value->options;
        QDict *all = TO_QDICT(TpmTypeOptions, options);
        QDict *data = qdict_get_qdict(all, "data");

        qobject_ref(data);
        qobject_unref(all);
        machine_add_backend(tail, MACHINE_CONFIG_BACKEND_KIND_TPM,
                            l->value->id, TpmType_str(options->type), NULL,
                            data);
    }
    qapi_free_TPMInfoList(tpms);
}
#else
static void add_tpms(Tail *tail)
{
}
#endif

static void add_fs(Tail *tail)
{
    QemuOptsList *list = qemu_find_opts_err("fsdev", NULL);
    QemuOpts *opts;

    if (!list) {
        return;
    }
    QTAILQ_FOREACH(opts, &list->head, next) {
        QDict *host = qemu_opts_to_qdict(opts, NULL);

        qdict_del(host, "id");
        qdict_del(host, "fsdriver");
        machine_add_backend(tail, MACHINE_CONFIG_BACKEND_KIND_FS,
                            qemu_opts_id(opts),
                            qemu_opt_get(opts, "fsdriver") ?: "local", NULL,
                            host);
    }
}

MachineConfigBackendList *machine_collect_backends(MachineTypes *types)
{
    MachineConfigBackendList *list = NULL;
    Tail tail = &list;
    g_autoptr(GPtrArray) objects = list_objects();

    add_objects(&tail, types, objects, false);
    add_chardevs(&tail);
    machine_add_block_backends(&tail, types);
    add_netdevs(&tail, types);
    add_audiodevs(&tail);
    add_tpms(&tail);
    add_fs(&tail);
    add_objects(&tail, types, objects, true);
    return list;
}
