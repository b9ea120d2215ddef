/*
 * Migration stream version 4: which record may follow which
 *
 * Implements "Order" of docs/devel/migration-v4/wire-format.rst, and what other
 * parts of it say about a record's neighbours.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "reader-private.h"

/* Whether the end has come, behind which there is only the hand-over */
static bool stream_reader_ended(const StreamReader *r)
{
    return r->record.type == STREAM_RECORD_END ||
           r->record.type == STREAM_RECORD_HANDOVER;
}

/* Does what is said before the stream itself come where it belongs? */
static bool stream_reader_check_stage(StreamReader *r,
                                      const StreamRecord *record, Error **errp)
{
    uint16_t type = record->type;

    switch (r->stage) {
    case STREAM_STAGE_BEGUN:
        /* Or there is no more to come than a word of the hand-over */
        if ((type == STREAM_RECORD_MACHINE && !r->records) ||
            type == STREAM_RECORD_HANDOVER) {
            return true;
        }
        if (type == STREAM_RECORD_MACHINE) {
            break;
        }
        error_setg(errp, "the machine is missing: expected a %s record first, "
                   "got a %s record",
                   stream_record_type_name(STREAM_RECORD_MACHINE),
                   stream_record_name(type));
        return false;
    case STREAM_STAGE_MACHINE:
        if (type == STREAM_RECORD_MACHINE_END ||
            !stream_record_type_name(type)) {
            return true;
        }
        error_setg(errp, "the machine's end is missing: expected a %s record "
                   "before anything else, got a %s record",
                   stream_record_type_name(STREAM_RECORD_MACHINE_END),
                   stream_record_name(type));
        return false;
    default:
        break;
    }
    if (type == STREAM_RECORD_MACHINE || type == STREAM_RECORD_MACHINE_END) {
        error_setg(errp, "a %s record comes late: expected it first, and once",
                   stream_record_name(type));
        return false;
    }
    if (type == STREAM_RECORD_HELLO && r->records &&
        r->record.type != STREAM_RECORD_MACHINE_END) {
        error_setg(errp, "a hello comes late: expected it first, and once");
        return false;
    }
    return true;
}

/* May @record have a head, or be without one? */
static bool stream_reader_check_head(const StreamReader *r,
                                     const StreamRecord *record, Error **errp)
{
    bool head = record->flags & STREAM_FLAG_HEAD;
    uint16_t type = record->type;

    if (head ? stream_record_type_name(type) &&
               !stream_record_may_have_head(type)
             : type == STREAM_RECORD_PACKET) {
        error_setg(errp, "a %s record %s: expected %s",
                   stream_record_name(type), head ? "has a head" :
                   "has no head", head ? "none" : "one");
        return false;
    }
    if (head && stream_reader_in_chain(r) && r->given) {
        error_setg(errp, "a packet comes late: expected it before what else "
                   "the section has, got it behind %" PRIu64 " bytes",
                   r->given);
        return false;
    }
    /* They have channels of their own, which have nothing else */
    if (type == STREAM_RECORD_PACKET &&
        ((r->records && r->record.type != type) ||
         !(record->flags & STREAM_FLAG_LAST))) {
        error_setg(errp, "a packet record is out of place: expected it by "
                   "itself, on a channel that has nothing else");
        return false;
    }
    return true;
}

/* Do @record and the one before it belong together as sections demand? */
static bool stream_reader_check_order(StreamReader *r,
                                      const StreamRecord *record, Error **errp)
{
    if (stream_reader_in_chain(r)) {
        if (record->type != r->record.type ||
            record->section_id != r->record.section_id) {
            error_setg(errp, "the section is not finished: expected a %s "
                       "record of section id %" PRIu32 ", got a %s record of "
                       "section id %" PRIu32,
                       stream_record_name(r->record.type),
                       r->record.section_id,
                       stream_record_name(record->type),
                       record->section_id);
            return false;
        }
        return true;
    }
    if (!stream_reader_check_stage(r, record, errp)) {
        return false;
    }
    if (r->indexed && record->type != STREAM_RECORD_END &&
        !(record->type == STREAM_RECORD_HANDOVER && stream_reader_ended(r))) {
        error_setg(errp, "something comes behind the index: expected the end "
                   "record, got a %s record",
                   stream_record_name(record->type));
        return false;
    }
    return r->checked || stream_index_check(r->index, record->type,
                                            record->section_id, errp);
}

bool stream_reader_check_place(StreamReader *r, const StreamRecord *record,
                               Error **errp)
{
    return stream_reader_check_order(r, record, errp) &&
           stream_reader_check_head(r, record, errp);
}

/* The end of the stream, or of the machine: nothing is in it */
static bool stream_reader_check_is_end(const StreamReader *r, Error **errp)
{
    const StreamRecord *record = &r->record;

    if (stream_reader_in_chain(r)) {
        error_setg(errp, "the end is not the last of its chain: expected "
                   "flags 0x%04x, got 0x%04x", STREAM_FLAG_LAST,
                   record->flags);
        return false;
    }
    if (record->type == STREAM_RECORD_MACHINE_END && record->length) {
        error_setg(errp, "the machine's end has a payload: expected none, got "
                   "%" PRIu32 " bytes", record->length);
        return false;
    }
    if (record->type == STREAM_RECORD_END &&
        (record->length || !r->indexed)) {
        error_setg(errp, r->indexed ?
                   "the end has a payload: expected none, got %" PRIu32
                   " bytes" : "the end comes without an index: expected one "
                   "right before it, got %" PRIu32 " bytes of payload",
                   record->length);
        return false;
    }
    return true;
}

bool stream_reader_check_type(const StreamReader *r, Error **errp)
{
    const StreamRecord *record = &r->record;

    if (!stream_record_type_name(record->type) &&
        !(record->flags & STREAM_FLAG_OPTIONAL)) {
        error_setg(errp, "the record is of unknown type 0x%04x and not "
                   "optional: expected a type that this version knows",
                   record->type);
        error_append_hint(errp, "The stream comes from a newer QEMU.\n");
        return false;
    }
    return (record->type != STREAM_RECORD_END &&
            record->type != STREAM_RECORD_MACHINE_END) ||
           stream_reader_check_is_end(r, errp);
}
