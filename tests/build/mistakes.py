#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What a person can run into: the machine, the network, the disk, Ctrl-C."""

import os
import pathlib
import shutil
import signal
import subprocess
import time

from checkout import Checkout, make_archive, run, write
from harness.tap import Tap, check, equal


def says(text, *parts):
    for part in parts:
        check(part in text, f'{part!r} is not in:\n{text}')


def other_distribution():
    with Checkout() as c:
        c.env['OS_RELEASE'] = str(c.base / 'os-release')
        write(c.base / 'os-release', 'ID=ubuntu\nVERSION_CODENAME=noble\n'
              'PRETTY_NAME="Ubuntu 24.04 LTS"\n')
        for script in ['deps', 'build'], ['fetch']:
            said = c.script(*script, status=1)
            says(said, 'Ubuntu 24.04 LTS', 'Debian 12 (bookworm)')
        write(c.base / 'os-release', 'ID=debian\nVERSION_CODENAME=trixie\n'
              'PRETTY_NAME="Debian GNU/Linux 13 (trixie)"\n')
        says(c.script('fetch', status=1), 'trixie', 'Debian 12 (bookworm)')
        check(not (c.build / 'apt/source').exists(), 'it has begun to fetch')


def other_version():
    """Refused when apt offers it, and when it is there already."""
    with Checkout(archive=False) as c:
        c.env['APT_DIRECTORY'] = str(make_archive(c.base, '8.2.1+ds-2'))
        says(c.script('tree', status=1), '8.2.1+ds', '7.2+dfsg')
        source = c.build / 'apt/source'
        equal(list(source.iterdir()), [], 'downloaded files')
        for path in (c.base / 'archive').glob('qemu_*'):
            shutil.copy(path, source)
        says(c.script('tree', status=1), '8.2.1+ds', '7.2+dfsg')
        check(not c.tree.exists(), 'there is a tree')


def offline():
    with Checkout() as c:
        archive = c.base / 'archive'
        archive.rename(c.base / 'unreachable')
        says(c.script('tree', status=1), 'no source package of QEMU',
             'check the network', 'goes on where it was')
        (c.base / 'unreachable').rename(archive)
        tar, = archive.glob('*.orig.tar.xz')
        tar.rename(c.base / 'tar')
        said = c.script('tree', status=1)
        says(said, 'could not download', '7.2+dfsg-7+deb12u99',
             'goes on where it was')
        (c.base / 'tar').rename(tar)
        c.script('tree')


def nothing_twice():
    """With the source there, the archive isn't asked."""
    with Checkout() as c:
        c.script('fetch')
        (c.base / 'archive').rename(c.base / 'unreachable')
        equal(c.script('fetch'), '', 'what fetch does again')
        c.script('tree')
        shutil.rmtree(c.build / 'apt')
        c.script('tree')


