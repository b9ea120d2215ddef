/*
 * The devices of the machine as it stands
 *
 * Implements "Devices" of docs/devel/migration-v4/machine.rst.  A device's
 * path is made of what it has in common with the same device of another QEMU,
 * however either was made: buses by their kind and place, addresses on them.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "hw/core/cpu.h"
#include "hw/mem/pc-dimm.h"
#include "hw/pci/pci_bus.h"
#include "hw/qdev-core.h"
#include "hw/scsi/scsi.h"
#include "hw/sysbus.h"
#include "hw/usb.h"
#include "migration/stream/unused.h"
#include "migration/vmstate.h"
#include "qapi/error.h"
#include "qapi/qmp/qnum.h"
#include "qapi/qmp/qstring.h"
#include "qapi/util.h"
#include "qom/qom-qobject.h"
#include "sysemu/runstate.h"
#include "collect-parts.h"

/* A device, and when it, or what it is on, was asked for */
typedef struct MadeDevice {
    size_t number;
    guint place;                /* in the walk */
    MachineConfigDevice *device;
} MadeDevice;

typedef struct Walk {
    MachineTypes *types;
    GHashTable *paths;          /* of a DeviceState, to its path */
    GHashTable *used;           /* paths */
    GArray *made;               /* of MadeDevice */
} Walk;

static char *pci_address(DeviceState *dev)
{
    int devfn = PCI_DEVICE(dev)->devfn;

    return g_strdup_printf("%02x.%x", PCI_SLOT(devfn), PCI_FUNC(devfn));
}

static char *usb_address(DeviceState *dev)
{
    USBPort *port = USB_DEVICE(dev)->port;

    return port ? g_strdup(port->path) : NULL;
}

static char *scsi_address(DeviceState *dev)
{
    SCSIDevice *scsi = SCSI_DEVICE(dev);

    return g_strdup_printf("%d:%d:%d", scsi->channel, scsi->id, scsi->lun);
}

/* How a bus addresses its devices: by a function, or a number of theirs */
static const struct {
    const char *bus;
    char *(*address)(DeviceState *dev);
    const char *property;       /* that has the address, if one does */
    bool hex;
} buses[] = {
    { TYPE_PCI_BUS, pci_address, "addr" },
    { TYPE_USB_BUS, usb_address, "port" },
    { TYPE_SCSI_BUS, scsi_address },
    { "IDE", NULL, "unit" },
    { "ISA", NULL, "iobase", true },
    { "HDA", NULL, "cad" },
    { "i2c-bus", NULL, "address", true },
    { "floppy-bus", NULL, "unit" },
    { "virtio-serial-bus", NULL, "nr" },
    { "ccid-bus", NULL, "slot" },
};

/* What is on no bus, and has a place nevertheless */
static const struct {
    const char *type;
    const char *name;
    const char *properties[5];
} places[] = {
    { TYPE_CPU, "cpu", { "socket-id", "die-id", "core-id", "thread-id" } },
    { TYPE_PC_DIMM, "memory", { "slot" } },
};

/* A property that is a number, or says with -1 that it has none yet */
static bool read_number(DeviceState *dev, const char *name, uint64_t *number)
{
    QObject *value = object_property_find(OBJECT(dev), name) ?
        object_property_get_qobject(OBJECT(dev), name, NULL) : NULL;
    QNum *num = qobject_to(QNum, value);
    bool has = num && qnum_get_try_uint(num, number) && *number != UINT32_MAX;

    qobject_unref(value);
    return has;
}

static char *bus_address(DeviceState *dev, size_t i)
{
    uint64_t number;

    if (buses[i].address) {
        return buses[i].address(dev);
    } else if (!read_number(dev, buses[i].property, &number)) {
        return NULL;
    }
    return buses[i].hex ? g_strdup_printf("%" PRIx64, number)
                        : g_strdup_printf("%" PRIu64, number);
}

/*
 * Where a device is on its bus.  What QEMU chose is not in the property that
 * takes it, for all buses: @given gets the value.
 */
static char *find_address(DeviceState *dev, QDict *given)
{
    for (size_t i = 0; dev->parent_bus && i < ARRAY_SIZE(buses); i++) {
        if (object_dynamic_cast(OBJECT(dev->parent_bus), buses[i].bus)) {
            char *address = bus_address(dev, i);

            if (address && buses[i].address && buses[i].property) {
                qdict_put_str(given, buses[i].property, address);
            }
            return address;
        }
    }
    return NULL;
}

