# SPDX-License-Identifier: GPL-2.0-or-later
"""What `make bench` measures.

  run      the command line; what is measured, in which order, what is printed
  rounds   one measured migration
  report   medians, ratios, tables, facts about the machine

limit.c measures what a loopback connection can move at all, crc32c.c what a
checksum costs.
"""
