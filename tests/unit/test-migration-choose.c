/*
 * Migration stream version 4: state saved as the other side can load it
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/module.h"
#include "qapi/error.h"
#include "stream-device.h"

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
    Device from;
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
    StreamIdent ident = {
        .instance_id = 7, .version_id = 2, .name = "00.0/device",
    };
    Device from = choice.from;

    choice.asked = g_string_new(NULL);
    return save_device(ident, &vmstate_device, &from, NULL, why);
}

/* Loads what save() saved, all of which must be taken */
static Device load(QIOChannelBuffer *buffer, const VMStateDescription *vmsd,
                   int version_id)
{
    MemoryStream s = open_stream(buffer, false);
    Device to = { 0 };

    g_assert_cmpstr(get_device(&s, vmsd, &to), ==, NULL);
    g_assert_cmpint(stream_reader_ident(s.sc->reader)->version_id, ==,
                    version_id);
    close_stream(&s);
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
    choice.from = sample;
    migration_stream_set_choose(choose);
}

/* Of subsections first whether, then at which version each is saved */
#define SUB "device/sub 3;device/sub 3;"
#define DEEP "device/sub/deep 1;"
#define ALL "device 2;" SUB DEEP DEEP

/* Nobody has a say: all goes at its newest */
static void test_no_choice(void)
{
    choice.from = sample;
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
    choice.from.new = 0;
    check(&vmstate_device, 1, ALL, (Device) { 0x11, 0, 0x33, 0x44, 0x55 });
    begin(2, 2, 1, NULL);
    choice.from.sub_new = 0;
    check(&vmstate_device, 2, ALL, (Device) { 0x11, 0x22, 0x33, 0, 0x55 });
}

/* What a version has no place for must not be anything */
static void test_lost(void)
{
    g_autofree char *why = NULL, *why_sub = NULL;

    begin(1, 3, 1, NULL);
    g_assert_null(save(&why));
    g_assert_cmpstr(why, ==, "device '00.0/device' (instance 7): 'device' "
                    "cannot be saved at version 1: the guest would lose 'new'");
    g_string_free(choice.asked, true);
    begin(2, 2, 1, NULL);
    g_assert_null(save(&why_sub));
    g_assert_cmpstr(why_sub, ==, "device '00.0/device' (instance 7): "
                    "'device/sub' cannot be saved at version 2: the guest "
                    "would lose 'sub_new'");
    g_string_free(choice.asked, true);
}

/* What is in a subsection that is left off goes with it */
static void test_left_off(void)
{
    begin(2, 3, STREAM_LEAVE_OFF, NULL);
    check(&vmstate_device, 2, "device 2;" SUB DEEP, (Device) { 0x11, 0x22, 0x33, 0x44, 0 });
    begin(2, STREAM_LEAVE_OFF, 1, NULL);
    check(&vmstate_device, 2, "device 2;device/sub 3;",
          (Device) { 0x11, 0x22, 0, 0, 0 });
    /* So that the device of old, which has never heard of any, can load it */
    begin(1, STREAM_LEAVE_OFF, 1, NULL);
    choice.from.new = 0;
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
    Device from = sample;

    begin(1, STREAM_LEAVE_OFF, STREAM_LEAVE_OFF, NULL);
    choice.asked = g_string_new(NULL);
    /* Two, two and one number; a subsection has 2 bytes, its name, a version */
    g_assert_cmpuint(size_in_version_3(&vmstate_device, &from), ==,
                     5 * 4 + 2 * (2 + 4) + strlen("device/sub") +
                     strlen("device/sub/deep"));
    g_assert_cmpstr(choice.asked->str, ==, "");
    g_string_free(choice.asked, true);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    module_call_init(MODULE_INIT_QOM);
    g_test_add_func("/migration-choose/no-choice", test_no_choice);
    g_test_add_func("/migration-choose/newest", test_newest);
    g_test_add_func("/migration-choose/older", test_older);
    g_test_add_func("/migration-choose/lost", test_lost);
    g_test_add_func("/migration-choose/left-off", test_left_off);
    g_test_add_func("/migration-choose/refused", test_refused);
    g_test_add_func("/migration-choose/version-3", test_version_3);
    return g_test_run();
}
