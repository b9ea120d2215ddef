/*
 * qemu-vmstate: what the commands are given, and the commands
 *
 * A command takes the bytes of one stream and gives back text.  It opens,
 * prints and ends nothing, so that a test or a fuzzer can call it with bytes
 * of its own.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef QEMU_VMSTATE_TOOL_H
#define QEMU_VMSTATE_TOOL_H

#include "migration/stream/reader.h"

/* The bytes of a stream: those of a file, a pipe, or of memory */
typedef struct Source Source;

/**
 * source_new_fd: what can be read from a file descriptor, from where it is
 *
 * @fd: stays the caller's
 * @progress: what to call it when telling on stderr how far reading is, NULL
 * to tell nothing
 */
Source *source_new_fd(int fd, const char *progress);

/* What is in memory, which stays the caller's */
Source *source_new_buffer(const void *data, size_t size);

/* Takes what is told of progress away, so that something else can be said */
void source_end_progress(Source *source);

void source_free(Source *source);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Source, source_free)

/* A StreamReadFunc, to be given the source */
ssize_t source_read(void *source, void *data, size_t length, Error **errp);

/**
 * source_read_tail: read all that is left, and keep the end of it
 *
 * @most: how many bytes to keep
 * @end: filled with the number of bytes that the stream has
 *
 * Returns: the last bytes, at most @most, NULL with @errp set on failure.
 */
GByteArray *source_read_tail(Source *source, size_t most, uint64_t *end,
                             Error **errp);

/**
 * tool_info: what there is in a stream, as a table
 *
 * On failure @out has what came before.
 *
 * Returns: %false with @errp set if the stream is damaged.
 */
bool tool_info(Source *source, GString *out, Error **errp);

/**
 * tool_verify: check all of a stream
 *
 * @out: filled with a line that says what was good
 */
bool tool_verify(Source *source, GString *out, Error **errp);

/**
 * tool_dump: the state of devices as JSON
 *
 * @section: NAME or NAME/INSTANCE, or NULL for all
 */
bool tool_dump(Source *source, const char *section, GString *out,
               Error **errp);

/**
 * tool_config: the machine that a version 4 stream is of, as JSON
 *
 * Reads no more than the beginning.
 */
bool tool_config(Source *source, GString *out, Error **errp);

/**
 * tool_command_line: the command line that would make that machine
 *
 * With its back ends as they were on the source, quoted for a shell.
 */
bool tool_command_line(Source *source, GString *out, Error **errp);

/**
 * tool_hex: the bytes of a version 4 stream, record by record
 *
 * @section: NAME, or NULL for all; the first KiB of each payload
 *
 * Shows what is damaged as well, as far as records can be told apart.
 */
bool tool_hex(Source *source, const char *section, GString *out,
              Error **errp);

#endif
