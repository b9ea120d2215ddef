# SPDX-License-Identifier: GPL-2.0-or-later
"""What query-machine-config says, held against each other.

Not a test: no TAP in here.
"""

import re

from harness.tap import equal


def by_path(config):
    """Its devices by their paths."""
    return {device['path']: device for device in config['devices']}


def by_id(config, name):
    """The device that is called so."""
    found = [d for d in config['devices'] if d.get('id') == name]
    equal(len(found), 1, f'devices called {name}')
    return found[0]


def by_name(config, kind, name):
    """The back end of a kind that is called so."""
    found = [b for b in config['backends']
             if (b['kind'], b['id']) == (kind, name)]
    equal(len(found), 1, f'{kind} back ends called {name}')
    return found[0]


def same(first, second, ignore=(), given=()):
    """Raises with what is different.

    ignore   members of devices
    given    ids of back ends that lead elsewhere on the other side
    """
    one, other = by_path(first), by_path(second)
    equal(sorted(other), sorted(one), 'paths')
    for path, device in one.items():
        for name in (device.keys() | other[path].keys()) - set(ignore):
            differ(device.get(name), other[path].get(name),
                   f'{name} of {path}')
    for backend in first['backends'] + second['backends']:
        if backend['id'] in given:
            backend['host'] = None
    for name in (first.keys() | second.keys()) - {'devices'}:
        differ(first.get(name), second.get(name), name)
    if not ignore:
        equal([d['path'] for d in second['devices']],
              [d['path'] for d in first['devices']], 'order')


def differ(one, other, what):
    """Goes down to where two values are different."""
    if isinstance(one, dict) and isinstance(other, dict):
        for name in sorted(one.keys() | other.keys()):
            differ(one.get(name), other.get(name), f'{what}.{name}')
    elif (isinstance(one, list) and isinstance(other, list) and
          len(one) == len(other)):
        for i, (x, y) in enumerate(zip(one, other)):
            differ(x, y, f'{what}[{i}]')
    else:
        equal(other, one, what)


# What QEMU's own commands say of a machine, and what of it is no matter: ports
# of USB show as they were given (and the address as it is); whoever arrives
# was not plugged in; a monitor and a terminal are its own; and a drive that no
# device has is there because somebody might have wanted it.
OTHERWISE = {
    'info qtree': r' *port = "', 'info numa': None, 'info network': None,
    'info memory-devices': '  hotplugged: ',
    'info block': r' *Removable|sd0:|$',
    'info chardev': r'harness:|compat_monitor|.*filename=(pty|vc)|'
                    r'.*(disconnected|listening)',
}


def seen_otherwise(qemu):
    """Their lines, with one name for what has a random number in its own, and
    for what gets one for it."""
    said = {command: [re.sub(r'#?\b(net|block)\d+', r'\1', line)
                      for line in qemu.hmp(command).splitlines()
                      if not leave_out or not re.match(leave_out, line)]
            for command, leave_out in OTHERWISE.items()}
    said['info chardev'].sort()
    return said


def same_otherwise(first, second, order=list):
    """Raises with the first lines that differ; order: which counts."""
    for command in first:
        lines, others = order(first[command]), order(second[command])
        for i, (one, other) in enumerate(zip(lines, others)):
            if one != other:
                raise AssertionError(f'{command}, line {i}: {other!r} is not '
                                     f'{one!r}, behind {lines[i - 1]!r}')
        equal(len(others), len(lines), f'lines of {command}')
