/*
 * -M incoming -loadvm: the machine out of a snapshot
 *
 * Implements "A machine out of a snapshot" of
 * docs/devel/migration-v4/adopt.rst.  The images are those of the command line,
 * which QEMU opens once more when it makes the machine.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "block/block.h"
#include "block/qdict.h"
#include "block/snapshot.h"
#include "qapi/error.h"
#include "qapi/qmp/qdict.h"
#include "qapi/qmp/qjson.h"
#include "qemu/keyval.h"
#include "migration/config/plan.h"
#include "migration/config/travel.h"
#include "adopt-snapshot.h"

/* Members of -drive that are about the device, or about how it is used */
static const char *const not_of_the_image[] = {
    "if", "id", "index", "bus", "unit", "media", "serial", "werror", "rerror",
    "snapshot", "cache", "aio", "discard", "detect-zeroes", "readonly",
    "read-only", "copy-on-read", "addr", "boot", "group",
};

static BlockDriverState *open_drive(const char *value, Error **errp)
{
    QDict *dict = machine_option_parse(value, "file");
    g_autofree char *file = g_strdup(qdict_get_try_str(dict, "file"));
    const char *format = qdict_get_try_str(dict, "format");

    qdict_del(dict, "file");
    if (format) {
        qdict_put_str(dict, "driver", format);
        qdict_del(dict, "format");
    }
    for (const QDictEntry *e = qdict_first(dict), *next; e; e = next) {
        const char *name = qdict_entry_key(e);

        next = qdict_next(dict, e);
        if (g_str_has_prefix(name, "throttling.") ||
            g_str_has_prefix(name, "cache.")) {
            qdict_del(dict, name);
        }
    }
    for (int i = 0; i < ARRAY_SIZE(not_of_the_image); i++) {
        qdict_del(dict, not_of_the_image[i]);
    }
    if (!file && !qdict_size(dict)) {
        /* An empty drive */
        qobject_unref(dict);
        return NULL;
    }
    return bdrv_open(file, NULL, dict, 0, errp);
}

static BlockDriverState *open_blockdev(const char *value, Error **errp)
{
    QDict *dict = *value == '{'
        ? machine_option_parse(value, NULL)
        : keyval_parse(value, "driver", NULL, errp);

    if (!dict) {
        return NULL;
    }
    qdict_flatten(dict);
    qdict_put_str(dict, "read-only", "on");
    qdict_del(dict, "auto-read-only");
    return bdrv_open(NULL, NULL, dict, 0, errp);
}

static BlockDriverState *open_image(const char *option, const char *value,
                                    Error **errp)
{
    static const char *const with_file[] = {
        "hda", "hdb", "hdc", "hdd", "cdrom", "fda", "fdb", "pflash", "sd",
        "mtdblock", NULL
    };

    if (!strcmp(option, "blockdev")) {
        return open_blockdev(value, errp);
    }
    if (!strcmp(option, "drive")) {
        return open_drive(value, errp);
    }
    if (g_strv_contains(with_file, option)) {
        return bdrv_open(value, NULL, NULL, 0, errp);
    }
    return NULL;
}

/* Does an image have it, with the state of a machine? */
static bool has_snapshot(BlockDriverState *bs, const char *name,
                         QEMUSnapshotInfo *snapshot)
{
    return bdrv_snapshot_find(bs, snapshot, name) >= 0 &&
           snapshot->vm_state_size;
}

static MachineConfig *read_from(BlockDriverState *bs,
                                const QEMUSnapshotInfo *snapshot, Error **errp)
{
    MachineConfig *config;
    bool there;

    if (bdrv_snapshot_load_tmp(bs, snapshot->id_str, snapshot->name,
                               errp) < 0) {
        return NULL;
    }
    config = machine_snapshot_read(bs, &there, errp);
    if (!there) {
        error_free(*errp);
        *errp = NULL;
        error_setg(errp, "it is of version 3, which does not say which machine "
                   "it is of");
    }
    return config;
}

MachineConfig *machine_adopt_read_snapshot(const char *name,
                                           const GPtrArray *options,
                                           Error **errp)
{
    ERRP_GUARD();
    g_autoptr(GPtrArray) images = g_ptr_array_new();
    MachineConfig *config = NULL;
    BlockDriverState *from = NULL;
    QEMUSnapshotInfo snapshot;

    for (unsigned i = 0; i < options->len; i += 2) {
        BlockDriverState *bs = open_image(options->pdata[i],
                                          options->pdata[i + 1], errp);

        if (*errp) {
            goto out;
        }
        if (bs) {
            g_ptr_array_add(images, bs);
        }
        if (bs && has_snapshot(bs, name, &snapshot)) {
            from = bs;
            break;
        }
    }
    if (!from) {
        error_setg(errp, "Snapshot '%s' does not exist in one of the images "
                   "that were given", name);
        goto out;
    }
    config = read_from(from, &snapshot, errp);
    if (!config) {
        error_prepend(errp, "Snapshot '%s': ", name);
    }
out:
    /* What was opened last needs what was opened first */
    while (images->len) {
        bdrv_unref(g_ptr_array_remove_index(images, images->len - 1));
    }
    return config;
}
