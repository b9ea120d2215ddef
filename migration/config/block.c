/*
 * The block nodes and drives of the machine as it stands
 *
 * Implements "Block" of docs/devel/migration-v4/machine.rst.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "block/block_int.h"
#include "block/qdict.h"
#include "block/throttle-groups.h"
#include "qapi/qapi-visit-block-core.h"
#include "qapi/qmp/qbool.h"
#include "qapi/qmp/qstring.h"
#include "qapi/qobject-input-visitor.h"
#include "qapi/qobject-output-visitor.h"
#include "sysemu/block-backend.h"
#include "sysemu/blockdev.h"
#include "collect-parts.h"

#define NODES_DEPTH_MAX 64

typedef MachineConfigBackendList **Tail;

/* Names that QEMU gives have this in front; they can't be asked for */
static bool has_name(const BlockDriverState *bs)
{
    return *bs->node_name && *bs->node_name != '#';
}

/*
 * What a protocol was opened with.  A file name that was given apart from the
 * options is only here.
 */
static void add_protocol_options(QDict *options, BlockDriverState *bs)
{
    const QDictEntry *e;

    for (e = bs->full_open_options && QLIST_EMPTY(&bs->children)
             ? qdict_first(bs->full_open_options) : NULL;
         e; e = qdict_next(bs->full_open_options, e)) {
        if (!qdict_haskey(options, qdict_entry_key(e))) {
            qdict_put_obj(options, qdict_entry_key(e),
                          qobject_ref(qdict_entry_value(e)));
        }
    }
}

/* '-drive' cannot name a node: what came with one is in it, named or not */
static bool is_inside(const BlockDriverState *bs, bool drive)
{
    return !has_name(bs) || (drive && !QTAILQ_IN_USE(bs, monitor_list));
}

/*
 * What was asked for, with what QEMU found out (the driver).  A child that has
 * a name is named; one that has none is put inside, but not what the image
 * itself says it is on.
 */
static QDict *node_options(BlockDriverState *bs, bool drive, unsigned depth)
{
    QDict *options = qdict_clone_shallow(bs->explicit_options);
    BdrvChild *child;

    qdict_put_str(options, "driver", bs->drv->format_name);
    if (has_name(bs)) {
        qdict_put_str(options, "node-name", bs->node_name);
    }
    if (depth == NODES_DEPTH_MAX && bdrv_is_read_only(bs) &&
        !qdict_haskey(options, BDRV_OPT_READ_ONLY)) {
        /* A medium that was put in has that from its drive */
        qdict_put_bool(options, BDRV_OPT_READ_ONLY, true);
    }
    if (bs->detect_zeroes) {
        qdict_put_str(options, "detect-zeroes",
                      BlockdevDetectZeroesOptions_str(bs->detect_zeroes));
    }
    add_protocol_options(options, bs);
    QLIST_FOREACH(child, &bs->children, next) {
        BlockDriverState *below = child->bs;

        if (!is_inside(below, drive)) {
            qdict_put_str(options, child->name, below->node_name);
        } else if ((child->role & BDRV_CHILD_COW) &&
                   !(bs->full_open_options &&
                     qdict_haskey(bs->full_open_options, child->name))) {
            continue;
        } else if (depth) {
            qdict_put(options, child->name,
                      node_options(below, drive, depth - 1));
        }
    }
    return options;
}

/* Values out of '-drive' are text; QAPI knows what they should be */
static QDict *with_types(QDict *options)
{
    BlockdevOptions *typed = NULL;
    QObject *object = NULL;
    Visitor *v;

    qdict_flatten(options);
    v = qobject_input_visitor_new_flat_confused(options, NULL);
    if (v) {
        visit_type_BlockdevOptions(v, NULL, &typed, NULL);
        visit_free(v);
    }
    if (!typed) {
        return options;         /* more than '-blockdev' could say */
    }
    v = qobject_output_visitor_new(&object);
    visit_type_BlockdevOptions(v, NULL, &typed, NULL);
    visit_complete(v, &object);
    visit_free(v);
    qapi_free_BlockdevOptions(typed);
    qobject_unref(options);
    return qobject_to(QDict, object);
}

