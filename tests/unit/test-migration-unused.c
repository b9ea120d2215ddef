/*
 * Migration stream version 4: structures that are unused are not sent
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "qemu/module.h"
#include "qapi/error.h"
#include "qapi/qmp/json-writer.h"
#include "stream-device.h"

/* What a reset makes of each */
#define INITIAL 0x77

typedef struct Part {
    uint8_t value;
    uint8_t more;
} Part;

typedef struct Device {
    uint32_t first;
    Part part;              /* can be unused */
    Part always;            /* of a kind that cannot */
    Part plain[4];          /* elements without frames */
    Part framed[3];         /* elements with frames, as there is a subsection */
    uint16_t length;
    Part *behind;           /* an array that is there already */
    uint32_t last;
} Device;

static bool part_unused(void *opaque)
{
    return ((Part *)opaque)->value == INITIAL;
}

static bool more_needed(void *opaque)
{
    return ((Part *)opaque)->more;
}

static int loads;

static int count_load(void *opaque, int version_id)
{
    loads++;
    return 0;
}

static const VMStateDescription vmstate_part = {
    .name = "part",
    .version_id = 1,
    .minimum_version_id = 1,
    .post_load = count_load,
    .unused = part_unused,
    .fields = (VMStateField[]) {
        VMSTATE_UINT8(value, Part),
        VMSTATE_END_OF_LIST()
    },
};

static const VMStateDescription vmstate_always = {
    .name = "always",
    .version_id = 1,
    .minimum_version_id = 1,
    .fields = (VMStateField[]) {
        VMSTATE_UINT8(value, Part),
        VMSTATE_END_OF_LIST()
    },
};

static const VMStateDescription vmstate_more = {
    .name = "framed/more",
    .version_id = 1,
    .minimum_version_id = 1,
    .needed = more_needed,
    .fields = (VMStateField[]) {
        VMSTATE_UINT8(more, Part),
        VMSTATE_END_OF_LIST()
    },
};

static const VMStateDescription vmstate_framed = {
    .name = "framed",
    .version_id = 1,
    .minimum_version_id = 1,
    .post_load = count_load,
    .unused = part_unused,
    .fields = (VMStateField[]) {
        VMSTATE_UINT8(value, Part),
        VMSTATE_END_OF_LIST()
    },
    .subsections = (const VMStateDescription *[]) { &vmstate_more, NULL },
};

static const VMStateDescription vmstate_device = {
    .name = "device",
    .version_id = 1,
    .minimum_version_id = 1,
    .fields = (VMStateField[]) {
        VMSTATE_UINT32(first, Device),
        VMSTATE_STRUCT(part, Device, 1, vmstate_part, Part),
        VMSTATE_STRUCT(always, Device, 1, vmstate_always, Part),
        VMSTATE_STRUCT_ARRAY(plain, Device, 4, 1, vmstate_part, Part),
        VMSTATE_STRUCT_ARRAY(framed, Device, 3, 1, vmstate_framed, Part),
        VMSTATE_UINT16(length, Device),
        VMSTATE_STRUCT_VARRAY_POINTER_UINT16(behind, Device, length,
                                            vmstate_part, Part),
        VMSTATE_UINT32(last, Device),
        VMSTATE_END_OF_LIST()
    },
};

static const StreamIdent ident = { .version_id = 1, .name = "dev" };

/* As after a reset; @behind: its elements */
static Device reset(Part *behind)
{
    Device device = { .behind = behind, .length = 2 };

    device.part.value = device.always.value = INITIAL;
    for (int i = 0; i < 4; i++) {
        device.plain[i].value = INITIAL;
    }
    for (int i = 0; i < 3; i++) {
        device.framed[i].value = INITIAL;
    }
    behind[0].value = behind[1].value = INITIAL;
    return device;
}

static QIOChannelBuffer *save(Device *device, JSONWriter *json)
{
    return save_device(ident, &vmstate_device, device, json, NULL);
}

/* Takes @saved; NULL, or why it was refused */
static char *load(QIOChannelBuffer *saved, Device *device)
{
    return load_device(saved, &vmstate_device, device);
}

