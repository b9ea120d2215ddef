# SPDX-License-Identifier: GPL-2.0-or-later
"""One device on one machine: it is driven into a state, saved and loaded in
each way, and then driven on, at the source and where it was loaded.
"""

import contextlib
import dataclasses
import typing

from device import drive, forge, known, regions, virtio
from device.compare import differences
from device.machine import Machine, dump
from harness.qemu import QemuDied, tempdir
from harness.qmp import QmpError

RESET = 'reset'
NOT_MIGRATABLE = 'non-migratable'
WOULD_LOSE = 'the guest would lose'
SET_VERSION = 'migrate-set-vmstate-version'
BUFFERS = 24
VERSIONS = 8            # at most, the oldest and the newest of a device


class NotMigratable(Exception):
    """The device says so itself."""


class Way(typing.NamedTuple):
    """How a state is saved.  version: of the stream; words: what else is to
    be said; asked: for migrate-set-vmstate-version"""
    version: int
    words: str = ''
    asked: dict = {}


@dataclasses.dataclass
class Result:
    """What came of a device.  findings: {what: an example}"""
    device: str
    machine: str
    sections: list = dataclasses.field(default_factory=list)
    combinations: int = 0
    refused: int = 0
    states: int = 0
    loads: int = 0
    findings: dict = dataclasses.field(default_factory=dict)
    why_not: str = None

    def lost(self):
        """The findings that are known."""
        return [key for key in self.findings
                if known.lost(self.device, *key)]

    def new(self):
        return [key for key in self.findings
                if not known.lost(self.device, *key)]

    def verdict(self):
        if self.why_not:
            return self.why_not
        if self.new():
            return f'{len(self.new())} NEW'
        return f'{len(self.lost())} known' if self.findings else 'good'


def oldest_saved(section):
    """The oldest version that a section can be saved at."""
    loaded = section.get('minimum-version', section['version'])
    return section.get('minimum-saved-version', loaded)


@contextlib.contextmanager
def asked_for(machine, way):
    """With a device saved at the version that was asked for."""
    if not way.asked:
        yield
        return
    machine.vm.qmp(SET_VERSION, **way.asked)
    try:
        yield
    finally:
        machine.vm.qmp(SET_VERSION, **{
            name: value for name, value in way.asked.items()
            if name != 'version'})


