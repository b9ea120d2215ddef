/*
 * How a stream begins, for tests that are about what comes behind that
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TESTS_STREAM_BEGINNING_H
#define TESTS_STREAM_BEGINNING_H

#include "qapi/error.h"
#include "migration/stream/reader.h"
#include "migration/stream/writer.h"

#define BEGINNING_MACHINE "{}"

/* In bytes */
#define BEGINNING_SIZE \
    (STREAM_PREAMBLE_SIZE + 2 * STREAM_HEADER_SIZE + \
     strlen(BEGINNING_MACHINE))

static inline void put_beginning(StreamWriter *w)
{
    stream_writer_preamble(w, &error_abort);
    stream_writer_begin(w, STREAM_RECORD_MACHINE, 0, 0, NULL);
    stream_writer_append(w, BEGINNING_MACHINE, strlen(BEGINNING_MACHINE),
                         &error_abort);
    stream_writer_end(w, &error_abort);
    stream_writer_begin(w, STREAM_RECORD_MACHINE_END, 0, 0, NULL);
    stream_writer_end(w, &error_abort);
}

static inline void get_beginning(StreamReader *r)
{
    g_autoptr(GByteArray) json = g_byte_array_new();

    g_assert_cmpuint(stream_reader_preamble(r, &error_abort), ==,
                     STREAM_VERSION);
    stream_reader_machine(r, json, &error_abort);
    g_assert_cmpmem(json->data, json->len, BEGINNING_MACHINE,
                    strlen(BEGINNING_MACHINE));
}

#endif
