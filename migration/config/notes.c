/*
 * What QEMU was told, and does not keep
 *
 * Implements "Notes" of docs/devel/migration-v4/machine.rst.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/clone-visitor.h"
#include "qapi/qapi-visit-audio.h"
#include "qapi/qapi-visit-net.h"
#include "net/net.h"
#include "migration/config/notes.h"
#include "collect-parts.h"

static GHashTable *devices;     /* DeviceState to a number */
static GHashTable *netdevs;     /* id to Netdev */
static GPtrArray *audiodevs;    /* of Audiodev */
static char *audio;
static char *cpu;

static void free_netdev(gpointer netdev)
{
    qapi_free_Netdev(netdev);
}

static gboolean is_gone(gpointer id, gpointer netdev, gpointer unused)
{
    return !qemu_find_netdev(id);
}

void machine_config_note_netdev(const Netdev *netdev)
{
    Netdev *copy = QAPI_CLONE(Netdev, netdev);

    if (!netdevs) {
        netdevs = g_hash_table_new_full(g_str_hash, g_str_equal, NULL,
                                        free_netdev);
    }
    /* Those that went need not be told of */
    g_hash_table_foreach_remove(netdevs, is_gone, NULL);
    g_hash_table_replace(netdevs, copy->id, copy);
}

const Netdev *machine_noted_netdev(const char *id)
{
    return netdevs ? g_hash_table_lookup(netdevs, id) : NULL;
}

/*
 * A device that is gone stays here until another takes its place in memory:
 * nobody asks for it.
 */
void machine_config_note_device(const DeviceState *dev)
{
    static size_t count;

    if (!devices) {
        devices = g_hash_table_new(NULL, NULL);
    }
    g_hash_table_insert(devices, (gpointer)dev, GSIZE_TO_POINTER(++count));
}

size_t machine_noted_device(const DeviceState *dev)
{
    return devices ? GPOINTER_TO_SIZE(g_hash_table_lookup(devices, dev)) : 0;
}

void machine_config_note_audiodev(const Audiodev *audiodev)
{
    if (!audiodevs) {
        audiodevs = g_ptr_array_new();
    }
    g_ptr_array_add(audiodevs, QAPI_CLONE(Audiodev, audiodev));
}

const GPtrArray *machine_noted_audiodevs(void)
{
    return audiodevs;
}

void machine_config_note_audio(const char *model, const char *audiodev)
{
    g_free(audio);
    audio = g_strdup_printf("model=%s,id=%s", model, audiodev);
}

const char *machine_noted_audio(void)
{
    return audio;
}

void machine_config_note_cpu(const char *option)
{
    g_free(cpu);
    cpu = g_strdup(option);
}

const char *machine_noted_cpu(void)
{
    return cpu;
}
