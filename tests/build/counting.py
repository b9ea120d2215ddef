#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What `make check` says at its end, for tests that end in every way."""

from checkout import Checkout, run
from harness.tap import Tap, check, equal

GOOD = '''
echo 1..4; echo ok 1 one; echo not a case; echo 'ok 2 - two'
echo 'ok 3 - three # SKIP no network'; echo 'ok 4 # skip no reason'
'''
BAD = 'echo 1..2; echo ok 1 one; echo not ok 2 - two; echo "# why it is so"'
CRASH = 'echo 1..9; echo ok 1 one; kill -SEGV $$'
SHORT = 'echo 1..9; echo ok 1 one'
LATE = 'echo 1..2; echo ok 1 one; sleep 60'
NONE = 'echo "1..0 # SKIP no machine"'


def last_line(expected, status, *scripts):
    """One test a script; what scripts/check ends with, and how."""
    with Checkout(archive=False) as c:
        definition = "project('made-up')\n"
        for i, text in enumerate(scripts):
            c.write(f'test{i}', f'#!/bin/sh\n{text}\n')
            (c.root / f'test{i}').chmod(0o755)
            definition += (f"test('number {i}', files('test{i}'), timeout: 2,"
                           " suite: 'made', protocol: 'tap')\n")
        c.write('meson.build', definition)
        run('meson', 'setup', c.build / 'project', c.root)
        said = c.script('check', 'made', status=status)
        equal(said.splitlines()[-1], expected, 'last line')
        return said


def passed():
    said = last_line('2 passed, 0 failed, 2 skipped', 0, GOOD)
    check('skipped: number 0: three # SKIP no network' in said, said)


def failed():
    said = last_line('3 passed, 1 failed, 2 skipped', 1, GOOD, BAD)
    check('FAILED: number 1: two\n    # why it is so\n' in said, said)
    check('\nnumber 1:\n    two\n    # why it is so\n' in said, said)


def ended_badly():
    said = last_line('5 passed, 3 failed, 2 skipped', 1,
                     GOOD, CRASH, SHORT, LATE)
    for i, how in (1, 'ERROR'), (2, 'ERROR'), (3, 'TIMEOUT'):
        check(f'FAILED: number {i}: ended with {how}\n' in said, said)


def nothing_ran():
    last_line('0 passed, 0 failed, 1 skipped', 1, NONE)
    last_line('0 passed, 0 failed, 0 skipped', 1)


with Tap('the count of make check') as t:
    t.case('cases that pass and are skipped', passed)
    t.case('a case that fails', failed)
    t.case('a crash, a plan cut short, a timeout', ended_badly)
    t.case('no test passed is no success', nothing_ran)
