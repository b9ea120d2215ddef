/*
 * The back ends of a machine that arrives, so that each is found at once
 *
 * Implements "Back ends" in "The plan" of docs/devel/migration-v4/adopt.rst,
 * in time that grows no faster than the machine: it may have been made up.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/qmp/qdict.h"
#include "plan-internal.h"

static char *key_of(MachineConfigBackendKind kind, const char *id)
{
    return g_strdup_printf("%d %s", kind, id);
}

/* Those that come with an option of the board */
static const struct {
    const char *option;
    MachineConfigBackendKind kind;
} within[] = {
    { "drive", MACHINE_CONFIG_BACKEND_KIND_BLOCK },
    { "audio", MACHINE_CONFIG_BACKEND_KIND_AUDIO },
};

static void index_option(Plan *plan, const MachineConfigOption *option)
{
    for (int i = 0; i < ARRAY_SIZE(within); i++) {
        g_autoptr(QDict) members = NULL;
        const char *id;

        if (strcmp(option->option, within[i].option)) {
            continue;
        }
        members = machine_option_words(option->value, NULL);
        id = qdict_get_try_str(members, "id");
        if (id) {
            g_hash_table_add(plan->within, key_of(within[i].kind, id));
        }
    }
}

MachineConfigBackend *plan_find_shared(const Plan *plan,
                                       const MachineConfigBackend *mux)
{
    const QDict *host = qobject_to(QDict, mux->host);
    const char *id = qdict_get_try_str(host, "chardev");

    if (mux->kind != MACHINE_CONFIG_BACKEND_KIND_CHARDEV ||
        strcmp(mux->type, "mux") || !id) {
        return NULL;
    }
    return plan_find_backend(plan, mux->kind, id);
}

char *plan_hub_of(const MachineConfigBackend *backend)
{
    const QDict *host = qobject_to(QDict, backend->host);

    if (backend->kind != MACHINE_CONFIG_BACKEND_KIND_NET ||
        strcmp(backend->type, "hubport")) {
        return NULL;
    }
    return g_strdup_printf("/hub/%" PRId64,
                           qdict_get_try_int(host, "hubid", 0));
}

static void index_hub(Plan *plan, const MachineConfigBackend *backend)
{
    g_autofree char *hub = plan_hub_of(backend);
    GPtrArray *ids = hub ? g_hash_table_lookup(plan->hubs, hub) : NULL;

    if (hub && !ids) {
        ids = g_ptr_array_new();
        g_hash_table_insert(plan->hubs, g_steal_pointer(&hub), ids);
    }
    if (ids) {
        g_ptr_array_add(ids, backend->id);
    }
}

void plan_index(Plan *plan)
{
    MachineConfigBackendList *all = plan->config->backends;

    plan->needed = g_hash_table_new_full(g_str_hash, g_str_equal, g_free,
                                         NULL);
    plan->pending = g_queue_new();
    plan->backends = g_hash_table_new_full(g_str_hash, g_str_equal, g_free,
                                           NULL);
    plan->shared = g_hash_table_new(NULL, NULL);
    plan->within = g_hash_table_new_full(g_str_hash, g_str_equal, g_free,
                                         NULL);
    plan->hubs = g_hash_table_new_full(g_str_hash, g_str_equal, g_free,
                                       (GDestroyNotify)g_ptr_array_unref);
    for (MachineConfigBackendList *l = all; l; l = l->next) {
        g_hash_table_insert(plan->backends, key_of(l->value->kind,
                                                   l->value->id), l->value);
        index_hub(plan, l->value);
    }
    for (MachineConfigBackendList *l = all; l; l = l->next) {
        MachineConfigBackend *shared = plan_find_shared(plan, l->value);

        if (shared) {
            g_hash_table_add(plan->shared, shared);
        }
    }
    for (MachineConfigOptionList *l = plan->config->board->options; l;
         l = l->next) {
        index_option(plan, l->value);
    }
}

void plan_index_clear(Plan *plan)
{
    g_queue_free(plan->pending);
    g_hash_table_unref(plan->needed);
    g_hash_table_unref(plan->backends);
    g_hash_table_unref(plan->shared);
    g_hash_table_unref(plan->within);
    g_hash_table_unref(plan->hubs);
}

MachineConfigBackend *plan_find_backend(const Plan *plan,
                                        MachineConfigBackendKind kind,
                                        const char *id)
{
    g_autofree char *key = key_of(kind, id);

    return g_hash_table_lookup(plan->backends, key);
}

bool plan_is_within(const Plan *plan, MachineConfigBackendKind kind,
                    const char *id)
{
    g_autofree char *key = key_of(kind, id);

    return g_hash_table_contains(plan->within, key);
}
