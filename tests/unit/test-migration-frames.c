/*
 * Migration stream version 4: frames, the index and packages, without a machine
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "qemu/cutils.h"
#include "qemu/module.h"
#include "qapi/error.h"
#include "qapi/qmp/json-writer.h"
#include "stream-device.h"

/* A device of two generations: the second has something of its own */
typedef struct Inner {
    uint16_t a;
} Inner;

typedef struct Device {
    uint32_t first;
    Inner inner;
    Inner several[3];
    uint16_t length;
    uint8_t *bytes;
    bool extra_needed, more_needed;
    uint32_t extra, more;
    int32_t same;
    uint32_t last;
} Device;

static const VMStateDescription vmstate_inner = {
    .name = "inner",
    .version_id = 2,
    .minimum_version_id = 1,
    .fields = (VMStateField[]) {
        VMSTATE_UINT16(a, Inner),
        VMSTATE_END_OF_LIST()
    },
};

static bool extra_needed(void *opaque)
{
    return ((Device *)opaque)->extra_needed;
}

static bool more_needed(void *opaque)
{
    return ((Device *)opaque)->more_needed;
}

static const VMStateDescription vmstate_extra = {
    .name = "device/must",
    .version_id = 1,
    .minimum_version_id = 1,
    .needed = extra_needed,
    .fields = (VMStateField[]) {
        VMSTATE_UINT32(extra, Device),
        VMSTATE_END_OF_LIST()
    },
};

static const VMStateDescription vmstate_more = {
    .name = "device/more",
    .version_id = 1,
    .minimum_version_id = 1,
    .needed = more_needed,
    .optional = true,
    .fields = (VMStateField[]) {
        VMSTATE_UINT32(more, Device),
        VMSTATE_END_OF_LIST()
    },
};

static const VMStateField device_fields[] = {
    VMSTATE_UINT32(first, Device),
    VMSTATE_STRUCT(inner, Device, 1, vmstate_inner, Inner),
    VMSTATE_STRUCT_ARRAY(several, Device, 3, 1, vmstate_inner, Inner),
    VMSTATE_UINT16(length, Device),
    VMSTATE_VARRAY_UINT16_ALLOC(bytes, Device, length, 1, vmstate_info_uint8,
                               uint8_t),
    VMSTATE_INT32_EQUAL(same, Device, "Look at the label."),
    VMSTATE_UINT32(last, Device),
    VMSTATE_END_OF_LIST()
};

static const VMStateDescription vmstate_new = {
    .name = "device",
    .version_id = 1,
    .minimum_version_id = 1,
    .fields = device_fields,
    .subsections = (const VMStateDescription *[]) {
        &vmstate_extra, &vmstate_more, NULL
    },
};

/* The first generation knows neither subsection */
static const VMStateDescription vmstate_old = {
    .name = "device",
    .version_id = 1,
    .minimum_version_id = 1,
    .fields = device_fields,
};

static uint8_t some_bytes[] = { 1, 2, 3, 4, 5 };

static const Device sample = {
    .first = 0x11111111,
    .inner.a = 0x2222,
    .several = { { 0x3331 }, { 0x3332 }, { 0x3333 } },
    .length = sizeof(some_bytes),
    .bytes = some_bytes,
    .extra = 0x44444444,
    .more = 0x55555555,
    .same = 7,
    .last = 0x66666666,
};

static const StreamIdent device_ident = { .version_id = 1, .name = "dev" };

/* One section with a device, then index and end */
static QIOChannelBuffer *save(const Device *device)
{
    MemoryStream s = open_stream(qio_channel_buffer_new(1024), true);
    Device copy = *device;

    g_assert_cmpstr(put_device(&s, device_ident, &vmstate_new, &copy, NULL),
                    ==, NULL);
    stream_writer_put_index(s.sc->writer, &error_abort);
    stream_writer_begin(s.sc->writer, STREAM_RECORD_END, 0, 0, NULL);
    stream_writer_end(s.sc->writer, &error_abort);
    return finish_saving(&s);
}

/* Makes a stream's first section right again after its payload was changed */
static void seal(QIOChannelBuffer *buffer)
{
    StreamRecord record = seal_device(buffer), index;
    uint8_t *next = buffer->data + BEGINNING_SIZE + STREAM_HEADER_SIZE +
                    record.length, *crc;
    uint32_t be;

    stream_record_decode(next, next - buffer->data, &index, &error_abort);
    g_assert_cmpint(index.type, ==, STREAM_RECORD_INDEX);
    be = cpu_to_be32(record.payload_crc);
    crc = next + STREAM_HEADER_SIZE + offsetof(StreamIndexEntry, crc);
    stl_be_p(crc, stream_crc32c(&be, sizeof(be)));
    index.payload_crc = stream_crc32c(next + STREAM_HEADER_SIZE, index.length);
    stream_record_encode(&index, next);
}

