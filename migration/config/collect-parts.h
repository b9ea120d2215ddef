/*
 * The parts that the machine as it stands is collected from
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef MIGRATION_CONFIG_COLLECT_PARTS_H
#define MIGRATION_CONFIG_COLLECT_PARTS_H

#include "qapi/qapi-types-machine-config.h"
#include "qapi/qapi-types-net.h"
#include "qapi/qmp/qdict.h"
#include "properties.h"

/**
 * machine_checksum: CRC32C of any length, in bytes
 */
uint32_t machine_checksum(const void *data, size_t length);

/**
 * machine_collect_board: the machine type and what was made of it
 *
 * @types: is looked into, and added to
 */
MachineConfigBoard *machine_collect_board(MachineTypes *types);

/**
 * machine_collect_options: what shows in no property of a device
 *
 * @types: how back ends are called
 * @devices: all of them
 */
MachineConfigOptionList *
machine_collect_options(const MachineTypes *types,
                        const MachineConfigDeviceList *devices);

/**
 * machine_collect_numa: the NUMA nodes, as options that make them
 */
NumaOptionsList *machine_collect_numa(void);

/**
 * machine_collect_cpu: the CPUs that the board made
 *
 * Returns: the model, with empty properties where there is no CPU.
 */
MachineConfigCpu *machine_collect_cpu(void);

/**
 * machine_collect_devices: all devices
 *
 * @types: is looked into, and added to
 */
MachineConfigDeviceList *machine_collect_devices(MachineTypes *types);

/**
 * machine_collect_backends: what stands behind the devices
 *
 * @types: is looked into, and added to
 */
MachineConfigBackendList *machine_collect_backends(MachineTypes *types);

/**
 * machine_add_backend: add one to a list
 *
 * @tail: of the list
 * @kind: which option makes it
 * @id: what devices call it
 * @type: the driver that makes it
 * @guest: what the guest can notice; taken over, %NULL for nothing
 * @host: the options that make it; taken over, %NULL for none, and rid of what
 *        is secret
 */
void machine_add_backend(MachineConfigBackendList ***tail,
                         MachineConfigBackendKind kind, const char *id,
                         const char *type, QDict *guest, QDict *host);

/**
 * machine_name_backends: names for what QEMU named itself
 *
 * Its names have random numbers.
 *
 * @types: gets them
 */
void machine_name_backends(MachineTypes *types);

/**
 * machine_name_nodes: the same, for block nodes that devices have
 */
void machine_name_nodes(MachineTypes *types);

/**
 * machine_add_block_backends: add the block nodes and drives
 *
 * @tail: of the list that they are added to
 * @types: how they are called
 */
void machine_add_block_backends(MachineConfigBackendList ***tail,
                                const MachineTypes *types);

/**
 * machine_noted_device: the how-manieth a device is that was asked for
 *
 * @dev: one that was asked for
 *
 * Returns: its number; later ones have higher ones.
 */
size_t machine_noted_device(const DeviceState *dev);

/**
 * machine_noted_netdev: what a network client was made of
 *
 * Returns: what was noted, or %NULL.
 */
const Netdev *machine_noted_netdev(const char *id);

/**
 * machine_noted_audiodevs: the audio back ends, in the order in which they
 * were defined
 *
 * Returns: pointers to Audiodev, which are the callee's, as is the array.
 */
const GPtrArray *machine_noted_audiodevs(void);

/**
 * machine_noted_audio: the board's sound card, as '-audio' has it
 *
 * Returns: "model=MODEL,id=ID", or %NULL.
 */
const char *machine_noted_audio(void);

/**
 * machine_noted_cpu: what was written after '-cpu'
 *
 * Returns: the text, or %NULL.
 */
const char *machine_noted_cpu(void);

#endif
