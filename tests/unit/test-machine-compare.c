/*
 * Two machines and in what they differ: a table of differences
 *
 * Each row changes one thing about a machine and says what has to be found:
 * which property, on which device, whether that is fatal, and the words.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qapi/qmp/qdict.h"
#include "qapi/qmp/qjson.h"
#include "qapi/qmp/qlist.h"
#include "migration/config/compare.h"
#include "migration/config/config.h"

/* ' stands for ", to be readable */
static const char machine[] =
    "{ 'format': 1, 'qemu': { 'version': '7.2.0' },"
    "  'board': { 'type': 'pc-q35-7.2-v4', 'guest-type': 'pc-q35-7.2',"
    "    'accelerator': 'tcg', 'set': [],"
    "    'properties': { 'memory': { 'size': 134217728,"
    "                                'max-size': 134217728, 'slots': 0 },"
    "      'smp': { 'cpus': 2, 'sockets': 2, 'maxcpus': 2 },"
    "      'vmport': 'auto', 'boot': { 'order': 'cad' } },"
    "    'host-properties': { 'pflash0': 'flash' },"
    "    'options': [ { 'option': 'serial', 'value': 'chardev:console' },"
    "      { 'option': 'smbios', 'value': 'type=1,serial=17' },"
    "      { 'option': 'fw_cfg', 'value': 'name=opt/a,file=/x', "
    "        'guest': 'name=opt/a', 'size': 5, 'checksum': 17 },"
    "      { 'option': 'rtc', 'value': 'base=utc' } ],"
    "    'globals': [], 'numa': [] },"
    "  'cpu': { 'model': 'qemu64', 'properties': { 'level': 13 },"
    "           'features': [ 'apic', 'cmov', 'sse2' ] },"
    "  'ram-blocks': ["
    "    { 'name': 'pc.ram', 'size': 134217728, 'page-size': 4096 },"
    "    { 'name': 'pc.bios', 'size': 262144, 'page-size': 4096,"
    "      'checksum': 7 },"
    "    { 'name': '/rom@etc/acpi/tables', 'size': 131072,"
    "      'maximum-size': 2097152, 'page-size': 4096 },"
    "    { 'name': '0000:00:04.0/net.rom', 'size': 262144,"
    "      'page-size': 4096 } ],"
    "  'devices': ["
    "    { 'path': '/q35-pcihost', 'driver': 'q35-pcihost',"
    "      'origin': 'board', 'properties': { 'short_root_bus': 0 },"
    "      'host-properties': {}, 'set': [] },"
    "    { 'path': '/cpu/0', 'driver': 'qemu64-x86_64-cpu',"
    "      'origin': 'board', 'properties': { 'socket-id': 0 },"
    "      'host-properties': {}, 'set': [] },"
    "    { 'path': '/cpu/1', 'driver': 'qemu64-x86_64-cpu',"
    "      'origin': 'board', 'properties': { 'socket-id': 1 },"
    "      'host-properties': {}, 'set': [] },"
    "    { 'path': '/cpu/1/lapic', 'driver': 'apic',"
    "      'origin': 'device', 'properties': { 'id': 1 },"
    "      'host-properties': {}, 'set': [] },"
    "    { 'path': '/q35-pcihost/pcie.0/04.0', 'driver': 'virtio-net-pci',"
    "      'id': 'net0', 'bus': 'pcie.0', 'address': '04.0',"
    "      'origin': 'user', 'properties': { 'addr': '04.0',"
    "        'mac': '52:54:00:00:00:01', 'mq': true, 'speed': -1,"
    "        'bootindex': 1 },"
    "      'host-properties': { 'netdev': 'n0' }, 'set': [ 'mac' ] },"
    "    { 'path': '/q35-pcihost/pcie.0/04.0/virtio.0/virtio-net-device',"
    "      'driver': 'virtio-net-device', 'origin': 'device',"
    "      'properties': { 'queues': 3 }, 'host-properties': {},"
    "      'set': [] },"
    "    { 'path': '/q35-pcihost/pcie.0/05.0', 'driver': 'virtio-blk-pci',"
    "      'id': 'disk0', 'bus': 'pcie.0', 'address': '05.0',"
    "      'origin': 'user', 'properties': { 'addr': '05.0',"
    "        'serial': 'x' },"
    "      'host-properties': { 'drive': 'd0', 'write-cache': 'on' },"
    "      'set': [ 'serial' ] },"
    "    { 'path': '/q35-pcihost/pcie.0/1f.2/ide.0/0', 'driver': 'ide-cd',"
    "      'bus': 'ide.0', 'address': '0', 'origin': 'user',"
    "      'properties': { 'unit': 0 },"
    "      'host-properties': { 'drive': 'cd' }, 'set': [] } ],"
    "  'backends': ["
    "    { 'kind': 'block', 'id': 'flash', 'type': 'raw',"
    "      'guest': { 'size': 4194304, 'removable': false }, 'host': {} },"
    "    { 'kind': 'block', 'id': 'd0', 'type': 'qcow2',"
    "      'guest': { 'size': 1073741824, 'read-only': false,"
    "                 'removable': false },"
    "      'host': { 'filename': 'disk.qcow2' } },"
    "    { 'kind': 'block', 'id': 'cd', 'type': 'raw',"
    "      'guest': { 'size': 2048, 'read-only': true,"
    "                 'removable': true, 'medium': true }, 'host': {} },"
    "    { 'kind': 'net', 'id': 'n0', 'type': 'tap',"
    "      'guest': { 'vnet-header': true },"
    "      'host': { 'ifname': 'tap3' } } ] }";

