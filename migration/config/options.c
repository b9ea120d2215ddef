/*
 * What makes the board and shows in no property of a device
 *
 * Implements "Options" of docs/devel/migration-v4/machine.rst.  From what came
 * of the options, or from QEMU's own list of them, which also has those out of
 * a file (-readconfig).
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "chardev/char.h"
#include "hw/loader.h"
#include "net/net.h"
#include "qapi/util.h"
#include "qemu/config-file.h"
#include "qemu/option_int.h"
#include "qemu/uuid.h"
#include "sysemu/block-backend.h"
#include "sysemu/blockdev.h"
#include "sysemu/sysemu.h"
#include "collect-parts.h"

#define SERIAL_PORTS_MAX 32

/* Groups of options that count as they were given */
static const struct {
    const char *group;
    const char *option;
} groups[] = {
    { "rtc", "rtc" },
    { "icount", "icount" },
    { "smbios", "smbios" },
    { "acpi", "acpitable" },
    { "fw_cfg", "fw_cfg" },
    { "option-rom", "option-rom" },
};

/* Parameters that name a file; "data" may name several, with ':' between */
static const char *const file_names[] = {
    "data", "file", "path", "romfile",
};

static const char *const interfaces[IF_COUNT] = {
    [IF_IDE] = "ide", [IF_SCSI] = "scsi", [IF_FLOPPY] = "floppy",
    [IF_PFLASH] = "pflash", [IF_MTD] = "mtd", [IF_SD] = "sd",
};

static const char *const vgas[VGA_TYPE_MAX] = {
    [VGA_STD] = "std", [VGA_CIRRUS] = "cirrus", [VGA_VMWARE] = "vmware",
    [VGA_XENFB] = "xenfb", [VGA_QXL] = "qxl", [VGA_TCX] = "tcx",
    [VGA_CG3] = "cg3", [VGA_VIRTIO] = "virtio",
};

/* What '-usbdevice' makes, by the name that it has there */
static const struct {
    const char *driver;
    const char *name;
} usb_devices[] = {
    { "usb-braille", "braille" },
    { "usb-kbd", "keyboard" },
    { "usb-mouse", "mouse" },
    { "usb-tablet", "tablet" },
    { "usb-wacom-tablet", "wacom-tablet" },
};

/* Of a file that an option names; it was read when the machine was made */
typedef struct File {
    uint64_t size;
    uint32_t checksum;
} File;

/* An option's value while it is put together */
typedef struct Text {
    GString *all;               /* as it would be given */
    GString *guest;             /* without what leads to this host */
    const char *file;
} Text;

typedef MachineConfigOptionList **Tail;

static MachineConfigOption *add(Tail *tail, const char *option, char *value)
{
    MachineConfigOption *new = g_new0(MachineConfigOption, 1);

    new->option = g_strdup(option);
    new->value = value;
    QAPI_LIST_APPEND(*tail, new);
    return new;
}

static void append(GString *text, const char *name, const char *value)
{
    if (text->len) {
        g_string_append_c(text, ',');
    }
    g_string_append_printf(text, "%s=", name);
    for (; *value; value++) {
        g_string_append_c(text, *value);
        if (*value == ',') {
            g_string_append_c(text, ',');
        }
    }
}

static int append_option(void *opaque, const char *name, const char *value,
                         Error **errp)
{
    Text *text = opaque;
    bool is_file = false;

    for (size_t i = 0; i < ARRAY_SIZE(file_names); i++) {
        is_file |= !strcmp(name, file_names[i]);
    }
    append(text->all, name, value);
    if (is_file) {
        text->file = value;
    } else {
        append(text->guest, name, value);
    }
    return 0;
}

static Text text_new(void)
{
    return (Text) { g_string_new(NULL), g_string_new(NULL) };
}

/* Ends the text as the value of an option */
static MachineConfigOption *add_text(Tail *tail, const char *option,
                                     Text *text)
{
    MachineConfigOption *new = add(tail, option,
                                   g_string_free(text->all, false));

    new->has_guest = strcmp(new->value, text->guest->str);
    new->guest = g_string_free(text->guest, !new->has_guest);
    return new;
}

/* Looked at once: what the guest has is what it was when it started */
static const File *find_file(const char *name)
{
    static GHashTable *files;
    File *file;
    g_autofree char *contents = NULL;
    gsize size;

    if (!files) {
        files = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    }
    file = g_hash_table_lookup(files, name);
    if (!file && g_file_get_contents(name, &contents, &size, NULL)) {
        file = g_new0(File, 1);
        file->size = size;
        file->checksum = machine_checksum(contents, size);
        g_hash_table_insert(files, g_strdup(name), file);
    }
    return file;
}

