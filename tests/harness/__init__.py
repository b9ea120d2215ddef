# SPDX-License-Identifier: GPL-2.0-or-later
"""What the tests share: TAP output, QEMU processes, the Linux test guest.

  tap      runs cases, prints TAP, decides the exit status
  qmp      a monitor connection
  qemu     a QEMU process that is never left behind; migrations between two
  guest    the Linux guest that checks its own memory, and its console
  network  a loopback that is as slow as one likes
"""
