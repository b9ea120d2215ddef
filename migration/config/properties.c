/*
 * The properties of a QOM object, sorted
 *
 * Implements "Properties" of docs/devel/migration-v4/machine.rst.  Which ones
 * only the host can notice is a table of names; that a property leads to a
 * back end, QOM knows.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qapi/qmp/qlist.h"
#include "qapi/qmp/qstring.h"
#include "qapi/util.h"
#include "qemu/keyval.h"
#include "qom/object_interfaces.h"
#include "qom/qom-qobject.h"
#include "hw/boards.h"
#include "hw/pci/pci.h"
#include "properties.h"

/* What only the host can notice; a name that ends in '*' is a beginning */
static const char *const host_names[] = {
    /* back ends */
    "audiodev", "chardev", "cryptodev", "drive", "evdev", "fsdev", "fd",
    "host", "hostaddr", "hostbus", "hostdevice", "hostport", "iothread",
    "memdev", "memory-backend", "netdev", "pcspk-audiodev", "pflash*",
    "productid", "sysfsdev", "tpmdev", "vendorid", "vhost*",
    /* files */
    "dtb", "dumpdtb", "firmware", "initrd", "kernel", "pcap", "romfile",
    /* how the host goes about it */
    "account-*", "debug", "dump-guest-core", "guest-stats-polling-interval",
    "ioeventfd", "isobsize", "isobufs", "loglevel", "mem-merge",
    "num-threads", "prealloc*", "queue-threads", "rerror", "share-rw",
    "suppress-*", "tx", "use-timer", "werror", "write-cache",
    "x-config-pio-dynamic", "x-data-plane", "x-ratelimit", "x-txburst",
    "x-txtimer",
};

/* What is no property of the thing itself, or state that the guest changes */
static const char *const left_out[] = {
    "MCFG", "above-4g-mem-size", "attached", "below-4g-mem-size",
    "cpu-hotplug-legacy", "hotplugged", "realized", "rtc-time", "smb_io_base",
    "start-powered-off",
    /* how it is moved */
    "vmstate-version",
    /* a secret */
    "osk",
};

/* Members of options that are a secret, or may have one */
static const char *const secret_names[] = {
    "cookie", "data", "key", "loaded-key", "passphrase", "passwd", "password",
    "secret", "token",
};

/* What a property is, by its name */
typedef enum Kind {
    KIND_LEFT_OUT,
    KIND_GUEST,
    KIND_HOST,
} Kind;

struct MachineTypes {
    GHashTable *types;          /* name to what a new one has */
    GHashTable *kinds;          /* names of properties, to Kind */
    GHashTable *names;          /* that QEMU gave, to what they are called */
    Object *hidden;             /* what QEMU made itself, and will again */
};

static void unref(gpointer values)
{
    qobject_unref((QDict *)values);
}

MachineTypes *machine_types_new(void)
{
    MachineTypes *types = g_new0(MachineTypes, 1);

    types->types = g_hash_table_new_full(g_str_hash, g_str_equal, NULL,
                                         unref);
    types->kinds = g_hash_table_new_full(g_str_hash, g_str_equal, g_free,
                                         NULL);
    types->names = g_hash_table_new_full(g_str_hash, g_str_equal, g_free,
                                         g_free);
    return types;
}

void machine_types_free(MachineTypes *types)
{
    g_hash_table_destroy(types->types);
    g_hash_table_destroy(types->kinds);
    g_hash_table_destroy(types->names);
    g_free(types);
}

void machine_types_rename(MachineTypes *types, const char *name,
                          char *called)
{
    g_hash_table_insert(types->names, g_strdup(name), called);
}

const char *machine_types_name(const MachineTypes *types, const char *name)
{
    return g_hash_table_lookup(types->names, name) ?: name;
}

void machine_types_hide(MachineTypes *types, Object *object)
{
    types->hidden = object;
}

static bool is_listed(const char *const *names, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++) {
        size_t length = strlen(names[i]);

        if (names[i][length - 1] == '*' ? !strncmp(names[i], name, length - 1)
                                        : !strcmp(names[i], name)) {
            return true;
        }
    }
    return false;
}

