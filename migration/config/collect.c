/*
 * The machine as it stands
 *
 * Implements "Collecting" of docs/devel/migration-v4/machine.rst.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu-version.h"
#include "exec/cpu-common.h"
#include "exec/ramblock.h"
#include "hw/boards.h"
#include "migration/config/collect.h"
#include "migration/stream/record.h"
#include "qapi/error.h"
#include "qapi/util.h"
#include "collect-parts.h"
#include "trace.h"

/* What the guest starts in, and can't change */
static const char *const firmware[] = { "pc.bios" };

static char *cookie;

const char *machine_config_cookie(void)
{
    return cookie;
}

bool machine_config_set_cookie(const char *text, Error **errp)
{
    if (text && strlen(text) > MACHINE_COOKIE_MAX) {
        error_setg(errp, "The machine's cookie is longer than %" PRIu64
                   " bytes", (uint64_t)MACHINE_COOKIE_MAX);
        return false;
    }
    g_free(cookie);
    cookie = g_strdup(text);
    return true;
}

uint32_t machine_checksum(const void *data, size_t length)
{
    uint32_t crc = stream_crc32c(NULL, 0);

    for (size_t done = 0; done < length; done += STREAM_PAYLOAD_MAX) {
        crc = stream_crc32c_extend(crc, data + done,
                                   MIN(length - done, STREAM_PAYLOAD_MAX));
    }
    return crc;
}

static int gather(RAMBlock *block, void *opaque)
{
    if (qemu_ram_is_migratable(block)) {
        g_ptr_array_add(opaque, block);
    }
    return 0;
}

static int compare_blocks(const void *a, const void *b)
{
    RAMBlock *const *x = a, *const *y = b;

    return strcmp(qemu_ram_get_idstr(*x), qemu_ram_get_idstr(*y));
}

static MachineConfigRamBlock *read_block(RAMBlock *block)
{
    MachineConfigRamBlock *config = g_new0(MachineConfigRamBlock, 1);

    config->name = g_strdup(qemu_ram_get_idstr(block));
    config->size = qemu_ram_get_used_length(block);
    config->maximum_size = qemu_ram_get_max_length(block);
    config->has_maximum_size = config->maximum_size != config->size;
    config->page_size = qemu_ram_pagesize(block);
    for (size_t i = 0; i < ARRAY_SIZE(firmware); i++) {
        if (!strcmp(config->name, firmware[i])) {
            config->has_checksum = true;
            config->checksum = machine_checksum(qemu_ram_get_host_addr(block),
                                                config->size);
        }
    }
    return config;
}

static MachineConfigRamBlockList *collect_ram(void)
{
    g_autoptr(GPtrArray) blocks = g_ptr_array_new();
    MachineConfigRamBlockList *list = NULL;

    qemu_ram_foreach_block(gather, blocks);
    qsort(blocks->pdata, blocks->len, sizeof(blocks->pdata[0]),
          compare_blocks);
    for (guint i = blocks->len; i; i--) {
        QAPI_LIST_PREPEND(list, read_block(blocks->pdata[i - 1]));
    }
    return list;
}

static VmstateQemu *collect_qemu(void)
{
    VmstateQemu *qemu = g_new0(VmstateQemu, 1);

    qemu->version = g_strdup(QEMU_VERSION);
    qemu->has_package = *QEMU_PKGVERSION;
    qemu->package = qemu->has_package ? g_strdup(QEMU_PKGVERSION) : NULL;
    return qemu;
}

MachineConfig *machine_config_collect(void)
{
    g_autoptr(MachineTypes) types = machine_types_new();
    MachineConfig *config = g_new0(MachineConfig, 1);
    int64_t start = g_get_monotonic_time();

    config->format = MACHINE_CONFIG_FORMAT;
    config->qemu = collect_qemu();
    machine_name_backends(types);
    config->board = machine_collect_board(types);
    config->cpu = machine_collect_cpu();
    config->ram_blocks = collect_ram();
    config->devices = machine_collect_devices(types);
    config->backends = machine_collect_backends(types);
    config->board->options = machine_collect_options(types,
                                                     config->devices);
    config->has_cookie = cookie;
    config->cookie = g_strdup(cookie);
    trace_machine_config_collect(config->board->type,
                                 g_get_monotonic_time() - start);
    return config;
}