static void assert_same(const Device *a, const Device *b)
{
    g_assert_cmphex(a->first, ==, b->first);
    g_assert_cmphex(a->part.value, ==, b->part.value);
    g_assert_cmphex(a->always.value, ==, b->always.value);
    for (int i = 0; i < 4; i++) {
        g_assert_cmphex(a->plain[i].value, ==, b->plain[i].value);
    }
    for (int i = 0; i < 3; i++) {
        g_assert_cmphex(a->framed[i].value, ==, b->framed[i].value);
        g_assert_cmphex(a->framed[i].more, ==, b->framed[i].more);
    }
    for (int i = 0; i < 2; i++) {
        g_assert_cmphex(a->behind[i].value, ==, b->behind[i].value);
    }
    g_assert_cmphex(a->last, ==, b->last);
}

/* Which parts are used, and how many of them have to be loaded */
static const struct {
    const char *name;
    bool part;
    unsigned plain, framed, behind;     /* bits */
    int loads;
} uses[] = {
    { "none" },
    { "the part", true, .loads = 1 },
    { "the first element", false, 1, 0, 0, 1 },
    { "the last element", false, 8, 0, 0, 4 },
    { "elements in the middle", false, 6, 0, 0, 3 },
    { "the first element with a frame", false, 0, 1, 0, 1 },
    { "the last element with a frame", false, 0, 4, 0, 1 },
    { "an element that is pointed to", false, 0, 0, 1, 1 },
    { "all", true, 15, 7, 3, 10 },
};

static void test_uses(void)
{
    for (size_t u = 0; u < ARRAY_SIZE(uses); u++) {
        Part one[2] = {}, other[2] = {};
        Device from = reset(one), to = reset(other);
        QIOChannelBuffer *stream;
        g_autofree char *text = NULL;

        from.first = from.last = 0x12345678;
        from.part.value = uses[u].part ? 1 : INITIAL;
        for (int i = 0; i < 4; i++) {
            from.plain[i].value = uses[u].plain & BIT(i) ? 2 + i : INITIAL;
        }
        for (int i = 0; i < 3; i++) {
            from.framed[i].value = uses[u].framed & BIT(i) ? 12 + i : INITIAL;
            from.framed[i].more = uses[u].framed & BIT(i) ? i : 0;
        }
        for (int i = 0; i < 2; i++) {
            one[i].value = uses[u].behind & BIT(i) ? 22 + i : INITIAL;
        }
        stream = save(&from, NULL);
        loads = 0;
        text = load(stream, &to);
        g_test_message("%s: %s", uses[u].name, text ?: "loaded");
        g_assert_null(text);
        assert_same(&to, &from);
        g_assert_cmpint(loads, ==, uses[u].loads);
    }
}

/* What is not sent has to be here */
static void test_not_reset(void)
{
    for (int i = 0; i < 4; i++) {
        Part one[2] = {}, other[2] = {};
        Device from = reset(one), to = reset(other);
        QIOChannelBuffer *stream = save(&from, NULL);
        Part *parts[] = { &to.part, &to.plain[3], &to.framed[0], &other[1] };
        const char *where[] = { "part", "plain", "framed", "behind" };
        g_autofree char *text = NULL, *expected = NULL;

        parts[i]->value = 5;
        text = load(stream, &to);
        g_test_message("%s", text ?: "(accepted)");
        expected = g_strdup_printf("%s: '%s' comes as unused, and is not as "
                                   "after a reset", where[i],
                                   i == 2 ? "framed" : "part");
        g_assert_nonnull(text);
        g_assert_nonnull(strstr(text, expected));
    }
}

static void test_description(void)
{
    Part one[2] = {};
    Device from = reset(one);
    g_autoptr(JSONWriter) json = json_writer_new(false);
    g_autoptr(QIOChannelBuffer) stream = NULL;
    const char *text;

    json_writer_start_object(json, NULL);
    stream = save(&from, json);
    json_writer_end_object(json);
    text = json_writer_get(json);
    g_assert_nonnull(strstr(text, "{\"name\": \"part\", \"type\": \"struct\", "
                            "\"struct\": {\"vmsd_name\": \"part\", "
                            "\"version\": 1, \"unused\": true, \"fields\": []"
                            "}, \"size\": 0}"));
    g_assert_nonnull(strstr(text, "{\"name\": \"plain\", \"array_len\": 0, "));
    g_assert_nonnull(strstr(text, "{\"name\": \"framed\", \"array_len\": 0, "));
}