/* Another NIC, with a part of its own */
static const char nic[] =
    "{ 'path': '/q35-pcihost/pcie.0/06.0', 'driver': 'e1000',"
    "  'id': 'net1', 'bus': 'pcie.0', 'address': '06.0', 'origin': 'user',"
    "  'properties': { 'addr': '06.0', 'mac': '52:54:00:00:00:02' },"
    "  'host-properties': {}, 'set': [ 'mac' ] }";
static const char nic_part[] =
    "{ 'path': '/q35-pcihost/pcie.0/06.0/phy', 'driver': 'phy',"
    "  'origin': 'device', 'properties': {}, 'host-properties': {},"
    "  'set': [] }";

static QObject *parse(const char *text)
{
    g_auto(GStrv) parts = g_strsplit(text, "'", -1);
    g_autofree char *json = g_strjoinv("\"", parts);

    return qobject_from_json(json, &error_abort);
}

/* Goes down into objects, and lists by number */
static QObject *go(QObject *object, const char *path)
{
    g_auto(GStrv) names = g_strsplit(path, "|", -1);

    for (char **name = names; *name && **name; name++) {
        QDict *dict = qobject_to(QDict, object);

        if (dict) {
            object = qdict_get(dict, *name);
        } else {
            const QListEntry *e = qlist_first(qobject_to(QList, object));

            for (int n = atoi(*name); n; n--) {
                e = qlist_next(e);
            }
            object = qlist_entry_obj(e);
        }
        g_assert(object);
    }
    return object;
}

/*
 * A change: a member gets a value, or goes if that is NULL; or a list, which
 * has no member, gets one more element.
 */
typedef struct Change {
    const char *where;
    const char *member;
    const char *value;
} Change;

typedef struct Row {
    const char *name;
    Change changes[8];          /* of the destination; "-" of the source */
    const char *property;       /* NULL: there is no difference */
    bool fatal;
    const char *id;
    const char *words[4];       /* in the sentence */
    bool one_way;               /* the other way round there is none */
} Row;

#define UNUSED_HPET \
    "{ 'path': '/hpet', 'driver': 'hpet', 'origin': 'board'," \
    "  'unused': true, 'properties': {}, 'host-properties': {}, 'set': [] }"

static void change(QDict *m, const Change *c)
{
    QObject *object = go(QOBJECT(m), c->where);
    QDict *dict = qobject_to(QDict, object);

    if (!dict) {
        qlist_append_obj(qobject_to(QList, object), parse(c->value));
    } else if (c->value) {
        qdict_put_obj(dict, c->member, parse(c->value));
    } else {
        qdict_del(dict, c->member);
    }
}

#define NET "devices|4"
#define PART "devices|5"
#define DISK "devices|6"