/* The row of places[], or -1 */
static int find_place(DeviceState *dev)
{
    for (size_t i = 0; !dev->parent_bus && i < ARRAY_SIZE(places); i++) {
        if (object_dynamic_cast(OBJECT(dev), places[i].type)) {
            return i;
        }
    }
    return -1;
}

static char *place_address(DeviceState *dev, int place)
{
    GString *address = g_string_new(NULL);
    uint64_t number;

    for (const char *const *p = places[place].properties; *p; p++) {
        if (read_number(dev, *p, &number)) {
            g_string_append_printf(address, "%s%" PRIu64,
                                   address->len ? ":" : "", number);
        }
    }
    return g_string_free(address, false);
}

/* The device that it is a part of, however deep */
static DeviceState *find_owner(DeviceState *dev)
{
    for (Object *o = OBJECT(dev)->parent; o; o = o->parent) {
        if (object_dynamic_cast(o, TYPE_DEVICE)) {
            return DEVICE(o);
        }
    }
    return NULL;
}

static MachineConfigOrigin find_origin(DeviceState *dev);

/*
 * The last free USB port gets a hub of its own accord, and the device that
 * wanted it goes there: that must have been one of the board's, or somebody has
 * asked for the device, and so for the hub.
 */
static bool is_for_users(DeviceState *hub)
{
    g_autofree char *ports = NULL;
    BusChild *kid;

    if (!object_dynamic_cast(OBJECT(hub), "usb-hub") ||
        !USB_DEVICE(hub)->port) {
        return false;
    }
    ports = g_strdup_printf("%s.", USB_DEVICE(hub)->port->path);
    QTAILQ_FOREACH(kid, &hub->parent_bus->children, sibling) {
        USBPort *port = USB_DEVICE(kid->child)->port;

        if (port && g_str_has_prefix(port->path, ports) &&
            find_origin(kid->child) == MACHINE_CONFIG_ORIGIN_BOARD) {
            return false;
        }
    }
    return true;
}

static MachineConfigOrigin find_origin(DeviceState *dev)
{
    Object *parent = OBJECT(dev)->parent;
    Object *machine = qdev_get_machine();

    if (find_owner(dev)) {
        return MACHINE_CONFIG_ORIGIN_DEVICE;
    } else if (parent == container_get(machine, "/peripheral") ||
               parent == container_get(machine, "/peripheral-anon")) {
        return MACHINE_CONFIG_ORIGIN_USER;
    }
    return is_for_users(dev) ? MACHINE_CONFIG_ORIGIN_USER
                             : MACHINE_CONFIG_ORIGIN_BOARD;
}

/*
 * When was it made?  That of all that it is on and is a part of which was asked
 * for last; the board is there first.
 */
static size_t find_number(DeviceState *dev)
{
    size_t number = 0;

    while (dev) {
        if (find_origin(dev) == MACHINE_CONFIG_ORIGIN_USER) {
            number = MAX(number, machine_noted_device(dev));
        }
        dev = dev->parent_bus && dev->parent_bus->parent
              ? dev->parent_bus->parent : find_owner(dev);
    }
    return number;
}

/* Buses of a device come last made first */
static GPtrArray *list_buses(DeviceState *dev)
{
    GPtrArray *list = g_ptr_array_new();
    BusState *bus;

    QLIST_FOREACH(bus, &dev->child_bus, sibling) {
        g_ptr_array_insert(list, 0, bus);
    }
    return list;
}

static GPtrArray *list_devices(BusState *bus)
{
    GPtrArray *list = g_ptr_array_new();
    BusChild *kid;

    QTAILQ_FOREACH(kid, &bus->children, sibling) {
        g_ptr_array_insert(list, 0, kid->child);
    }
    return list;
}

/*
 * A bus's kind and its place among its device's of that kind.  Its name would
 * not do: it has a counter over all devices in it, or the user's id.
 */