/* Version 3 sends everything, as ever */
static void test_version_3(void)
{
    Part one[2] = {};
    Device from = reset(one);

    g_assert_cmpuint(size_in_version_3(&vmstate_device, &from), ==,
                     4 + 1 + 1 + 4 + 3 + 2 + 2 + 4);
}

/* What a hostile peer can say of what is unused, and of how much there is */
static void test_forged(void)
{
    static const struct {
        const char *frame;
        unsigned offset, size;
        uint32_t value;
        const char *message;
    } cases[] = {
        { "part", 0, 4, 1, "'part' is said to be unused: expected a structure "
                           "with nothing in it, got 1 bytes and a count of 0" },
        { "part", 8, 4, 1, "got 0 bytes and a count of 1" },
        { "part", 12, 2, 0, "part: its state is not as long as expected" },
        { "part", 12, 2, 0xa, "'part' is said to be unused" },
        { "part", 4, 4, 2, "of another version: expected 1 to 1, got 2" },
        { "device", 12, 2, 8, "'device' is said to be unused" },
        { "always", 12, 2, 8, "'always' is said to be unused" },
        { "framed", 8, 4, 4, "framed: the array is of another size: expected "
                             "at most 3 elements, got 4" },
        { "framed", 8, 4, UINT32_MAX, "at most 3 elements, got 4294967295" },
        { "framed", 8, 4, 1, "framed" },
        { "framed", 12, 2, 0xe, "'framed' is said to be unused" },
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        Part one[2] = {}, other[2] = {};
        Device from = reset(one), to = reset(other);
        QIOChannelBuffer *stream = save(&from, NULL);
        uint8_t *frame = find_frame(stream, cases[i].frame);
        g_autofree char *text = NULL;

        stn_be_p(frame + cases[i].offset, cases[i].size, cases[i].value);
        seal_device(stream);
        text = load(stream, &to);
        g_test_message("case %zu: %s", i, text ?: "(accepted)");
        g_assert_nonnull(text);
        g_assert_nonnull(strstr(text, cases[i].message));
    }
}

/* Unused without a body, of what this side has no rule for */
static void test_no_rule(void)
{
    Part one[2] = {}, other[2] = {};
    Device from = reset(one), to = reset(other);
    QIOChannelBuffer *stream = save(&from, NULL);
    uint8_t *wire = stream->data + BEGINNING_SIZE, *device, *always, *body;
    g_autofree char *text = NULL;
    StreamRecord record;

    /* Takes the byte out that is its body */
    always = find_frame(stream, "always");
    stl_be_p(always, 0);
    stw_be_p(always + offsetof(StreamFrameHeader, flags), STREAM_FRAME_UNUSED);
    body = always + STREAM_FRAME_HEADER_SIZE + strlen("always");
    device = find_frame(stream, "device");
    stl_be_p(device, ldl_be_p(device) - 1);
    stream_record_decode(wire, BEGINNING_SIZE, &record, &error_abort);
    record.length--;
    stream_record_encode(&record, wire);
    stream->usage--;
    memmove(body, body + 1, stream->data + stream->usage - body);
    seal_device(stream);
    text = load(stream, &to);
    g_test_message("%s", text ?: "(accepted)");
    g_assert_nonnull(text);
    g_assert_nonnull(strstr(text, "always: 'always' comes as unused, and this "
                            "side does not know what that would be"));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    module_call_init(MODULE_INIT_QOM);
    g_test_add_func("/migration-unused/uses", test_uses);
    g_test_add_func("/migration-unused/not-reset", test_not_reset);
    g_test_add_func("/migration-unused/description", test_description);
    g_test_add_func("/migration-unused/version-3", test_version_3);
    g_test_add_func("/migration-unused/forged", test_forged);
    g_test_add_func("/migration-unused/no-rule", test_no_rule);
    return g_test_run();
}