static const Row rows[] = {
    { "nothing" },

    /* The board */
    { "another machine type",
      { { "board", "guest-type", "'pc-i440fx-7.2'" },
        { "board", "type", "'pc-i440fx-7.2'" } },
      "type", true, NULL, { "pc-q35-7.2-v4", "-machine" } },
    { "a machine type that is the same to the guest",
      { { "board", "type", "'pc-q35-7.2'" },
        { "board", "guest-type", NULL } } },
    { "another accelerator", { { "board", "accelerator", "'kvm'" } },
      "accelerator", false },
    { "a property of the board",
      { { "board|properties", "vmport", "'off'" } },
      "vmport", true, NULL, { "\"auto\" on the source",
                              "-machine vmport=auto" } },
    { "a property of the board that one side does not know",
      { { "board|properties", "vmport", NULL } }, "vmport", false },
    { "what is booted from",
      { { "board|properties|boot", "order", "'d'" } }, "boot", false,
      NULL, { "-boot order=cad" } },
    { "more CPUs",
      { { "board|properties", "smp",
          "{ 'cpus': 3, 'sockets': 3, 'maxcpus': 3 }" },
        { "devices", NULL,
          "{ 'path': '/cpu/2', 'driver': 'qemu64-x86_64-cpu',"
          "  'origin': 'board', 'properties': { 'socket-id': 2 },"
          "  'host-properties': {}, 'set': [] }" },
        { "devices", NULL,
          "{ 'path': '/cpu/2/lapic', 'driver': 'apic', 'origin': 'device',"
          "  'properties': {}, 'host-properties': {}, 'set': [] }" } },
      "smp", true, NULL, { "-smp ", "cpus=2" } },
    { "NUMA nodes", { { "board|numa", NULL,
                        "{ 'type': 'node', 'nodeid': 0, 'cpus': [ 0 ] }" } },
      "numa", true },
    { "the memory behind NUMA nodes",
      { { "board|numa", NULL, "{ 'type': 'node', 'memdev': 'a' }" },
        { "-board|numa", NULL, "{ 'type': 'node', 'memdev': 'b' }" } } },
    { "a default for devices",
      { { "board|globals", NULL,
          "{ 'driver': 'e1000', 'property': 'x', 'value': '1' }" } } },
    { "which chardev a serial port has",
      { { "board|options|0", "value", "'chardev:other'" } } },
    { "an SMBIOS table that is missing",
      { { "board|options|1", "option", "'rtc'" },
        { "board|options|1", "value", "'base=utc'" } },
      "-smbios", true, NULL, { "start with -smbios type=1,serial=17" } },
    { "a file in the firmware's configuration",
      { { "-board|options|2", "option", "'rtc'" },
        { "-board|options|2", "value", "'base=utc'" },
        { "-board|options|2", "guest", NULL },
        { "-board|options|2", "checksum", NULL } },
      "-fw_cfg", true, NULL, { "start without -fw_cfg" } },
    { "where such a file is",
      { { "board|options|2", "value", "'name=opt/a,file=/y'" } } },
    { "when the clock began",
      { { "board|options|3", "value", "'base=utc'" },
        { "-board|options|3", "value", "'base=utc'" },
        { "board|options", NULL,
          "{ 'option': 'rtc', 'value': 'base=2001-01-01' }" } },
      "-rtc", false },
    { "the package that QEMU is of", { { "qemu", "version", "'8.0.0'" } } },

    /* CPUs */
    { "another CPU model",
      { { "cpu", "model", "'Nehalem'" }, { "cpu|properties", "level", "11" } },
      "cpu.model", true, NULL, { "start with -cpu qemu64" } },
    { "a feature that only the source has",
      { { "cpu", "features", "[ 'apic', 'cmov' ]" } },
      "cpu.features.sse2", true, NULL, { "-cpu qemu64,sse2=on" } },
    { "a feature that only the destination has",
      { { "cpu|features", NULL, "'avx'" } },
      "cpu.features.avx", true, NULL, { "-cpu qemu64,avx=off" } },
    { "the order of features",
      { { "cpu", "features", "[ 'sse2', 'cmov', 'apic' ]" } } },
    { "a property of the CPUs", { { "cpu|properties", "level", "11" } },
      "cpu.level", true, NULL, { "level=13" } },

    /* Memory */
    { "less RAM",
      { { "board|properties", "memory",
          "{ 'size': 67108864, 'max-size': 67108864, 'slots': 0 }" },
        { "ram-blocks|0", "size", "67108864" } },
      "memory.size", true, NULL, { "134217728", "67108864",
                                   "-m size=128M" } },
    { "more room for RAM",
      { { "board|properties|memory", "max-size", "268435456" } },
      "memory.max-size", true, NULL, { "-m size=128M" } },
    { "what the memory is made of",
      { { "ram-blocks|0", "page-size", "2097152" } } },
    { "firmware of another size", { { "ram-blocks|1", "size", "131072" } },
      "ram-blocks.pc.bios.size", true, NULL, { "same firmware" } },
    { "other firmware of that size", { { "ram-blocks|1", "checksum", "8" } },
      "ram-blocks.pc.bios.checksum", false },
    { "a table that can grow",
      { { "ram-blocks|2", "size", "65536" } } },
    { "a table that cannot grow enough",
      { { "ram-blocks|2", "maximum-size", "65536" },
        { "ram-blocks|2", "size", "65536" } },
      "ram-blocks./rom@etc/acpi/tables.size", true, .one_way = true },
    { "memory that is not there",
      { { "ram-blocks", NULL,
          "{ 'name': 'extra', 'size': 5, 'page-size': 4096 }" } },
      "ram-blocks.extra", true },

    /* Devices */
    { "another MAC",
      { { NET "|properties", "mac", "'52:54:00:00:00:09'" } },
      "mac", true, "net0",
      { "device 'net0' (/q35-pcihost/pcie.0/04.0): 'mac' is "
        "\"52:54:00:00:00:01\" on the source and \"52:54:00:00:00:09\" on the "
        "destination; give mac=52:54:00:00:00:01" } },
    { "a property that is on or off",
      { { NET "|properties", "mq", "false" } }, "mq", true, "net0",
      { "give mq=on" } },
    { "a number that is negative",
      { { NET "|properties", "speed", "1000" } }, "speed", true, "net0",
      { "give speed=-1" } },
    { "a property of a part",
      { { PART "|properties", "queues", "4" } }, "queues", true, NULL,
      { "-global virtio-net-device.queues=3" } },
    { "a property of a board's device",
      { { "devices|0|properties", "short_root_bus", "1" } },
      "short_root_bus", true, NULL,
      { "-global q35-pcihost.short_root_bus=0" } },
    { "what a device is booted from as",
      { { NET "|properties", "bootindex", "2" } }, "bootindex", false,
      "net0" },
    { "a property that only the source knows",
      { { NET "|properties", "mq", NULL } }, "mq", false, "net0",
      { "not there on the destination" } },
    { "a property that only the destination knows",
      { { NET "|properties", "rss", "false" } }, "rss", false, "net0",
      { "not there on the source" } },
    { "a host property", { { DISK "|host-properties", "write-cache",
                             "'off'" } } },
    { "a host property that one side does not know",
      { { DISK "|host-properties", "write-cache", NULL } } },
    { "another name", { { NET, "id", "'other'" } } },
    { "which were given", { { NET, "set", "[]" } } },
    { "that it was plugged in", { { NET, "hotplugged", "true" } } },
    { "another address",
      { { NET, "path", "'/q35-pcihost/pcie.0/07.0'" },
        { NET, "address", "'07.0'" },
        { NET "|properties", "addr", "'07.0'" },
        { PART, "path",
          "'/q35-pcihost/pcie.0/07.0/virtio.0/virtio-net-device'" },
        { "ram-blocks|3", "name", "'0000:00:07.0/net.rom'" } },
      "address", true, "net0", { "pcie.0/04.0", "pcie.0/07.0",
                                 "give addr=04.0" } },
    { "another address, and another name",
      { { NET, "path", "'/q35-pcihost/pcie.0/07.0'" },
        { NET, "id", "'other'" },
        { NET "|properties", "addr", "'07.0'" },
        { PART, "path",
          "'/q35-pcihost/pcie.0/07.0/virtio.0/virtio-net-device'" },
        { "ram-blocks|3", "name", "'0000:00:07.0/net.rom'" } },
      "address", true, "net0" },
    { "another bus",
      { { NET, "path", "'/q35-pcihost/pcie.0/1e.0/pci.1/04.0'" },
        { NET, "bus", "'pci.1'" },
        { PART, "path", "'/q35-pcihost/pcie.0/1e.0/pci.1/04.0/virtio.0/"
          "virtio-net-device'" } },
      "address", true, "net0", { "give bus=pcie.0" } },
    { "a missing device",
      { { "-devices", NULL, nic }, { "-devices", NULL, nic_part } },
      "device", true, "net1",
      { "add -device e1000", ",id=net1", ",mac=52:54:00:00:00:02",
        "not there on the destination" } },
    { "an extra device",
      { { "devices", NULL, nic }, { "devices", NULL, nic_part } },
      "device", true, "net1", { "leave -device e1000,id=net1 out",
                                "not there on the source" } },
    { "another device in its place",
      { { "-devices", NULL, nic }, { "-devices", NULL, nic_part },
        { "devices", NULL,
          "{ 'path': '/q35-pcihost/pcie.0/06.0', 'driver': 'rtl8139',"
          "  'id': 'net1', 'origin': 'user', 'properties': {},"
          "  'host-properties': {}, 'set': [] }" },
        { "devices", NULL, nic_part } },
      "driver", true, "net1", { "e1000", "rtl8139" } },
    { "a board's device that is missing",
      { { "-devices", NULL,
          "{ 'path': '/hpet', 'driver': 'hpet', 'origin': 'board',"
          "  'properties': {}, 'host-properties': {}, 'set': [] }" } },
      "device", true },
    { "a board's device that is missing, and was not used",
      { { "-devices", NULL, UNUSED_HPET } }, "device", false },
    { "the same, with what is on it",
      { { "-devices", NULL, UNUSED_HPET },
        { "-devices", NULL,
          "{ 'path': '/hpet/some.0/0', 'driver': 'some', 'origin': 'user',"
          "  'properties': {}, 'host-properties': {}, 'set': [] }" } },
      "device", false },
    { "the same, and the switch of the board that makes it",
      { { "-devices", NULL, UNUSED_HPET },
        { "-board|properties", "hpet", "true" },
        { "board|properties", "hpet", "false" } },
      "device", false },

    /* What stands behind them */
    { "another disk size",
      { { "backends|1|guest", "size", "2147483648" } },
      "drive.size", true, "disk0", { "1073741824", "2147483648" } },
    { "a disk that is read-only",
      { { "backends|1|guest", "read-only", "true" } },
      "drive.read-only", true, "disk0" },
    { "another medium", { { "backends|2|guest", "size", "4096" } },
      "drive.size", false },
    { "no medium", { { "backends|2|guest", "medium", "false" } },
      "drive.medium", false },
    { "where a disk is",
      { { "backends|1|host", "filename", "'/other/disk.raw'" },
        { "backends|1", "type", "'raw'" } } },
    { "what a disk is called",
      { { "backends|1", "id", "'other'" },
        { DISK "|host-properties", "drive", "'other'" } } },
    { "which tap", { { "backends|3|host", "ifname", "'tap4'" },
                     { "backends|3", "type", "'user'" } } },
    { "what the network can do",
      { { "backends|3|guest", "vnet-header", "false" } },
      "netdev.vnet-header", true, "net0" },
    { "flash of another size", { { "backends|0|guest", "size", "8388608" } },
      "pflash0.size", true },
    { "a cookie", { { "", "cookie", "'<domain/>'" } } },
};

