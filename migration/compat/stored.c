/*
 * Streams in files: looked through before they are loaded
 *
 * Implements docs/devel/migration-v4/snapshots.rst.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/main-loop.h"
#include "qapi/error.h"
#include "io/channel-file.h"
#include "migration/channel-block.h"
#include "migration/compat/collect.h"
#include "migration/compat/spare.h"
#include "migration/compat/stored.h"
#include "migration/compat/whitelist.h"
#include "migration/stream/lookahead.h"
#include "migration/stream/vmstate.h"
#include "trace.h"

/* Of the snapshot that is loaded next; with the BQL held */
static GPtrArray *expected;

/* Saving */

/* Facts have each device once, as far as names tell */
static void add_stored(MigrationFacts *facts, const GPtrArray *stored)
{
    for (unsigned i = 0; i < facts->devices->len; i++) {
        MigrationDeviceFacts *device = facts->devices->pdata[i];
        GPtrArray *inside = stream_stored_section(stored, device->state.name,
                                                  device->instance);

        device->stored = inside ? g_ptr_array_ref(inside) : NULL;
    }
}

/* For StreamSpares */
static GString *describe(const GPtrArray *stored, Error **errp)
{
    g_autoptr(MigrationFacts) facts = NULL;
    bool locked = qemu_mutex_iothread_locked();

    if (!locked) {
        qemu_mutex_lock_iothread();
    }
    facts = migration_facts_collect();
    if (!locked) {
        qemu_mutex_unlock_iothread();
    }
    add_stored(facts, stored);
    return migration_facts_to_json(facts);
}

/* Loading */

/* For StreamSpares; one that says nothing takes all that it knows */
static uint64_t choose(const VMStateDescription *vmsd, uint64_t needed,
                       uint64_t available)
{
    const Combinations *c = migration_whitelist(vmsd, NULL);
    uint64_t set;

    /* What is needed is not valid by itself, either: it is refused as that */
    return migration_spare_choose(c, needed, available, &set) ? set : needed;
}

static ssize_t ahead_read(void *opaque, void *data, size_t length,
                          Error **errp)
{
    return qio_channel_read(opaque, data, length, errp);
}

static bool ahead_hop(void *opaque, size_t length, Error **errp)
{
    return qio_channel_io_seek(opaque, length, SEEK_CUR, errp) >= 0;
}

bool migration_stored_look(QIOChannel *ioc, GByteArray *facts, Error **errp)
{
    int64_t start = g_get_monotonic_time();
    off_t here = qio_channel_io_seek(ioc, 0, SEEK_CUR, errp);
    uint32_t version;
    bool good;

    if (here < 0) {
        return false;
    }
    good = stream_look_ahead(ahead_read, ahead_hop, ioc, &version, facts, errp);
    trace_migration_stored_look(version, facts->len,
                                g_get_monotonic_time() - start);
    return qio_channel_io_seek(ioc, here, SEEK_SET,
                               good ? errp : NULL) >= 0 && good;
}

/* What is loaded of a file that says @facts; NULL if it says nothing */
static bool decide(const GByteArray *facts, GPtrArray **stored, Error **errp)
{
    g_autoptr(MigrationFacts) file = NULL;
    g_autoptr(MigrationFacts) here = NULL;

    *stored = NULL;
    if (!facts->len) {
        return true;
    }
    file = migration_facts_parse((const char *)facts->data, facts->len, errp);
    if (!file) {
        return false;
    }
    here = migration_facts_collect_loading();
    if (!migration_spare_check(file, here, errp)) {
        return false;
    }
    *stored = stream_stored_sections_new();
    for (unsigned i = 0; i < file->devices->len; i++) {
        MigrationDeviceFacts *device = file->devices->pdata[i];

        if (device->stored) {
            stream_stored_add_section(*stored, device->state.name,
                                      device->instance,
                                      g_ptr_array_ref(device->stored));
        }
    }
    return true;
}

bool migration_stored_expect(const GByteArray *facts, Error **errp)
{
    return decide(facts, &expected, errp);
}

void migration_stored_forget(void)
{
    g_clear_pointer(&expected, g_ptr_array_unref);
}

bool migration_stored_arrived(StreamChannel *sc, Error **errp)
{
    g_autoptr(GByteArray) facts = g_byte_array_new();
    GPtrArray *stored;
    off_t here;

    if (sc->origin < 0 || sc->stored) {
        return true;
    }
    here = qio_channel_io_seek(sc->base, 0, SEEK_CUR, errp);
    if (here < 0 ||
        qio_channel_io_seek(sc->base, sc->origin, SEEK_SET, errp) < 0 ||
        !migration_stored_look(sc->base, facts, errp) ||
        !decide(facts, &stored, errp)) {
        return false;
    }
    stream_channel_set_stored(sc, stored);
    return qio_channel_io_seek(sc->base, here, SEEK_SET, errp) >= 0;
}

/* Something that stays, and where one can go back and forth */
static bool is_file(QIOChannel *ioc)
{
    QIOChannelFile *file = (QIOChannelFile *)
        object_dynamic_cast(OBJECT(ioc), TYPE_QIO_CHANNEL_FILE);
    struct stat st;

    if (file) {
        return fstat(file->fd, &st) == 0 &&
               (S_ISREG(st.st_mode) || S_ISBLK(st.st_mode));
    }
    return object_dynamic_cast(OBJECT(ioc), TYPE_QIO_CHANNEL_BLOCK);
}

void migration_stored_begin(StreamChannel *sc)
{
    if (!is_file(sc->base)) {
        return;
    }
    sc->origin = qio_channel_io_seek(sc->base, 0, SEEK_CUR, NULL);
    if (sc->outgoing) {
        stream_channel_set_stored(sc, stream_stored_sections_new());
    } else if (expected) {
        stream_channel_set_stored(sc, g_steal_pointer(&expected));
    }
}

void migration_stored_init(void)
{
    static const StreamSpares spares = {
        .describe = describe,
        .choose = choose,
    };

    migration_stream_set_spares(&spares);
}
