/*
 * What QEMU was told, and does not keep
 *
 * Notes for machine_config_collect(), taken where something is made.  Each is
 * a copy.  Main thread.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef MIGRATION_CONFIG_NOTES_H
#define MIGRATION_CONFIG_NOTES_H

#include "qapi/qapi-types-audio.h"
#include "qapi/qapi-types-net.h"
#include "qemu/typedefs.h"

/**
 * machine_config_note_netdev: a network client was made
 *
 * @netdev: of what; it counts until a client of that name is no more
 */
void machine_config_note_netdev(const Netdev *netdev);

/**
 * machine_config_note_audiodev: an audio back end was defined
 *
 * @audiodev: of what
 */
void machine_config_note_audiodev(const Audiodev *audiodev);

/**
 * machine_config_note_audio: the board will have a sound card
 *
 * @model: as it is written in '-audio'
 * @audiodev: the id of its back end
 */
void machine_config_note_audio(const char *model, const char *audiodev);

/**
 * machine_config_note_device: a device was asked for
 *
 * @dev: counts behind those that were before it
 */
void machine_config_note_device(const DeviceState *dev);

/**
 * machine_config_note_cpu: the board's CPUs were chosen
 *
 * @option: as it is written after '-cpu'
 */
void machine_config_note_cpu(const char *option);

#endif