static MachineConfig *config_of(QDict *dict)
{
    return machine_config_from_qdict(dict, &error_abort);
}

static char *all_of(const MachineDifferenceList *list)
{
    return machine_differences_to_text(list, false, 1 << 20);
}

static void test_row(const void *opaque)
{
    const Row *row = opaque;
    g_autoptr(QDict) from = qobject_to(QDict, parse(machine));
    g_autoptr(QDict) to = qobject_to(QDict, parse(machine));
    g_autoptr(MachineConfig) source = NULL;
    g_autoptr(MachineConfig) destination = NULL;
    g_autoptr(MachineDifferenceList) list = NULL;
    g_autofree char *all = NULL, *line = NULL;
    MachineDifference *d;

    for (const Change *c = row->changes; c->where; c++) {
        Change inner = *c;

        inner.where += *c->where == '-';
        change(*c->where == '-' ? from : to, &inner);
    }
    source = config_of(from);
    destination = config_of(to);
    list = machine_config_compare(source, destination);
    all = all_of(list);
    if (!row->property) {
        g_assert_cmpstr(all, ==, "");
        return;
    }
    /* That, and nothing else */
    g_test_message("%s", all);
    g_assert_nonnull(list);
    g_assert_null(list->next);
    d = list->value;
    g_assert_cmpstr(d->property, ==, row->property);
    g_assert_cmpint(d->fatal, ==, row->fatal);
    g_assert_true(d->guest_visible);
    g_assert_cmpstr(d->id, ==, row->id);
    line = machine_difference_to_text(d);
    for (int i = 0; i < ARRAY_SIZE(row->words) && row->words[i]; i++) {
        if (!strstr(line, row->words[i])) {
            g_error("'%s' is missing in: %s", row->words[i], line);
        }
    }
}

