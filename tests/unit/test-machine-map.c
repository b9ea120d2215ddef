/*
 * What is changed of a machine on the way, without any
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qapi/qmp/qlist.h"
#include "migration/config/config.h"
#include "migration/config/map.h"

static const char machine[] =
    "{'format': 1, 'qemu': {'version': '7.2.22'},"
    " 'board': {'type': 'pc-q35-7.2-v4', 'accelerator': 'tcg',"
    "  'properties': {}, 'set': [],"
    "  'host-properties': {'memory-backend': 'mem0', 'pflash0': 'code'},"
    "  'options': [{'option': 'nic', 'value': 'model=e1000,netdev=lan'},"
    "              {'option': 'serial', 'value': 'chardev=con'}],"
    "  'globals': [{'driver': 'e1000', 'property': 'netdev', 'value': 'lan'}],"
    "  'numa': [{'type': 'node', 'memdev': 'mem0'},"
    "           {'type': 'dist', 'src': 0, 'dst': 0, 'val': 10}]},"
    " 'cpu': {'model': 'qemu64', 'properties': {}, 'features': []},"
    " 'ram-blocks': [{'name': 'mem0', 'size': 1, 'page-size': 1},"
    "                {'name': '/objects/mem1', 'size': 1, 'page-size': 1}],"
    " 'devices': ["
    "  {'path': '/pcie.0/1f.0', 'driver': 'ich9-lpc', 'origin': 'board',"
    "   'properties': {}, 'host-properties': {}, 'set': []},"
    "  {'path': '/pcie.0/02.0', 'driver': 'virtio-scsi-pci', 'id': 'scsi',"
    "   'bus': 'pcie.0', 'address': '02.0', 'origin': 'user',"
    "   'properties': {'addr': '02.0', 'num_queues': 4},"
    "   'host-properties': {'iothread': '/objects/io'},"
    "   'set': ['num_queues']},"
    "  {'path': '/pcie.0/02.0/scsi.0/0:0:1', 'driver': 'scsi-hd', 'id': 'hd',"
    "   'bus': 'scsi.0', 'address': '0:0:1', 'origin': 'user',"
    "   'properties': {'serial': 'scsi'},"
    "   'host-properties': {'drive': 'disk'}, 'set': []},"
    "  {'path': '/pcie.0/02.0/scsify.0/x', 'driver': 'odd', 'bus': 'scsify.0',"
    "   'origin': 'user', 'properties': {'failover_pair_id': 'tablet'},"
    "   'host-properties': {}, 'set': []},"
    "  {'path': '/usb.0/1', 'driver': 'usb-tablet', 'id': 'tablet',"
    "   'origin': 'user', 'properties': {}, 'host-properties': {},"
    "   'set': []},"
    "  {'path': '/pcie.0/03.0', 'driver': 'virtio-rng-pci', 'id': 'rng0',"
    "   'origin': 'user', 'properties': {'max-bytes': 5},"
    "   'host-properties': {'rng': 'random'}, 'set': []},"
    "  {'path': '/pcie.0/03.0/virtio-bus/0', 'driver': 'virtio-rng-device',"
    "   'origin': 'device', 'properties': {}, 'host-properties': {},"
    "   'set': []},"
    "  {'path': '/pcie.0/04.0', 'driver': 'intel-hda', 'id': 'sound',"
    "   'origin': 'user', 'properties': {}, 'host-properties': {},"
    "   'set': []},"
    "  {'path': '/pcie.0/04.0/sound.0/0', 'driver': 'hda-duplex',"
    "   'origin': 'user', 'properties': {}, 'host-properties': {},"
    "   'set': []},"
    "  {'path': '/pcie.0/05.0', 'driver': 'virtio-net-pci', 'id': 'net',"
    "   'origin': 'user', 'properties': {'mac': 'a'},"
    "   'host-properties': {'netdev': 'lan'}, 'set': []},"
    "  {'path': '/pcie.0/06.0', 'driver': 'virtio-net-pci', 'id': 'net2',"
    "   'origin': 'user', 'properties': {'mac': 'b',"
    "   'failover_pair_id': 'net'}, 'host-properties': {'netdev': 'wan'},"
    "   'set': []}],"
    " 'backends': ["
    "  {'kind': 'block', 'id': 'image', 'type': 'file', 'guest': {},"
    "   'host': {'node-name': 'image', 'filename': 'image'}},"
    "  {'kind': 'block', 'id': 'disk', 'type': 'quorum', 'guest': {},"
    "   'host': {'node-name': 'disk', 'children': ['image', 'other'],"
    "            'file': {'driver': 'x', 'backing': 'image'}}},"
    "  {'kind': 'net', 'id': 'lan', 'type': 'user', 'guest': {}, 'host': {}},"
    "  {'kind': 'net', 'id': 'wan', 'type': 'user', 'guest': {}, 'host': {}},"
    "  {'kind': 'chardev', 'id': 'con', 'type': 'null', 'guest': {},"
    "   'host': {'id': 'con'}},"
    "  {'kind': 'object', 'id': 'io', 'type': 'iothread', 'guest': {},"
    "   'host': {}},"
    "  {'kind': 'object', 'id': 'random', 'type': 'rng-builtin', 'guest': {},"
    "   'host': {}},"
    "  {'kind': 'object', 'id': 'mem0', 'type': 'memory-backend-ram',"
    "   'guest': {}, 'host': {}},"
    "  {'kind': 'object', 'id': 'mem1', 'type': 'memory-backend-ram',"
    "   'guest': {}, 'host': {}}]}";

static MachineConfig *config_new(void)
{
    return machine_config_parse(machine, strlen(machine), &error_abort);
}

static MachineMapping *map_new(const char *json)
{
    return machine_mapping_parse(json, strlen(json), &error_abort);
}

static void check_error(Error *err, const char *reason)
{
    g_assert_nonnull(err);
    if (!strstr(error_get_pretty(err), reason)) {
        g_test_message("expected '%s', got '%s'", reason,
                       error_get_pretty(err));
        g_test_fail();
    }
    error_free(err);
}

static char *text_of(MachineConfig *config)
{
    return g_string_free(machine_config_to_json(config), false);
}

/* The machine with the words of @changes, in pairs: what was, what is */
static char *machine_with(const char *const *changes)
{
    g_autoptr(MachineConfig) config = config_new();
    char *text = text_of(config);

    for (; *changes; changes += 2) {
        g_auto(GStrv) parts = g_strsplit(text, changes[0], -1);

        g_assert_cmpuint(g_strv_length(parts), >, 1);
        g_free(text);
        text = g_strjoinv(changes[1], parts);
    }
    return text;
}

