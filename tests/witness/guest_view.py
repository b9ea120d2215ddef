# SPDX-License-Identifier: GPL-2.0-or-later
"""The guest sees under our machine types what it sees under QEMU's own.

Everything that a guest, or its firmware, can look at is read from both
machines and compared: the QOM tree with all properties, the PCI configuration
spaces, what fw_cfg holds (ACPI and SMBIOS tables among it), CPUID, the memory
map, NVRAM and ROMs.
"""

from harness.qemu import BUILT, STOCK, Qemu
from harness.qmp import QmpError
from harness.tap import Tap, check
from witness import fwcfg, machines, pci
from witness.qtest import Qtest

# Where two types may differ: what names the type itself, and isn't shown to
# the guest.  {part: keys}
NAME_OF_TYPE = {'QOM tree': {'/ machine', '/machine type'}}

# What is compared with the distribution's binary as well.  The rest tells of
# how a binary was configured, or of its QEMU's own doings.
SHOWN_TO_GUEST = ['PCI configuration spaces', 'fw_cfg', 'CPUID', 'CPU models',
                  'NVRAM', 'ROMs']

BUFFER = 0x1f00000
ROMS = [(0xc0000, 0x40000), (0xfffc0000, 0x40000)]


def qom_tree(vm):
    """{'path property': value} of all objects and readable properties."""
    found = {}

    def walk(path):
        for entry in vm.qmp('qom-list', path=path or '/'):
            key = f'{path or "/"} {entry["name"]}'
            if entry['type'].startswith('child<'):
                found[key] = entry['type']
                walk(f'{path}/{entry["name"]}')
                continue
            try:
                value = vm.qmp('qom-get', path=path or '/',
                               property=entry['name'])
            except QmpError as error:
                value = f'({error.desc})'
            found[key] = f'{entry["type"]}: {value!r}'

    walk('')
    return found


def pci_spaces(qtest, machine, roots):
    """{'function what': bytes} of all PCI functions."""
    extended = machines.family(machine) == 'q35'
    found = {}
    functions = list(pci.functions(qtest, roots))
    if extended:
        pci.open_mmconfig(qtest)
    for function in functions:
        read = (pci.extended_config(qtest, function) if extended
                else function.config())
        found[f'{function.name} configuration'] = read
        found[f'{function.name} sizes'] = function.bar_sizes()
    return found


def cpuid(vm):
    """What each CPU of the machine shows."""
    return {f'CPU {cpu["cpu-index"]} {name}': vm.qmp(
                'qom-get', path=cpu['qom-path'], property=name)
            for cpu in vm.qmp('query-cpus-fast')
            for name in ('feature-words', 'filtered-features', 'family',
                         'model', 'stepping', 'level', 'xlevel', 'type')}


def cpu_models(vm):
    """What each model of CPU that the machine can have is made of."""
    found = {}
    for model in vm.qmp('query-cpu-definitions'):
        name = model['name']
        found[name] = model
        try:
            found[f'{name} in full'] = vm.qmp(
                'query-cpu-model-expansion', type='full',
                model={'name': name})
        except QmpError as error:
            found[f'{name} in full'] = error.desc
    return found


def memory_map(vm):
    """The address spaces and regions; their order is that of a hash table."""
    found = {}
    for block in vm.hmp('info mtree').split('\n\n'):
        lines = block.strip().splitlines()
        heads = sorted(line for line in lines if not line.startswith(' '))
        rest = [line for line in lines if line.startswith(' ')]
        found.setdefault(' '.join(heads), []).append(rest)
    return {heads: sorted(rest) for heads, rest in found.items()}


def nvram(qtest):
    found = {}
    for index in range(128):
        qtest.outb(0x70, index)
        found[f'byte {index:#04x}'] = qtest.inb(0x71)
    return found


def view(binary, machine, devices, *options):
    """{part: {key: value}}: all that can be seen of a machine."""
    # The other roots that the sets of devices have.
    roots = (0, 100) if devices == 'board' else (0,)
    with Qtest() as qtest, Qemu(
            binary, *machines.arguments(machine, devices), *qtest.args(),
            *options, machine=machines.machine_option(machine, devices),
            defaults=True, pass_fds=[qtest.theirs.fileno()],
            name=machine) as vm:
        qtest.started()
        seen = {
            'CPUID': cpuid(vm),
            'NVRAM': nvram(qtest),
            'ROMs': {f'{at:#x}': qtest.read(at, size) for at, size in ROMS},
        }
        if binary == BUILT:
            seen['QOM tree'] = qom_tree(vm)
            seen['device tree'] = {'info qtree': vm.hmp('info qtree')}
            seen['memory map'] = memory_map(vm)
        if devices == 'bare':
            seen['CPU models'] = cpu_models(vm)
        firmware = fwcfg.FwCfg(qtest, BUFFER)
        seen['fw_cfg'] = firmware.files() | {
            f'item {key:#x}': value
            for key, value in firmware.numbered().items()}
        seen['PCI configuration spaces'] = pci_spaces(qtest, machine, roots)
        return seen