/* Whoever compares the other way round finds as many */
static void test_reverse(const void *opaque)
{
    const Row *row = opaque;
    g_autoptr(QDict) from = qobject_to(QDict, parse(machine));
    g_autoptr(QDict) to = qobject_to(QDict, parse(machine));
    g_autoptr(MachineConfig) source = NULL;
    g_autoptr(MachineConfig) destination = NULL;
    g_autoptr(MachineDifferenceList) list = NULL;

    for (const Change *c = row->changes; c->where; c++) {
        Change inner = *c;

        inner.where += *c->where == '-';
        change(*c->where == '-' ? to : from, &inner);
    }
    source = config_of(from);
    destination = config_of(to);
    list = machine_config_compare(source, destination);
    g_assert_cmpint(!list, ==, !row->property || row->one_way);
}

static void test_many(void)
{
    g_autoptr(QDict) from = qobject_to(QDict, parse(machine));
    g_autoptr(QDict) to = qobject_to(QDict, parse(machine));
    g_autoptr(MachineConfig) source = NULL;
    g_autoptr(MachineConfig) destination = NULL;
    g_autoptr(MachineDifferenceList) list = NULL;
    g_autofree char *fatal = NULL, *all = NULL, *little = NULL;
    bool was_fatal = true;
    unsigned n = 0;

    for (int i = 0; i < 40; i++) {
        g_autofree char *name = g_strdup_printf("a%d", i);

        qdict_put_int(qobject_to(QDict, go(QOBJECT(from),
                                           NET "|properties")), name, i);
        if (i < 20) {
            qdict_put_int(qobject_to(QDict, go(QOBJECT(to),
                                               NET "|properties")), name, 99);
        }
    }
    source = config_of(from);
    destination = config_of(to);
    list = machine_config_compare(source, destination);
    for (MachineDifferenceList *l = list; l; l = l->next, n++) {
        g_assert_true(was_fatal || !l->value->fatal);
        was_fatal = l->value->fatal;
    }
    g_assert_cmpint(n, ==, 40);
    fatal = machine_differences_to_text(list, true, 1 << 20);
    g_assert_nonnull(strstr(fatal, "\nand 4 more"));
    all = machine_differences_to_text(list, false, 1 << 20);
    g_assert_nonnull(strstr(all, "\nand 24 more"));
    little = machine_differences_to_text(list, true, 500);
    g_assert_cmpint(strlen(little), <, 520);
    g_assert_nonnull(strstr(little, " more"));
}