/* Applies a map and returns how often its first operation was done */
static uint64_t applied(const char *json, const char *const *changes)
{
    g_autoptr(MachineMapping) map = map_new(json);
    g_autoptr(MachineConfig) config = config_new();
    g_autofree char *expected_text = machine_with(changes);
    g_autoptr(MachineConfig) expected =
        machine_config_parse(expected_text, strlen(expected_text),
                             &error_abort);
    g_autoptr(QDict) expected_dict = machine_config_to_qdict(expected);
    g_autoptr(QDict) dict = NULL;
    MachineMapInfo *info;
    uint64_t count;

    machine_mapping_apply(map, config, &error_abort);
    dict = machine_config_to_qdict(config);
    if (!qobject_is_equal(QOBJECT(dict), QOBJECT(expected_dict))) {
        g_autofree char *got = text_of(config);

        g_test_message("expected %s\ngot %s", expected_text, got);
        g_test_fail();
    }

    info = machine_mapping_report(map);
    count = info->operations->value->applied;
    qapi_free_MachineMapInfo(info);
    machine_mapping_start(map);
    info = machine_mapping_report(map);
    g_assert_cmpuint(info->operations->value->applied, ==, 0);
    qapi_free_MachineMapInfo(info);
    return count;
}

static void refused(const char *json, const char *reason)
{
    g_autoptr(MachineMapping) map = map_new(json);
    g_autoptr(MachineConfig) config = config_new();
    Error *err = NULL;

    g_assert_false(machine_mapping_apply(map, config, &err));
    check_error(err, reason);
}

