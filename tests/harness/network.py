# SPDX-License-Identifier: GPL-2.0-or-later
"""A loopback that is as slow as one likes, for processes started meanwhile."""

import contextlib
import ctypes
import os
import subprocess

CLONE_NEWNET = 0x40000000


def _call(function, *args):
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, function)(*args):
        raise OSError(ctypes.get_errno(), f'{function}: '
                      f'{os.strerror(ctypes.get_errno())}')


@contextlib.contextmanager
def limited(rate):
    """A network of our own, in which nothing is but a loopback of that rate
    ('1gbit').  Takes root, in a container at least."""
    with open('/proc/self/ns/net', encoding='ascii') as home:
        _call('unshare', CLONE_NEWNET)
        try:
            for command in ('ip link set lo up mtu 1500',
                            f'tc qdisc add dev lo root tbf rate {rate} '
                            'burst 256k latency 50ms'):
                subprocess.run(command.split(), check=True, timeout=60,
                               stdin=subprocess.DEVNULL)
            yield
        finally:
            _call('setns', home.fileno(), CLONE_NEWNET)
