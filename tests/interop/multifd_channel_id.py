#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A multifd channel whose id is out of range is refused by name.

A destination with N channels has room for the ids 0 to N-1.  The test speaks
to it as a source would, up to the initial packet of a multifd channel.  As
that channel will not come, the migration has failed.
"""

import socket
import struct

from harness.qemu import BUILT, Qemu, wait_for
from harness.tap import Tap, check, equal

CHANNELS = 2
MULTIFD_MAGIC, MULTIFD_VERSION = 0x11223344, 1


def initial_packet(channel):
    """The first packet of a channel of a machine without a UUID."""
    return struct.pack('>II16sB39x', MULTIFD_MAGIC, MULTIFD_VERSION,
                       bytes(16), channel)


def connect(uri):
    _, host, port = uri.split(':')
    return socket.create_connection((host, int(port)), timeout=10)


def destination():
    vm = Qemu(BUILT, '-S', '-m', '16M', incoming='defer')
    vm.set_caps(multifd=True)
    vm.set_params(multifd_channels=CHANNELS)
    vm.qmp('migrate-incoming', uri='tcp:127.0.0.1:0')
    return vm


def send(vm, *channels):
    """Opens the main connection, then one for each of the ids."""
    uri = vm.listens_at()
    links = [connect(uri)]
    for channel in channels:
        links.append(connect(uri))
        links[-1].sendall(initial_packet(channel))
    return links


def refused(channel):
    with destination() as vm:
        links = send(vm, channel)
        equal(vm.wait_exit(), 1, 'exit status')
        said = vm.stderr()
        check(f'channel id {channel}' in said,
              f'the message does not name the id {channel}: {said!r}')
        check(str(CHANNELS) in said.split(f'id {channel}', 1)[1],
              f'the message does not say how many there may be: {said!r}')
        for link in links:
            link.close()


def accepted():
    """All ids that there may be: nobody complains, the load begins."""
    with destination() as vm:
        links = send(vm, *range(CHANNELS))
        wait_for(lambda: vm.qmp('query-migrate').get('status') == 'active',
                 10, lambda: f'not active; {vm.says()}')
        check('multifd' not in vm.stderr(), vm.says())
        for link in links:
            link.close()


with Tap('multifd: the id of a channel') as t:
    t.case('ids in range are accepted', accepted)
    for number in (CHANNELS, CHANNELS + 1, 255):
        t.case(f'id {number} of {CHANNELS} channels is refused',
               refused, number)
