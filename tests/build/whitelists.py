#!/usr/bin/python3
"""Every description with subsections says which of them go together.

SPDX-License-Identifier: GPL-2.0-or-later
"""

import json
import os
import pathlib
import re
import subprocess

from harness.qemu import BUILT, environment
from harness.tap import Tap, check, equal

BUILD = pathlib.Path(os.environ['QEMU_BUILD'])
DEFINITION = re.compile(r'VMStateDescription\s+(\w+)\s*=\s*\{(.*?)\n\};', re.S)
FEWEST = 40


def compiled():
    """The sources that the build compiles, but for tests."""
    commands = json.loads((BUILD / 'compile_commands.json').read_text())
    paths = {pathlib.Path(c['directory'], c['file']).resolve()
             for c in commands}
    tests = (BUILD / '../tree/tests').resolve(), (BUILD / 'tests').resolve()
    return sorted(p for p in paths if p.suffix == '.c' and p.exists() and
                  not any(p.is_relative_to(t) for t in tests) and
                  '/tests/' not in str(p))


def in_the_sources():
    """Also of what no machine of ours registers, and of what is written by
    hand."""
    lists, lacking = 0, []
    for path in compiled():
        text = path.read_text(errors='replace')
        lists += text.count('.subsections =')
        found = [m for m in DEFINITION.finditer(text)
                 if '.subsections' in m.group(2)]
        equal(len(found), len(re.findall(r'\.subsections\s*=', text)),
              f'descriptions with subsections in {path}')
        lacking += [f'{m.group(1)} in {path}' for m in found
                    if '.combinations' not in m.group(2)]
    check(lists >= FEWEST, f'only {lists} were found')
    check(not lacking, 'without combinations: ' + ', '.join(lacking))


def of_every_type():
    """What they say is right, of every type of device that there is."""
    done = subprocess.run([BUILT, '-dump-vmstate', '/dev/null'], text=True,
                          env=environment(), timeout=60, check=False,
                          stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
    equal((done.returncode, done.stderr), (0, ''), 'what is said')


with Tap('whitelists') as tap:
    tap.case('in the sources', in_the_sources)
    tap.case('of every type of device', of_every_type)
