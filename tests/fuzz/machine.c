/*
 * Migration stream version 4: any text at all as the machine that arrives
 *
 * Each input is JSON: a machine's configuration, in which a member 'map' can
 * have operations of a map.  It is read, compared with a machine of our own,
 * both ways round, made into a command line, and changed by its map.  Whatever
 * becomes of it can be written and read again, and nothing of it leads to the
 * host unless it is trusted: options are taken apart as QEMU does it, and looked
 * at without the tables of migration/config/reach.c.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/cutils.h"
#include "qemu/module.h"
#include "qemu/option.h"
#include "qapi/error.h"
#include "qapi/qmp/qdict.h"
#include "qapi/qmp/qjson.h"
#include "qapi/qmp/qlist.h"
#include "qapi/qmp/qstring.h"
#include "migration/config/compare.h"
#include "migration/config/config.h"
#include "migration/config/map.h"
#include "migration/config/plan.h"
#include "forge.h"

static const char ours_text[] =
    "{'format': 1, 'qemu': {'version': '7.2.22'},"
    " 'board': {'type': 'pc-q35-7.2-v4', 'accelerator': 'tcg',"
    "  'properties': {'memory': {'size': 134217728}, 'hpet': true},"
    "  'host-properties': {}, 'set': ['memory'],"
    "  'options': [{'option': 'vga', 'value': 'std'}], 'globals': [],"
    "  'numa': [{'type': 'node', 'nodeid': 0, 'memdev': 'mem0'}]},"
    " 'cpu': {'model': 'qemu64', 'properties': {'level': 13},"
    "         'features': ['apic', 'cmov']},"
    " 'ram-blocks': [{'name': 'pc.ram', 'size': 134217728,"
    "                 'page-size': 4096}],"
    " 'devices': ["
    "  {'path': '/q35-pcihost/pcie.0/1f.0', 'driver': 'ICH9-LPC',"
    "   'bus': 'pcie.0', 'origin': 'board', 'properties': {},"
    "   'host-properties': {}, 'set': []},"
    "  {'path': '/q35-pcihost/pcie.0/02.0', 'driver': 'virtio-net-pci',"
    "   'id': 'net0', 'bus': 'pcie.0', 'origin': 'user',"
    "   'properties': {'mac': '52:54:00:00:00:01', 'addr': '02.0'},"
    "   'host-properties': {'netdev': 'lan'}, 'set': ['mac', 'netdev']},"
    "  {'path': '/q35-pcihost/pcie.0/03.0', 'driver': 'virtio-blk-pci',"
    "   'id': 'disk0', 'bus': 'pcie.0', 'origin': 'user',"
    "   'properties': {'addr': '03.0'}, 'host-properties': {'drive': 'disk'},"
    "   'set': ['drive']}],"
    " 'backends': ["
    "  {'kind': 'net', 'id': 'lan', 'type': 'user', 'guest': {}, 'host': {}},"
    "  {'kind': 'block', 'id': 'disk', 'type': 'file',"
    "   'guest': {'size': 512, 'removable': false}, 'host': {}}]}";

static MachineConfig *ours;

/* What people get to see */
static void check_text(const char *text)
{
    assert(g_utf8_validate(text, -1, NULL));
    for (const char *p = text; *p; p = g_utf8_next_char(p)) {
        assert(*p == '\n' || !g_unichar_iscntrl(g_utf8_get_char(p)));
    }
}

static void check_error(Error *err)
{
    check_text(error_get_pretty(err));
    error_free(err);
}

/* The comparison */

static void check_compared(MachineConfig *source, MachineConfig *destination)
{
    g_autoptr(MachineDifferenceList) list =
        machine_config_compare(source, destination);
    g_autofree char *all = machine_differences_to_text(list, false, SIZE_MAX);
    bool fatal = true;

    check_text(all);
    for (MachineDifferenceList *l = list; l; l = l->next) {
        g_autofree char *text = machine_difference_to_text(l->value);

        check_text(text);
        assert(!strchr(text, '\n') && strstr(text, " is "));
        assert(fatal || !l->value->fatal);
        fatal = l->value->fatal;
    }
    assert(source != destination || !list);
}

/* The plan */

/* What is there without the host: names in an option, and values of one */
typedef struct Harmless {
    const char *option;
    const char *implied;        /* the name of a first value that has none */
    const char *names;          /* between blanks; NULL: any */
    const char *name, *values;  /* one that is needed, and may be these */
    bool json;
} Harmless;

#define OBJECT_NAMES " qom-type id size share prealloc prealloc-threads merge "\
    "dump reserve policy host-nodes x-use-canonical-path-for-ramblock-id "     \
    "hugetlb hugetlbsize seal poll-max-ns poll-grow poll-shrink "              \
    "aio-max-batch thread-pool-min thread-pool-max queues limits "
#define BLOCK_NAMES " driver node-name size latency-ns read-zeroes read-only " \
    "auto-read-only cache discard detect-zeroes force-share "