/* Names that somebody made up to be shown */
static void test_hostile_text(void)
{
    g_autofree char *name = g_strnfill(1000, 'x');
    MachineDifference d = {
        .property = name, .has_source = true, .source = (char *)"\"a\nb\x1b[7m",
        .has_advice = true, .advice = name,
    };
    g_autofree char *line = machine_difference_to_text(&d);

    g_assert_null(strchr(line, '\n'));
    g_assert_null(strchr(line, '\x1b'));
    g_assert_cmpint(strlen(line), <, 600);
}

/* As many devices as a stream may have, all of them in the way of others */
static void test_large(void)
{
    g_autoptr(QDict) from = qobject_to(QDict, parse(machine));
    g_autoptr(QDict) to = qobject_to(QDict, parse(machine));
    QList *devices = qdict_get_qlist(from, "devices");
    g_autoptr(MachineConfig) source = NULL;
    g_autoptr(MachineConfig) destination = NULL;
    g_autoptr(MachineDifferenceList) list = NULL;
    unsigned n = 0;

    for (unsigned i = qlist_size(devices); i < MACHINE_CONFIG_LIST_MAX; i++) {
        g_autofree char *text = g_strdup_printf(
            "{ 'path': '/a/b/c/%u', 'driver': 'e1000', 'id': 'e%u',"
            "  'origin': 'user', 'properties': {}, 'host-properties': {},"
            "  'set': [] }", i, i);

        qlist_append_obj(devices, parse(text));
        n++;
    }
    qlist_append_obj(qdict_get_qlist(to, "devices"), parse(nic));
    source = config_of(from);
    destination = config_of(to);
    list = machine_config_compare(source, destination);
    for (MachineDifferenceList *l = list; l; l = l->next) {
        n--;
    }
    /* One is the NIC at another address, and with another property */
    g_assert_cmpint((int)n, ==, -1);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        g_autofree char *name = g_strdup_printf("/machine-compare/row/%s",
                                                rows[i].name);
        g_autofree char *reverse = g_strdup_printf(
            "/machine-compare/reverse/%s", rows[i].name);

        g_test_add_data_func(name, &rows[i], test_row);
        g_test_add_data_func(reverse, &rows[i], test_reverse);
    }
    g_test_add_func("/machine-compare/many", test_many);
    g_test_add_func("/machine-compare/hostile text", test_hostile_text);
    g_test_add_func("/machine-compare/large", test_large);
    return g_test_run();
}
