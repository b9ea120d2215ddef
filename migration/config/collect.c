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
#include "hw/loader.h"
#include "migration/config/collect.h"
#include "migration/stream/record.h"
#include "qapi/error.h"
#include "qapi/util.h"
#include "sysemu/runstate.h"
#include "sysemu/sysemu.h"
#include "collect-parts.h"
#include "trace.h"

/* What the guest starts in, and can't change */
static const char *const firmware[] = { "pc.bios" };

/*
 * Checksums of what would be there if the guest started here.  When one is to
 * come from elsewhere there is nothing yet.
 */
static uint32_t loaded[ARRAY_SIZE(firmware)];

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
            config->checksum = runstate_check(RUN_STATE_INMIGRATE) ? loaded[i] :
                machine_checksum(qemu_ram_get_host_addr(block), config->size);
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

static int note_loaded(RAMBlock *block, void *opaque)
{
    size_t size = qemu_ram_get_used_length(block);
    void *data = rom_ptr(block->mr->addr, size);

    for (size_t i = 0; data && i < ARRAY_SIZE(firmware); i++) {
        if (!strcmp(qemu_ram_get_idstr(block), firmware[i])) {
            loaded[i] = machine_checksum(data, size);
        }
    }
    return 0;
}

/* Before the first reset, which takes away what was read from files */
static void machine_done(Notifier *notifier, void *data)
{
    qemu_ram_foreach_block(note_loaded, NULL);
}

void machine_config_init(void)
{
    static Notifier notifier = { .notify = machine_done };

    qemu_add_machine_init_done_notifier(&notifier);
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
