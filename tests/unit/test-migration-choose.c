/*
 * Migration stream version 4: state saved as the other side can load it
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/module.h"
#include "qapi/error.h"
#include "io/channel-buffer.h"
#include "migration/migration.h"
#include "migration/qemu-file.h"
#include "migration/vmstate.h"
#include "migration/stream/channel.h"
#include "migration/stream/vmstate.h"
#include "stream-beginning.h"

typedef struct Device {
    uint32_t old, new, sub_old, sub_new, deep;
} Device;

static const VMStateDescription vmstate_deep = {
    .name = "device/sub/deep",
    .version_id = 1,
    .minimum_version_id = 1,
    .fields = (VMStateField[]) {
        VMSTATE_UINT32(deep, Device),
        VMSTATE_END_OF_LIST()
    },
};

static const VMStateDescription vmstate_sub = {
    .name = "device/sub",
    .version_id = 3,
    .minimum_version_id = 1,
    .fields = (VMStateField[]) {
        VMSTATE_UINT32(sub_old, Device),
        VMSTATE_UINT32_V(sub_new, Device, 3),
        VMSTATE_END_OF_LIST()
    },
    .subsections = (const VMStateDescription *[]) { &vmstate_deep, NULL },
};

static const VMStateDescription vmstate_device = {
    .name = "device",
    .version_id = 2,
    .minimum_version_id = 1,
    .fields = (VMStateField[]) {
        VMSTATE_UINT32(old, Device),
        VMSTATE_UINT32_V(new, Device, 2),
        VMSTATE_END_OF_LIST()
    },
    .subsections = (const VMStateDescription *[]) { &vmstate_sub, NULL },
};

static const Device sample = { 0x11, 0x22, 0x33, 0x44, 0x55 };

/* What is chosen, and for what that was asked */
static struct {
    int device, sub, deep;
    const char *refused;
    GString *asked;
} choice;

static int choose(const char *device, uint32_t instance_id,
                  const char *subsection, int version_id, Error **errp)
{
    const char *name = subsection ?: "device";

    g_assert_cmpstr(device, ==, "00.0/device");
    g_assert_cmpuint(instance_id, ==, 7);
    g_string_append_printf(choice.asked, "%s %d;", name, version_id);
    if (!g_strcmp0(name, choice.refused)) {
        error_setg(errp, "there is no doing without '%s'", name);
        return STREAM_LEAVE_OFF;
    }
    return !subsection ? choice.device
         : !strcmp(name, "device/sub") ? choice.sub : choice.deep;
}

/* The device of the first generation */
static const VMStateDescription vmstate_device_1 = {
    .name = "device",
    .version_id = 1,
    .minimum_version_id = 1,
    .fields = (VMStateField[]) {
        VMSTATE_UINT32(old, Device),
        VMSTATE_END_OF_LIST()
    },
};

/* Saves the sample as savevm.c does; NULL with @why set, if that failed */
static QIOChannelBuffer *save(char **why)
{
    QIOChannelBuffer *buffer = qio_channel_buffer_new(1024), *saved;
    StreamChannel *sc = stream_channel_new(QIO_CHANNEL(buffer), true);
    QEMUFile *f = qemu_file_new_output(QIO_CHANNEL(sc));
    StreamIdent ident = { .instance_id = 7, .name = "00.0/device" };
    Device from = sample;
    Error *err = NULL;

    choice.asked = g_string_new(NULL);
    put_beginning(sc->writer);
    ident.version_id = migration_stream_choose_section(f, ident.name, 7, 2);
    stream_writer_begin(sc->writer, STREAM_RECORD_SECTION_FULL, 0, 1, &ident);
    vmstate_save_state_v(f, &vmstate_device, &from, NULL,
                         migration_stream_section_version(f, 2));
    qemu_fflush(f);
    if (qemu_file_get_error_obj(f, &err)) {
        *why = g_strdup(error_get_pretty(err));
        error_free(err);
        saved = NULL;
    } else {
        stream_writer_end(sc->writer, &error_abort);
        /* To close the file is to lose what is in the buffer */
        saved = qio_channel_buffer_new(buffer->usage);
        memcpy(saved->data, buffer->data, buffer->usage);
        saved->usage = buffer->usage;
    }
    qemu_fclose(f);
    object_unref(OBJECT(sc));
    object_unref(OBJECT(buffer));
    return saved;
}

