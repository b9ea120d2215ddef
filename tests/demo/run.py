#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Shows a real Linux guest moving live from one QEMU to another over stream
version 4, with what the guest itself says before, meanwhile and after.

usage: run.py [--port PORT | --unix] [--machine TYPE]

The exit status is 0 when the guest has found its memory intact afterwards, 1
when it hasn't or something else went wrong, 130 after Ctrl-C.  In every case
no process, socket or file of the demo is left.
"""

import argparse
import os
import pathlib
import re
import signal
import sys
import time

from demo.screen import Screen
from harness.guest import BEAT, BOOT_TIMEOUT, TROUBLE, make_disk, run_guest
from harness.qemu import BUILT, Qemu, QemuDied, start_migration, tempdir
from harness.qmp import QmpError

MIB = 1 << 20
# Slow enough to be watched; lifted in the end, so that the guest, which keeps
# dirtying its memory, is stopped for a moment only.
WATCHABLE, LIFTED = 40 * MIB, 1 << 30
PASSES = 3
# The other QEMU is on this host, and may have what this one has
ADOPT = 'incoming,backends=trust'
BEFORE, AFTER = 2.0, 3          # seconds of guest; checks of all its memory
MIGRATION_TIMEOUT = 90
POLL = 0.05
DEVICES = re.compile(r'disk (\d+) rng (\d+) net (\d+)')


class Failure(Exception):
    """Why the demo can't go on, in a person's words."""


class Side:
    """One of the two QEMUs, and how far its console has been shown.  Both write
    to the same file, so what each has written is where its own descriptor of
    that stands.

    shown   bytes of the file that need not be shown; None: this side has not
            written yet
    """

    def __init__(self, vm, label, console, shown):
        self.vm, self.label = vm, label
        self.console = console
        self.shown = shown
        self.last_beat = None   # the match, printed or not
        self.printed_at = -1e9
        self.held = None        # a beat that was not printed, so far

    def written(self):
        """Up to where the file is this side's, in bytes."""
        process = pathlib.Path(f'/proc/{self.vm.pid}')
        for fd in process.glob('fd/*'):
            if os.readlink(fd) == str(self.console):
                info = (process / 'fdinfo' / fd.name).read_text()
                return int(re.search(r'pos:\s*(\d+)', info).group(1))
        return 0

    def new_lines(self):
        if self.shown is None:
            return []
        text = self.console.read_bytes()[self.shown:self.written()]
        text = text[:text.rfind(b'\n') + 1]
        self.shown += len(text)
        lines = text.decode(errors='replace').replace('\r', '').splitlines()
        return [line for line in lines if line.strip()]


