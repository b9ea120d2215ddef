# SPDX-License-Identifier: GPL-2.0-or-later
"""A QMP client over a connected unix socket: small, synchronous, bounded."""

import json
import socket
import time


class QmpError(Exception):
    """A command was refused; str() is the description that QEMU gave."""

    def __init__(self, command, error):
        super().__init__(error['desc'])
        self.command = command
        self.desc = error['desc']
        self.cls = error['class']


class QmpClosed(Exception):
    """QEMU closed the connection, or doesn't answer any more."""


class Qmp:
    TIMEOUT = 120

    def __init__(self, sock):
        self.sock = sock
        self.buffer = b''
        self.events = []

    def negotiate(self, oob=False):
        greeting = self._receive(time.monotonic() + self.TIMEOUT)
        if 'QMP' not in greeting:
            raise QmpClosed(f'not a QMP greeting: {greeting!r}')
        self.execute('qmp_capabilities', {'enable': ['oob']} if oob else None)

    def execute(self, command, arguments=None, fds=(), timeout=None,
                oob=False):
        """Runs a command and returns what it returns; events are kept.
        oob: past QEMU's main loop, if that was negotiated."""
        message = {'exec-oob' if oob else 'execute': command}
        if arguments:
            message['arguments'] = arguments
        line = json.dumps(message).encode() + b'\n'
        deadline = time.monotonic() + (timeout or self.TIMEOUT)
        try:
            self.sock.settimeout(self.TIMEOUT)
            if fds:
                socket.send_fds(self.sock, [line], fds)
            else:
                self.sock.sendall(line)
        except OSError as error:
            raise QmpClosed(f'{command}: {error}') from None
        while True:
            reply = self._receive(deadline, command)
            if 'event' in reply:
                self.events.append(reply)
            elif 'error' in reply:
                raise QmpError(command, reply['error'])
            else:
                return reply['return']

    def wait_event(self, name, timeout):
        """Returns (and forgets) the first event of that name."""
        deadline = time.monotonic() + timeout
        while True:
            for event in self.events:
                if event['event'] == name:
                    self.events.remove(event)
                    return event
            self.events.append(self._receive(deadline, f'event {name}'))

    def close(self):
        self.sock.close()

    def _receive(self, deadline, what='greeting'):
        while b'\n' not in self.buffer:
            left = deadline - time.monotonic()
            if left <= 0:
                raise QmpClosed(f'{what}: no answer in time')
            self.sock.settimeout(left)
            try:
                data = self.sock.recv(1 << 16)
            except TimeoutError:
                continue
            except OSError as error:
                raise QmpClosed(f'{what}: {error}') from None
            if not data:
                raise QmpClosed(f'{what}: QEMU closed the monitor')
            self.buffer += data
        line, _, self.buffer = self.buffer.partition(b'\n')
        return json.loads(line)
