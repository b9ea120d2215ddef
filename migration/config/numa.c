/*
 * The NUMA nodes of the machine as it stands
 *
 * Implements "NUMA" of docs/devel/migration-v4/machine.rst: options that make
 * the same nodes, from what they were made into, however they were given.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "hw/boards.h"
#include "qapi/clone-visitor.h"
#include "qapi/qapi-visit-machine.h"
#include "qapi/util.h"
#include "qom/object.h"
#include "sysemu/hostmem.h"
#include "sysemu/numa.h"
#include "collect-parts.h"

static NumaOptions *add(NumaOptionsList ***tail, NumaOptionsType type)
{
    NumaOptions *options = g_new0(NumaOptions, 1);

    options->type = type;
    QAPI_LIST_APPEND(*tail, options);
    return options;
}

static void add_node(NumaOptionsList ***tail, const NumaState *numa,
                     unsigned i)
{
    const NodeInfo *info = &numa->nodes[i];
    NumaNodeOptions *node = &add(tail, NUMA_OPTIONS_TYPE_NODE)->u.node;

    node->has_nodeid = true;
    node->nodeid = i;
    if (info->node_memdev) {
        node->has_memdev = true;
        node->memdev = g_strdup(object_get_canonical_path_component(
                                    OBJECT(info->node_memdev)));
    } else if (info->node_mem) {
        node->has_mem = true;
        node->mem = info->node_mem;
    }
    if (numa->hmat_enabled && info->initiator < MAX_NODES) {
        node->has_initiator = true;
        node->initiator = info->initiator;
    }
}

static void add_cpus(NumaOptionsList ***tail, const CPUArchIdList *cpus)
{
    for (int i = 0; cpus && i < cpus->len; i++) {
        const CpuInstanceProperties *props = &cpus->cpus[i].props;

        if (props->has_node_id) {
            memcpy(&add(tail, NUMA_OPTIONS_TYPE_CPU)->u.cpu, props,
                   sizeof(*props));
        }
    }
}

static void add_distances(NumaOptionsList ***tail, const NumaState *numa)
{
    for (int src = 0; src < numa->num_nodes; src++) {
        for (int dst = 0; dst < numa->num_nodes; dst++) {
            uint8_t distance = numa->nodes[src].distance[dst];

            if (src != dst && distance) {
                NumaDistOptions *dist =
                    &add(tail, NUMA_OPTIONS_TYPE_DIST)->u.dist;

                dist->src = src;
                dist->dst = dst;
                dist->val = distance;
            }
        }
    }
}

static void add_hmat_lb(NumaOptionsList ***tail, const HMAT_LB_Info *info)
{
    bool latency = info && info->data_type <= HMAT_LB_DATA_WRITE_LATENCY;

    for (guint i = 0; info && i < info->list->len; i++) {
        const HMAT_LB_Data *data = &g_array_index(info->list, HMAT_LB_Data, i);
        NumaHmatLBOptions *lb = &add(tail,
                                     NUMA_OPTIONS_TYPE_HMAT_LB)->u.hmat_lb;

        lb->initiator = data->initiator;
        lb->target = data->target;
        lb->hierarchy = info->hierarchy;
        lb->data_type = info->data_type;
        lb->has_latency = latency;
        lb->has_bandwidth = !latency;
        *(latency ? &lb->latency : &lb->bandwidth) = data->data;
    }
}

static void add_hmat(NumaOptionsList ***tail, NumaState *numa)
{
    for (int i = 0; i < HMAT_LB_LEVELS; i++) {
        for (int j = 0; j < HMAT_LB_TYPES; j++) {
            add_hmat_lb(tail, numa->hmat_lb[i][j]);
        }
    }
    for (int i = 0; i < numa->num_nodes; i++) {
        for (int level = 0; level < HMAT_LB_LEVELS; level++) {
            if (numa->hmat_cache[i][level]) {
                NumaOptions *options = add(tail, NUMA_OPTIONS_TYPE_HMAT_CACHE);

                options->u.hmat_cache = *numa->hmat_cache[i][level];
            }
        }
    }
}

/*
 * Did the board make its only node itself, as it has memory slots?  It takes
 * no option that would give a node memory without a back end.
 */
static bool is_implied(const NumaState *numa)
{
    return numa->num_nodes == 1 && !numa->nodes[0].node_memdev &&
           !MACHINE_GET_CLASS(current_machine)->numa_mem_supported;
}

NumaOptionsList *machine_collect_numa(void)
{
    NumaState *numa = current_machine->numa_state;
    NumaOptionsList *list = NULL, **tail = &list;

    if (!numa || is_implied(numa)) {
        return NULL;
    }
    for (int i = 0; i < numa->num_nodes; i++) {
        add_node(&tail, numa, i);
    }
    if (numa->num_nodes) {
        add_cpus(&tail, current_machine->possible_cpus);
        add_distances(&tail, numa);
        add_hmat(&tail, numa);
    }
    return list;
}