#define CHANGES(...) ((const char *[]) { __VA_ARGS__, NULL })

static void test_rename_device(void)
{
    /* Its bus, what is on it, and nothing that is only called alike */
    g_assert_cmpuint(applied(
        "[{'op': 'rename', 'id': 'scsi', 'to': 'new'}]",
        CHANGES("\"id\": \"scsi\"", "\"id\": \"new\"",
                "\"bus\": \"scsi.0\"", "\"bus\": \"new.0\"")), ==, 2);
    g_assert_cmpuint(applied(
        "[{'op': 'rename', 'id': 'net', 'to': 'n'}]",
        CHANGES("\"id\": \"net\"", "\"id\": \"n\"",
                "\"failover_pair_id\": \"net\"",
                "\"failover_pair_id\": \"n\"")), ==, 2);
    refused("[{'op': 'rename', 'id': 'none', 'to': 'x'}]",
            "Operation 1 of the map (rename device 'none' to 'x') cannot be "
            "done: there is no device 'none'");
    refused("[{'op': 'rename', 'id': 'scsi', 'to': 'hd'}]",
            "there is a device 'hd'");
    refused("[{'op': 'rename', 'id': '/pcie.0/1f.0', 'to': 'x'}]",
            "device '/pcie.0/1f.0' has no id");
}

static void test_rename_backend(void)
{
    g_assert_cmpuint(applied(
        "[{'op': 'rename', 'kind': 'block', 'id': 'image', 'to': 'b'}]",
        CHANGES("\"id\": \"image\"", "\"id\": \"b\"",
                "\"node-name\": \"image\"", "\"node-name\": \"b\"",
                "[\"image\", \"other\"]", "[\"b\", \"other\"]",
                "\"backing\": \"image\"", "\"backing\": \"b\"")), ==, 3);
    g_assert_cmpuint(applied(
        "[{'op': 'rename', 'kind': 'net', 'id': 'lan', 'to': 'b'}]",
        CHANGES("\"id\": \"lan\"", "\"id\": \"b\"",
                "\"netdev\": \"lan\"", "\"netdev\": \"b\"",
                ",netdev=lan", ",netdev=b",
                "\"value\": \"lan\"", "\"value\": \"b\"")), ==, 4);
    g_assert_cmpuint(applied(
        "[{'op': 'rename', 'kind': 'chardev', 'id': 'con', 'to': 'b'}]",
        CHANGES("\"id\": \"con\"", "\"id\": \"b\"",
                "\"chardev=con\"", "\"chardev=b\"")), ==, 2);
    g_assert_cmpuint(applied(
        "[{'op': 'rename', 'kind': 'object', 'id': 'io', 'to': 'b'}]",
        CHANGES("\"id\": \"io\"", "\"id\": \"b\"",
                "\"/objects/io\"", "\"/objects/b\"")), ==, 2);
    refused("[{'op': 'rename', 'kind': 'net', 'id': 'io', 'to': 'x'}]",
            "there is no net 'io'");
    refused("[{'op': 'rename', 'kind': 'net', 'id': 'lan', 'to': 'wan'}]",
            "there is a net 'wan'");
    refused("[{'op': 'rename', 'kind': 'object', 'id': 'mem0', 'to': 'x'}]",
            "the guest's memory 'mem0' is called after it");
    refused("[{'op': 'rename', 'kind': 'object', 'id': 'mem1', 'to': 'x'}]",
            "the guest's memory '/objects/mem1' is called after it");
}