static void forget_false(QDict *dict, const char *name)
{
    const QBool *value = qobject_to(QBool, qdict_get(dict, name));

    if (value && !qbool_get_bool(value)) {
        qdict_del(dict, name);
    }
}

/*
 * As '-blockdev' has it.  What is off by default shows or not, depending on
 * how the node was made.
 */
static QDict *read_options(BlockDriverState *bs, bool drive)
{
    QDict *options = with_types(node_options(bs, drive, NODES_DEPTH_MAX));
    QDict *cache = qdict_get_qdict(options, "cache");

    forget_false(options, BDRV_OPT_READ_ONLY);
    if (cache) {
        forget_false(cache, "direct");
        forget_false(cache, "no-flush");
        if (!qdict_size(cache)) {
            qdict_del(options, "cache");
        }
    }
    return options;
}

static void add_node_facts(QDict *guest, BlockDriverState *bs)
{
    AioContext *context = bdrv_get_aio_context(bs);
    int64_t size;

    aio_context_acquire(context);
    bdrv_refresh_filename(bs);
    size = bdrv_getlength(bs);
    aio_context_release(context);
    if (size >= 0) {
        qdict_put_int(guest, "size", size);
    }
    qdict_put_bool(guest, "read-only", bdrv_is_read_only(bs));
}

/* Is it a drive that a device has under the name of a node? */
static bool is_nameless(BlockBackend *blk)
{
    return blk_bs(blk) && !*blk_name(blk) && blk_get_attached_dev(blk);
}

/* As the device has it that it is attached to, if it is */
static void add_use_facts(QDict *guest, BlockBackend *blk)
{
    bool removable = blk_get_attached_dev(blk) &&
                     blk_dev_has_removable_media(blk);

    qdict_put_bool(guest, "removable", removable);
    if (removable) {
        qdict_put_bool(guest, "inserted", blk_bs(blk));
        qdict_put_bool(guest, "tray-open",
                       blk_dev_has_tray(blk) && blk_dev_is_tray_open(blk));
    }
}

/*
 * Under the name of a node it is a node, whoever gave it that: so it can be
 * asked for.
 */
static void add_node(Tail *tail, const MachineTypes *types,
                     BlockDriverState *bs)
{
    const char *name = machine_types_name(types, bs->node_name);
    QDict *host = read_options(bs, false);
    QDict *guest = qdict_new();

    for (BlockBackend *blk = blk_all_next(NULL); blk;
         blk = blk_all_next(blk)) {
        if (is_nameless(blk) && blk_bs(blk) == bs) {
            add_use_facts(guest, blk);
        }
    }
    add_node_facts(guest, bs);
    qdict_put_str(host, "node-name", name);
    machine_add_backend(tail, MACHINE_CONFIG_BACKEND_KIND_BLOCK, name,
                        bs->drv->format_name, guest, host);
}

static void add_limit(QDict *host, const char *kind, const char *what,
                      double value, double missing)
{
    g_autofree char *name = g_strdup_printf("throttling.%s%s", kind, what);

    if (value != missing) {
        qdict_put_int(host, name, value);
    }
}

/* What a drive has beyond the node in it; a node's own options have none */
static void add_drive_options(QDict *host, BlockBackend *blk)
{
    static const char *const kinds[BUCKETS_COUNT] = {
        [THROTTLE_BPS_TOTAL] = "bps-total", [THROTTLE_BPS_READ] = "bps-read",
        [THROTTLE_BPS_WRITE] = "bps-write",
        [THROTTLE_OPS_TOTAL] = "iops-total",
        [THROTTLE_OPS_READ] = "iops-read", [THROTTLE_OPS_WRITE] = "iops-write",
    };
    ThrottleGroupMember *member = &blk_get_public(blk)->throttle_group_member;
    BlockdevOnError on_read = blk_get_on_error(blk, true);
    BlockdevOnError on_write = blk_get_on_error(blk, false);
    ThrottleConfig limits;

    if (on_read != BLOCKDEV_ON_ERROR_REPORT) {
        qdict_put_str(host, "rerror", BlockdevOnError_str(on_read));
    }
    if (on_write != BLOCKDEV_ON_ERROR_ENOSPC) {
        qdict_put_str(host, "werror", BlockdevOnError_str(on_write));
    }
    if (!blk_enable_write_cache(blk) && blk_bs(blk)) {
        if (!qdict_haskey(host, "cache")) {
            qdict_put(host, "cache", qdict_new());
        }
        qdict_put_bool(qdict_get_qdict(host, "cache"), "writeback", false);
    }
    if (!member->throttle_state) {
        return;
    }
    throttle_group_get_config(member, &limits);
    qdict_put_str(host, "throttling.group", throttle_group_get_name(member));
    add_limit(host, "iops-size", "", limits.op_size, 0);
    for (int i = 0; i < BUCKETS_COUNT; i++) {
        add_limit(host, kinds[i], "", limits.buckets[i].avg, 0);
        add_limit(host, kinds[i], "-max", limits.buckets[i].max, 0);
        add_limit(host, kinds[i], "-max-length",
                  limits.buckets[i].burst_length, 1);
    }
}

