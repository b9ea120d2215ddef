/*
 * What of a machine that arrives leads to this host
 *
 * Implements "What the stream cannot do" of docs/devel/migration-v4/adopt.rst:
 * tables of what is known to be harmless, and of names that are known to lead
 * to files, sockets or devices.  Where neither is known it leads to the host.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/cutils.h"
#include "qapi/qmp/qobject.h"
#include "qapi/qmp/qstring.h"
#include "migration/config/plan.h"
#include "plan-options.h"

/*
 * Back ends that can be made on the word of a stream, and the options that
 * they may have then.  A member that is an object or list is not looked into:
 * only where it says so can it be one.
 */
typedef struct HarmlessBackend {
    MachineConfigBackendKind kind;
    const char *type;
    const char *members;        /* separated by blanks */
    bool nested;                /* they may be objects and lists, of numbers */
} HarmlessBackend;

#define MEMORY_MEMBERS \
    "size share prealloc prealloc-threads merge dump reserve policy " \
    "host-nodes x-use-canonical-path-for-ramblock-id"

#define NULL_MEMBERS \
    "driver node-name size latency-ns read-zeroes read-only auto-read-only " \
    "cache discard detect-zeroes force-share rerror werror"

static const HarmlessBackend harmless_backends[] = {
    { MACHINE_CONFIG_BACKEND_KIND_OBJECT, "memory-backend-ram",
      MEMORY_MEMBERS, true },
    { MACHINE_CONFIG_BACKEND_KIND_OBJECT, "memory-backend-memfd",
      MEMORY_MEMBERS " hugetlb hugetlbsize seal", true },
    { MACHINE_CONFIG_BACKEND_KIND_OBJECT, "iothread",
      "poll-max-ns poll-grow poll-shrink aio-max-batch thread-pool-min "
      "thread-pool-max" },
    { MACHINE_CONFIG_BACKEND_KIND_OBJECT, "throttle-group",
      "limits x-iops-total x-iops-total-max x-iops-total-max-length "
      "x-iops-read x-iops-read-max x-iops-read-max-length x-iops-write "
      "x-iops-write-max x-iops-write-max-length x-bps-total x-bps-total-max "
      "x-bps-total-max-length x-bps-read x-bps-read-max x-bps-read-max-length "
      "x-bps-write x-bps-write-max x-bps-write-max-length x-iops-size", true },
    { MACHINE_CONFIG_BACKEND_KIND_OBJECT, "rng-builtin", "" },
    { MACHINE_CONFIG_BACKEND_KIND_OBJECT, "cryptodev-backend-builtin",
      "queues" },
    { MACHINE_CONFIG_BACKEND_KIND_CHARDEV, "null", "logappend" },
    { MACHINE_CONFIG_BACKEND_KIND_CHARDEV, "ringbuf", "size logappend" },
    { MACHINE_CONFIG_BACKEND_KIND_CHARDEV, "memory", "size logappend" },
    { MACHINE_CONFIG_BACKEND_KIND_CHARDEV, "vc",
      "width height cols rows logappend" },
    { MACHINE_CONFIG_BACKEND_KIND_NET, "hubport", "hubid netdev" },
    { MACHINE_CONFIG_BACKEND_KIND_AUDIO, "none", "in out timer-period", true },
    { MACHINE_CONFIG_BACKEND_KIND_BLOCK, "null-co",
      NULL_MEMBERS, true },
    { MACHINE_CONFIG_BACKEND_KIND_BLOCK, "null-aio", NULL_MEMBERS, true },
    /* A drive without a medium */
    { MACHINE_CONFIG_BACKEND_KIND_BLOCK, "none", "rerror werror" },
    { MACHINE_CONFIG_BACKEND_KIND_FS, "synth", "" },
};

static bool is_among(const char *names, const char *name)
{
    size_t length = strlen(name);

    for (const char *p = names; *p; p += *p == ' ') {
        size_t n = strcspn(p, " ");

        if (n == length && !memcmp(p, name, n)) {
            return true;
        }
        p += n;
    }
    return false;
}

bool machine_backend_is_harmless(const MachineConfigBackend *backend)
{
    const QDict *host = qobject_to(QDict, backend->host);
    const HarmlessBackend *row = NULL;

    for (int i = 0; i < ARRAY_SIZE(harmless_backends); i++) {
        if (harmless_backends[i].kind == backend->kind &&
            !strcmp(harmless_backends[i].type, backend->type)) {
            row = &harmless_backends[i];
        }
    }
    for (const QDictEntry *e = row && host ? qdict_first(host) : NULL; e;
         e = qdict_next(host, e)) {
        QType type = qobject_type(qdict_entry_value(e));

        if (!is_among(row->members, qdict_entry_key(e)) ||
            (!row->nested && (type == QTYPE_QDICT || type == QTYPE_QLIST))) {
            return false;
        }
    }
    return row && host && !machine_option_bad_name(backend->host);
}

/* Devices that open something of the host by themselves */
static const char *const reaching_drivers[] = {
    "vfio-*", "usb-host", "usb-mtp", "u2f-*", "ccid-card-emulated",
    "virtio-input-host*", "vhost-scsi*", "vhost-vsock*", "xen-*",
    "igd-passthrough-isa-bridge", "loader", "guest-loader", "x-pci-proxy-dev",
    "pvrdma",
};