def broken_off():
    """A download that is incomplete or damaged is made good."""
    with Checkout() as c:
        c.script('fetch')
        tar, = (c.build / 'apt/source').glob('*.orig.tar.xz')
        good = tar.read_bytes()
        for bad in good[:len(good) // 2], good[:-1] + b'?':
            tar.write_bytes(bad)
            c.script('fetch')
            equal(tar.read_bytes(), good, 'the file')
        tar.unlink()
        c.script('fetch')
        equal(tar.read_bytes(), good, 'the file')


def no_source():
    with Checkout() as c:
        write(c.base / 'apt/sources.list',
              'deb http://localhost/ubuntu noble main\n')
        says(c.script('fetch', status=1), 'no apt source',
             'Debian 12 (bookworm)', str(c.base / 'apt'))


def apt_sources():
    """Both formats; only the distribution's own, as source packages."""
    with Checkout(archive=False) as c:
        apt, out = c.base / 'apt', c.base / 'out'
        write(apt / 'sources.list',
              '# deb http://a/debian bookworm main\n'
              'deb [signed-by=/k.gpg arch=amd64] http://a/debian bookworm main'
              ' contrib # here\n'
              'deb-src [signed-by=/k.gpg arch=amd64] http://a/debian bookworm'
              ' main\n'
              'deb http://b/other bookworm-pgdg main\n'
              'deb cdrom:[Debian]/ bookworm main\n')
        write(apt / 'sources.list.d/x.sources',
              'Types: deb\n# a comment\nURIs: http://a/debian\n'
              'Suites: bookworm bookworm-updates bookworm-backports\n'
              'Components: main non-free\nSigned-By:\n'
              ' -----BEGIN-----\n .\n Key: x\n\n\n'
              'Types: deb\nURIs: http://c/node\nSuites: nodistro\n'
              'Components: main\n')
        c.script('sources', 'bookworm', out, apt)
        equal((out / 'lines.list').read_text().strip(),
              'deb-src [signed-by=/k.gpg arch=amd64] http://a/debian bookworm'
              ' main', 'lines')
        equal((out / 'stanzas.sources').read_text().strip(),
              'Types: deb-src\nUris: http://a/debian\n'
              'Suites: bookworm bookworm-updates\nComponents: main\n'
              'Signed-By: \n -----BEGIN-----\n .\n Key: x', 'stanzas')


def packages():
    with Checkout(archive=False) as c:
        apt = c.base / 'apt-get'
        asked = c.base / 'asked'
        c.env.update(APT_GET=str(apt), PACKAGES=str(c.base / 'packages'))
        write(apt, f'#!/bin/sh\necho "$@" >> {asked}\nexit 100\n')
        apt.chmod(0o755)
        write(c.base / 'packages', '# a comment\none bash a shell\n'
              'two no-such-package no reason\nthree no-such-other none\n'
              'unpack no-such-kernel a kernel for guests\n')
        equal(c.script('deps', 'one'), '', 'with all of them there')
        says(c.script('deps', 'one', 'unpack', status=1),
             'not to be installed')
        check(not asked.exists(), 'apt-get was called for nothing')
        if os.getuid() == 0:
            said = c.script('deps', 'one', 'two', status=1)
            says(said, 'will be installed:', 'no-such-package', 'no reason',
                 'could not install: no-such-package', 'check the network',
                 'apt-get install --no-install-recommends no-such-package')
            says(asked.read_text(), '--no-install-recommends no-such-package')
            check('bash' not in said + asked.read_text(), said)


def other_user():
    with Checkout() as c:
        c.script('tree')
        nobody = ['setpriv', '--reuid=65534', '--regid=65534',
                  '--clear-groups']
        for target in [], ['tree'], ['check'], ['refresh'], ['clean']:
            said = run(*nobody, 'make', '-C', c.root, *target, status=None)
            says(said, f'{c.build} belongs to root', 'you are nobody')
        equal({path.owner() for path in c.build.rglob('*')}, {'root'},
              'owners')


def limited(c, size, *command, status):
    """Runs with build/ on a small file system, which is gone afterwards."""
    c.build.mkdir(exist_ok=True)
    script = (f'mount -t tmpfs -o {size} tmpfs {c.build} && '
              f'touch {c.build}/lock && {" ".join(map(str, command))}')
    return run('unshare', '--mount', 'sh', '-c', script, status=status,
               env=c.env, cwd=c.root)


def disk_full():
    """Before it begins, in the middle, and then with room."""
    with Checkout() as c:
        said = limited(c, 'size=64M', 'scripts/tree', status=1)
        says(said, 'the disk is full', 'needs 100 MiB', str(c.build))
        said = limited(c, 'size=400M', 'scripts/tree', status=1)
        says(said, "the disk is full: QEMU's tree needs")
        # Room enough, but for few files.
        said = limited(
            c, 'size=3G,nr_inodes=50',
            f'scripts/tree; mount -o remount,nr_inodes=9999 {c.build} &&'
            'scripts/tree', status=0)
        says(said, 'No space left on device', 'the disk is full: ',
             'goes on where it was')


def interrupt(c, delay):
    """Ctrl-C for scripts/tree after a while; whether that came in time."""
    with subprocess.Popen(
            [c.root / 'scripts/tree'], env=c.env, cwd=c.root,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, start_new_session=True) as process:
        time.sleep(delay)
        try:
            os.killpg(process.pid, signal.SIGINT)
        except ProcessLookupError:
            pass
        said = process.communicate(timeout=60)[0].decode()
    left = {path.name for path in c.build.glob('tree*')} - {'tree'}
    check(not left, f'left over: {left}')
    # 128: git was in the middle of a write, and has its own words for it
    check(process.returncode in (0, 128, 130, -signal.SIGINT), said)
    return process.returncode != 0


def interrupted():
    """All along the making of the tree, and the following of a new series."""
    steps = 6
    with Checkout() as c:
        c.make_series()
        c.script('tree', 'reset')
        wanted = c.state()
        patch = sorted(c.patches.iterdir())[-1]
        old = patch.read_text()

        def change():
            patch.write_text(old.replace('our 30', 'new 30'))

        def remove():
            shutil.rmtree(c.tree)

        for prepare in change, remove:
            prepare()
            began = time.monotonic()
            c.script('tree')
            took = time.monotonic() - began
            cut = 0
            for step in range(steps):
                patch.write_text(old)
                c.script('tree')
                prepare()
                if interrupt(c, took * step / steps):
                    cut += 1
                else:
                    # That one was quicker, or the first one was disturbed
                    took *= 0.7
                patch.write_text(old)
                c.script('tree')
                equal(c.state(), wanted, f'cut at {step} of {steps}')
            check(cut, f'none of {steps} was cut at all')


with Tap('what can go wrong in a build') as t:
    t.case('another distribution is refused', other_distribution)
    t.case('a source package of another version is refused', other_version)
    t.case('without network', offline)
    t.case('nothing is fetched twice', nothing_twice)
    t.case('a download that broke off is continued', broken_off)
    t.case('no apt source of the distribution', no_source)
    t.case("the machine's apt sources are understood", apt_sources)
    t.case('missing packages are named', packages)
    if os.getuid() == 0:
        t.case('another user than the one who built', other_user)
        t.case('a full disk', disk_full)
    else:
        t.skip('another user than the one who built', 'needs root')
        t.skip('a full disk', 'needs root')
    t.case('interrupted at any moment, it picks up', interrupted)
