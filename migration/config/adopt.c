/*
 * -M incoming: a QEMU that becomes the machine that arrives
 *
 * Implements docs/devel/migration-v4/adopt.rst.  There are three stages: QEMU
 * waits, with its main loop running; the machine is made, by the code that
 * makes every machine; the migration that brought it goes on.  In between the
 * coroutine that loads stands still.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "block/aio.h"
#include "block/block.h"
#include "chardev/char.h"
#include "exec/cpu-common.h"
#include "hw/boards.h"
#include "hw/qdev-core.h"
#include "net/net.h"
#include "qapi/error.h"
#include "qapi/qapi-commands-migration.h"
#include "qemu/accel.h"
#include "qemu/config-file.h"
#include "qemu/error-last.h"
#include "qemu/error-report.h"
#include "qemu/main-loop.h"
#include "qemu/option.h"
#include "qom/object_interfaces.h"
#include "sysemu/block-backend.h"
#include "sysemu/runstate.h"
#include "sysemu/sysemu.h"
#include "migration/compat/incoming.h"
#include "migration/compat/peer.h"
#include "migration/config/adopt.h"
#include "migration/config/config.h"
#include "migration/config/mapping.h"
#include "migration/config/plan.h"
#include "migration/migration.h"
#include "adopt-snapshot.h"
#include "plan-options.h"
#include "trace.h"

static struct {
    bool selected;              /* -M incoming */
    bool trust;                 /* ,backends=trust */
    bool known;                 /* the machine is, and is being made */
    GPtrArray *options;         /* the command line: a name, a value, ... */
    MachineConfig *config;      /* what arrived last, and could not be made */
    GPtrArray *plan;            /* how to make it */
    GHashTable *migration;      /* properties of the migration object */
    Coroutine *co;              /* who waits until it is made */
} adopt;

void machine_adopt_note(const char *option, const char *value)
{
    if (adopt.known) {
        /* It is part of the plan */
        return;
    }
    if (!adopt.options) {
        adopt.options = g_ptr_array_new();
    }
    g_ptr_array_add(adopt.options, (char *)option);
    g_ptr_array_add(adopt.options, (char *)(value ?: ""));
}

/* Selecting it */

void machine_adopt_select(QDict *machine, const char *incoming,
                          const char *loadvm, bool preconfig, Error **errp)
{
    const char *backends = qdict_get_try_str(machine, "backends");
    const char *map = qdict_get_try_str(machine, "map");

    if (g_strcmp0(qdict_get_try_str(machine, "type"), MACHINE_ADOPT_TYPE)) {
        return;
    }
    if (!incoming && !loadvm) {
        error_setg(errp, "'-M incoming' is the machine that arrives, and none "
                   "can arrive");
        error_append_hint(errp, "Say where from with -incoming or -loadvm.\n");
        return;
    }
    if (preconfig) {
        error_setg(errp, "'-M incoming' does not go together with '-preconfig'"
                   ": there is no machine that could be configured");
        return;
    }
    if (backends && strcmp(backends, "trust") && strcmp(backends, "given")) {
        error_setg(errp, "'-M incoming,backends=' takes 'given', for those "
                   "that are given here, or 'trust', not '%s'", backends);
        return;
    }
    if (map && !migration_map_set_file(map, errp)) {
        return;
    }
    adopt.selected = true;
    adopt.trust = !g_strcmp0(backends, "trust");
    qdict_del(machine, "type");
    qdict_del(machine, "backends");
    qdict_del(machine, "map");
}

bool machine_adopt_selected(void)
{
    return adopt.selected;
}

bool machine_adopt_waiting(void)
{
    return adopt.selected && !adopt.known;
}

static MachineConfig *copy(MachineConfig *config)
{
    g_autoptr(QDict) dict = machine_config_to_qdict(config);

    return machine_config_from_qdict(dict, &error_abort);
}

MachineConfig *machine_adopt_query(Error **errp)
{
    if (!adopt.config) {
        error_setg(errp, "There is no machine yet: it comes with the incoming "
                   "migration");
        return NULL;
    }
    return copy(adopt.config);
}

/* What this side has */

static bool in_options(const char *group, const char *id)
{
    QemuOptsList *list = qemu_find_opts_err(group, NULL);

    return list && qemu_opts_find(list, id);
}

