#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""file:PATH: what is under that name is a whole stream or what was there
before, whatever happens, and what a file cannot do is refused.
"""

import os
import shutil
import stat
import subprocess

from harness.guest import make_disk, run_guest
from harness.qemu import (BUILT, Qemu, migrate, start_migration, tempdir,
                          wait_for, wait_migration)
from harness.qmp import QmpError
from harness.tap import Tap, check, equal
from interop.retrying import wait_failed

MIB = 1 << 20
MEMORY = 24 * MIB
V4 = 'pc-q35-7.2-v4'
OLD = b'what was there before'
# At this rate a migration goes on for as long as a test looks at it.
SLOWLY = {'max-bandwidth': 4096}
QUICKLY = {'max-bandwidth': 1 << 30}


def machine(directory, *args, name=V4, **options):
    """A stopped machine; as a source with memory that is no other run's."""
    if 'incoming' not in options:
        path = directory / 'random'
        path.write_bytes(os.urandom(4 * MIB))
        args += ('-device', f'loader,file={path},addr={8 * MIB:#x},'
                            'force-raw=on')
    return Qemu(BUILT, '-S', '-m', f'{MEMORY // MIB}M', *args, machine=name,
                **options)


def memory(vm, path):
    vm.qmp('pmemsave', val=0, size=MEMORY, filename=str(path))
    return path.read_bytes()


def left(directory):
    return sorted(path.name for path in directory.iterdir())


def target(directory, old=True):
    """A directory of its own for the file, with one of that name in it."""
    (directory / 'there').mkdir()
    path = directory / 'there/guest, and more'
    if old:
        path.write_bytes(OLD)
    return path


def round_trip(name):
    with tempdir() as directory, machine(directory, name=name) as src:
        path = target(directory)
        link = directory / 'link'
        link.symlink_to(path)
        info = migrate(src, f'file:{link}')
        size = path.stat().st_size
        check(link.is_symlink(), 'the link was replaced')
        equal(left(path.parent), [path.name], 'files')
        equal(stat.S_IMODE(path.stat().st_mode), 0o600, 'mode')
        if 'stream' in info:
            equal(size, info['stream']['bytes'], 'bytes in the file')
        sent = memory(src, directory / 'here')
        with machine(directory, name=name, incoming=f'file:{link}') as dst:
            wait_migration(dst)
            check(memory(dst, directory / 'came') == sent,
                  'the destination\'s memory is not the source\'s')
        # And once more, onto itself.
        src.qmp('cont')
        src.qmp('stop')
        before = path.stat().st_ino
        migrate(src, f'file:{path}')
        check(path.stat().st_ino != before, 'it was written in place')
        equal(left(path.parent), [path.name], 'files')


def linux():
    with tempdir() as directory:
        disk = make_disk(directory / 'disk.qcow2')
        path = target(directory, False)
        with run_guest(BUILT, disk, directory / 'before', machine=V4) as src:
            src.console.wait_booted()
            src.console.wait_generations(1)
            migrate(src, f'file:{path}')
            last = src.console.beats()[-1]
        with run_guest(BUILT, disk, directory / 'after', machine=V4,
                       incoming=f'file:{path}') as dst:
            dst.wait_status('running')
            dst.console.wait_beats(1)
            first = dst.console.beats()[0]
            check(0 <= first.number - last.number <= 25,
                  f'the guest went from {last} to {first}')
            dst.console.wait_generations(2)


def under_way(src, path):
    """Starts, and waits until some of it is in the file beside."""
    start_migration(src, f'file:{path}', params=SLOWLY)
    wait_for(lambda: any(p.stat().st_size for p in path.parent.iterdir()
                         if p != path), 30, lambda: 'nothing is written')


def cancelled(old):
    with tempdir() as directory, machine(directory) as src:
        path = target(directory, old)
        before = left(path.parent)
        under_way(src, path)
        if old:
            equal(path.read_bytes(), OLD, 'the file meanwhile')
        else:
            check(not path.exists(), 'it has its name already')
        src.qmp('migrate_cancel')
        wait_migration(src, 'cancelled')
        wait_for(lambda: left(path.parent) == before, 30,
                 lambda: f'what is left: {left(path.parent)}')
        if old:
            equal(path.read_bytes(), OLD, 'the file afterwards')
        migrate(src, f'file:{path}', params=QUICKLY)
        equal(left(path.parent), [path.name], 'files')


def quits():
    with tempdir() as directory:
        path = target(directory)
        with machine(directory) as src:
            under_way(src, path)
        equal(left(path.parent), [path.name], 'files')
        equal(path.read_bytes(), OLD, 'the file')


def killed():
    with tempdir() as directory:
        path = target(directory)
        with machine(directory) as src:
            under_way(src, path)
            src.kill()
        equal(path.read_bytes(), OLD, 'the file')


def runs_on(src, *words):
    """The migration fails, with these words, and the guest runs."""
    info = wait_migration(src, 'failed')
    for word in words:
        check(word in info.get('error-desc', ''), f'{word!r} is not in {info}')
    src.wait_status('running')


