# SPDX-License-Identifier: GPL-2.0-or-later
"""The witness: version 3 is what it was, and the guest sees what it saw.

  byte_identity  test: our version 3 streams are the distribution's
  isa_displays   test: the same of two displays, of which version 3 has pointers
  guest_view     test: our machine types show the guest what QEMU's own show it

  machines       machine types and the sets of devices that the tests run
  stir           brings stopped devices out of their reset state
  qtest          a client of QEMU's qtest protocol: ports and memory
  pci            finds PCI functions and reads their configuration spaces
  fwcfg          reads what the firmware is given
  stream3        names the place in a version 3 stream at which an offset lies
  multifd        the same for the channel of the pages
"""