/* A drive may be empty */
static void add_drive(Tail *tail, BlockBackend *blk)
{
    BlockDriverState *bs = blk_bs(blk);
    QDict *guest = qdict_new();
    QDict *host = bs ? read_options(bs, true) : qdict_new();

    add_use_facts(guest, blk);
    if (bs) {
        add_node_facts(guest, bs);
    }
    add_drive_options(host, blk);
    machine_add_backend(tail, MACHINE_CONFIG_BACKEND_KIND_BLOCK,
                        blk_name(blk), bs ? bs->drv->format_name : "none",
                        guest, host);
}

/* What a node is on comes before it */
static void add_tree(Tail *tail, const MachineTypes *types, GHashTable *done,
                     BlockDriverState *bs, bool used)
{
    BdrvChild *child;

    if (!g_hash_table_add(done, bs)) {
        return;
    }
    QLIST_FOREACH(child, &bs->children, next) {
        add_tree(tail, types, done, child->bs, false);
    }
    if (bs->drv && (used || has_name(bs))) {
        add_node(tail, types, bs);
    }
}

/* Nodes that came with a drive are shown there, as a part of it */
static void mark_inside(GHashTable *done, BlockDriverState *bs)
{
    BdrvChild *child;

    g_hash_table_add(done, bs);
    QLIST_FOREACH(child, &bs->children, next) {
        if (is_inside(child->bs, true)) {
            mark_inside(done, child->bs);
        }
    }
}

void machine_name_nodes(MachineTypes *types)
{
    unsigned number = 0;
    BlockBackend *blk;

    for (blk = blk_all_next(NULL); blk; blk = blk_all_next(blk)) {
        char *called = NULL;

        if (!is_nameless(blk) || has_name(blk_bs(blk))) {
            continue;
        }
        do {
            g_free(called);
            called = g_strdup_printf("block%u", number++);
        } while (bdrv_lookup_bs(called, called, NULL));
        machine_types_rename(types, blk_bs(blk)->node_name, called);
    }
}

void machine_add_block_backends(MachineConfigBackendList ***tail,
                                const MachineTypes *types)
{
    g_autoptr(GHashTable) done = g_hash_table_new(NULL, NULL);
    BlockBackend *blk;

    for (blk = blk_next(NULL); blk; blk = blk_next(blk)) {
        if (blk_bs(blk) && !QTAILQ_IN_USE(blk_bs(blk), monitor_list)) {
            mark_inside(done, blk_bs(blk));
        }
    }
    for (BlockDriverState *bs = bdrv_next_node(NULL); bs;
         bs = bdrv_next_node(bs)) {
        if (has_name(bs)) {
            add_tree(tail, types, done, bs, false);
        }
    }
    /* What a device has, though it was given no name */
    for (blk = blk_all_next(NULL); blk; blk = blk_all_next(blk)) {
        if (is_nameless(blk)) {
            add_tree(tail, types, done, blk_bs(blk), true);
        }
    }
    for (blk = blk_next(NULL); blk; blk = blk_next(blk)) {
        const DriveInfo *drive = blk_legacy_dinfo(blk);

        /* Some are there for boards that would have a place for them */
        if (!drive || !drive->is_default || blk_get_attached_dev(blk)) {
            add_drive(tail, blk);
        }
    }
}