static char *bus_path(Walk *walk, BusState *bus)
{
    g_autofree char *kind =
        g_ascii_strdown(object_get_typename(OBJECT(bus)), -1);
    const char *parent = g_hash_table_lookup(walk->paths, bus->parent);
    unsigned place = 0;
    BusState *other;

    /* Those that were made before it come after it */
    QLIST_FOREACH(other, &bus->parent->child_bus, sibling) {
        place = other == bus ? 0 :
                place + !strcmp(object_get_typename(OBJECT(bus)),
                                object_get_typename(OBJECT(other)));
    }
    return g_strdup_printf("%s/%s.%u", parent, kind, place);
}

static void set_path(Walk *walk, DeviceState *dev, const char *start,
                     const char *component)
{
    char *path = g_strdup_printf("%s/%s", start, component);

    for (unsigned i = 1; g_hash_table_contains(walk->used, path); i++) {
        g_free(path);
        path = g_strdup_printf("%s/%s.%u", start, component, i);
    }
    g_hash_table_add(walk->used, path);
    g_hash_table_insert(walk->paths, dev, path);
}

/* Of what is on no bus; it may be a part of what has no path yet */
static void set_place(Walk *walk, DeviceState *dev, const char *address)
{
    DeviceState *owner = find_owner(dev);
    const char *start = owner ? g_hash_table_lookup(walk->paths, owner) : NULL;
    int place = find_place(dev);
    g_autofree char *component = NULL;

    if (start) {
        component = g_strdup(object_get_canonical_path_component(OBJECT(dev)));
    } else if (place >= 0) {
        component = g_strdup_printf("%s/%s", places[place].name, address);
    } else {
        component = g_strdup(object_get_typename(OBJECT(dev)));
    }
    set_path(walk, dev, start ?: "", component);
}

/*
 * A CPU has hundreds of properties, which are the same for all that the board
 * has: its place is what is its own.
 */
static void read_cpu(DeviceState *dev, int place,
                     MachineConfigDevice *device)
{
    QDict *guest = qdict_new();
    uint64_t number;

    for (size_t i = ARRAY_SIZE(places[place].properties) - 1; i--;) {
        const char *name = places[place].properties[i];

        if (read_number(dev, name, &number)) {
            qdict_put_int(guest, name, number);
            QAPI_LIST_PREPEND(device->set, g_strdup(name));
        }
    }
    device->properties = QOBJECT(guest);
    device->host_properties = QOBJECT(qdict_new());
}

static void read_device(Walk *walk, DeviceState *dev, const QDict *given,
                        MachineConfigDevice *device)
{
    DeviceState *owner = find_owner(dev);
    MachineProperties properties;

    machine_properties_read(walk->types, OBJECT(dev),
                            owner ? OBJECT(owner) : NULL, given, &properties);
    machine_properties_hide(QOBJECT(properties.host));
    device->properties = QOBJECT(properties.guest);
    device->host_properties = QOBJECT(properties.host);
    device->set = properties.set;
}

static void walk_bus(Walk *walk, BusState *bus);
static bool is_unused(DeviceState *dev);

static void add_device(Walk *walk, DeviceState *dev, const char *address,
                       const QDict *given)
{
    MachineConfigDevice *device = g_new0(MachineConfigDevice, 1);
    MadeDevice made = { find_number(dev), walk->made->len, device };
    g_autoptr(GPtrArray) below = list_buses(dev);

    device->path = g_strdup(g_hash_table_lookup(walk->paths, dev));
    device->driver = g_strdup(object_get_typename(OBJECT(dev)));
    device->origin = find_origin(dev);
    /* A part may have that of what it is a part of */
    device->has_id = dev->id && device->origin == MACHINE_CONFIG_ORIGIN_USER;
    device->id = device->has_id ? g_strdup(dev->id) : NULL;
    device->has_bus = dev->parent_bus &&
                      dev->parent_bus != sysbus_get_default();
    device->bus = device->has_bus ? g_strdup(dev->parent_bus->name) : NULL;
    device->has_address = address;
    device->address = g_strdup(address);
    device->has_hotplugged = device->hotplugged = dev->hotplugged;
    device->has_unused = device->unused = is_unused(dev);
    if (object_dynamic_cast(OBJECT(dev), TYPE_CPU)) {
        read_cpu(dev, find_place(dev), device);
    } else {
        read_device(walk, dev, given, device);
    }
    g_array_append_val(walk->made, made);
    for (guint i = 0; i < below->len; i++) {
        walk_bus(walk, below->pdata[i]);
    }
}