static void add_group(Tail *tail, const char *group, const char *option)
{
    QemuOptsList *list = qemu_find_opts_err(group, NULL);
    QemuOpts *opts;

    if (!list) {
        return;
    }
    QTAILQ_FOREACH(opts, &list->head, next) {
        Text text = text_new();
        MachineConfigOption *new;
        const File *file;

        qemu_opt_foreach(opts, append_option, &text, NULL);
        if (!text.all->len) {
            g_string_free(text.all, true);
            g_string_free(text.guest, true);
            continue;
        }
        new = add_text(tail, option, &text);
        file = text.file ? find_file(text.file) : NULL;
        if (file) {
            new->has_size = new->has_checksum = true;
            new->size = file->size;
            new->checksum = file->checksum;
        }
    }
}

static void add_nics(Tail *tail, const MachineTypes *types)
{
    for (int i = 0; i < MAX_NICS; i++) {
        const NICInfo *nic = &nd_table[i];
        const uint8_t *mac = nic->macaddr.a;
        g_autofree char *address = NULL;
        Text text;

        if (!nic->used) {
            continue;
        }
        text = text_new();
        address = g_strdup_printf("%02x:%02x:%02x:%02x:%02x:%02x", mac[0],
                                  mac[1], mac[2], mac[3], mac[4], mac[5]);
        if (nic->model) {
            append(text.all, "model", nic->model);
        }
        append(text.all, "macaddr", address);
        if (nic->nvectors != DEV_NVECTORS_UNSPECIFIED) {
            g_autofree char *vectors = g_strdup_printf("%d", nic->nvectors);

            append(text.all, "vectors", vectors);
        }
        g_string_append(text.guest, text.all->str);
        if (nic->netdev) {
            append(text.all, "netdev",
                   machine_types_name(types, nic->netdev->name));
        }
        add_text(tail, "nic", &text);
    }
}

static void add_port(Tail *tail, const char *option, const Chardev *chr)
{
    MachineConfigOption *new =
        add(tail, option, chr ? g_strdup_printf("chardev:%s", chr->label)
                              : g_strdup("none"));

    new->has_guest = chr;
    new->guest = chr ? g_strdup("chardev") : NULL;
}

/* In order, with those in between that are not there */
static void add_ports(Tail *tail)
{
    int serials = 0, parallels = 0;

    for (int i = 0; i < SERIAL_PORTS_MAX; i++) {
        serials = serial_hd(i) ? i + 1 : serials;
    }
    for (int i = 0; i < MAX_PARALLEL_PORTS; i++) {
        parallels = parallel_hds[i] ? i + 1 : parallels;
    }
    for (int i = 0; i < serials; i++) {
        add_port(tail, "serial", serial_hd(i));
    }
    for (int i = 0; i < parallels; i++) {
        add_port(tail, "parallel", parallel_hds[i]);
    }
}

/* Drives that the board makes the devices for */
static void add_drives(Tail *tail)
{
    for (BlockBackend *blk = blk_next(NULL); blk; blk = blk_next(blk)) {
        const DriveInfo *drive = blk_legacy_dinfo(blk);
        Text text;

        if (!drive || drive->type < 0 || drive->type >= IF_COUNT ||
            !interfaces[drive->type] ||
            (drive->is_default && !blk_get_attached_dev(blk))) {
            continue;
        }
        text = text_new();
        g_string_printf(text.guest, "if=%s,bus=%d,unit=%d,media=%s",
                        interfaces[drive->type], drive->bus, drive->unit,
                        drive->media_cd ? "cdrom" : "disk");
        g_string_append(text.all, text.guest->str);
        append(text.all, "id", blk_name(blk));
        add_text(tail, "drive", &text);
    }
}

static void add_usb(Tail *tail, const MachineConfigDeviceList *devices)
{
    for (; devices; devices = devices->next) {
        const MachineConfigDevice *device = devices->value;

        for (size_t i = 0; i < ARRAY_SIZE(usb_devices); i++) {
            if (device->origin == MACHINE_CONFIG_ORIGIN_BOARD &&
                !strcmp(device->driver, usb_devices[i].driver)) {
                add(tail, "usbdevice", g_strdup(usb_devices[i].name));
            }
        }
    }
}

MachineConfigOptionList *
machine_collect_options(const MachineTypes *types,
                        const MachineConfigDeviceList *devices)
{
    MachineConfigOptionList *list = NULL;
    Tail tail = &list;
    const char *vga = vgas[vga_interface_type];

    add(&tail, "vga", g_strdup(vga ?: "none"));
    add_nics(&tail, types);
    add_ports(&tail);
    add_drives(&tail);
    add_usb(&tail, devices);
    if (machine_noted_audio()) {
        add(&tail, "audio", g_strdup(machine_noted_audio()));
    }
    if (qemu_uuid_set) {
        add(&tail, "uuid", qemu_uuid_unparse_strdup(&qemu_uuid));
    }
    for (size_t i = 0; i < ARRAY_SIZE(groups); i++) {
        add_group(&tail, groups[i].group, groups[i].option);
    }
    return list;
}