/* Loads what save() saved, all of which must be taken */
static Device load(QIOChannelBuffer *buffer, const VMStateDescription *vmsd,
                   int version_id)
{
    StreamChannel *sc = stream_channel_new(QIO_CHANNEL(buffer), false);
    QEMUFile *f = qemu_file_new_input(QIO_CHANNEL(sc));
    Device to = { 0 };

    get_beginning(sc->reader);
    stream_reader_next(sc->reader, 0, &error_abort);
    g_assert_cmpint(stream_reader_ident(sc->reader)->version_id, ==,
                    version_id);
    g_assert_cmpint(vmstate_load_state(f, vmsd, &to, version_id), ==, 0);
    stream_reader_check_end(sc->reader, qemu_file_buffered(f), &error_abort);
    qemu_fclose(f);
    object_unref(OBJECT(sc));
    object_unref(OBJECT(buffer));
    return to;
}

static void check(const VMStateDescription *vmsd, int version_id,
                  const char *asked, Device expected)
{
    QIOChannelBuffer *buffer = save(NULL);
    Device got = load(buffer, vmsd, version_id);

    g_assert_cmpstr(choice.asked->str, ==, asked);
    g_assert_cmpmem(&got, sizeof(got), &expected, sizeof(expected));
    g_string_free(choice.asked, true);
}

static void begin(int device, int sub, int deep, const char *refused)
{
    choice.device = device;
    choice.sub = sub;
    choice.deep = deep;
    choice.refused = refused;
    migration_stream_set_choose(choose);
}

#define ALL "device 2;device/sub 3;device/sub/deep 1;"

/* Nobody has a say: all goes at its newest */
static void test_no_choice(void)
{
    migration_stream_set_choose(NULL);
    check(&vmstate_device, 2, "", sample);
}

static void test_newest(void)
{
    begin(2, 3, 1, NULL);
    check(&vmstate_device, 2, ALL, sample);
}

static void test_older(void)
{
    begin(1, 3, 1, NULL);
    check(&vmstate_device, 1, ALL, (Device) { 0x11, 0, 0x33, 0x44, 0x55 });
    begin(2, 2, 1, NULL);
    check(&vmstate_device, 2, ALL, (Device) { 0x11, 0x22, 0x33, 0, 0x55 });
}

/* What is in a subsection that is left off goes with it */
static void test_left_off(void)
{
    begin(2, 3, STREAM_LEAVE_OFF, NULL);
    check(&vmstate_device, 2, ALL, (Device) { 0x11, 0x22, 0x33, 0x44, 0 });
    begin(2, STREAM_LEAVE_OFF, 1, NULL);
    check(&vmstate_device, 2, "device 2;device/sub 3;",
          (Device) { 0x11, 0x22, 0, 0, 0 });
    /* So that the device of old, which has never heard of any, can load it */
    begin(1, STREAM_LEAVE_OFF, 1, NULL);
    check(&vmstate_device_1, 1, "device 2;device/sub 3;",
          (Device) { 0x11, 0, 0, 0, 0 });
}

static void test_refused(void)
{
    static const char *const names[] = {
        "device", "device/sub", "device/sub/deep"
    };

    for (int i = 0; i < ARRAY_SIZE(names); i++) {
        g_autofree char *expected =
            g_strdup_printf("there is no doing without '%s'", names[i]);
        g_autofree char *why = NULL;

        begin(2, 3, 1, names[i]);
        g_assert_null(save(&why));
        g_assert_cmpstr(why, ==, expected);
        g_string_free(choice.asked, true);
    }
}

/* Version 3 is what it has always been */
static void test_version_3(void)
{
    QIOChannelBuffer *buffer = qio_channel_buffer_new(1024);
    QEMUFile *f = qemu_file_new_output(QIO_CHANNEL(buffer));
    Device from = sample;

    begin(1, STREAM_LEAVE_OFF, STREAM_LEAVE_OFF, NULL);
    choice.asked = g_string_new(NULL);
    g_assert_cmpint(migration_stream_section_version(f, 2), ==, 2);
    vmstate_save_state(f, &vmstate_device, &from, NULL);
    qemu_fflush(f);
    /* Two, two and one number; a subsection has 2 bytes, its name, a version */
    g_assert_cmpuint(buffer->usage, ==, 5 * 4 + 2 * (2 + 4) +
                     strlen("device/sub") + strlen("device/sub/deep"));
    g_assert_cmpstr(choice.asked->str, ==, "");
    g_string_free(choice.asked, true);
    qemu_fclose(f);
    object_unref(OBJECT(buffer));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    module_call_init(MODULE_INIT_QOM);
    g_test_add_func("/migration-choose/no-choice", test_no_choice);
    g_test_add_func("/migration-choose/newest", test_newest);
    g_test_add_func("/migration-choose/older", test_older);
    g_test_add_func("/migration-choose/left-off", test_left_off);
    g_test_add_func("/migration-choose/refused", test_refused);
    g_test_add_func("/migration-choose/version-3", test_version_3);
    return g_test_run();
}