/* With -readconfig, or from a monitor */
static bool has_backend(MachineConfigBackendKind kind, const char *id)
{
    NetClientState *clients[1];

    switch (kind) {
    case MACHINE_CONFIG_BACKEND_KIND_BLOCK:
        return in_options("drive", id) || blk_by_name(id) ||
               bdrv_find_node(id);
    case MACHINE_CONFIG_BACKEND_KIND_NET:
        return in_options("netdev", id) ||
               qemu_find_net_clients_except(id, clients, NET_CLIENT_DRIVER_NIC,
                                            1);
    case MACHINE_CONFIG_BACKEND_KIND_CHARDEV:
        return qemu_chr_find(id);
    case MACHINE_CONFIG_BACKEND_KIND_OBJECT:
        return in_options("object", id) ||
               object_resolve_path_component(object_get_objects_root(), id);
    case MACHINE_CONFIG_BACKEND_KIND_TPM:
        return in_options("tpmdev", id);
    case MACHINE_CONFIG_BACKEND_KIND_FS:
        return in_options("fsdev", id);
    default:
        return false;
    }
}

static const char *property_type(const char *driver, const char *property)
{
    ObjectClass *class = module_object_class_by_name(driver);
    ObjectProperty *prop = class ? object_class_property_find(class, property)
                                 : NULL;

    return prop ? prop->type : NULL;
}

/* What cannot be made is found out before anything is begun */

static bool check_driver(const char *driver, Error **errp)
{
    ObjectClass *class = module_object_class_by_name(driver);

    if (!class || object_class_is_abstract(class) ||
        !object_class_dynamic_cast(class, TYPE_DEVICE)) {
        error_setg(errp, "this QEMU has no device '%s'", driver);
        return false;
    }
    if (!DEVICE_CLASS(class)->user_creatable) {
        error_setg(errp, "a device '%s' cannot be asked for", driver);
        return false;
    }
    return true;
}

static bool check_accelerator(const char *name, Error **errp)
{
    bool there = accel_find(name);

    /* It is there in the binary; the host may lack it */
    if (there && !strcmp(name, "kvm")) {
        there = !access("/dev/kvm", R_OK | W_OK);
    }
    if (!there) {
        error_setg(errp, "it runs on '%s', which is not available here", name);
        error_append_hint(errp, "Another can be chosen with -accel.\n");
    }
    return there;
}

static bool accelerator_was_given(void)
{
    for (unsigned i = 0; i < adopt.options->len; i += 2) {
        const char *option = adopt.options->pdata[i];

        if (!strcmp(option, "accel") || !strcmp(option, "enable-kvm")) {
            return true;
        }
    }
    return false;
}

static ObjectClass *find_machine(const char *name)
{
    g_autofree char *type = g_strdup_printf("%s" TYPE_MACHINE_SUFFIX, name);
    ObjectClass *class = object_class_by_name(type);

    return class && object_class_dynamic_cast(class, TYPE_MACHINE) &&
           !object_class_is_abstract(class) ? class : NULL;
}

static unsigned units_of_disk_bus(const char *type)
{
    ObjectClass *class = find_machine(type);

    return class ? MACHINE_CLASS(class)->units_per_default_bus : 0;
}

static bool check(const MachineConfig *config, Error **errp)
{
    if (!find_machine(config->board->type)) {
        error_setg(errp, "this QEMU has no machine type '%s'",
                   config->board->type);
        return false;
    }
    if (!accelerator_was_given() &&
        !check_accelerator(config->board->accelerator, errp)) {
        return false;
    }
    for (MachineConfigDeviceList *l = config->devices; l; l = l->next) {
        if (l->value->origin == MACHINE_CONFIG_ORIGIN_USER &&
            !check_driver(l->value->driver, errp)) {
            return false;
        }
    }
    return true;
}

static GPtrArray *make_plan(MachineConfig *config, Error **errp)
{
    ERRP_GUARD();
    const MachinePlanSide side = {
        .trust = adopt.trust,
        .options = adopt.options,
        .units = units_of_disk_bus(config->board->type),
        .has_backend = has_backend,
        .property_type = property_type,
    };

    if (!check(config, errp)) {
        error_prepend(errp, "The machine that arrives cannot be made: ");
        return NULL;
    }
    return machine_plan(config, &side, errp);
}

/* A machine has been read: can it be made? */
static bool take(MachineConfig *config, Error **errp)
{
    adopt.plan = make_plan(config, errp);
    adopt.known = adopt.plan;
    qapi_free_MachineConfig(adopt.config);
    /* It may be asked for */
    adopt.config = adopt.known ? NULL : copy(config);
    if (adopt.known) {
        trace_machine_adopt_plan(config->board->type, adopt.plan->len);
    }
    return adopt.known;
}

/* Waiting for it */

/*
 * The migration object is made before the machine type is known: what it was
 * made with tells later what the user has changed.
 */
