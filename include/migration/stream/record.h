/*
 * Migration stream version 4: records, the codec
 *
 * What stands on the wire, and nothing else: the preamble, a record's header
 * and a section's identification.  Implements "Records" and "Sections" of
 * docs/devel/migration-v4/wire-format.rst, which is the authority on every
 * byte.  Pure: knows neither machine nor channel.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef MIGRATION_STREAM_RECORD_H
#define MIGRATION_STREAM_RECORD_H

#include "qemu/units.h"

/* The preamble: as in every version, so that any reader can name this one */
#define STREAM_MAGIC 0x5145564dU
#define STREAM_VERSION 4
#define STREAM_PREAMBLE_SIZE 8

/* Longest payload of one record, in bytes; longer sections are chains */
#define STREAM_PAYLOAD_MAX (128 * KiB)

/* Of a record that has a head: longest head, and longest data behind it */
#define STREAM_HEAD_MAX (64 * KiB)
#define STREAM_DATA_MAX (1 * MiB)

/* A head's length, which it begins with */
#define STREAM_HEAD_MIN 4

/* Longest notice, in bytes: a hello or a word of the hand-over */
#define STREAM_NOTICE_MAX (16 * MiB)

/* Longest description of the machine, in bytes */
#define STREAM_MACHINE_MAX (16 * MiB)

/* Longest facts of a source that nobody answers, in bytes */
#define STREAM_FACTS_MAX (16 * MiB)

/* Most sections that one stream may have */
#define STREAM_SECTIONS_MAX 65536

typedef enum StreamRecordType {
    STREAM_RECORD_END = 0x00,
    STREAM_RECORD_SECTION_START = 0x01,
    STREAM_RECORD_SECTION_PART = 0x02,
    STREAM_RECORD_SECTION_END = 0x03,
    STREAM_RECORD_SECTION_FULL = 0x04,
    STREAM_RECORD_VMDESCRIPTION = 0x06,
    STREAM_RECORD_CONFIGURATION = 0x07,
    STREAM_RECORD_COMMAND = 0x08,
    STREAM_RECORD_RETURN_PATH = 0x09,
    STREAM_RECORD_INDEX = 0x0a,
    STREAM_RECORD_PAGES = 0x0b,
    STREAM_RECORD_COLO = 0x0c,
    STREAM_RECORD_HELLO = 0x0d,
    STREAM_RECORD_HANDOVER = 0x0e,
    STREAM_RECORD_MACHINE = 0x0f,
    STREAM_RECORD_MACHINE_END = 0x10,
    STREAM_RECORD_FACTS = 0x11,
    STREAM_RECORD_PACKET = 0x12,
    STREAM_RECORD_VERDICT = 0x13,
} StreamRecordType;

/* The last record of its section */
#define STREAM_FLAG_LAST 0x0001
/* A reader that does not know the type, or the device, skips the record */
#define STREAM_FLAG_OPTIONAL 0x0002
/* The payload is a head, which the checksum is of, and data */
#define STREAM_FLAG_HEAD 0x0004
#define STREAM_FLAGS_KNOWN \
    (STREAM_FLAG_LAST | STREAM_FLAG_OPTIONAL | STREAM_FLAG_HEAD)

/* A record's header as it stands on the wire; every field is big endian */
typedef struct QEMU_PACKED StreamRecordHeader {
    uint16_t type;
    uint16_t flags;
    uint32_t section_id;
    uint32_t length;
    uint32_t payload_crc;
    uint64_t offset;
    uint32_t header_crc;
} StreamRecordHeader;

#define STREAM_HEADER_SIZE 28

/* A section's identification as it stands on the wire, without the name */
typedef struct QEMU_PACKED StreamIdentHeader {
    uint32_t instance_id;
    uint32_t version_id;
    uint8_t name_length;
} StreamIdentHeader;

/* The header, a name of 1 to 255 bytes, and a checksum of both */
#define STREAM_IDENT_MAX (sizeof(StreamIdentHeader) + 255 + 4)

/* A record's header in host terms */
typedef struct StreamRecord {
    uint16_t type;
    uint16_t flags;
    uint32_t section_id;
    uint32_t length;        /* of the payload, in bytes */
    uint32_t payload_crc;   /* CRC32C of the payload, or of its head */
    uint64_t offset;        /* of this header, from the stream's first byte */
} StreamRecord;

