/*
 * Incoming migrations that fail, and another try
 *
 * Implements docs/devel/migration-v4/retry.rst.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <poll.h>
#include "block/aio.h"
#include "qapi/error.h"
#include "qapi/error-text.h"
#include "qemu/error-last.h"
#include "qemu/error-report.h"
#include "qemu/main-loop.h"
#include "migration/colo.h"
#include "migration/compat/incoming.h"
#include "migration/compat/peer.h"
#include "migration/compat/selector.h"
#include "migration/global_state.h"
#include "migration/stream/channel.h"
#include "migration/stream/file.h"
#include "migration/migration.h"
#include "migration/multifd.h"
#include "migration/postcopy-ram.h"
#include "migration/qemu-file.h"
#include "migration/savevm.h"
#include "sysemu/runstate.h"

static struct {
    bool deferred;      /* by -incoming: there is somebody to try again */
    bool failed;        /* nothing is being loaded any more */
    bool undone;        /* nothing is left of it */
    unsigned number;    /* of the try */
    void *reason;       /* the first Error, which any thread may put here */
    GSList *awaiting;   /* ids of what ends the waiting for channels */
    QemuEvent listen_ended;
} try;

static void keep(Error *err)
{
    if (qatomic_cmpxchg(&try.reason, NULL, err)) {
        error_free(err);
    }
}

/* Stays until forget() */
static Error *kept(void)
{
    return qatomic_load_acquire(&try.reason);
}

static void forget(void)
{
    error_free(qatomic_xchg(&try.reason, NULL));
}

/* May this be tried again when it fails now? */
static bool can_try_again(void)
{
    return try.deferred && migration_stream_may_be_v4() &&
           !migration_incoming_colo_enabled();
}

void migration_incoming_defer(void)
{
    try.deferred = true;
    qemu_event_init(&try.listen_ended, false);
}

unsigned migration_incoming_try(void)
{
    return try.number;
}

/* Undoing */

/* The thread that listens in a postcopy, if there is one, has to notice */
static void end_listening(MigrationIncomingState *mis)
{
    if (!mis->have_listen_thread) {
        return;
    }
    qemu_file_shutdown(mis->from_src_file);
    /* It may need the lock to come to its end */
    qemu_mutex_unlock_iothread();
    qemu_event_wait(&try.listen_ended);
    qemu_mutex_lock_iothread();
    qemu_event_reset(&try.listen_ended);
    qemu_loadvm_state_cleanup();
}

/* In the order in which one needs the other: threads, channels, machine */
static void undo(void)
{
    MigrationIncomingState *mis = migration_incoming_get_current();

    if (try.undone) {
        return;
    }
    try.undone = true;
    end_listening(mis);
    if (postcopy_state_set(POSTCOPY_INCOMING_NONE) != POSTCOPY_INCOMING_NONE) {
        postcopy_ram_incoming_cleanup(mis);
    }
    multifd_load_cleanup(NULL);
    dirty_bitmap_mig_reset_incoming();
    migration_incoming_state_destroy();
    migration_incoming_state_prepare();
    global_state_forget();
    qemu_system_reset(SHUTDOWN_CAUSE_SNAPSHOT_LOAD);
}

/*
 * In the main loop, and not in one that somebody waits in: a reset must not
 * come in the middle of something else.
 */
static void in_main_loop(QEMUBHFunc *func)
{
    aio_bh_schedule_oneshot(iohandler_get_aio_context(), func,
                            GUINT_TO_POINTER(try.number));
}

static bool is_now(void *opaque)
{
    return GPOINTER_TO_UINT(opaque) == try.number;
}

static void undo_bh(void *opaque)
{
    if (is_now(opaque)) {
        undo();
    }
}

/* Trying again */

/* With a reason but no connection, none has come to anything yet */
static bool has_failed(void)
{
    MigrationIncomingState *mis = migration_incoming_get_current();

    return kept() &&
           (try.failed || (mis->state == MIGRATION_STATUS_NONE &&
                           !mis->from_src_file));
}

bool migration_incoming_again(void)
{
    if (!has_failed() || !runstate_check(RUN_STATE_INMIGRATE)) {
        return false;
    }
    undo();
    /* One that could not even be started may have left this */
    migration_incoming_transport_cleanup(migration_incoming_get_current());
    return true;
}

void migration_incoming_started(void)
{
    forget();
    try.failed = try.undone = false;
    try.number++;
    migration_incoming_get_current()->state = MIGRATION_STATUS_NONE;
}

void migration_incoming_connected(void)
{
    forget();
    error_report_forget();
}

/* Channels that are missing */

#ifndef POLLRDHUP
#define POLLRDHUP 0
#endif

/*
 * Nothing comes any more, but what came before may not have been read: until
 * all channels are there nobody reads
 */
#define ENDED (G_IO_HUP | G_IO_ERR | POLLRDHUP)

static void await(guint source)
{
    try.awaiting = g_slist_prepend(try.awaiting, GUINT_TO_POINTER(source));
}

static gboolean channels_missing(void *opaque)
{
    Error *err = NULL;

    migration_incoming_complete();
    error_setg(&err, "a connection of the source has ended before all of its "
               "channels came");
    migration_incoming_channel_failed(err);
    error_free(err);
    return G_SOURCE_REMOVE;
}

