# SPDX-License-Identifier: GPL-2.0-or-later
"""The wire format on record: what each machine type sends, held against what
it sent before.

  wire_format  test; with --accept it takes what is sent now as right
  runs         machine types, their devices, and the streams that they send
  model        what is known of a stream: sections, structures, fields
  common       what streams of both versions have in the same form
  version3     reads a stream of version 3 into that
  version4     the same for version 4
  record       reads and writes expected/, where all of it is kept
  words        says in words how two streams differ

expected/ has a file for each set of devices, which lists the sections in the
order in which they are sent, each with its structure and the machine types
that send it (all, where nothing is said); and expected/structures/ with a
file for each structure.  What is sent in several forms has them numbered.
"""