/* Loads what save() saved, and frees it; NULL, or why it was refused */
static char *load(QIOChannelBuffer *saved, const VMStateDescription *vmsd,
                  Device *device, uint64_t *skipped)
{
    MemoryStream s = open_stream(saved, false);
    char *text = get_device(&s, vmsd, device);

    if (!text) {
        stream_reader_next(s.sc->reader, 0, &error_abort);
    }
    if (skipped) {
        *skipped = stream_index_skipped(stream_reader_index(s.sc->reader));
    }
    close_stream(&s);
    return text;
}

static void assert_loaded(const Device *device, const Device *expected)
{
    g_assert_cmphex(device->first, ==, expected->first);
    g_assert_cmphex(device->inner.a, ==, expected->inner.a);
    g_assert_cmphex(device->several[2].a, ==, expected->several[2].a);
    g_assert_cmpmem(device->bytes, device->length, expected->bytes,
                    expected->length);
    g_assert_cmphex(device->last, ==, expected->last);
}

static void test_round_trip(void)
{
    for (int i = 0; i < 4; i++) {
        Device from = sample, to = { .same = 7 };
        QIOChannelBuffer *buffer;
        g_autofree char *text = NULL;

        from.extra_needed = i & 1;
        from.more_needed = i & 2;
        buffer = save(&from);
        text = load(buffer, &vmstate_new, &to, NULL);
        g_assert_cmpstr(text, ==, NULL);
        assert_loaded(&to, &from);
        g_assert_cmphex(to.extra, ==, i & 1 ? from.extra : 0);
        g_assert_cmphex(to.more, ==, i & 2 ? from.more : 0);
        g_free(to.bytes);
    }
}

/* An older device passes over what is optional and refuses what is not */
static void test_unknown(void)
{
    Device from = sample, to = { .same = 7 };
    QIOChannelBuffer *buffer;
    uint64_t skipped;
    char *text;

    from.more_needed = true;
    buffer = save(&from);
    text = load(buffer, &vmstate_old, &to, &skipped);
    g_assert_cmpstr(text, ==, NULL);
    g_assert_cmpuint(skipped, ==, 1);
    assert_loaded(&to, &from);
    g_free(to.bytes);

    from.extra_needed = true;
    to = (Device) { .same = 7 };
    buffer = save(&from);
    text = load(buffer, &vmstate_old, &to, &skipped);
    g_assert_nonnull(strstr(text, "'device/must' is unknown and not "
                            "optional"));
    g_free(text);
    g_free(to.bytes);
}

/* What a hostile peer can say in a frame's header */
static void test_forged(void)
{
    static const struct {
        const char *frame;
        unsigned offset, size;
        uint32_t value;
        const char *message;
    } cases[] = {
        { "device", 0, 4, 0x7ffffff0, "not as long as expected" },
        { "device", 0, 4, 10, "longer than the frame around it" },
        { "device", 0, 4, 0x80000000, "is too long" },
        { "device", 4, 4, 2, "expected 1 to 1, got 2" },
        { "device", 4, 4, UINT32_MAX, "of another version" },
        { "device", 8, 4, 3, "shorter than its reader expected" },
        { "device", 8, 4, 1, "not as long as expected" },
        { "device", 12, 2, 2, "expected structure 'device', got an array of" },
        { "device", 12, 2, 0x8000, "has unknown flags" },
        { "device", 12, 2, 4, "has unknown flags" },
        { "device", 14, 1, 0, "no proper name" },
        { "device", 15, 1, 'D', "expected structure 'device', got "
                                "structure 'Device'" },
        { "inner", 0, 4, 3, "inner: its state is not as long" },
        { "inner", 0, 4, 1, "inner: its state is not as long" },
        { "inner", 4, 4, 3, "inner: 'inner' is of another version: expected "
                            "1 to 2, got 3" },
        { "inner", 8, 4, 1, "'inner' is unknown and not optional" },
        { "inner", 15, 1, 'x', "inner: expected structure 'inner', got" },
        { "device/must", 15, 1, 'x', "'xevice/must' is unknown and not "
                                     "optional: 'device' has 'device/must', "
                                      "'device/more'" },
        { "device/more", 22, 4, 0x6d757374, "'device/must' comes twice" },
    };
    Device from = sample;

    from.extra_needed = from.more_needed = true;
    for (int i = 0; i < ARRAY_SIZE(cases); i++) {
        QIOChannelBuffer *buffer = save(&from);
        uint8_t *frame = find_frame(buffer, cases[i].frame);
        Device to = { .same = 7 };
        g_autofree char *text = NULL;

        stn_be_p(frame + cases[i].offset, cases[i].size, cases[i].value);
        seal(buffer);
        text = load(buffer, &vmstate_new, &to, NULL);
        g_test_message("case %d: %s", i, text ?: "(accepted)");
        g_assert_nonnull(text);
        if (!strstr(text, cases[i].message)) {
            g_test_message("expected '%s'", cases[i].message);
            g_test_fail();
        }
        g_assert_nonnull(strstr(text, "section 'dev' (instance 0), record at "
                                "offset 66"));
        g_free(to.bytes);
    }
}