static void remember_migration(void)
{
    Object *migration = OBJECT(migrate_get_current());
    const MachineConfigGlobal version = {
        .driver = (char *)TYPE_MIGRATION, .property = (char *)"stream-version",
    };
    ObjectPropertyIterator iterator;
    ObjectProperty *property;

    /* Whoever sends says which it is; the machine is in version 4 */
    if (!machine_global_given(adopt.options, &version)) {
        object_property_set_str(migration, "stream-version", "auto",
                                &error_abort);
    }
    adopt.migration = g_hash_table_new_full(g_str_hash, g_str_equal, g_free,
                                            g_free);
    object_property_iter_init(&iterator, migration);
    while ((property = object_property_iter_next(&iterator))) {
        char *value = object_property_print(migration, property->name, false,
                                            NULL);

        if (value) {
            g_hash_table_insert(adopt.migration, g_strdup(property->name),
                                value);
        }
    }
}

static void start_incoming(const char *incoming)
{
    Error *err = NULL;

    if (!strcmp(incoming, "defer")) {
        /* Somebody says later where from */
        return;
    }
    qmp_migrate_incoming(incoming, &err);
    if (err) {
        error_reportf_err(err, "-incoming %s: ", incoming);
        exit(EXIT_FAILURE);
    }
}

static void read_snapshot(const char *name)
{
    g_autoptr(MachineConfig) config =
        machine_adopt_read_snapshot(name, adopt.options, &error_fatal);

    take(config, &error_fatal);
}

/*
 * What is wrong with the options turns out when they are used, and ends this
 * process; the source is told why.
 */
static void tell_source(void)
{
    const char *reported = error_report_last();
    Error *err = NULL;

    if (!adopt.co) {
        return;
    }
    error_setg(&err, "The machine that arrives cannot be made: %s",
               reported ?: "QEMU has ended");
    migration_peer_refuse(migration_incoming_get_current()->from_src_file, err);
    error_free(err);
}

int machine_adopt_wait(const char *incoming, const char *loadvm, char ***argv)
{
    remember_migration();
    if (loadvm) {
        read_snapshot(loadvm);
    } else {
        start_incoming(incoming);
    }
    while (!adopt.known) {
        main_loop_wait(false);
        if (qemu_shutdown_requested_get() != SHUTDOWN_CAUSE_NONE) {
            qemu_cleanup();
            exit(EXIT_SUCCESS);
        }
    }
    error_report_forget();
    atexit(tell_source);
    /* In front stands the program, in its place */
    g_ptr_array_insert(adopt.plan, 0, g_strdup(g_get_prgname()));
    *argv = (char **)adopt.plan->pdata;
    return adopt.plan->len;
}

/* Making it, and going on */

bool coroutine_fn machine_adopt_arrived(MachineConfig *config, Error **errp)
{
    if (!machine_adopt_waiting()) {
        return true;
    }
    if (!take(config, errp)) {
        return false;
    }
    adopt.co = qemu_coroutine_self();
    qemu_coroutine_yield();
    /* There was no memory when the migration began */
    migration_incoming_get_current()->largest_page_size =
        qemu_ram_pagesize_largest();
    return true;
}

bool machine_adopt_refuses_legacy(Error **errp)
{
    if (!machine_adopt_waiting()) {
        return false;
    }
    error_setg(errp, "the stream is of version 3, which does not say which "
               "machine it is of, and '-M incoming' waits for that");
    error_append_hint(errp, "Start this QEMU with the machine, or set the "
                      "migration parameter 'stream-version' to 4 on the "
                      "source.\n");
    return true;
}

bool machine_adopt_go_on(void)
{
    if (!adopt.co) {
        return false;
    }
    aio_co_schedule(qemu_get_aio_context(), g_steal_pointer(&adopt.co));
    return true;
}

void machine_adopt_apply_compat(void)
{
    Object *migration = OBJECT(migrate_get_current());
    GPtrArray *compat = MACHINE_GET_CLASS(current_machine)->compat_props;

    for (unsigned i = 0; i < compat->len; i++) {
        const GlobalProperty *g = compat->pdata[i];
        const MachineConfigGlobal asked = {
            .driver = (char *)g->driver, .property = (char *)g->property,
        };
        const char *before = g_hash_table_lookup(adopt.migration, g->property);
        g_autofree char *now = NULL;

        if (strcmp(g->driver, TYPE_MIGRATION) || !before ||
            machine_global_given(adopt.options, &asked)) {
            continue;
        }
        now = object_property_print(migration, g->property, false, NULL);
        if (!g_strcmp0(before, now)) {
            object_property_parse(migration, g->property, g->value,
                                  &error_abort);
            g_hash_table_insert(adopt.migration, g_strdup(g->property),
                                object_property_print(migration, g->property,
                                                      false, NULL));
        }
    }
}