static void test_properties(void)
{
    g_assert_cmpuint(applied(
        "[{'op': 'rename-property', 'driver': 'virtio-scsi-pci',"
        "  'property': 'num_queues', 'to': 'queues'}]",
        CHANGES("num_queues", "queues")), ==, 1);
    g_assert_cmpuint(applied(
        "[{'op': 'rename-property', 'driver': 'virtio-net-pci',"
        "  'property': 'netdev', 'to': 'peer'}]",
        CHANGES("{\"netdev\": ", "{\"peer\": ")), ==, 2);
    g_assert_cmpuint(applied(
        "[{'op': 'set-property', 'device': 'scsi',"
        "  'property': 'num_queues', 'value': 1}]",
        CHANGES("\"num_queues\": 4", "\"num_queues\": 1")), ==, 1);
    /* By its path; and it becomes one that was set */
    g_assert_cmpuint(applied(
        "[{'op': 'set-property', 'device': '/pcie.0/03.0',"
        "  'property': 'max-bytes', 'value': 6}]",
        CHANGES("{\"max-bytes\": 5}, \"set\": []",
                "{\"max-bytes\": 6}, \"set\": [\"max-bytes\"]")), ==, 1);
    refused("[{'op': 'set-property', 'device': 'none', 'property': 'mac',"
            "  'value': 'x'}]", "there is no device 'none'");
    refused("[{'op': 'set-property', 'driver': 'none', 'property': 'mac',"
            "  'value': 'x'}]", "there is no device of driver 'none'");
    refused("[{'op': 'set-property', 'device': 'net', 'property': 'x',"
            "  'value': 'x'}]", "device '/pcie.0/05.0' has no property 'x'");
    refused("[{'op': 'set-property', 'device': 'net', 'property': 'mac',"
            "  'value': 1}]", "is of another type");
    refused("[{'op': 'set-property', 'device': 'scsi', 'property': 'addr',"
            "  'value': '07.0'}]", "its state comes for that place");
    refused("[{'op': 'rename-property', 'device': 'net', 'property': 'mac',"
            "  'to': 'netdev'}]", "has a property 'netdev'");
}

static void test_drop(void)
{
    g_autoptr(MachineConfig) config = config_new();
    g_autoptr(MachineMapping) map = map_new(
        "[{'op': 'drop-device', 'device': '/pcie.0/04.0/sound.0/0'},"
        " {'op': 'drop-device', 'device': 'sound'},"
        " {'op': 'drop-device', 'device': 'rng0'}]");
    MachineMapInfo *info;
    int count = 0;

    machine_mapping_apply(map, config, &error_abort);
    for (MachineConfigDeviceList *l = config->devices; l; l = l->next) {
        g_assert_false(g_str_has_prefix(l->value->path, "/pcie.0/03"));
        g_assert_false(g_str_has_prefix(l->value->path, "/pcie.0/04"));
        count++;
    }
    g_assert_cmpint(count, ==, 7);
    info = machine_mapping_report(map);
    g_assert_cmpuint(info->operations->next->next->value->applied, ==, 2);
    g_assert_cmpstr(info->operations->value->text, ==,
                    "drop device '/pcie.0/04.0/sound.0/0'");
    qapi_free_MachineMapInfo(info);

    refused("[{'op': 'drop-device', 'device': 'none'}]", "there is no device");
    refused("[{'op': 'drop-device', 'device': 'sound'}]",
            "device '/pcie.0/04.0/sound.0/0' needs device '/pcie.0/04.0'");
    refused("[{'op': 'drop-device', 'device': 'tablet'}]",
            "scsify.0/x' needs device '/usb.0/1'");
    refused("[{'op': 'drop-device', 'device': 'net2'}]",
            "the guest needs device '/pcie.0/06.0', which is a "
            "'virtio-net-pci'");
    refused("[{'op': 'drop-device', 'device': '/pcie.0/1f.0'}]",
            "is part of the board");
    refused("[{'op': 'drop-device', 'device': '/pcie.0/03.0/virtio-bus/0'}]",
            "is part of another device");
}

/* One sees what those before it have done */
static void test_order(void)
{
    g_assert_cmpuint(applied(
        "[{'op': 'rename', 'id': 'hd', 'to': 'x'},"
        " {'op': 'rename', 'id': 'net', 'to': 'hd'},"
        " {'op': 'rename', 'id': 'x', 'to': 'net'}]",
        CHANGES("\"id\": \"hd\"", "\"id\": \"x\"",
                "\"id\": \"net\"", "\"id\": \"hd\"",
                "\"failover_pair_id\": \"net\"",
                "\"failover_pair_id\": \"hd\"",
                "\"id\": \"x\"", "\"id\": \"net\"")), ==, 1);
    refused("[{'op': 'rename', 'id': 'hd', 'to': 'x'},"
            " {'op': 'rename', 'id': 'hd', 'to': 'y'}]",
            "Operation 2 of the map");
}