/* Which device a section is about */
typedef struct StreamIdent {
    uint32_t instance_id;
    uint32_t version_id;
    char name[256];
} StreamIdent;

/**
 * stream_crc32c: CRC32C (Castagnoli), as iSCSI and RFC 3720 have it
 *
 * @data: the bytes
 * @length: how many, in bytes
 *
 * It finds damage; it is no authentication, which is what TLS is for.
 */
uint32_t stream_crc32c(const void *data, size_t length);

/**
 * stream_crc32c_extend: CRC32C of what came before, and of more
 *
 * @crc: of what came before, 0 if that was nothing
 */
uint32_t stream_crc32c_extend(uint32_t crc, const void *data, size_t length);

/**
 * stream_record_identifies: does a section of this type say what it is about?
 */
bool stream_record_identifies(uint16_t type);

/**
 * stream_record_type_name: what a record type is called in messages
 *
 * Returns: a static string, or NULL for a type that this version lacks.
 */
const char *stream_record_type_name(uint16_t type);

/**
 * stream_record_may_have_head: may a record of this type have a head?
 *
 * Of types that this version knows.
 */
bool stream_record_may_have_head(uint16_t type);

/**
 * stream_record_payload_max: the longest payload that a record may have
 *
 * @flags: of the record
 *
 * Returns: the length in bytes.
 */
uint32_t stream_record_payload_max(uint16_t flags);

/**
 * stream_record_has_section: does a record of this type belong to a section?
 */
bool stream_record_has_section(uint16_t type);

/**
 * stream_record_offset: the offset that a header gives, unchecked
 *
 * @wire: %STREAM_HEADER_SIZE bytes
 */
uint64_t stream_record_offset(const uint8_t *wire);

/**
 * stream_record_encode: write a record's header
 *
 * @record: what to write
 * @wire: %STREAM_HEADER_SIZE bytes, filled in with their own checksum
 */
void stream_record_encode(const StreamRecord *record, uint8_t *wire);

/**
 * stream_record_decode: check and read a record's header
 *
 * @wire: %STREAM_HEADER_SIZE bytes
 * @offset: where in the stream they stood, in bytes
 * @record: filled in on success
 * @errp: says which check failed, what was expected and what came
 *
 * The checksum comes first: no field is looked at before it has passed.
 * The type is not judged here, because the flags decide on an unknown one.
 *
 * Returns: %true on success, %false with @errp set.
 */
bool stream_record_decode(const uint8_t *wire, uint64_t offset,
                          StreamRecord *record, Error **errp);

/**
 * stream_name_is_proper: can a name be shown to people?
 *
 * @name: as it stands on the wire, without a NUL behind it
 *
 * Returns: %true if it is UTF-8, not empty and has no control characters.
 */
bool stream_name_is_proper(const uint8_t *name, size_t length);

/**
 * stream_text_mend: what can be shown to people of what somebody else wrote
 *
 * @data: any bytes at all
 * @length: how many
 * @most: how long the text may be, in bytes; what is longer is cut between two
 * characters
 *
 * Returns: UTF-8 without control characters but for newlines, which the caller
 * frees.
 */
char *stream_text_mend(const void *data, size_t length, size_t most);

/**
 * stream_ident_encode: write a section's identification
 *
 * @ident: the name has 1 to 255 bytes
 * @wire: room for %STREAM_IDENT_MAX bytes
 *
 * Returns: the number of bytes written.
 */
size_t stream_ident_encode(const StreamIdent *ident, uint8_t *wire);

/**
 * stream_ident_decode: check and read a section's identification
 *
 * @wire: the beginning of the section's first payload
 * @length: how many bytes there are
 * @ident: filled in on success, its name terminated with a NUL
 * @errp: says what is wrong
 *
 * The identification has a checksum of its own, so that a section whose
 * state is damaged can still be called by its name.
 *
 * Returns: the number of bytes that it takes, or 0 with @errp set.
 */
size_t stream_ident_decode(const uint8_t *wire, size_t length,
                           StreamIdent *ident, Error **errp);

#endif
