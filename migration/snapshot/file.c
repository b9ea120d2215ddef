/*
 * The transport file:PATH
 *
 * Implements docs/devel/migration-v4/file.rst.
 *
 * The stream goes to a file beside the one that is wanted, which takes its
 * name when everything is on the disk.  It belongs to the channel: it goes away
 * with it, whatever ends the migration.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <glib/gstdio.h>
#include "qapi/error.h"
#include "io/channel-file.h"
#include "migration/channel.h"
#include "migration/qemu-file.h"
#include "migration/snapshot/file.h"
#include "migration/stream/channel.h"
#include "sysemu/sysemu.h"
#include "trace.h"

#define TYPE_MIGRATION_FILE_CHANNEL "migration-file-channel"
OBJECT_DECLARE_SIMPLE_TYPE(MigrationFileChannel, MIGRATION_FILE_CHANNEL)

struct MigrationFileChannel {
    QIOChannelFile parent;
    char *path;         /* that it is to have */
    char *partial;      /* that it has, as long as it is not whole */
    Notifier exit;
};

/* Each needs what a file does not have: an answer, or a second connection */
static bool check_settings(Error **errp)
{
    const struct {
        bool is_set;
        const char *what;
    } settings[] = {
        { migrate_use_tls(), "parameter 'tls-creds'" },
        { migrate_use_multifd(), "capability 'multifd'" },
        { migrate_use_return_path(), "capability 'return-path'" },
        { migrate_postcopy_ram(), "capability 'postcopy-ram'" },
        { migrate_colo_enabled(), "capability 'x-colo'" },
    };

    for (size_t i = 0; i < ARRAY_SIZE(settings); i++) {
        if (settings[i].is_set) {
            error_setg(errp, "%s cannot be used with 'file:', which has no "
                       "other side", settings[i].what);
            return false;
        }
    }
    return true;
}

static bool check_regular(const char *path, const struct stat *st,
                          Error **errp)
{
    if (S_ISREG(st->st_mode)) {
        return true;
    }
    error_setg(errp, "'%s' is no regular file", path);
    error_append_hint(errp, "Use 'fd:' or 'exec:' for a pipe or a device.\n");
    return false;
}

/* Where the file will be: a link stays, and what it leads to is replaced */
static char *find_target(const char *path, Error **errp)
{
    g_autofree char *target = g_malloc(PATH_MAX);
    struct stat st;

    if (stat(path, &st) == 0) {
        if (!check_regular(path, &st, errp)) {
            return NULL;
        }
        if (realpath(path, target)) {
            return g_steal_pointer(&target);
        }
    } else if (errno == ENOENT && *path) {
        return g_strdup(path);
    }
    error_setg_errno(errp, errno, "Could not look at '%s'", path);
    return NULL;
}

/* QEMU ends in the middle of it */
static void file_channel_exit(Notifier *notifier, void *data)
{
    MigrationFileChannel *c = container_of(notifier, MigrationFileChannel,
                                           exit);

    g_unlink(c->partial);
}

static MigrationFileChannel *file_channel_new(const char *path, Error **errp)
{
    g_autofree char *target = find_target(path, errp);
    g_autofree char *partial = NULL;
    MigrationFileChannel *c;
    int fd;

    if (!target) {
        return NULL;
    }
    partial = g_strdup_printf("%s.XXXXXX", target);
    /* A guest's memory: nobody else may read it unless its owner says so */
    fd = g_mkstemp_full(partial, O_WRONLY | O_CLOEXEC, 0600);
    if (fd < 0) {
        error_setg_errno(errp, errno, "Could not create a file beside '%s'",
                         target);
        return NULL;
    }
    c = MIGRATION_FILE_CHANNEL(object_new(TYPE_MIGRATION_FILE_CHANNEL));
    c->parent.fd = fd;
    c->path = g_steal_pointer(&target);
    c->partial = g_steal_pointer(&partial);
    c->exit.notify = file_channel_exit;
    qemu_add_exit_notifier(&c->exit);
    return c;
}

