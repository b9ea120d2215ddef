# SPDX-License-Identifier: GPL-2.0-or-later
"""What `make bench` measures.

  run       the command line; what is measured, in which order, what is printed
  rounds    one measured migration
  dirtying  migrations of guests that change their memory
  report    medians, ratios, tables, facts about the machine
  targets   what was asked for, and what came of it
  plot      a picture of how it grows

limit.c measures what a loopback connection can move at all, crc32c.c what a
checksum costs, pin.c what registered memory costs; dirtier.c is a guest.
"""
