#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Version 4 under a running Linux guest, which goes on and finds its memory
as it left it; with and without multifd, over plain sockets and TLS.
"""

from harness.qemu import BUILT, tempdir
from harness.tap import Tap, check, equal
from interop.live import live
from interop.tls import credentials, make_psk, make_x509

Q35, I440FX = 'pc-q35-7.2-v4', 'pc-i440fx-7.2-v4'
MULTIFD = {'multifd': True}
# So slow that the guest is seen to dirty its memory meanwhile.
SLOW = {'max_bandwidth': 40 << 20}


def same_stream(machine, **options):
    here, there = live(BUILT, BUILT, machine, **options)
    equal(there['stream'], here['stream'], 'figures of the destination')
    equal(here['stream']['version'], 4, 'version')
    check(here['stream']['sections'] >= 30, f'sections: {here["stream"]}')
    check(here['ram']['dirty-sync-count'] >= 2, f'was not live: {here}')
    return here


def plain(machine, **options):
    with tempdir() as directory:
        if options.pop('unix', False):
            options['uri'] = f'unix:{directory}/socket'
        info = same_stream(machine, **options)
        main, pages = info['stream']['bytes'], info['ram']['normal-bytes']
        if options.get('caps') == MULTIFD:
            check(main < pages, f'pages went over the main channel: {info}')
        else:
            check(main > pages, f'pages are missing from the count: {info}')


def over_tls(machine, kind, make, **options):
    with tempdir() as directory:
        where = make(directory / 'tls')
        same_stream(machine, src_args=credentials(kind, where, 'client'),
                    dst_args=credentials(kind, where, 'server'),
                    params={'tls-creds': 'tls', 'tls-hostname': 'localhost'},
                    **options)


with Tap('version 4 under a running Linux guest') as t:
    t.case(f'{Q35} over tcp', plain, Q35, params=SLOW)
    t.case(f'{I440FX} over unix', plain, I440FX, unix=True)
    t.case(f'{Q35} over unix, multifd', plain, Q35, unix=True, caps=MULTIFD)
    t.case(f'{I440FX} over tcp, multifd', plain, I440FX, params=SLOW,
           caps=MULTIFD)
    t.case(f'{Q35} over TLS, x509, multifd', over_tls, Q35, 'x509', make_x509,
           caps=MULTIFD)
    t.case(f'{I440FX} over TLS, PSK', over_tls, I440FX, 'psk', make_psk)
    for cap in 'xbzrle', 'compress', 'return-path', 'auto-converge':
        t.case(f'{Q35} over tcp, {cap}', plain, Q35, caps={cap: True},
               params=SLOW)