void migration_file_start_outgoing(MigrationState *s, const char *path,
                                   Error **errp)
{
    MigrationFileChannel *c;

    if (!check_settings(errp)) {
        return;
    }
    c = file_channel_new(path, errp);
    if (!c) {
        return;
    }
    trace_migration_file_outgoing(c->path, c->partial);
    qio_channel_set_name(QIO_CHANNEL(c), "migration-file-outgoing");
    migration_channel_connect(s, QIO_CHANNEL(c), NULL, NULL);
    object_unref(OBJECT(c));
}

static bool sync_directory_of(const char *path)
{
    g_autofree char *directory = g_path_get_dirname(path);
    int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool ok = fd >= 0 && fsync(fd) == 0;
    int why = errno;

    if (fd >= 0) {
        close(fd);
    }
    errno = why;
    return ok;
}

static bool file_channel_finish(MigrationFileChannel *c, Error **errp)
{
    if (fsync(c->parent.fd)) {
        error_setg_errno(errp, errno, "Could not write all of '%s' to the disk",
                         c->path);
        return false;
    }
    if (g_rename(c->partial, c->path)) {
        error_setg_errno(errp, errno, "Could not give '%s' its name", c->path);
        return false;
    }
    trace_migration_file_finish(c->path);
    if (!sync_directory_of(c->path)) {
        error_setg_errno(errp, errno, "Could not write the name of '%s' to the "
                         "disk", c->path);
        return false;
    }
    return true;
}

bool migration_file_finish(MigrationState *s)
{
    QIOChannel *ioc = migration_stream_transport(s->to_dst_file);
    Object *c = object_dynamic_cast(OBJECT(ioc), TYPE_MIGRATION_FILE_CHANNEL);
    Error *err = NULL;

    if (!c || file_channel_finish(MIGRATION_FILE_CHANNEL(c), &err)) {
        return true;
    }
    migrate_set_error(s, err);
    error_report_err(err);
    return false;
}

static gboolean file_accept(QIOChannel *ioc, GIOCondition condition,
                            gpointer opaque)
{
    migration_channel_process_incoming(ioc);
    object_unref(OBJECT(ioc));
    return G_SOURCE_REMOVE;
}

void migration_file_start_incoming(const char *path, Error **errp)
{
    QIOChannel *ioc;
    struct stat st;
    int fd;

    if (!check_settings(errp)) {
        return;
    }
    /* Does not wait for who would write into a pipe */
    fd = qemu_open(path, O_RDONLY | O_NONBLOCK, errp);
    if (fd < 0) {
        return;
    }
    if (fstat(fd, &st)) {
        error_setg_errno(errp, errno, "Could not look at '%s'", path);
        qemu_close(fd);
        return;
    }
    if (!check_regular(path, &st, errp)) {
        qemu_close(fd);
        return;
    }
    trace_migration_file_incoming(path);
    ioc = QIO_CHANNEL(qio_channel_file_new_fd(fd));
    qio_channel_set_name(ioc, "migration-file-incoming");
    qio_channel_add_watch_full(ioc, G_IO_IN, file_accept, NULL, NULL,
                               g_main_context_get_thread_default());
}

static void file_channel_finalize(Object *obj)
{
    MigrationFileChannel *c = MIGRATION_FILE_CHANNEL(obj);

    /* Of one that was given its name there is nothing to be found */
    g_unlink(c->partial);
    qemu_remove_exit_notifier(&c->exit);
    g_free(c->partial);
    g_free(c->path);
}

static const TypeInfo file_channel_info = {
    .parent = TYPE_QIO_CHANNEL_FILE,
    .name = TYPE_MIGRATION_FILE_CHANNEL,
    .instance_size = sizeof(MigrationFileChannel),
    .instance_finalize = file_channel_finalize,
};

static void file_channel_register_types(void)
{
    type_register_static(&file_channel_info);
}

type_init(file_channel_register_types);