/* State */

static const char of_state[] =
    "[{'op': 'rename-subsection', 'section': 'net', 'from': 'n/a',"
    "  'to': 'n/b'},"
    " {'op': 'rename-field', 'section': '00.0/net', 'from': 'q', 'to': 'r'},"
    " {'op': 'field-width', 'section': 'net', 'structure': 'n',"
    "  'field': 'size', 'from': 32, 'to': 64},"
    " {'op': 'drop-device', 'device': 'rng0', 'sections': ['01.0/rng']}]";

static void test_state(void)
{
    g_autoptr(MachineMapping) map = map_new(of_state);
    g_autoptr(MachineConfig) config = config_new();
    Error *err = NULL;

    g_assert_cmpstr(machine_mapping_name(map, "00.0/net", true, "n/a",
                                         true), ==,
                    "n/b");
    g_assert_cmpstr(machine_mapping_name(map, "net", true, "n/a",
                                         true), ==, "n/b");
    g_assert_cmpstr(machine_mapping_name(map, "00.0/net", false, "n/a",
                                         true), ==,
                    "n/a");
    g_assert_cmpstr(machine_mapping_name(map, "00.0/nets", true, "n/a",
                                         true), ==,
                    "n/a");
    g_assert_cmpstr(machine_mapping_name(map, "01.0/net", false, "q",
                                         true), ==,
                    "q");
    g_assert_cmpstr(machine_mapping_source_name(map, "00.0/net", "n/b"), ==,
                    "n/a");
    g_assert_cmpstr(machine_mapping_source_name(map, "00.0/net", "n/a"), ==,
                    "n/a");

    g_assert_false(machine_mapping_check(map, &err));
    check_error(err, "operation 2 of the map (rename field 'q'");
    err = NULL;
    g_assert_cmpstr(machine_mapping_name(map, "00.0/net", false, "q",
                                         true), ==,
                    "r");

    g_assert_false(machine_mapping_check(map, &err));
    check_error(err, "operation 3 of the map (change field 'size' in 'n' of "
                "'net' from 32 to 64 bits) is about what did not come");
    err = NULL;
    g_assert_cmpuint(machine_mapping_width(map, "net", "n", "size", 4, true,
                                           &error_abort), ==, 8);
    g_assert_cmpuint(machine_mapping_width(map, "net", "n", "size", 8, false,
                                           &error_abort), ==, 4);
    g_assert_cmpuint(machine_mapping_width(map, "net", "m", "size", 2, false,
                                           &error_abort), ==, 2);
    g_assert_cmpuint(machine_mapping_width(map, "net", "n", "size", 8, true,
                                           &err), ==, 0);
    check_error(err, "expected 32 bits on this side, got 64");
    err = NULL;

    g_assert_false(machine_mapping_check(map, &err));
    check_error(err, "operation 4");
    err = NULL;
    g_assert_false(machine_mapping_drops(map, "02.0/rng"));
    g_assert_false(machine_mapping_drops(map, "rng"));
    g_assert_true(machine_mapping_drops(map, "01.0/rng"));

    /* The device itself has to go, too */
    g_assert_false(machine_mapping_check(map, &err));
    check_error(err, "operation 4 of the map (drop device 'rng0') is about "
                "what did not come");
    machine_mapping_apply(map, config, &error_abort);
    machine_mapping_check(map, &error_abort);
}

static void test_subsection_unneeded(void)
{
    g_autoptr(MachineMapping) map = map_new(
        "[{'op': 'rename-subsection', 'section': 'net', 'from': 'n/a',"
        "  'to': 'n/b'}]");
    Error *err = NULL;

    g_assert_false(machine_mapping_check(map, &err));
    check_error(err, "did not come");
    machine_mapping_name(map, "net", false, "anything",
                                         true);
    machine_mapping_check(map, &error_abort);
}