bool machine_driver_reaches_host(const char *driver)
{
    for (int i = 0; i < ARRAY_SIZE(reaching_drivers); i++) {
        if (g_pattern_match_simple(reaching_drivers[i], driver)) {
            return true;
        }
    }
    return false;
}

/* Properties that are text and lead nowhere */
static const char harmless_texts[] =
    "serial ver version vendor product model device_id wwn name mount_tag tag "
    "loadparm osk oem_id oem_table_id id bus addr port macaddr mac usb_version "
    "node-name label guid msg bootfile manufacturer asset family prefix "
    "failover_pair_id logical_name uuid nvme-id nqn subnqn duplex tx world "
    "desc hba_serial hv-vendor-id model-id fp_start_macaddr "
    /* Names of devices */
    "masterbus display "
    /* Names of back ends, which are given or in the plan themselves */
    "drive netdev chardev audiodev tpmdev fsdev memdev rng iothread cryptodev "
    "hostmem throttle-group vgamem dev chardev0 chardev1 chardev2 chardev3 "
    "chardev4 chardev5 chardev6 chardev7";

/* Properties that are known to lead to the host, whatever their type */
static const char reaching_properties[] =
    "romfile hostdev host sysfsdev hostdevice hostbus hostaddr hostport evdev "
    "path rootdir root file filename kernel initrd bios firmware dtb splash "
    "fd fds vhostfd vhostfds vhost sdrfile frudatafile hidraw dir cert "
    "pubkey privkey counter entropy socket ifname script downscript shm "
    "wwpn pcap cdat host_ip mem-path rendernode map trace log logfile dumpfile";

/* A number or a truth, which is no name of anything */
static bool is_no_name(const char *text)
{
    uint64_t number;

    return !qemu_strtou64(text, NULL, 0, &number) ||
           is_among("on off yes no true false auto", text);
}

bool machine_property_reaches_host(const char *property, const char *type,
                                   const QObject *value)
{
    const QString *text = qobject_to(QString, value);

    if (text && !*qstring_get_str(text)) {
        /* Such as a ROM that there is none of */
        return false;
    }
    if (is_among(reaching_properties, property)) {
        return true;
    }
    return text && !is_among(harmless_texts, property) &&
           (type ? !strcmp(type, "str") || !strcmp(type, "string")
                 : !is_no_name(qstring_get_str(text)));
}

bool machine_accelerator_is_harmless(const char *name)
{
    return is_among("tcg kvm qtest", name);
}

bool machine_board_property_reaches_host(const char *property)
{
    return is_among("kernel initrd shim dtb dumpdtb firmware append-file "
                    "bios", property);
}

/*
 * Options of the board.  Those that have members may have these only; one
 * without members may be anything that has no comma.
 */
static const struct {
    const char *option;
    const char *implied;
    const char *members;
} harmless_options[] = {
    { "vga", "model", "model retrace" },
    { "nic", NULL, "model macaddr netdev vectors" },
    { "audio", NULL, "model id" },
    { "drive", NULL, "if bus unit media id" },
    { "smbios", NULL, "type vendor version date release uefi manufacturer "
      "product serial uuid sku family asset location sock_pfx part max-speed "
      "current-speed processor-id loc_pfx bank speed value internal_reference "
      "external_reference connector_type port_type kind designation" },
    { "fw_cfg", "name", "name string gen_id" },
    { "rtc", NULL, "base clock driftfix" },
    { "icount", "shift", "shift align sleep" },
    { "boot", "order", "order once menu splash-time reboot-timeout strict" },
    { "uuid", "uuid", "uuid" },
};

/* Those that always lead to the host */
static const char reaching_options[] =
    "acpitable option-rom usbdevice";

static const char harmless_usb_devices[] =
    "keyboard mouse tablet wacom-tablet";

static bool is_character_device(const char *option, const char *value)
{
    return (!strcmp(option, "serial") || !strcmp(option, "parallel")) &&
           (!strcmp(value, "none") ||
            (strstart(value, "chardev:", &value) && !strpbrk(value, ",:")));
}

MachineOptionReach machine_option_reach(const char *option, const char *value)
{
    if (!strcmp(option, "usbdevice") &&
        is_among(harmless_usb_devices, value)) {
        return MACHINE_OPTION_HARMLESS;
    }
    for (int i = 0; i < ARRAY_SIZE(harmless_options); i++) {
        g_autoptr(QDict) members = NULL;

        if (strcmp(harmless_options[i].option, option)) {
            continue;
        }
        members = machine_option_words(value, harmless_options[i].implied);
        for (const QDictEntry *e = qdict_first(members); e;
             e = qdict_next(members, e)) {
            if (!is_among(harmless_options[i].members, qdict_entry_key(e))) {
                return MACHINE_OPTION_REACHES_HOST;
            }
        }
        return MACHINE_OPTION_HARMLESS;
    }
    if (!strcmp(option, "serial") || !strcmp(option, "parallel")) {
        return is_character_device(option, value)
            ? MACHINE_OPTION_HARMLESS : MACHINE_OPTION_REACHES_HOST;
    }
    return is_among(reaching_options, option) ? MACHINE_OPTION_REACHES_HOST
                                              : MACHINE_OPTION_UNKNOWN;
}