/* All that a source sends may be there before its last channel is accepted */
static gboolean one_ended(QIOChannel *ioc, GIOCondition condition,
                          void *opaque)
{
    migration_incoming_complete();
    await(g_timeout_add(migrate_get_current()->parameters.peer_timeout,
                        channels_missing, NULL));
    return G_SOURCE_REMOVE;
}

void migration_incoming_await(QIOChannel *ioc)
{
    if (migration_stream_may_be_v4() &&
        migration_incoming_get_current()->state == MIGRATION_STATUS_NONE) {
        await(qio_channel_add_watch(ioc, ENDED, one_ended, NULL, NULL));
    }
}

static void await_no_more(void *source)
{
    g_source_remove(GPOINTER_TO_UINT(source));
}

void migration_incoming_complete(void)
{
    g_slist_free_full(g_steal_pointer(&try.awaiting), await_no_more);
}

/* Failing */

void migration_incoming_not_connected(unsigned attempt, Error *err)
{
    MigrationIncomingState *mis = migration_incoming_get_current();

    if (attempt == try.number && can_try_again() && !mis->from_src_file &&
        mis->state == MIGRATION_STATUS_NONE) {
        keep(error_copy(err));
    }
    error_report_err(err);
}

Error *migration_incoming_error(QEMUFile *f, int ret)
{
    Error *err = NULL;

    if (migration_stream_is_v4(f)) {
        migration_stream_get_error(f, ret, &err);
    } else {
        const char *reported = can_try_again() ? error_report_last() : NULL;

        /* As ever, but where somebody asks later */
        if (reported) {
            error_setg(&err, "%s", reported);
        } else {
            error_setg(&err, "load of migration failed: %s", strerror(-ret));
        }
    }
    return err;
}

void migration_incoming_failed(Error *err)
{
    MigrationIncomingState *mis = migration_incoming_get_current();

    if (!err) {
        error_setg(&err, "the stream ended before the guest could run");
    }
    keep(err);
    migration_incoming_complete();
    /* Takes as long as the source needs; until then this try is not over */
    migration_peer_refuse(mis->from_src_file, kept());
    try.failed = true;
    mis->migration_incoming_co = NULL;
    error_reportf_err(error_copy(kept()), "%s",
                      migration_stream_may_be_v4() ? "migration stream: "
                                                     : "");
    migrate_set_state(&mis->state, mis->state, MIGRATION_STATUS_FAILED);

    if (!can_try_again()) {
        if (mis->from_src_file) {
            qemu_fclose(mis->from_src_file);
        }
        multifd_load_cleanup(NULL);
        exit(EXIT_FAILURE);
    }
    in_main_loop(undo_bh);
}

/* Whoever is loading comes to migration_incoming_failed() when it reads on */
static void coroutine_fn fail_co(void *opaque)
{
    MigrationIncomingState *mis = migration_incoming_get_current();

    if (is_now(opaque) && !try.failed && !mis->migration_incoming_co &&
        (mis->state == MIGRATION_STATUS_NONE || mis->have_listen_thread)) {
        migration_incoming_failed(NULL);
    }
}

/* To tell the source may take a while, in which the main loop goes on */
static void fail_bh(void *opaque)
{
    MigrationIncomingState *mis = migration_incoming_get_current();
    StreamChannel *sc = mis->migration_incoming_co && mis->from_src_file
        ? stream_channel_of(mis->from_src_file) : NULL;

    if (is_now(opaque) && sc) {
        stream_channel_interrupt(sc);
        return;
    }
    qemu_coroutine_enter(qemu_coroutine_create(fail_co, opaque));
}

void migration_incoming_channel_failed(const Error *err)
{
    keep(error_copy(err));
    in_main_loop(fail_bh);
}

/*
 * Did the guest get to run?  The main loop says that it will, then looks
 * whether loading has failed; here it is the other way round.
 */
static bool has_run(MigrationIncomingState *mis, int ret)
{
    if (ret >= 0) {
        qemu_event_wait(&mis->main_thread_load_event);
    } else if (postcopy_state_get() != POSTCOPY_INCOMING_RUNNING) {
        migrate_set_state(&mis->state, MIGRATION_STATUS_POSTCOPY_ACTIVE,
                          MIGRATION_STATUS_FAILED);
    }
    return postcopy_state_get() == POSTCOPY_INCOMING_RUNNING;
}

bool migration_incoming_listen_ended(QEMUFile *f, int ret)
{
    MigrationIncomingState *mis = migration_incoming_get_current();

    if (!can_try_again() || has_run(mis, ret)) {
        return false;
    }
    if (ret < 0) {
        keep(migration_incoming_error(f, ret));
    }
    migrate_set_state(&mis->state, mis->state, MIGRATION_STATUS_FAILED);
    /* The main loop may wait for a page: it gets an empty one */
    postcopy_ram_incoming_cleanup(mis);
    qemu_event_set(&try.listen_ended);
    in_main_loop(fail_bh);
    return true;
}

bool migration_incoming_explain(MigrationInfo *info)
{
    int state = migration_incoming_get_current()->state;

    if (!has_failed()) {
        /* Who listens in a postcopy knows before the try is over */
        info->has_status = state == MIGRATION_STATUS_FAILED && can_try_again();
        info->status = MIGRATION_STATUS_ACTIVE;
        return info->has_status;
    }
    info->has_status = true;
    info->status = MIGRATION_STATUS_FAILED;
    info->has_error_desc = true;
    info->error_desc = error_get_text(kept());
    return true;
}
