/*
 * The machine in a snapshot, before the snapshot is loaded
 *
 * Implements "Snapshots" of docs/devel/migration-v4/machine.rst.  What a
 * snapshot has of the machine can be read only where the image has gone to the
 * snapshot, and that is what has to wait: so a second node is opened over the
 * same file, which only reads, and goes there on its own.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "block/block_int.h"
#include "block/qdict.h"
#include "block/snapshot.h"
#include "qapi/error.h"
#include "qapi/qmp/qdict.h"
#include "migration/channel-block.h"
#include "migration/compat/stored.h"
#include "migration/config/travel.h"
#include "migration/stream/map.h"
#include "migration/stream/reader.h"

/* The state of the machine in a node, read from its beginning */
typedef struct SnapshotSource {
    BlockDriverState *bs;
    int64_t offset;
} SnapshotSource;

/* A StreamReadFunc */
static ssize_t snapshot_read(void *opaque, void *data, size_t length,
                             Error **errp)
{
    SnapshotSource *source = opaque;
    int ret = bdrv_load_vmstate(source->bs, data, source->offset, length);

    if (ret < 0) {
        error_setg_errno(errp, -ret, "cannot read the machine's state");
        return -1;
    }
    source->offset += length;
    return length;
}

MachineConfig *machine_snapshot_read(BlockDriverState *bs, bool *there,
                                     Error **errp)
{
    SnapshotSource source = { .bs = bs };
    g_autoptr(StreamReader) reader = stream_reader_new(snapshot_read, &source);
    g_autoptr(GByteArray) json = g_byte_array_new();
    uint32_t version = stream_reader_preamble(reader, errp);

    *there = version == STREAM_VERSION;
    if (!*there || !stream_reader_machine(reader, json, errp)) {
        return NULL;
    }
    /* What is done to it now is done once more, and counted, as it is loaded */
    stream_map_start();
    return machine_travel_read(json, errp);
}

BlockDriverState *machine_snapshot_open(BlockDriverState *bs, const char *name,
                                        Error **errp)
{
    BlockDriverState *image = bdrv_skip_filters(bs), *view;
    QDict *options = qdict_new();
    QDict *secrets;

    if (!image->file) {
        error_setg(errp, "node '%s' has no file under it", image->node_name);
        qobject_unref(options);
        return NULL;
    }
    /* What is written through the other node must be in the file */
    if (bdrv_flush(image) < 0) {
        error_setg(errp, "node '%s' cannot be flushed", image->node_name);
        qobject_unref(options);
        return NULL;
    }
    qdict_extract_subqdict(image->options, &secrets, "encrypt.");
    qdict_put_str(options, "driver", image->drv->format_name);
    for (const QDictEntry *e = qdict_first(secrets); e;
         e = qdict_next(secrets, e)) {
        g_autofree char *key = g_strdup_printf("encrypt.%s",
                                               qdict_entry_key(e));

        qdict_put_obj(options, key, qobject_ref(qdict_entry_value(e)));
    }
    qobject_unref(secrets);
    qdict_put_str(options, "read-only", "on");
    /* Between the two, as it lets the other node do what it likes */
    qdict_put_str(options, "file.driver", "raw");
    qdict_put_str(options, "file.force-share", "on");
    qdict_put_str(options, "file.read-only", "on");
    qdict_put_str(options, "file.file", image->file->bs->node_name);
    view = bdrv_open(NULL, NULL, options, BDRV_O_NO_BACKING, errp);
    if (view && bdrv_snapshot_load_tmp_by_id_or_name(view, name, errp) < 0) {
        bdrv_unref(view);
        view = NULL;
    }
    return view;
}

/* All but the memory is looked through, as long as there is a way back */
static bool snapshot_look(BlockDriverState *view, GByteArray *facts,
                          Error **errp)
{
    QIOChannel *ioc = QIO_CHANNEL(qio_channel_block_new(view));
    bool good = migration_stored_look(ioc, facts, errp);

    object_unref(OBJECT(ioc));
    return good;
}

bool machine_travel_check_snapshot(BlockDriverState *bs, const char *name,
                                   Error **errp)
{
    ERRP_GUARD();
    AioContext *context = bdrv_get_aio_context(bs);
    g_autoptr(MachineConfig) config = NULL;
    g_autoptr(GByteArray) facts = g_byte_array_new();
    BlockDriverState *view;
    bool there = true, good = false;

    migration_stored_forget();

    aio_context_acquire(context);
    /* The guest may run, and is not to write into what is read here */
    bdrv_drained_begin(bs);
    view = machine_snapshot_open(bs, name, errp);
    if (view) {
        config = machine_snapshot_read(view, &there, errp);
        good = config && snapshot_look(view, facts, errp);
        bdrv_unref(view);
    }
    bdrv_drained_end(bs);
    aio_context_release(context);
    if (!there) {
        /* Who loads it sees what it is */
        error_free(*errp);
        *errp = NULL;
        return true;
    }
    if (!good || !machine_travel_compare(config, errp) ||
        !migration_stored_expect(facts, errp)) {
        error_prepend(errp, "Cannot load the snapshot: ");
        return false;
    }
    return true;
}
