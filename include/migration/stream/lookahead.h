/*
 * Migration stream version 4: looking a file through before it is loaded
 *
 * Where the stream is in a file, all that is said of its devices can be checked
 * before any of them is touched.  Memory, which is the most of it, is hopped
 * over.  Implements "Looking ahead" of docs/devel/migration-v4/snapshots.rst.
 * Pure.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef MIGRATION_STREAM_LOOKAHEAD_H
#define MIGRATION_STREAM_LOOKAHEAD_H

#include "migration/stream/reader.h"

/**
 * stream_look_ahead: check a stream from its preamble to its end
 *
 * @read: gives the stream's bytes
 * @hop: passes over some of them
 * @version: set to the stream's version, 0 if it is no stream.  One that is not
 * %STREAM_VERSION is not looked at.
 * @facts: empty, filled with what the source says in a FACTS record
 * @errp: names the section and the place
 *
 * Parts of sections that are sent while the guest runs are hopped over: their
 * headers are checked, and that the index has them.
 *
 * Returns: %true, or %false with @errp set.
 */
bool stream_look_ahead(StreamReadFunc *read, StreamHopFunc *hop, void *opaque,
                       uint32_t *version, GByteArray *facts, Error **errp);

#endif