class Examination:
    """A device in one state.

    state      RESET, or a seed
    sections   of the device, as query-vmstate has them
    """

    def __init__(self, device, machine, state, sections):
        self.device = device
        self.machine = machine
        self.state = state
        self.args = device.arguments()[1]
        self.findings = {}
        self.loads = 0
        self.combinations = self.refused = 0
        self.sections = sections
        self.mine = {(d['name'], d['instance']) for d in sections}

    def run(self):
        with tempdir() as self.work, Machine(self.machine, self.args) as src:
            self._bring(src)
            clock = src.clock()
            streams = []
            for way in self._ways():
                path = self.work / f'stream{len(streams)}'
                if self._save(src, path, way):
                    streams.append((way, path, dump(path)))
            self._agree(streams)
            whole = self.work / 'whole'
            src.save(whole, 4, whole=True)
            declared = forge.declared(src.vm.qmp('query-vmstate'))
            src.run()
            ahead = self._behave(src)
            for way, path, said in streams:
                self._loaded(way, path, said, clock, ahead)
            self._combinations(whole, streams[1][2], declared, clock)

    def _combinations(self, path, said, declared, clock):
        """Each combination of subsections that can be made of what was saved
        is taken, and saved again as it was."""
        for structure, names, data in forge.forged(
                path.read_bytes(), self.mine, declared):
            way = Way(4, f', {structure} with {" + ".join(names) or "none"}')
            self.combinations += 1
            forged = self.work / 'forged'
            forged.write_bytes(data)
            self._loaded(way, forged, without_subsections(said), clock, None)

    def _ways(self):
        yield Way(3)
        yield Way(4)
        for section in self.sections:
            older = range(oldest_saved(section), section['version'])
            # A watchdog has 9999
            for version in sorted({*older[:VERSIONS // 2],
                                   *older[-VERSIONS // 2:]}):
                yield Way(4, f', {section["name"]} of version {version}',
                          {'device': section['name'], 'version': version,
                           'instance': section['instance']})

    def _save(self, src, path, way):
        """False if the guest would lose something that way."""
        try:
            with asked_for(src, way):
                src.save(path, way.version)
        except (QmpError, RuntimeError) as error:
            if NOT_MIGRATABLE in str(error):
                raise NotMigratable('not migratable') from None
            if way.asked and WOULD_LOSE in str(error):
                self.refused += 1
                return False
            raise
        return True

    def _found(self, way, what, example):
        if way.asked:
            what += known.OLDER
        self.findings.setdefault((way.version, what), (
            f'{self.machine}, {self.state}, version {way.version}{way.words}: '
            f'{example}'))

    # -- states

    def _bring(self, src):
        """Drives the device into the state."""
        rng = drive.generator(self.device.driver, self.state)
        src.run()
        self.functions = regions.map_all(src, self.device)
        self.regions = regions.regions(src, self.device)
        self.drivers = []
        src.qtest.write(drive.POOL, drive.fill(rng))
        if self.state == RESET:
            return
        for function in self.functions:
            if virtio.is_virtio(function):
                driver = virtio.Driver(function, src.qtest)
                if driver.start(rng):
                    src.settle()
                    driver.buffers(rng, BUFFERS)
                    self.drivers.append(driver)
        src.settle()
        src.batch(drive.config_writes(rng, self.functions, 12))
        # Registers are where they were
        for function in self.functions:
            function.writew(4, 7)
        if not self.drivers:
            src.batch(drive.writes(rng, self.regions))
        src.settle()

    def _behave(self, vm):
        """Reads all registers, and drives the device on: the answers, and
        what it is then."""
        rng = drive.generator(self.device.driver, self.state, 'on')
        lines = drive.reads(self.regions, self.functions)
        if self.drivers:
            more = []
        else:
            more = drive.writes(rng, self.regions, 100)
        lines += more + drive.reads(self.regions, [])
        answers = vm.batch(lines)
        path = self.work / f'on-{vm.vm.pid}'
        vm.save(path, 4)
        state = dump(path)
        path.unlink()
        return list(zip(lines, answers)), state

    # -- what is held against what

    def _agree(self, streams):
        """What version 3 says is what version 4 says."""
        (_, _, three), (way, _, four) = streams[:2]
        for section, field, one, other in differences(three, four):
            # What is sent in one of them only (unused devices), and what the
            # two describe in different forms, is not compared
            if (field and type(one) is type(other) and
                    not isinstance(one, (dict, list)) and
                    not known.by_host(section, field)):
                self._found(way, f'{section}: {field}: said otherwise',
                            f'version 3 {one}, version 4 {other}')

    def _loaded(self, way, path, said, clock, ahead):
        """ahead: what the source did since; None where it has other
        subsections, and so goes on otherwise."""
        where = ': in another combination' if ahead is None else ''
        try:
            with Machine(self.machine, self.args, clock=clock,
                         incoming='defer') as dst:
                dst.load(path, way.version)
                self.loads += 1
                again = self.work / 'again'
                with asked_for(dst, way):
                    dst.save(again, way.version)
                came = dump(again)
                if ahead is None:
                    came = without_subsections(came)
                for section, field, one, other in differences(said, came):
                    if not known.by_host(section, field):
                        self._found(way, f'{section}: {field}{where}',
                                    f'saved {one}, loaded {other}')
                if ahead is None:
                    return
                dst.run()
                self._same_on(way, ahead, self._behave(dst))
        except Exception as error:      # it is what came of it
            self._found(way, f'load: {type(error).__name__}', str(error))

    def _same_on(self, way, ahead, behind):
        selected = 0
        for (line, one), (_, other) in zip(ahead[0], behind[0]):
            if line.startswith('outl 0xcf8'):
                selected = int(line.split()[2], 16) & 0xff
            if one != other and not line.startswith('clock'):
                self._found(way, f'register {self._place(line, selected)}',
                            f'{line}: {one}, then {other}')
        for section, field, one, other in differences(ahead[1], behind[1]):
            if not known.by_host(section, field):
                self._found(way, f'{section}: {field}: later',
                            f'{one}, then {other}')

    def _place(self, line, selected):
        """What a line reads, in words that a mapping does not change."""
        words = line.split()
        address = int(words[1], 16)
        for region in self.regions:
            if (region.ports == words[0].startswith(('in', 'out')) and
                    0 <= address - region.start < region.size):
                return f'{region.name}+{address - region.start:#x}'
        return f'configuration+{selected:#x}'


def without_subsections(fields):
    """Of a dump, what is not up to which subsections there are."""
    if isinstance(fields, dict):
        return {name: without_subsections(value)
                for name, value in fields.items() if name != 'subsections'}
    if isinstance(fields, list):
        return [without_subsections(value) for value in fields]
    return fields


def plugged(device, machine):
    """The sections that a machine has more with the device, or why it cannot
    be made."""
    before, args = device.arguments()
    if device.path:
        with Machine(machine, args) as vm:
            return [d for d in vm.vm.qmp('query-vmstate')['devices']
                    if d.get('qom-path') == device.path], None
    try:
        with Machine(machine, args) as vm:
            mine = vm.vm.qmp('query-vmstate')['devices']
        with Machine(machine, before) as vm:
            others = {(d['name'], d['instance'])
                      for d in vm.vm.qmp('query-vmstate')['devices']}
    except QemuDied as error:
        said = str(error).strip().splitlines()[-1]
        return None, said.rpartition(': ')[2]
    return [d for d in mine if (d['name'], d['instance']) not in others], None


def examine(device, machine, states):
    """The Result for a device on a machine; what is found once has to be
    found again, or it is not told."""
    result = Result(device.driver, machine)
    result.sections, result.why_not = plugged(device, machine)
    if result.why_not:
        return result
    for state in states:
        found = None
        for _ in range(2):
            one = Examination(device, machine, state, result.sections)
            try:
                one.run()
            except NotMigratable as error:
                result.why_not = str(error)
                return result
            except Exception as error:      # it is what came of it
                one.findings[4, f'{type(error).__name__}'] = (
                    f'{machine}, {state}: {error}')
            found = {key: example for key, example in one.findings.items()
                     if found is None or key in found}
            if not found:
                break
        result.findings.update(found)
        result.states += 1
        result.loads += one.loads
        result.combinations += one.combinations
        result.refused += one.refused
    return result