/* A device that awaits its state is none that the guest has left alone */
static bool is_unused(DeviceState *dev)
{
    const VMStateDescription *vmsd = qdev_get_vmsd(dev);

    return vmsd && !runstate_check(RUN_STATE_INMIGRATE) &&
           migration_stream_unused(vmsd, dev);
}

/* USB storage hands its drive on to a part of it, and then has none */
static void find_drive(DeviceState *dev, QDict *given)
{
    BusState *bus = QLIST_FIRST(&dev->child_bus);
    BusChild *kid = bus ? QTAILQ_FIRST(&bus->children) : NULL;

    if (kid && object_dynamic_cast(OBJECT(dev), "usb-storage")) {
        qdict_put_obj(given, "drive",
                      object_property_get_qobject(OBJECT(kid->child), "drive",
                                                  &error_abort));
    }
}

static void walk_bus(Walk *walk, BusState *bus)
{
    g_autofree char *start = bus == sysbus_get_default() ? g_strdup("")
                                                         : bus_path(walk, bus);
    g_autoptr(GPtrArray) devices = list_devices(bus);

    for (guint i = 0; i < devices->len; i++) {
        DeviceState *dev = devices->pdata[i];
        g_autoptr(QDict) given = qdict_new();
        g_autofree char *address = find_address(dev, given);

        find_drive(dev, given);
        if (dev->realized) {
            set_path(walk, dev, start,
                     address ?: object_get_typename(OBJECT(dev)));
            add_device(walk, dev, address, given);
        }
    }
}

static int gather(Object *object, void *opaque)
{
    GPtrArray *devices = opaque;

    if (object_dynamic_cast(object, TYPE_DEVICE) &&
        !DEVICE(object)->parent_bus && DEVICE(object)->realized) {
        g_ptr_array_add(devices, object_get_canonical_path(object));
    }
    return 0;
}

/* QOM gives no order; owners have shorter paths, and so have lower numbers */
static int compare_paths(const void *a, const void *b)
{
    const char *const *x = a, *const *y = b;
    size_t length_x = strlen(*x), length_y = strlen(*y);

    return length_x == length_y ? strcmp(*x, *y)
                                : length_x < length_y ? -1 : 1;
}

static void walk_busless(Walk *walk)
{
    g_autoptr(GPtrArray) paths = g_ptr_array_new_with_free_func(g_free);

    object_child_foreach_recursive(qdev_get_machine(), gather, paths);
    qsort(paths->pdata, paths->len, sizeof(paths->pdata[0]), compare_paths);
    for (guint i = 0; i < paths->len; i++) {
        DeviceState *dev = DEVICE(object_resolve_path(paths->pdata[i], NULL));
        int place = find_place(dev);
        g_autofree char *address = place >= 0 ? place_address(dev, place)
                                              : NULL;

        set_place(walk, dev, address);
        add_device(walk, dev, address, NULL);
    }
}

/* What is on a device, or is a part of one, comes after it in both */
static int compare_made(const void *a, const void *b)
{
    const MadeDevice *x = a, *y = b;

    if (x->number != y->number) {
        return x->number < y->number ? -1 : 1;
    }
    return x->place < y->place ? -1 : 1;
}

MachineConfigDeviceList *machine_collect_devices(MachineTypes *types)
{
    g_autoptr(GHashTable) paths = g_hash_table_new(NULL, NULL);
    g_autoptr(GHashTable) used = g_hash_table_new_full(g_str_hash, g_str_equal,
                                                       g_free, NULL);
    g_autoptr(GArray) made = g_array_new(false, false, sizeof(MadeDevice));
    MachineConfigDeviceList *devices = NULL;
    Walk walk = {
        .types = types, .paths = paths, .used = used, .made = made,
    };

    walk_bus(&walk, sysbus_get_default());
    walk_busless(&walk);
    qsort(made->data, made->len, sizeof(MadeDevice), compare_made);
    for (guint i = made->len; i; i--) {
        QAPI_LIST_PREPEND(devices,
                          g_array_index(made, MadeDevice, i - 1).device);
    }
    return devices;
}