/* Looked up once for each name: there are thousands of properties */
static Kind kind_of(const MachineTypes *types, const char *name)
{
    gpointer kind;

    if (!g_hash_table_lookup_extended(types->kinds, name, NULL, &kind)) {
        kind = GINT_TO_POINTER(
            is_listed(left_out, ARRAY_SIZE(left_out), name) ? KIND_LEFT_OUT :
            is_listed(host_names, ARRAY_SIZE(host_names), name) ? KIND_HOST
                                                                : KIND_GUEST);
        g_hash_table_insert(types->kinds, g_strdup(name), kind);
    }
    return GPOINTER_TO_INT(kind);
}

static bool is_link(const ObjectProperty *property)
{
    return property->resolve && g_str_has_prefix(property->type, "link<");
}

static bool is_child(const ObjectProperty *property)
{
    return property->resolve && g_str_has_prefix(property->type, "child<");
}

bool machine_property_is_alias(const ObjectProperty *property)
{
    return property->resolve && !is_link(property) &&
           !is_child(property);
}

/*
 * What can be given to a new object.  What has no setter is state, and so is
 * what only looks like a property.
 */
static bool is_wanted(const MachineTypes *types,
                      const ObjectProperty *property)
{
    return property->get && property->set && !is_child(property) &&
           kind_of(types, property->name) != KIND_LEFT_OUT;
}

/*
 * What a link leads to has a name if a user gave it one; otherwise it is how
 * the board is wired.
 */
static QObject *read_link(const MachineTypes *types, Object *object,
                          const ObjectProperty *property, bool *host)
{
    Object *target = property->resolve ?
                     property->resolve(object, property->opaque, "") : NULL;
    Object *parent = target ? target->parent : NULL;
    Object *objects = object_get_objects_root();

    /* Some have a link to themselves, for their parts */
    if (!parent || target == object || target == types->hidden ||
        (parent != objects &&
         parent != container_get(qdev_get_machine(), "/peripheral"))) {
        return NULL;
    }
    *host |= parent == objects;
    return QOBJECT(qstring_from_str(
                       object_get_canonical_path_component(target)));
}

static QObject *read_value(const MachineTypes *types, Object *object,
                           ObjectProperty *property, bool *host)
{
    if (is_link(property)) {
        return read_link(types, object, property, host);
    }
    return object_property_get_qobject(object, property->name, NULL);
}

/* What a machine type says it wants, as if it had been given */
static void add_machine_values(const char *defaults, QDict *values)
{
    g_autoptr(QDict) given = keyval_parse(defaults, NULL, NULL, &error_abort);
    const QDictEntry *e;

    for (e = qdict_first(given); e; e = qdict_next(given, e)) {
        if (qobject_to(QString, qdict_get(values, qdict_entry_key(e)))) {
            qdict_put_obj(values, qdict_entry_key(e),
                          qobject_ref(qdict_entry_value(e)));
        }
    }
}

/* What comes from the class later than an object is new */
static void add_class_values(Object *object, QDict *values)
{
    if (object_dynamic_cast(object, TYPE_MACHINE) &&
        MACHINE_GET_CLASS(object)->default_machine_opts) {
        add_machine_values(MACHINE_GET_CLASS(object)->default_machine_opts,
                           values);
    }
    if (object_dynamic_cast(object, TYPE_PCI_DEVICE)) {
        const char *romfile = PCI_DEVICE_GET_CLASS(object)->romfile;

        if (romfile && !*qdict_get_str(values, "romfile")) {
            qdict_put_str(values, "romfile", romfile);
        }
    }
}

/* What a new object has, with all defaults that were given for its type */
static QDict *read_new(const MachineTypes *types, const char *name)
{
    Object *object = object_new(name);
    QDict *values = qdict_new();
    ObjectPropertyIterator iter;
    ObjectProperty *property;

    object_property_iter_init(&iter, object);
    while ((property = object_property_iter_next(&iter))) {
        bool host = false;
        QObject *value = is_wanted(types, property) ?
                         read_value(types, object, property, &host) : NULL;

        if (value) {
            qdict_put_obj(values, property->name, value);
        }
    }
    add_class_values(object, values);
    object_unref(object);
    return values;
}

