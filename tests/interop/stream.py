# SPDX-License-Identifier: GPL-2.0-or-later
"""A whole version 4 stream that can be changed at every level, and written
again with all lengths, checksums, offsets and the index put right.

Not a test: no TAP in here.
"""

import copy
import json

from interop import frames, index, wire


def configuration(state):
    """The description of the configuration, which is in no stream: a string
    with its length, and subsections."""
    name = 'configuration'
    at = frames.HEADER.size + len(name)
    size = int.from_bytes(state[at:at + 4], 'big')
    return {'vmsd_name': name, 'version': 1, 'fields': [
        {'name': 'len', 'type': 'uint32', 'size': 4},
        {'name': 'name', 'type': 'buffer', 'size': size}]}


class Stream:
    """The records of a stream.

    description   the JSON in the stream, as Python has it
    """

    def __init__(self, data):
        self.records = wire.parse(data)
        text = wire.content(self.records, wire.VMDESCRIPTION)
        self.description = json.loads(text) if text else {'devices': []}

    def copy(self):
        """One that can be changed without this one."""
        other = copy.copy(self)
        other.records = [copy.copy(record) for record in self.records]
        return other

    # -- records

    def find(self, name, kind=wire.FULL, instance=0):
        """The first record of a section."""
        for record in self.records:
            if (record.name, record.type, record.instance) == (name, kind,
                                                               instance):
                return record
        raise KeyError(f"there is no section '{name}' of type {kind}")

    def of_type(self, kind):
        """The first record of a type."""
        return next(r for r in self.records if r.type == kind)

    def chain_of(self, record):
        """Where the records of its chain begin and end."""
        at = begin = self.records.index(record)
        while not self.records[at].flags & wire.LAST:
            at += 1
        return begin, at + 1

    def behind(self, record, *added):
        at = self.records.index(record) + 1
        self.records[at:at] = added

    def take_machine(self):
        """Takes the records out that come before a hello, and returns them."""
        end = self.records.index(self.of_type(wire.MACHINE_END)) + 1
        taken, self.records = self.records[:end], self.records[end:]
        return taken

    def drop(self, record):
        """Leaves out the chain that begins with this record."""
        begin, end = self.chain_of(record)
        del self.records[begin:end]

    def rename(self, record, name=None, instance=None, version=None):
        """Changes what a section's first record says of it."""
        old = wire.IDENT.unpack_from(record.payload)
        name = record.name if name is None else name
        identification = wire.ident(
            name, old[0] if instance is None else instance,
            old[1] if version is None else version)
        record.payload = identification + record.payload[record.ident_size:]
        record.ident_size = len(identification)

    # -- sections

    def state(self, record):
        """What a section holds behind its identification."""
        begin, end = self.chain_of(record)
        return b''.join(r.payload for r in self.records[begin:end])[
            record.ident_size:]

    def store(self, record, state):
        """Gives a section another state, in as many records as it takes."""
        begin, end = self.chain_of(record)
        flags = record.flags & wire.OPTIONAL
        chain = wire.chain(record.type,
                           record.payload[:record.ident_size] + state,
                           flags, record.section_id)
        for new in chain:
            new.flags |= flags
            new.name, new.instance = record.name, record.instance
        chain[0].ident_size = record.ident_size
        self.records[begin:end] = chain
        return chain[0]

    def add(self, before, name, state, flags=0, instance=0, version=1):
        """Puts a section with an id of its own before a record."""
        section_id = 1 + max(r.section_id for r in self.records)
        identification = wire.ident(name, instance, version)
        chain = wire.chain(wire.FULL, identification + state, flags,
                           section_id)
        for new in chain:
            new.name, new.instance = name, instance
        chain[0].ident_size = len(identification)
        at = self.records.index(before)
        self.records[at:at] = chain
        return chain[0]

    # -- frames

    def described(self, record):
        """The description of a section, or of the configuration; None if it
        has no frames."""
        if record.type == wire.CONFIGURATION:
            return configuration(self.state(record))
        for device in self.description['devices']:
            if (device['name'], device['instance_id']) == (record.name,
                                                           record.instance):
                return device if 'vmsd_name' in device else None
        return None

    def tree(self, record):
        """The frames of a section; None if it has none."""
        struct_ = self.described(record)
        return struct_ and frames.parse(self.state(record), struct_)

    def edit(self, name, change, instance=0):
        """Calls change() with the frames of a section and stores them."""
        record = self.find(name, instance=instance)
        tree = self.tree(record)
        change(tree)
        return self.store(record, tree.encode())

    # -- the whole

    def encode(self, spoil=None):
        """The stream as it stands, with an index that is right, if it has
        one, but for what spoil() does to the list of its entries."""
        records = list(self.records)
        if any(r.type == wire.INDEX for r in records):
            begin, end = self.chain_of(self.of_type(wire.INDEX))
            entries = index.of(records)
            if spoil:
                spoil(entries)
            records[begin:end] = index.encode(entries)
        return wire.encode(records)
