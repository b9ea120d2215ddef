/*
 * The machine travels: sent first, and looked at before anything is loaded
 *
 * Implements "The machine" of docs/devel/migration-v4/wire-format.rst and
 * "Compare" of docs/devel/migration-v4/machine.rst: what stream and
 * conversation ask for when a MACHINE record is to be written or has come.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/error-report.h"
#include "qemu/lockable.h"
#include "qemu/main-loop.h"
#include "qapi/clone-visitor.h"
#include "qapi/error.h"
#include "qapi/qapi-visit-machine-config.h"
#include "migration/compat/peer.h"
#include "migration/compat/stored.h"
#include "migration/config/adopt.h"
#include "migration/config/collect.h"
#include "migration/config/compare.h"
#include "migration/config/config.h"
#include "migration/config/mapping.h"
#include "migration/config/travel.h"
#include "migration/stream/file.h"
#include "migration/stream/handover.h"
#include "monitor/monitor.h"
#include "trace.h"

/* What fits beside it into the text of a refusal, in bytes */
#define BESIDE 256

static int config_check = MACHINE_CONFIG_CHECK_STRICT;

/* With the BQL held, but for the lists of differences */
static MachineConfig *arrived;          /* of the stream that is being loaded */

/* Found out here, or told by the other side; the monitor reads meanwhile */
static QemuMutex lock;
static MachineDifferenceList *differences;

static void set_differences(MachineDifferenceList *list)
{
    QEMU_LOCK_GUARD(&lock);
    qapi_free_MachineDifferenceList(differences);
    differences = list;
}

/* Sending */

static GString *describe(Error **errp)
{
    bool locked = qemu_mutex_iothread_locked();
    g_autoptr(MachineConfig) config = NULL;
    int64_t start = g_get_monotonic_time();
    GString *json = NULL;

    if (!locked) {
        qemu_mutex_lock_iothread();
    }
    config = machine_config_collect();
    if (migration_map_config(config, errp)) {
        json = machine_config_to_json(config);
    }
    if (!locked) {
        qemu_mutex_unlock_iothread();
    }
    set_differences(NULL);
    trace_machine_travel_describe(json ? json->len : 0,
                                  g_get_monotonic_time() - start);
    return json;
}

static void told(const MachineDifferenceList *list)
{
    set_differences(QAPI_CLONE(MachineDifferenceList,
                               (MachineDifferenceList *)list));
}

/* Loading */

MachineConfig *machine_travel_read(const GByteArray *json, Error **errp)
{
    g_autoptr(MachineConfig) config =
        machine_config_parse((const char *)json->data, json->len, errp);

    return config && migration_map_config(config, errp)
        ? g_steal_pointer(&config) : NULL;
}

static bool machine_arrived(const GByteArray *json, Error **errp)
{
    int64_t start = g_get_monotonic_time();
    MachineConfig *config = machine_travel_read(json, errp);

    trace_machine_travel_arrived(json->len, g_get_monotonic_time() - start);
    qapi_free_MachineConfig(arrived);
    arrived = config;
    set_differences(NULL);
    return config;
}

static void trace_differences(const MachineDifferenceList *list)
{
    if (!trace_event_get_state_backends(TRACE_MACHINE_TRAVEL_DIFFERENCE)) {
        return;
    }
    for (; list; list = list->next) {
        g_autofree char *text = machine_difference_to_text(list->value);

        trace_machine_travel_difference(list->value->fatal, text);
    }
}

bool machine_travel_compare(MachineConfig *source, Error **errp)
{
    g_autoptr(MachineConfig) here = NULL;
    g_autofree char *text = NULL;
    int64_t start = g_get_monotonic_time();
    MachineDifferenceList *list;
    bool refuse;

    if (config_check == MACHINE_CONFIG_CHECK_OFF) {
        return true;
    }
    here = machine_config_collect();
    list = machine_config_compare(source, here);
    trace_machine_travel_compare(list, g_get_monotonic_time() - start);
    trace_differences(list);
    refuse = config_check == MACHINE_CONFIG_CHECK_STRICT && list &&
             list->value->fatal;
    text = machine_differences_to_text(list, refuse,
                                       STREAM_HANDOVER_TEXT_MAX - BESIDE);
    set_differences(list);
    if (refuse) {
        error_setg(errp, "this machine is not the one that arrives:%s", text);
    } else if (list) {
        warn_report("the machine that arrives is not quite this one:%s", text);
    }
    return !refuse;
}

/* Of -M incoming it may have to be made first */
static bool ready(Error **errp)
{
    return !arrived || machine_adopt_arrived(arrived, errp);
}

static bool legacy(Error **errp)
{
    return !machine_adopt_refuses_legacy(errp);
}

static bool check(Error **errp)
{
    g_autoptr(MachineConfig) source = g_steal_pointer(&arrived);

    return !source || (machine_travel_compare(source, errp) &&
                       machine_config_set_cookie(source->cookie, errp));
}

static const MachineDifferenceList *found(void)
{
    return differences;
}

/* For people */

MachineDifferenceList *machine_travel_differences(void)
{
    QEMU_LOCK_GUARD(&lock);
    return QAPI_CLONE(MachineDifferenceList, differences);
}

void hmp_info_machine_differences(Monitor *mon,
                                  const MachineDifferenceList *list)
{
    for (; list; list = list->next) {
        g_autofree char *text = machine_difference_to_text(list->value);

        monitor_printf(mon, "%s: %s\n", list->value->fatal ?
                       "machine difference" : "minor machine difference",
                       text);
    }
}

/* The migration object */

static int get_check(Object *object, Error **errp)
{
    return config_check;
}

static void set_check(Object *object, int value, Error **errp)
{
    config_check = value;
}

void machine_travel_class_init(ObjectClass *klass)
{
    static const StreamMachine stream = {
        .describe = describe,
        .arrived = machine_arrived,
    };
    static const MigrationPeerMachine peer = {
        .ready = ready,
        .legacy = legacy,
        .check = check,
        .differences = found,
        .told = told,
    };

    qemu_mutex_init(&lock);
    machine_config_init();
    migration_stream_set_machine(&stream);
    migration_stored_init();
    migration_peer_set_machine(&peer);
    object_class_property_add_enum(klass, "config-check", "MachineConfigCheck",
                                   &MachineConfigCheck_lookup, get_check,
                                   set_check);
}