static const Harmless harmless[] = {
    { "-accel", "accel", " accel ", "accel", " tcg kvm hvf whpx nvmm qtest " },
    { "-boot", "order", " order once menu splash-time reboot-timeout strict " },
    { "-fw_cfg", "name", " name string gen_id " },
    { "-global", NULL, " driver property value " },
    { "-icount", "shift", " shift align sleep " },
    { "-net", "type", " type model macaddr netdev vectors ", "type", " nic " },
    { "-numa", "type", NULL, "type", " node dist cpu hmat-lb hmat-cache " },
    { "-rtc", NULL, " base clock driftfix " },
    { "-smbios", NULL, " type vendor version date release uefi manufacturer "
      "product serial uuid sku family asset location sock_pfx part max-speed "
      "current-speed processor-id loc_pfx bank speed value "
      "internal_reference external_reference connector_type port_type kind "
      "designation " },
    { "-fsdev", "fsdriver", " fsdriver id ", "fsdriver", " synth " },
    { "-chardev", "backend", " backend id mux size width height cols rows "
      "logappend ", "backend", " null ringbuf memory vc " },
    { "-blockdev", NULL, BLOCK_NAMES, "driver", " null-co null-aio none ",
      true },
    { "-netdev", NULL, " type id hubid netdev ", "type", " hubport ", true },
    { "-audiodev", NULL, " driver id in out timer-period ", "driver", " none ",
      true },
    { "-object", NULL, NULL, "qom-type", " memory-backend-ram "
      "memory-backend-memfd iothread throttle-group rng-builtin "
      "cryptodev-backend-builtin ", true },
    { "-device", NULL, NULL, NULL, NULL, true },
};

static bool is_among(const char *names, const char *name)
{
    g_autofree char *word = g_strdup_printf(" %s ", name);

    return !strpbrk(name, " ") && strstr(names, word);
}

/* What no part of a device, nor of anything else, may be called */
static const char reaching[] =
    " file filename path romfile host hostdev hostdevice sysfsdev kernel "
    "initrd firmware dtb dumpdtb bios splash logfile script downscript ifname "
    "fd fds evdev mem-path rrfile hostaddr hostbus hostport socket rootdir ";

/* Of one with parts, as "cache.direct", the first says what it is */
static void check_names(const Harmless *h, const char *name)
{
    g_auto(GStrv) parts = g_strsplit(name, ".", -1);

    const char *first = *parts ?: "";

    assert(!h->names || is_among(h->names, first));
    assert(!is_among(reaching, first));
}

static void check_json(const Harmless *h, const char *value)
{
    QObject *object = qobject_from_json(value, &error_abort);
    g_autoptr(QDict) dict = qobject_to(QDict, object);

    assert(dict);
    for (const QDictEntry *e = qdict_first(dict); e; e = qdict_next(dict, e)) {
        check_names(h, qdict_entry_key(e));
    }
    assert(!h->name || is_among(h->values, qdict_get_str(dict, h->name)));
    if (g_str_equal(h->option, "-device")) {
        const char *driver = qdict_get_str(dict, "driver");

        assert(!g_str_has_prefix(driver, "vfio-") &&
               !g_str_equal(driver, "usb-host"));
    }
}

static int check_member(void *opaque, const char *name, const char *value,
                        Error **errp)
{
    const Harmless *h = opaque;

    check_names(h, name);
    assert(g_strcmp0(h->name, name) || is_among(h->values, value));
    return 0;
}

/* As QEMU does; what QEMU itself refuses leads nowhere */
static void check_words(const Harmless *h, const char *value)
{
    static QemuOptsList list = {
        .name = "words", .head = QTAILQ_HEAD_INITIALIZER(list.head),
        .desc = { { } },
    };
    QemuOpts *opts;

    list.implied_opt_name = h->implied;
    opts = qemu_opts_parse(&list, value, h->implied, NULL);
    if (opts) {
        assert(!h->name || qemu_opt_get(opts, h->name));
        qemu_opt_foreach(opts, check_member, (void *)h, &error_abort);
        qemu_opts_del(opts);
    }
}

/* Options that are written otherwise */
static void check_other(const char *option, const char *value)
{
    static const Harmless machine = { "-machine", "type" };
    static const Harmless drive = {
        "-drive", NULL, " if bus unit media id index" BLOCK_NAMES, "driver",
        " null-co null-aio none "
    };
    static const Harmless audio = {
        "-audio", "driver", " driver model id ", "driver", " none "
    };

    if (g_str_equal(option, "-machine")) {
        check_words(&machine, value);
    } else if (g_str_equal(option, "-drive")) {
        Harmless h = drive;

        /* An empty one has no driver */
        h.name = strstr(value, "driver") ? h.name : NULL;
        check_words(&h, value);
    } else if (g_str_equal(option, "-audio")) {
        check_words(&audio, value);
    } else if (g_str_equal(option, "-serial") ||
               g_str_equal(option, "-parallel")) {
        assert(g_str_equal(value, "none") ||
               (strstart(value, "chardev:", &value) && !strpbrk(value, ":,")));
    } else if (g_str_equal(option, "-usbdevice")) {
        assert(is_among(" keyboard mouse tablet wacom-tablet ", value));
    } else {
        /* These lead nowhere, whatever they say */
        assert(is_among(" -cpu -vga -uuid ", option));
    }
}

