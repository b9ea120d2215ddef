# SPDX-License-Identifier: GPL-2.0-or-later
"""A client of QEMU's qtest protocol over a socket pair.

With it a test reaches the ports and the memory of a machine whose CPUs stand
still, as the guest would; no accelerator but the usual one is needed.
"""

import base64
import socket


class QtestError(Exception):
    """QEMU refused a qtest command, or has gone."""


class Qtest:
    TIMEOUT = 60

    def __init__(self):
        self._sock, self.theirs = socket.socketpair()
        self._sock.settimeout(self.TIMEOUT)
        self._file = self._sock.makefile('r', encoding='ascii')

    def args(self):
        """The arguments with which QEMU takes the other end."""
        return ['-chardev', f'socket,id=qtest,fd={self.theirs.fileno()}',
                '-qtest', 'chardev:qtest', '-qtest-log', 'none']

    def started(self):
        """QEMU has its copy: with ours closed, its end is noticed."""
        self.theirs.close()

    def close(self):
        self.theirs.close()
        self._file.close()
        self._sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_exception):
        self.close()

    def _command(self, *words):
        line = ' '.join(word if isinstance(word, str) else hex(word)
                        for word in words)
        self._sock.sendall(line.encode() + b'\n')
        reply = self._file.readline()
        if not reply.startswith('OK'):
            raise QtestError(f'{line}: {reply.strip() or "QEMU has gone"}')
        return reply[3:].strip()

    def batch(self, lines):
        """Sends all lines at once, then takes their answers."""
        self._sock.sendall(''.join(f'{line}\n' for line in lines).encode())
        answers = []
        for line in lines:
            reply = self._file.readline()
            if not reply.startswith('OK'):
                raise QtestError(f'{line}: {reply.strip() or "QEMU has gone"}')
            answers.append(reply[3:].strip())
        return answers

    def clock_step(self, nanoseconds):
        """Lets the virtual clock go on (accel=qtest): what it then says."""
        return int(self._command('clock_step', str(nanoseconds)))

    def clock_set(self, nanoseconds):
        return int(self._command('clock_set', str(nanoseconds)))

    def outb(self, port, value):
        self._command('outb', port, value)

    def outw(self, port, value):
        self._command('outw', port, value)

    def outl(self, port, value):
        self._command('outl', port, value)

    def inb(self, port):
        return int(self._command('inb', port), 16)

    def inw(self, port):
        return int(self._command('inw', port), 16)

    def inl(self, port):
        return int(self._command('inl', port), 16)

    def writeb(self, address, value):
        self._command('writeb', address, value)

    def writew(self, address, value):
        self._command('writew', address, value)

    def writel(self, address, value):
        self._command('writel', address, value)

    def writeq(self, address, value):
        self._command('writeq', address, value)

    def readb(self, address):
        return int(self._command('readb', address), 16)

    def readl(self, address):
        return int(self._command('readl', address), 16)

    def write(self, address, data):
        self._command('b64write', address, len(data),
                      base64.b64encode(data).decode())

    def read(self, address, size):
        return base64.b64decode(self._command('b64read', address, size))