/* Parsing */

static void unreadable(const char *json, const char *reason)
{
    Error *err = NULL;

    g_assert_null(machine_mapping_parse(json, strlen(json), &err));
    check_error(err, reason);
}

#define RENAME "'op': 'rename', 'id': "
#define STATE "'op': 'rename-field', 'section': 's', 'from': "
#define WIDTH "'op': 'field-width', 'section': 's', 'structure': 't', " \
              "'field': 'f', "

static void test_parse(void)
{
    g_autoptr(MachineMapping) empty = map_new("[]");
    g_autoptr(GString) many = g_string_new("[");
    Error *err = NULL;

    machine_mapping_check(empty, &error_abort);
    for (int i = 0; i <= MACHINE_MAP_OPERATIONS_MAX; i++) {
        g_string_append_printf(many, "%s{'op': 'drop-device', 'device': 'd'}",
                               i ? "," : "");
    }
    g_string_append_c(many, ']');
    unreadable(many->str, "more than 256 operations");
    unreadable("", "The map cannot be read: ");
    unreadable("{", "The map cannot be read: ");
    unreadable("{}", "it is no list");
    unreadable("1", "it is no list");
    unreadable("[1]", "The map cannot be read: ");
    unreadable("[{'op': 'other'}]", "other");
    unreadable("[{" RENAME "'a'}]", "to");
    unreadable("[{" RENAME "'a', 'to': 'b', 'more': 1}]", "more");
    unreadable("[{" RENAME "'a', 'to': 'a'}]",
               "Operation 1 of the map (rename): it changes nothing");
    unreadable("[{" RENAME "'a', 'to': '../b'}]", "'../b' cannot be an id");
    unreadable("[{" RENAME "'a', 'to': 'b,c=d'}]", "cannot be an id");
    unreadable("[{" RENAME "'a', 'to': ''}]", "expected names");
    unreadable("[{" RENAME "'a\\n', 'to': 'b'}]", "expected names");
    unreadable("[{" STATE "'', 'to': 'b'}]", "expected names");
    unreadable("[{" STATE "'a', 'to': 'a'}]", "it changes nothing");
    unreadable("[{" STATE "'a', 'to': 'b'}, {" STATE "'a', 'to': 'c'}]",
               "Operation 2 of the map (rename-field): one before it is about "
               "the same");
    unreadable("[{" WIDTH "'from': 32, 'to': 32}]", "it changes nothing");
    unreadable("[{" WIDTH "'from': 32, 'to': 24}]",
               "expected 8, 16, 32 or 64 bits, got 24");
    unreadable("[{" WIDTH "'from': 0, 'to': 64}]", "got 0");
    unreadable("[{" WIDTH "'from': 8, 'to': 16}, {" WIDTH "'from': 8,"
               " 'to': 32}]", "about the same");
    unreadable("[{'op': 'set-property', 'property': 'p', 'value': 1}]",
               "expected either 'device' or 'driver'");
    unreadable("[{'op': 'set-property', 'property': 'p', 'value': 1,"
               "  'device': 'd', 'driver': 'e'}]",
               "expected either 'device' or 'driver'");
    g_assert_null(machine_mapping_parse("[]\0", 3, &err));
    check_error(err, "no text of at most");
    err = NULL;
    g_assert_null(machine_mapping_parse("", MACHINE_MAP_SIZE_MAX + 1, &err));
    check_error(err, "no text of at most");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/migration/map/parse", test_parse);
    g_test_add_func("/migration/map/rename-device", test_rename_device);
    g_test_add_func("/migration/map/rename-backend", test_rename_backend);
    g_test_add_func("/migration/map/properties", test_properties);
    g_test_add_func("/migration/map/drop", test_drop);
    g_test_add_func("/migration/map/order", test_order);
    g_test_add_func("/migration/map/state", test_state);
    g_test_add_func("/migration/map/subsection-unneeded",
                    test_subsection_unneeded);
    return g_test_run();
}
