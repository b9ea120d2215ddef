#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A return path that nobody answers on, and a migration without one after one
with it that has failed.

What is left of that one must not make the source ask for a return path: it
would not read what comes, and a socket that is closed with unread data in it
takes the end of the stream along.
"""

import socket

from harness.qemu import (BUILT, STOCK, Qemu, migrate, start_migration,
                          wait_migration)
from harness.qmp import QmpError
from harness.tap import Tap, check, equal

MACHINES = 'pc-q35-7.2', 'pc-i440fx-7.2', 'pc-q35-7.2-v4'
# QEMU_VM_COMMAND, MIG_CMD_OPEN_RETURN_PATH, no payload.
ASKS = bytes.fromhex('08 0001 0000')
HEAD = 4096


def fails(src):
    """The other side goes away as soon as the source has connected."""
    with socket.create_server(('127.0.0.1', 0)) as listener:
        src.set_caps(return_path=True)
        # So slow that it is not through before it notices.
        start_migration(src, f'tcp:127.0.0.1:{listener.getsockname()[1]}',
                        params={'max-bandwidth': 1 << 14})
        listener.accept()[0].close()
        wait_migration(src, 'failed')
    src.set_caps(return_path=False)
    src.set_params(max_bandwidth=1 << 40)


def asks(binary, machine, version=None):
    """Does the source ask for a return path in version 3?"""
    with Qemu(binary, '-S', '-m', '16M', machine=machine) as src, \
         socket.create_server(('127.0.0.1', 0)) as listener:
        if version:
            src.set_params(stream_version=version)
        fails(src)
        start_migration(src, f'tcp:127.0.0.1:{listener.getsockname()[1]}')
        data = bytearray()
        with listener.accept()[0] as link:
            while more := link.recv(1 << 20):
                data += more
        wait_migration(src)
        equal(data[:4], b'QEVM', 'magic')
        return ASKS in data[:HEAD]


def does_not_ask(machine, version=None):
    check(not asks(BUILT, machine, version), 'it asks for a return path')


def arrives(machine):
    with Qemu(BUILT, '-S', '-m', '16M', machine=machine) as src, \
         Qemu(BUILT, '-S', '-m', '16M', machine=machine,
              incoming='tcp:127.0.0.1:0') as dst:
        for _ in range(3):
            fails(src)
        migrate(src, dst.listens_at())
        wait_migration(dst)


def nobody_answers():
    """What would wait for ever is refused, and without it it comes through."""
    with Qemu(BUILT, '-S', '-m', '16M', machine=MACHINES[2]) as src:
        for name in 'return-path', 'postcopy-ram':
            src.set_caps(**{name: True})
            try:
                src.qmp('migrate', uri='exec:cat >/dev/null')
            except QmpError as said:
                check(f"'{name}'" in str(said), said)
            else:
                raise AssertionError('it was not refused')
            src.set_caps(**{name: False})
        migrate(src, 'exec:cat >/dev/null')


with Tap('return paths') as t:
    t.case('over exec', nobody_answers)
    for name in MACHINES:
        t.case(f'{name}: it arrives', arrives, name)
    for name in MACHINES[:2]:
        t.case(f'{name}: none is asked for', does_not_ask, name)
    t.case(f'{MACHINES[2]}, set to version 3: none is asked for',
           does_not_ask, MACHINES[2], 3)
    # That the test can see the fault, for as long as it is there to be seen.
    t.diag('the distribution\'s QEMU: asks' if asks(STOCK, MACHINES[0])
           else 'the distribution\'s QEMU: does not ask')