def differences(one, other, allowed):
    """What differs between two parts of views, in words."""
    for key in sorted(one.keys() | other.keys(), key=str):
        if key in allowed or one.get(key) == other.get(key):
            continue
        if key not in one or key not in other:
            yield f'{key}: only in the {"first" if key in one else "second"}'
            continue
        left, right = one[key], other[key]
        if not isinstance(left, bytes):
            left, right = repr(left), repr(right)
        at = next((n for n, pair in enumerate(zip(left, right))
                   if pair[0] != pair[1]), min(len(left), len(right)))
        begin = max(0, at - 24)
        yield (f'{key}: from {at:#x} of {len(left):#x} on: '
               f'{left[begin:at + 40]!r} and {right[begin:at + 40]!r}')


class Views:
    """Views of machines, each taken once."""

    def __init__(self):
        self._views = {}

    def of(self, binary, machine, devices):
        key = binary, machine, devices
        if key not in self._views:
            self._views[key] = view(*key)
        return self._views[key]

    def same(self, part, one, other, allowed=()):
        """one, other: (binary, machine)"""
        for devices in machines.SETS:
            pair = [self.of(*which, devices) for which in (one, other)]
            if devices != 'bare' and part not in pair[0]:
                continue
            pair = [seen[part] for seen in pair]
            check(pair[0], f'nothing was read of the {part}')
            found = list(differences(*pair, allowed))
            check(not found, f'set "{devices}", {len(found)} differences:\n'
                  + '\n'.join(found[:20]))


def told_apart(one, other, expected):
    """Two machines that differ are seen to, in these keys at least.
    expected: {part: key}"""
    for part, key in expected.items():
        found = list(differences(one[part], other[part], ()))
        check(any(line.startswith(f'{key}: ') for line in found),
              f'{part}: no difference in {key} but in {found[:10]}')


def main():
    with Tap('the guest sees what it saw') as t:
        views = Views()
        with Qemu(BUILT, machine='none', accel=None) as vm:
            ours = sorted(machines.machine_types(vm))
        with Qemu(STOCK, machine='none', accel=None) as vm:
            ours = [name for name in ours
                    if name not in machines.machine_types(vm)]
        t.case('there are machine types of ours', lambda: check(
            ours, 'every type is one of the distribution as well'))
        for name in ours:
            model = machines.model(name)
            for part in views.of(BUILT, name, 'bare'):
                t.case(f'{name} and {model}: {part}', views.same, part,
                       (BUILT, name), (BUILT, model),
                       NAME_OF_TYPE.get(part, ()))
            for part in SHOWN_TO_GUEST:
                t.case(f'{name} and the {model} of the distribution: {part}',
                       views.same, part, (BUILT, name), (STOCK, model))

        # The comparison itself: it has to see what it is there to see.
        def shown(*options, machine='pc-q35-7.2'):
            return view(BUILT, machine, 'bare', *options)

        t.case('a version in the SMBIOS tables is seen', lambda: told_apart(
            shown(), shown('-smbios', 'type=1,version=pc-q35-7.2-v4'),
            {'fw_cfg': 'etc/smbios/smbios-tables'}))
        t.case('the type before is seen', lambda: told_apart(
            shown(), shown(machine='pc-q35-7.1'),
            {'fw_cfg': 'etc/smbios/smbios-tables',
             'QOM tree': '/machine type'}))
        t.case('another CPU is seen', lambda: told_apart(
            shown(), shown('-cpu', 'qemu64,-svm'),
            {'CPUID': 'CPU 0 feature-words'}))
        t.case('another card is seen', lambda: told_apart(
            shown(), shown('-device', 'edu,addr=10'),
            {'PCI configuration spaces': '00:10.0 configuration',
             'memory map': 'address-space: edu'}))


if __name__ == '__main__':
    main()