/* Expected and got, the path to the field, and its hint */
static void test_path(void)
{
    Device to = { .same = 8 };
    QIOChannelBuffer *buffer = save(&sample);
    g_autofree char *text = load(buffer, &vmstate_new, &to, NULL);

    g_assert_nonnull(strstr(text, ": same: both sides must have the same "
                            "value: expected 0x8, got 0x7"));
    g_free(to.bytes);
}

/* No more is allocated than what has come can fill */
static void test_alloc(void)
{
    QIOChannelBuffer *buffer = save(&sample);
    uint8_t *bytes = memmem(buffer->data, buffer->usage, some_bytes, 5);
    Device to = { .same = 7 };
    g_autofree char *text = NULL;

    bytes[-1] = 200;
    seal(buffer);
    text = load(buffer, &vmstate_new, &to, NULL);
    g_assert_nonnull(strstr(text, "bytes: there is not enough for 200 "
                            "elements"));
    g_assert_null(to.bytes);
}

static void test_too_deep(void)
{
    StreamFrameStack stack = { 0 };
    StreamFrame frame = { .length = 1000, .name = "deep" };
    Error *err = NULL;

    for (int i = 0; i < STREAM_FRAME_DEPTH_MAX; i++) {
        g_assert_true(stream_frame_enter(&stack, &frame, 0, &error_abort));
    }
    g_assert_false(stream_frame_enter(&stack, &frame, 0, &err));
    g_assert_nonnull(strstr(error_get_pretty(err), "nested too deep"));
    error_free(err);
}

/* The description goes down to what is saved by hand */
static void put_part(QEMUFile *f)
{
    Inner inner = { 5 };

    migration_stream_begin_part(f, "part");
    qemu_put_be16(f, 1);
    migration_stream_describe(f, "named", "uint16");
    qemu_put_be32(f, 2);
    vmstate_save_state(f, &vmstate_inner, &inner, NULL);
    migration_stream_end_part(f);
}

static void test_description(void)
{
    MemoryStream s = open_stream(qio_channel_buffer_new(1024), true);
    g_autoptr(JSONWriter) json = json_writer_new(false);
    const char *text;

    stream_writer_begin(s.sc->writer, STREAM_RECORD_SECTION_FULL, 0, 1,
                        &device_ident);
    json_writer_start_object(json, NULL);
    migration_stream_begin_put(s.f, json);
    qemu_put_byte(s.f, 9);
    put_part(s.f);
    migration_stream_end_put(s.f);
    json_writer_end_object(json);
    text = json_writer_get(json);
    g_assert_cmpstr(text, ==, "{\"struct\": {\"fields\": ["
        "{\"name\": \"data\", \"type\": \"buffer\", \"size\": 1}, "
        "{\"name\": \"part\", \"type\": \"struct\", \"struct\": "
            "{\"vmsd_name\": \"part\", \"version\": 1, \"fields\": ["
            "{\"name\": \"named\", \"type\": \"uint16\", \"size\": 2}, "
            "{\"name\": \"data\", \"type\": \"buffer\", \"size\": 4}, "
            "{\"name\": \"inner\", \"type\": \"struct\", \"struct\": "
                "{\"vmsd_name\": \"inner\", \"version\": 2, \"fields\": ["
                "{\"name\": \"a\", \"type\": \"uint16\", \"size\": 2}]}, "
            "\"size\": 2}]}, \"size\": 8}]}}");
    close_stream(&s);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    module_call_init(MODULE_INIT_QOM);
    g_test_add_func("/migration-frames/round-trip", test_round_trip);
    g_test_add_func("/migration-frames/unknown", test_unknown);
    g_test_add_func("/migration-frames/forged", test_forged);
    g_test_add_func("/migration-frames/path", test_path);
    g_test_add_func("/migration-frames/alloc", test_alloc);
    g_test_add_func("/migration-frames/too-deep", test_too_deep);
    g_test_add_func("/migration-frames/description", test_description);
    return g_test_run();
}