static void check_plan(const GPtrArray *arguments)
{
    for (unsigned i = 0; i < arguments->len; i++) {
        const char *option = arguments->pdata[i], *value;
        const Harmless *h = NULL;

        assert(*option == '-');
        if (g_str_equal(option, "-nodefaults")) {
            continue;
        }
        assert(++i < arguments->len);
        value = arguments->pdata[i];
        for (size_t n = 0; n < ARRAY_SIZE(harmless); n++) {
            if (g_str_equal(harmless[n].option, option)) {
                h = &harmless[n];
            }
        }
        if (!h) {
            check_other(option, value);
        } else if (h->json) {
            check_json(h, value);
        } else {
            check_words(h, value);
        }
    }
}

/* Numbers are known to be some; all else may be text */
static const char *property_type(const char *driver, const char *property)
{
    return is_among(" mac max-bytes num-queues ", property) ? "uint32" :
           is_among(" drive netdev chardev ", property) ? "str" : NULL;
}

static void take_plan(MachineConfig *config)
{
    const char *given[] = {
        "netdev", "user,id=lan", "device", "{\"driver\": \"edu\"}",
        "drive", "if=ide,unit=1,file=/x", "serial", "null", "machine", "incoming",
    };
    g_autoptr(GPtrArray) options = g_ptr_array_new();

    for (size_t i = 0; i < ARRAY_SIZE(given); i++) {
        g_ptr_array_add(options, (char *)given[i]);
    }
    for (int way = 0; way < 4; way++) {
        const MachinePlanSide side = {
            .trust = way & 1,
            .options = way & 2 ? options : NULL,
            .property_type = property_type,
        };
        Error *err = NULL;
        g_autoptr(GPtrArray) arguments = machine_plan(config, &side, &err);
        g_autofree char *line = arguments ? machine_plan_to_shell(arguments)
                                          : NULL;

        assert(!arguments == !!err);
        if (err) {
            check_error(err);
        } else if (!side.trust) {
            check_plan(arguments);
        }
    }
}

/* The map */

static void check_again(MachineConfig *config)
{
    g_autoptr(GString) text = machine_config_to_json(config);
    g_autoptr(MachineConfig) again =
        machine_config_parse(text->str, text->len, &error_abort);
    g_autoptr(QDict) a = machine_config_to_qdict(config);
    g_autoptr(QDict) b = machine_config_to_qdict(again);

    assert(qobject_is_equal(QOBJECT(a), QOBJECT(b)));
}

static void check_report(const MachineMapping *map, bool done)
{
    g_autoptr(MachineMapInfo) info = machine_mapping_report(map);

    for (MachineMapReportList *l = info->operations; l; l = l->next) {
        check_text(l->value->text);
        /* Those about state alone begin with such a word */
        assert(!done || l->value->applied ||
               strstr(l->value->text, "subsection") ||
               strstr(l->value->text, "field"));
    }
}

static void take_map(MachineConfig *config, const QList *list)
{
    Error *err = NULL;
    g_autoptr(MachineMapping) map = machine_mapping_from_qlist(list, &err);

    if (!map) {
        check_error(err);
    } else if (!machine_mapping_apply(map, config, &err)) {
        check_report(map, false);
        check_error(err);
    } else {
        check_report(map, true);
        check_again(config);
        check_compared(config, ours);
        take_plan(config);
    }
}

static QDict *take_object(const uint8_t *data, size_t size)
{
    g_autofree char *text = g_strndup((const char *)data, size);

    return qobject_to(QDict, qobject_from_json(text, &error_abort));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autoptr(MachineConfig) config = NULL;
    g_autoptr(QDict) object = NULL;
    Error *err = NULL;

    if (!ours) {
        g_log_set_always_fatal(G_LOG_FATAL_MASK | G_LOG_LEVEL_CRITICAL);
        module_call_init(MODULE_INIT_QOM);
        ours = machine_config_parse(ours_text, strlen(ours_text),
                                    &error_abort);
    }
    config = machine_config_parse((const char *)data, size, &err);
    if (!config) {
        check_error(err);
        return 0;
    }
    check_again(config);
    check_compared(config, config);
    check_compared(config, ours);
    check_compared(ours, config);
    take_plan(config);
    object = take_object(data, size);
    if (qobject_to(QList, qdict_get(object, "map"))) {
        take_map(config, qdict_get_qlist(object, "map"));
    }
    return 0;
}