class Demo:
    """The steps, in order, and the loop that all of them wait in."""

    def __init__(self, screen, options):
        self.screen = screen
        self.options = options
        self.began = time.monotonic()
        self.sides = []
        self.trouble = 0

    # -- what is printed

    def at(self):
        return time.monotonic() - self.began

    def show(self, label, text):
        self.screen.line(f'{self.at():6.1f} s  {label:<11}  {text}')

    def consoles(self, sides=None):
        """Shows what the guest has said since: all of it, but of its
        heartbeats only one a second, and those around the move."""
        for side in sides or self.sides:
            for line in side.new_lines():
                beat = BEAT.search(line)
                if not beat:
                    self.trouble += bool(TROUBLE.search(line))
                    self.show(side.label, line)
                    continue
                first = side.last_beat is None
                side.last_beat, side.held = beat, line
                if first or self.at() - side.printed_at >= 1:
                    self.flush(side)

    def flush(self, side):
        if side.held:
            self.show(side.label, BEAT.search(side.held).group())
            side.printed_at, side.held = self.at(), None

    # -- waiting

    def wait(self, condition, timeout, what):
        """Keeps the consoles going until condition() holds."""
        deadline = time.monotonic() + timeout
        while not condition():
            self.consoles()
            for side in self.sides:
                if not side.vm.alive():
                    raise Failure(f'the {side.label} has ended; '
                                  f'{side.vm.says()}')
            if time.monotonic() > deadline:
                raise Failure(f'{what}: not within {timeout} s')
            time.sleep(POLL)

    def beats_for(self, side, seconds):
        until = self.at() + seconds
        self.wait(lambda: side.last_beat and self.at() >= until,
                  BOOT_TIMEOUT, f'a heartbeat on the {side.label}')

    # -- the steps

    def run(self, directory):
        disk = make_disk(directory / 'disk.qcow2')
        console = directory / 'console'
        self.screen.line('A Linux guest moves from one QEMU to another while '
                         f'it works, from\n{BUILT} -M {self.options.machine} '
                         '... to one that starts with nothing but')
        if self.options.unix:
            uri = f'unix:{directory}/socket'
        else:
            uri = f'tcp:127.0.0.1:{self.options.port}'
        self.screen.line(f'-M {ADOPT} -incoming {uri}\n')

        with run_guest(BUILT, disk, f'{console},append=on', name='source',
                       machine=self.options.machine,
                       workdir=directory) as src:
            self.sides.append(Side(src, 'source', console, 0))
            self.show('demo', 'the guest boots')
            self.wait(lambda: self.sides[0].last_beat, BOOT_TIMEOUT,
                      'the guest\'s first heartbeat')
            self.beats_for(self.sides[0], BEFORE)
            with self.destination(uri, directory) as dst:
                self.sides.append(Side(dst, 'destination', console, None))
                info = self.migrate(src, dst, dst.listens_at())
                self.settle()
                return self.verdict(info, dst.qmp('query-migrate'))

    def destination(self, uri, directory):
        """It knows nothing of the machine, and will be told by the source."""
        try:
            return Qemu(BUILT, machine=ADOPT, accel=None, defaults=True,
                        incoming=uri, workdir=directory)
        except QemuDied as error:
            if self.options.port and 'in use' in str(error):
                raise Failure(
                    f'port {self.options.port} of 127.0.0.1 is in use by '
                    'another program: choose another one, or none and a free '
                    'one is taken') from None
            raise Failure(f'can\'t listen at {uri}: {error}') from None

    def migrate(self, src, dst, uri):
        self.show('demo', f'it moves over {uri}, at {WATCHABLE // MIB} MiB/s '
                          'to be watched')
        start_migration(src, uri, params={'max_bandwidth': WATCHABLE})
        lifted = False

        def finished():
            nonlocal lifted
            info = src.qmp('query-migrate')
            if info['status'] == 'failed':
                raise Failure(f'the migration has failed: '
                              f'{info.get("error-desc", "")}; {dst.says()}')
            self.progress(info)
            if info.get('ram', {}).get('dirty-sync-count', 0) > PASSES \
                    and not lifted:
                src.set_params(max_bandwidth=LIFTED)
                lifted = True
            return info['status'] == 'completed'

        self.wait(finished, MIGRATION_TIMEOUT, 'the end of the migration')
        self.screen.progress(None)
        info = src.qmp('query-migrate')
        self.consoles(self.sides[:1])
        self.flush(self.sides[0])
        self.sides[1].shown = self.sides[0].shown
        self.show('demo', f'it has moved, and stood still for '
                          f'{info["downtime"]} ms')
        return info

    def progress(self, info):
        ram = info.get('ram')
        if ram and ram['total']:
            part = 1 - ram['remaining'] / ram['total']
            text = (f'{ram["transferred"] / 1e6:6.1f} MB, pass '
                    f'{ram["dirty-sync-count"]}')
            self.screen.progress(part, text)

    def settle(self):
        """Lets the guest check all of its memory some times at its new
        place."""
        there = self.sides[1]
        self.wait(lambda: there.last_beat, 60,
                  'the guest\'s heartbeat on the destination')
        first = int(there.last_beat.group(2))
        self.wait(lambda: self.trouble or int(there.last_beat.group(2)) >=
                  first + AFTER + 1, 60, 'the guest\'s check of its memory')
        self.beats_for(there, 2)
        self.flush(there)

    def verdict(self, here, there):
        """Prints the results; returns whether all is well."""
        before, after = (side.last_beat for side in self.sides)
        errors = int(after.group(4)) + self.trouble
        checked = int(after.group(3)) - int(before.group(3))
        uses = [int(b) - int(a) for a, b in zip(
            DEVICES.search(before.string, before.start()).groups(),
            DEVICES.search(after.string, after.start()).groups())]
        if errors:
            judgement = f'DAMAGED: {errors} errors'
        else:
            judgement = (f'memory intact, {checked} pages checked since the '
                         'move, 0 errors')
        sent, taken = here.get('stream'), there.get('stream')
        rows = [
            ('the guest says', judgement),
            ('', f'{uses[0]} disk, {uses[1]} random number and {uses[2]} '
                 f'network checks since{"" if errors else ", all good"}'),
            ('total time', f'{here["total-time"] / 1000:.2f} s'),
            ('downtime', f'{here["downtime"]} ms'),
        ]
        if sent and taken:
            rows += [
                ('stream', f'version {sent["version"]}, '
                           f'{sent["bytes"] / 1e6:.1f} MB'),
                ('sent', '{sections} sections in {records} records'.format(
                    **sent)),
                ('checked', '{sections} sections in {records} records, '
                            '{skipped} skipped'.format(**taken)),
            ]
        else:
            rows.append(('stream', 'version 3, which checks nothing'))
        self.screen.line('')
        for name, value in rows:
            if value:
                self.screen.line(f'{name:>16}  {value}')
        if sent != taken:
            self.screen.line('the destination has not counted what was sent: '
                             f'{sent} against {taken}')
        return not errors and sent == taken and all(uses)


def arguments():
    parser = argparse.ArgumentParser(
        description='migrate a Linux guest live over stream version 4')
    where = parser.add_mutually_exclusive_group()
    where.add_argument('--port', type=int, metavar='PORT',
                       default=int(os.environ.get('DEMO_PORT') or 0),
                       help='of 127.0.0.1; a free one if not given')
    where.add_argument('--unix', action='store_true',
                       help='over a unix socket instead of tcp')
    parser.add_argument('--machine', default='pc-q35-7.2-v4',
                        help='machine type (default: %(default)s)')
    return parser.parse_args()


def leave(signum, _frame):
    """Unwinds everything once; more of the same must not disturb that."""
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, signal.SIG_IGN)
    raise SystemExit(128 + signum)


def main():
    options = arguments()
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, leave)
    screen = Screen(sys.stdout)
    try:
        with tempdir('migration-demo-') as directory:
            good = Demo(screen, options).run(directory)
    except (Failure, QemuDied, QmpError, OSError) as error:
        screen.progress(None)
        print(f'demo: {error}', file=sys.stderr)
        return 1
    except SystemExit as error:
        screen.progress(None)
        print('demo: interrupted; all that it had started has been ended',
              file=sys.stderr)
        return error.code
    return 0 if good else 1


if __name__ == '__main__':
    sys.exit(main())