static const QDict *find_new(MachineTypes *types, const char *name)
{
    QDict *values = g_hash_table_lookup(types->types, name);

    if (!values) {
        values = read_new(types, name);
        g_hash_table_insert(types->types, (char *)name, values);
    }
    return values;
}

/* Is it shown by the device that the object is a part of? */
static bool is_shown(Object *owner, const ObjectProperty *property)
{
    const ObjectProperty *other =
        owner ? g_hash_table_lookup(owner->properties, property->name) : NULL;

    return other && machine_property_is_alias(other);
}

/* The back end that a property leads to, as it is called */
static QObject *call_by_name(const MachineTypes *types, QObject *value)
{
    QString *text = qobject_to(QString, value);
    const char *name = text ? qstring_get_str(text) : NULL;
    const char *called = name ? machine_types_name(types, name) : NULL;

    if (called == name) {
        return value;
    }
    qobject_unref(value);
    return QOBJECT(qstring_from_str(called));
}

static int compare_names(const void *a, const void *b)
{
    const char *const *x = a, *const *y = b;

    return strcmp(*x, *y);
}

/* The order in which QOM has them is no order */
static strList *sorted(GPtrArray *names)
{
    strList *list = NULL;

    qsort(names->pdata, names->len, sizeof(names->pdata[0]), compare_names);
    for (guint i = names->len; i; i--) {
        QAPI_LIST_PREPEND(list, g_strdup(names->pdata[i - 1]));
    }
    return list;
}

void machine_properties_read(MachineTypes *types, Object *object,
                             Object *owner, const QDict *given,
                             MachineProperties *properties)
{
    const QDict *new = find_new(types, object_get_typename(object));
    g_autoptr(GPtrArray) set = g_ptr_array_new();
    ObjectPropertyIterator iter;
    ObjectProperty *property;

    properties->guest = qdict_new();
    properties->host = qdict_new();
    object_property_iter_init(&iter, object);
    while ((property = object_property_iter_next(&iter))) {
        const char *name = property->name;
        bool host = kind_of(types, name) == KIND_HOST;
        QObject *value, *new_value;

        if (!is_wanted(types, property) || is_shown(owner, property)) {
            continue;
        }
        value = given ? qdict_get(given, name) : NULL;
        value = value ? qobject_ref(value)
                      : read_value(types, object, property, &host);
        if (!value) {
            continue;
        }
        value = host ? call_by_name(types, value) : value;
        new_value = qdict_get(new, name);
        if (!new_value || !qobject_is_equal(value, new_value)) {
            g_ptr_array_add(set, property->name);
        }
        qdict_put_obj(host ? properties->host : properties->guest, name,
                      value);
    }
    properties->set = sorted(set);
}

/* user:password@ in a URL */
static char *hide_in_url(const char *text)
{
    const char *scheme = strstr(text, "://");
    const char *authority = scheme ? scheme + 3 : NULL;
    size_t length = authority ? strcspn(authority, "/?#") : 0;
    const char *at = length ? g_strrstr_len(authority, length, "@") : NULL;

    return at ? g_strdup_printf("%.*s%s", (int)(authority - text), text, at + 1)
              : NULL;
}

static void hide_in_dict(QDict *dict)
{
    const QDictEntry *e, *next;

    for (e = qdict_first(dict); e; e = next) {
        g_autofree char *key = g_strdup(qdict_entry_key(e));
        const char *last = strrchr(key, '.');
        QString *text = qobject_to(QString, qdict_entry_value(e));
        g_autofree char *hidden = text ? hide_in_url(qstring_get_str(text))
                                       : NULL;

        next = qdict_next(dict, e);
        if (is_listed(secret_names, ARRAY_SIZE(secret_names),
                      last ? last + 1 : key) && text) {
            qdict_del(dict, key);
        } else if (hidden) {
            qdict_put_str(dict, key, hidden);
        } else {
            machine_properties_hide(qdict_entry_value(e));
        }
    }
}

void machine_properties_hide(QObject *object)
{
    QDict *dict = qobject_to(QDict, object);
    QList *list = qobject_to(QList, object);
    const QListEntry *e;

    if (dict) {
        hide_in_dict(dict);
    } else if (list) {
        QLIST_FOREACH_ENTRY(list, e) {
            machine_properties_hide(qlist_entry_obj(e));
        }
    }
}
