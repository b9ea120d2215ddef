/*
 * Migration stream version 4: state that is changed on its way
 *
 * Implements the stream's part of "State" of docs/devel/migration-v4/map.rst:
 * asks whoever knows, and turns numbers of one width into those of another.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bitops.h"
#include "qemu/bswap.h"
#include "qapi/error.h"
#include "migration/qemu-file.h"
#include "migration/stream/map.h"
#include "migration/stream/structs.h"
#include "migration/stream/vmstate.h"

static const StreamMap *map;

void migration_stream_set_map(const StreamMap *new)
{
    map = new;
}

void stream_map_start(void)
{
    if (map) {
        map->start();
    }
}

const char *stream_map_name(const char *section, bool subsection,
                            const char *name, bool passes)
{
    return map ? map->name(section, subsection, name, passes) : name;
}

const char *stream_map_source_name(const char *section, const char *name)
{
    return map ? map->source_name(section, name) : name;
}

bool stream_map_drops(const char *section)
{
    return map && map->drops(section);
}

bool stream_map_check(Error **errp)
{
    return !map || map->check(errp);
}

/* Whole numbers, each of one width in memory and in the stream */
static const struct Number {
    const VMStateInfo *info;
    unsigned size;
    bool is_signed;
} numbers[] = {
    { &vmstate_info_int8, 1, true }, { &vmstate_info_uint8, 1, false },
    { &vmstate_info_int16, 2, true }, { &vmstate_info_uint16, 2, false },
    { &vmstate_info_int32, 4, true }, { &vmstate_info_uint32, 4, false },
    { &vmstate_info_int64, 8, true }, { &vmstate_info_uint64, 8, false },
};

static const struct Number *find_number(const VMStateInfo *info)
{
    for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
        if (numbers[i].info == info) {
            return &numbers[i];
        }
    }
    return NULL;
}

/* The one that is like @here and @size bytes wide */
static const struct Number *number_of_size(const struct Number *here,
                                           unsigned size)
{
    for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
        if (numbers[i].size == size &&
            numbers[i].is_signed == here->is_signed) {
            return &numbers[i];
        }
    }
    g_assert_not_reached();
}

static uint64_t number_load(const struct Number *number, const void *pv)
{
    uint64_t value = ldn_he_p(pv, number->size);

    return number->is_signed ? sextract64(value, 0, number->size * 8) : value;
}

/* Takes a value over to another width, and says so if it does not fit there */
static bool convert(const struct Number *from, const void *pv,
                    const struct Number *to, void *to_pv, const char *field,
                    Error **errp)
{
    uint64_t value = number_load(from, pv);

    stn_he_p(to_pv, to->size, value);
    if (number_load(to, to_pv) == value) {
        return true;
    }
    error_setg(errp, "the value of '%s' does not fit: expected at most %u "
               "bits, got 0x%" PRIx64, field, to->size * 8, value);
    return false;
}

/* What @field is on the wire: @here, something else, or NULL with @errp set */
static const struct Number *number_on_wire(const struct Number *here,
                                           const char *section,
                                           const char *structure,
                                           const char *field, bool saving,
                                           Error **errp)
{
    unsigned size = map->width(section, structure, field, here->size, saving,
                               errp);

    return size ? number_of_size(here, size) : NULL;
}

int migration_stream_get_field(QEMUFile *f, const VMStateDescription *vmsd,
                               void *pv, size_t size,
                               const VMStateField *field)
{
    StreamChannel *sc = map ? stream_channel_of(f) : NULL;
    const struct Number *here = sc ? find_number(field->info) : NULL;
    const struct Number *there;
    uint64_t wire = 0;
    Error *err = NULL;
    int ret;

    if (!here) {
        return field->info->get(f, pv, size, field);
    }
    there = number_on_wire(here, stream_structs_section(sc),
                           vmsd->name, field->name, false, &err);
    if (!there) {
        return stream_structs_refuse(sc, err);
    }
    if (there == here) {
        return field->info->get(f, pv, size, field);
    }
    ret = there->info->get(f, &wire, there->size, field);
    if (!ret && !convert(there, &wire, here, pv, field->name, &err)) {
        ret = stream_structs_refuse(sc, err);
    }
    return ret;
}

int migration_stream_put_field(QEMUFile *f, const VMStateDescription *vmsd,
                               void *pv, size_t size,
                               const VMStateField *field, JSONWriter *vmdesc)
{
    StreamChannel *sc = map ? stream_channel_of(f) : NULL;
    const struct Number *here = sc ? find_number(field->info) : NULL;
    const struct Number *there;
    uint64_t wire = 0;
    Error *err = NULL;

    if (!here) {
        return field->info->put(f, pv, size, field, vmdesc);
    }
    there = number_on_wire(here, stream_structs(sc)->section.name, vmsd->name,
                           field->name, true, &err);
    if (there == here) {
        return field->info->put(f, pv, size, field, vmdesc);
    }
    if (!there || !convert(here, pv, there, &wire, field->name, &err)) {
        /* As with all that fails while saving, the file has it */
        qemu_file_set_error_obj(f, -EINVAL, err);
        return 0;
    }
    return there->info->put(f, &wire, there->size, field, vmdesc);
}
