# SPDX-License-Identifier: GPL-2.0-or-later
"""A device tested alone: what it is after it was saved and loaded is what it
was before, in its fields and in what it does.

  check     the command: which devices, and the table
  made      how each device is made: its bus, and what it needs
  machine   a machine of which one device is driven through qtest
  regions   where a device's registers are
  drive     what a driver might write to them, by a seed
  virtio    queues of a virtio device, by the same seed
  examine   one device: driven, saved, loaded, compared
  compare   two dumps, field by field
  forge     streams with other combinations of subsections
  known     what is known to be lost, and what depends on the host
"""