def no_name():
    """The directory goes away: found when everything was sent."""
    with tempdir() as directory, machine(directory) as src:
        src.qmp('cont')
        path = target(directory)
        under_way(src, path)
        shutil.rmtree(path.parent)
        src.set_params(**QUICKLY)
        runs_on(src, 'its name', str(path), 'No such file')
        path.parent.mkdir()
        migrate(src, f'file:{path}')


def no_room():
    with tempdir() as directory, machine(directory) as src:
        small = directory / 'small'
        small.mkdir()
        subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=1M', 'small',
                        small], check=True)
        try:
            (small / 'guest').write_bytes(OLD)
            src.qmp('cont')
            start_migration(src, f'file:{small}/guest')
            runs_on(src, 'No space left')
            equal((small / 'guest').read_bytes(), OLD, 'the file')
            wait_for(lambda: left(small) == ['guest'], 30,
                     lambda: f'what is left: {left(small)}')
        finally:
            subprocess.run(['umount', small], check=True)


def refused(vm, command, uri, *words):
    try:
        vm.qmp(command, uri=uri)
    except QmpError as error:
        for word in words:
            check(word in str(error), f'{word!r} is not in: {error}')
    else:
        raise AssertionError(f'{command} {uri} was accepted')


def other_things():
    """What is there under the name and is no file; what is not there."""
    with tempdir() as directory, machine(directory) as src, \
         machine(directory, incoming='defer') as dst:
        os.mkfifo(directory / 'pipe')
        for what in directory / 'pipe', directory, '/dev/null':
            for vm, command in ((src, 'migrate'), (dst, 'migrate-incoming')):
                refused(vm, command, f'file:{what}', str(what),
                        'no regular file')
        refused(src, 'migrate', f'file:{directory}/none/file', 'beside',
                'No such file')
        refused(src, 'migrate', 'file:', 'look at')
        refused(src, 'migrate', f'file:{directory}/random/file',
                'Not a directory')
        refused(dst, 'migrate-incoming', f'file:{directory}/none',
                'No such file')
        path = target(directory)
        migrate(src, f'file:{path}')
        dst.qmp('migrate-incoming', uri=f'file:{path}')
        wait_migration(dst)


SETTINGS = 'multifd', 'return-path', 'postcopy-ram', 'x-colo'


def settings():
    with tempdir() as directory, machine(directory) as src, \
         machine(directory, incoming='defer') as dst:
        path = target(directory)
        for vm, command in ((src, 'migrate'), (dst, 'migrate-incoming')):
            for name in SETTINGS:
                vm.set_caps(**{name: True})
                refused(vm, command, f'file:{path}', f"'{name}'")
                vm.set_caps(**{name: False})
            vm.set_params(tls_creds='tls')
            refused(vm, command, f'file:{path}', "'tls-creds'")
            vm.set_params(tls_creds='')
        equal(left(path.parent), [path.name], 'files')
        equal(path.read_bytes(), OLD, 'the file')
        migrate(src, f'file:{path}')
        dst.qmp('migrate-incoming', uri=f'file:{path}')
        wait_migration(dst)


def cut():
    """A file that is not whole, though no QEMU leaves one."""
    with tempdir() as directory, machine(directory) as src, \
         machine(directory, incoming='defer') as dst:
        path = target(directory)
        migrate(src, f'file:{path}')
        stream = path.read_bytes()
        for bad, words in ((stream[:-1], 'ends too early'),
                           (b'', 'ends too early'),
                           (OLD, 'no migration stream')):
            path.write_bytes(bad)
            dst.qmp('migrate-incoming', uri=f'file:{path}')
            why = wait_failed(dst)
            check(words in why, f'{words!r} is not in {why!r}')
        path.write_bytes(stream)
        dst.qmp('migrate-incoming', uri=f'file:{path}')
        wait_migration(dst)


def can_mount():
    with tempdir() as directory:
        done = subprocess.run(['mount', '-t', 'tmpfs', 'none', directory],
                              stderr=subprocess.PIPE, text=True, check=False)
        if not done.returncode:
            subprocess.run(['umount', directory], check=True)
        return None if not done.returncode else done.stderr.strip()


with Tap('file:') as t:
    for name in (V4, 'pc-i440fx-7.2-v4', 'pc-q35-7.2'):
        t.case(f'there and back, {name}', round_trip, name)
    t.case('a running Linux guest', linux)
    t.case('cancelled, with a file there', cancelled, True)
    t.case('cancelled, with nothing there', cancelled, False)
    t.case('QEMU quits', quits)
    t.case('QEMU is killed', killed)
    t.case('the directory goes away', no_name)
    why = can_mount()
    if why:
        t.skip('no room', f'a small file system cannot be mounted: {why}')
    else:
        t.case('no room', no_room)
    t.case('what is no file', other_things)
    t.case('settings that a file cannot have', settings)
    t.case('a file that is not whole', cut)
