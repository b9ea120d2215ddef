#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Searches all that can happen in handover.pml, the model of the hand-over.

It has to hold as it is, come to an end, and reach every line. Then it is
changed as a mistake in the protocol would change it, one mistake at a time,
and each one must be found by the assertion that is about it.
"""

import pathlib
import re
import subprocess

from harness.qemu import tempdir
from harness.tap import Tap, check, equal

MODEL = pathlib.Path(__file__).with_name('handover.pml')

# What pan calls the assertions, as far as it takes to tell them apart.
TWO_RUN = 'runs[(1-'
TWO_WRITE = 'writes[(1-'
OLD_RUNS = 'copy['
NOBODY_RUNS = '!(alive['
LOST = 'lost'

# name: what stands in the model, what stands there instead, what is violated
MISTAKES = {
    'the destination runs when it has loaded': (
        'send(to_s, LOADED);\n',
        'send(to_s, LOADED); atomic { take_disks(D); start(D) };\n',
        (TWO_RUN, TWO_WRITE)),
    'the source takes back after RUN': (
        ':: to_s?REFUSED -> goto takes_back\n    :: ends(to_s)\n',
        ':: to_s?REFUSED -> goto takes_back\n'
        '    :: ends(to_s) -> goto takes_back\n',
        (TWO_RUN, TWO_WRITE, OLD_RUNS)),
    'the source commits without LOADED': (
        ':: true -> goto takes_back ', ':: true ', (NOBODY_RUNS,)),
    'the source does not stop the guest': (
        'runs[S] = false; writes[S] = false', 'writes[S] = false',
        (TWO_RUN,)),
    'the source keeps the disks': (
        'runs[S] = false; writes[S] = false', 'runs[S] = false',
        (TWO_WRITE,)),
    'the source does not wait for RUNNING': (
        'committed:\n    send(to_d, RUN);',
        'committed:\n    send(to_d, RUN); goto done;', (NOBODY_RUNS,)),
    'the source does not ask again': (
        ':: gone || hasty || deaf || !alive[D] ', ':: true ', (NOBODY_RUNS,)),
    'the source quits when it is in doubt': (
        'fi;\n    goto done; ', 'fi;\n    copy[S] = NONE; goto done; ',
        (LOST,)),
    'the destination quits when the link is cut': (
        ':: else -> listening = true',
        ':: else -> copy[D] = NONE; goto nothing', (LOST, NOBODY_RUNS)),
    'the destination does not listen again': (
        ':: else -> listening = true', ':: else -> goto nothing',
        (NOBODY_RUNS,)),
    'the destination refuses before it gives the disks back': (
        'goto declines ', 'send(to_s, REFUSED); goto declines ',
        (TWO_WRITE,)),
    'the destination runs after it has refused': (
        'goto declines ', 'send(to_s, REFUSED); writes[D] = false ',
        (TWO_WRITE, TWO_RUN, OLD_RUNS)),
    'the destination does not run when it is told to': (
        ':: start(D)\n', ':: writes[D] = false; goto nothing\n',
        (NOBODY_RUNS,)),
    'a person does not look whether the other side is dead': (
        ':: atomic { may_decide(D) -> decide(D) }',
        ':: atomic { has(D) && !runs[D] -> decide(D) }',
        (TWO_WRITE, TWO_RUN)),
}


def run(*command, cwd):
    done = subprocess.run(command, cwd=cwd, timeout=120, text=True,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT)
    check(done.returncode == 0, f'{command[0]} ended with status '
          f'{done.returncode}:\n{done.stdout}')
    return done.stdout


def search(model, kind='SAFETY', *options):
    """All that can happen in a model: what the searching program says."""
    with tempdir() as directory:
        (directory / 'model.pml').write_text(model)
        run('spin', '-a', 'model.pml', cwd=directory)
        # Its reduction does not know processes that can be killed.
        run('gcc', f'-D{kind}', '-DNOREDUCE', '-DMEMLIM=1024', '-o', 'pan',
            'pan.c', cwd=directory)
        # The destination may wait for ever: that is no mistake as such.
        said = run('./pan', '-E', '-m1000000', *options, cwd=directory)
        check('max search depth too small' not in said and
              'out of memory' not in said, said)
        return said


def violated(said):
    """The assertion that does not hold, or None."""
    check(re.search(r'errors: \d', said), said)
    found = re.search(r'assertion violated (.*) \(at depth', said)
    check(found or 'errors: 0' in said, said)
    return found and found.group(1)


def holds():
    said = search(MODEL.read_text())
    equal(violated(said), None, 'what does not hold')
    for line in re.findall(r'\((\d+) of \d+ states\)', said):
        equal(line, '0', f'lines that were not reached:\n{said}')


def ends():
    said = search(MODEL.read_text(), 'NP', '-l')
    check('errors: 0' in said, said)


def finds(old, new, expected):
    model = MODEL.read_text()
    equal(model.count(old), 1, f'how often {old!r} is in the model')
    said = violated(search(model.replace(old, new)))
    check(said and any(words in said for words in expected),
          f'expected a violation of one of {expected}, got {said}')


with Tap('a model of the hand-over') as t:
    t.case('one runs, one writes, nothing is lost, whatever happens', holds)
    t.case('it always comes to an end', ends)
    for name, mistake in MISTAKES.items():
        t.case(f'found: {name}', finds, *mistake)
