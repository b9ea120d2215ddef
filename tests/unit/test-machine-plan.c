/*
 * The command line that makes a machine that arrives
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/module.h"
#include "qapi/error.h"
#include "migration/config/config.h"
#include "migration/config/plan.h"

/* A machine with one board option, device and back end, each as JSON or "" */
static MachineConfig *machine(const char *board, const char *option,
                              const char *device, const char *backend)
{
    g_autofree char *json = g_strdup_printf(
        "{'format': 1,"
        " 'qemu': {'version': '7.2.0', 'package': ''},"
        " 'board': {'type': 'pc-q35-7.2', 'accelerator': 'tcg',"
        "           'properties': {'memory': {'size': 134217728},"
        "                          'vmport': 'off', 'hpet': true},"
        "           'host-properties': {}, 'set': ['memory', 'vmport'%s],"
        "           'options': [%s], 'globals': [], 'numa': []},"
        " 'cpu': {'model': 'qemu64', 'properties': {}, 'features': []},"
        " 'ram-blocks': [], 'devices': [%s], 'backends': [%s]}",
        board, option, device, backend);
    MachineConfig *config;

    g_strdelimit(json, "'", '"');
    config = machine_config_parse(json, strlen(json), &error_abort);
    return config;
}

static char *plan(MachineConfig *config, const MachinePlanSide *side,
                  Error **errp)
{
    g_autoptr(GPtrArray) arguments = machine_plan(config, side, errp);

    qapi_free_MachineConfig(config);
    return arguments ? machine_plan_to_shell(arguments) : NULL;
}

static void expect(MachineConfig *config, const MachinePlanSide *side,
                   const char *rest)
{
    g_autofree char *line = plan(config, side, &error_abort);
    g_autofree char *all = g_strdup_printf(
        "-nodefaults -machine "
        "pc-q35-7.2,memory.size=134217728,vmport=off -accel tcg -cpu qemu64%s",
        rest);

    /* An object has no order of its members */
    if (strstr(line, "vmport=off,memory")) {
        char *wrong = strstr(line, "vmport=off,memory.size=134217728");

        memcpy(wrong, "memory.size=134217728,vmport=off", 32);
    }
    g_assert_cmpstr(line, ==, all);
}

static void expect_missing(MachineConfig *config, const MachinePlanSide *side,
                           const char *option)
{
    Error *err = NULL;
    g_autofree char *line = plan(config, side, &err);

    g_assert_null(line);
    g_assert_nonnull(err);
    if (!strstr(error_get_pretty(err), option)) {
        g_test_message("%s", error_get_pretty(err));
    }
    g_assert_nonnull(strstr(error_get_pretty(err), option));
    error_free(err);
}

#define NIC \
    "{'path': '/p', 'driver': 'e1000', 'id': 'n', 'bus': 'pcie.0'," \
    " 'address': '02.0', 'origin': 'user'," \
    " 'properties': {'mac': '52:54:00:00:00:01'}," \
    " 'host-properties': {'netdev': 'net0'}, 'set': ['mac', 'netdev']}"
#define TAP \
    "{'kind': 'net', 'id': 'net0', 'type': 'tap', 'guest': {}," \
    " 'host': {'ifname': 'tap0'}}"
#define HUBPORT \
    "{'kind': 'net', 'id': 'net0', 'type': 'hubport', 'guest': {}," \
    " 'host': {'hubid': 0}}"

static GPtrArray *options(const char *option, const char *value)
{
    GPtrArray *array = g_ptr_array_new();

    g_ptr_array_add(array, (char *)option);
    g_ptr_array_add(array, (char *)value);
    return array;
}

static void test_plain(void)
{
    const MachinePlanSide nothing = { };

    expect(machine("", "", "", ""), &nothing, "");
    expect(machine("", "{'option': 'vga', 'value': 'std'}", "", ""), &nothing,
           " -vga std");
    /* Without a value it would take the next option for one */
    expect(machine("", "{'option': 'uuid', 'value': ''},"
                   "{'option': 'uuid', 'value': '/x'}", "", ""), &nothing,
           " -uuid '' -uuid /x");
}

static void test_given(void)
{
    static const char *const forms[] = {
        "tap,id=net0", "id=net0,type=user", "user,id=net0,restrict=on",
        "{\"type\": \"user\", \"id\": \"net0\"}",
    };
    const MachinePlanSide nothing = { };
    const MachinePlanSide trust = { .trust = true };

    expect_missing(machine("", "", NIC, TAP), &nothing, "-netdev '{");
    for (int i = 0; i < ARRAY_SIZE(forms); i++) {
        g_autoptr(GPtrArray) given = options("netdev", forms[i]);
        g_autoptr(GPtrArray) other = options("chardev", forms[i]);
        const MachinePlanSide side = { .options = given };
        const MachinePlanSide wrong = { .options = other };
        g_autofree char *line = plan(machine("", "", NIC, TAP), &side,
                                     &error_abort);

        g_assert_null(strstr(line, "-netdev"));
        g_assert_nonnull(strstr(line, "-device"));
        /* One of another kind is not the same, whatever its name */
        expect_missing(machine("", "", NIC, TAP), &wrong, "-netdev '{");
    }
    {
        g_autofree char *line = plan(machine("", "", NIC, TAP), &trust,
                                     &error_abort);
        g_assert_nonnull(strstr(line, "\"ifname\": \"tap0\""));
    }
    {
        g_autofree char *line = plan(machine("", "", NIC, HUBPORT), &nothing,
                                     &error_abort);
        g_assert_nonnull(strstr(line, "\"hubid\": 0"));
    }
    /* What nothing leads to is not asked for */
    expect(machine("", "", "", TAP), &nothing, "");
}

/* What leads to the host, in each place that it can stand in */
static void test_reach(void)
{
    static const struct {
        const char *board, *option, *device, *backend, *missing;
    } cases[] = {
        { "", "{'option': 'smbios', 'value': 'file=/x'}", "", "",
          "-smbios " },
        { "", "{'option': 'smbios', 'value': 'type=11,path=/x'}", "", "",
          "-smbios " },
        { "", "{'option': 'fw_cfg', 'value': 'name=opt/a,file=/x'}", "", "",
          "-fw_cfg " },
        { "", "{'option': 'fw_cfg', 'value': 'opt/a,string=b,file=/x'}", "",
          "", "-fw_cfg " },
        /* Only what takes JSON is looked at as such */
        { "", "{'option': 'fw_cfg', 'value': '{,name=opt/a,file=/x'}", "", "",
          "-fw_cfg " },
        { "", "{'option': 'smbios', 'value': '{},file=/x'}", "", "",
          "-smbios " },
        { "", "{'option': 'audio', 'value': 'id=a,driver=wav,path=/x'}", "",
          "{'kind': 'audio', 'id': 'a', 'type': 'none', 'guest': {},"
          " 'host': {}}", "-audio " },
        { "", "{'option': 'acpitable', 'value': 'data=/x'}", "", "",
          "-acpitable " },
        { "", "{'option': 'option-rom', 'value': '/x'}", "", "",
          "-option-rom " },
        { "", "{'option': 'serial', 'value': 'tcp:host:1'}", "", "",
          "-serial " },
        { "", "{'option': 'serial', 'value': 'chardev:a,path=/x'}", "", "",
          "-serial " },
        { "", "{'option': 'drive', 'value': 'if=ide,index=0,file=/x'}", "", "",
          "-drive " },
        { "", "{'option': 'nic', 'value': 'tap,script=/x'}", "", "", "-net " },
        { "", "{'option': 'boot', 'value': 'splash=/x'}", "", "", "-boot " },
        { "", "{'option': 'icount', 'value': '1,rr=record,rrfile=/x'}", "", "",
          "-icount " },
        { "", "",
          "{'path': '/p', 'driver': 'e1000', 'origin': 'user',"
          " 'properties': {}, 'host-properties': {'romfile': '/x'},"
          " 'set': ['romfile']}", "", "-device " },
        { "", "",
          "{'path': '/p', 'driver': 'vfio-pci', 'origin': 'user',"
          " 'properties': {}, 'host-properties': {}, 'set': []}", "",
          "-device " },
        { "", "", NIC, "{'kind': 'net', 'id': 'net0', 'type': 'hubport',"
          " 'guest': {}, 'host': {'hubid': 0, 'script': '/x'}}", "-netdev " },
        { "", "", NIC, "{'kind': 'net', 'id': 'net0', 'type': 'new-kind',"
          " 'guest': {}, 'host': {}}", "-netdev " },
        { "", "{'option': 'serial', 'value': 'chardev:s'}", "",
          "{'kind': 'chardev', 'id': 's', 'type': 'null', 'guest': {},"
          " 'host': {'logfile': '/x'}}", "-chardev " },
        { "", "{'option': 'serial', 'value': 'chardev:s'}", "",
          "{'kind': 'chardev', 'id': 's', 'type': 'null', 'guest': {},"
          " 'host': {'size': {'path': '/x'}}}", "-chardev " },
        { "", "{'option': 'drive', 'value': 'if=ide,bus=0,unit=0,id=d'}", "",
          "{'kind': 'block', 'id': 'd', 'type': 'null-co', 'guest': {},"
          " 'host': {'cache': {'a=1,file': '/x'}}}", "-drive " },
        { "", "{'option': 'audio', 'value': 'model=hda,id=a,driver=pa'}", "",
          "{'kind': 'audio', 'id': 'a', 'type': 'none', 'guest': {},"
          " 'host': {}}", "-audio " },
        { "", "",
          "{'path': '/p', 'driver': 'new-kind', 'origin': 'user',"
          " 'properties': {'unheard-of': 'x'}, 'host-properties': {},"
          " 'set': ['unheard-of']}", "", "-device " },
        { "", "",
          "{'path': '/p', 'driver': 'new-kind', 'origin': 'user',"
          " 'properties': {'fd': '3'}, 'host-properties': {},"
          " 'set': ['fd']}", "", "-device " },
    };
    const MachinePlanSide nothing = { };
    const MachinePlanSide trust = { .trust = true };

    for (int i = 0; i < ARRAY_SIZE(cases); i++) {
        g_autofree char *line = NULL;

        expect_missing(machine(cases[i].board, cases[i].option,
                               cases[i].device, cases[i].backend),
                       &nothing, cases[i].missing);
        line = plan(machine(cases[i].board, cases[i].option, cases[i].device,
                            cases[i].backend), &trust, &error_abort);
        g_assert_nonnull(strstr(line, cases[i].missing));
    }
}

/* Nothing in a name can end an option, or the plan */
static void test_tricks(void)
{
    const MachinePlanSide nothing = { };

    expect_missing(machine("", "{'option': 'sandbox', 'value': 'off'}", "", ""),
                   &nothing, "'sandbox'");
    expect_missing(machine("", "{'option': 'serial\\n-x', 'value': ''}", "",
                           ""), &nothing, "nothing is known");
    expect_missing(machine("", "{'option': 'serial', 'value': 'a\\n\\u001b[7m'}",
                           "", ""), &nothing, "'a??[7m'");
    {
        MachineConfig *config = machine("", "", "", "");
        g_autofree char *line = NULL;

        Error *err = NULL;

        g_free(config->board->type);
        config->board->type = g_strdup("pc,kernel=/etc/x");
        line = plan(config, &nothing, &err);
        g_assert_null(line);
        error_free_or_abort(&err);
    }
    for (int i = 0; i < 2; i++) {
        static const char *const names[] = { "a=1,kernel", "" };
        MachineConfig *config = machine(", 'memory'", "", "", "");
        QDict *properties = qobject_to(QDict, config->board->properties);

        qdict_put_str(qdict_get_qdict(properties, "memory"), names[i], "/x");
        expect_missing(config, &nothing, "is no name of a property");
    }
    for (int i = 0; i < 4; i++) {
        static const char *const ids[] = { "a/b", "a,b", "", "-a" };
        MachineConfig *config = machine("", "", NIC, HUBPORT);

        g_free(config->devices->value->id);
        config->devices->value->id = g_strdup(ids[i]);
        expect_missing(config, &nothing, "is no id");
    }
    {
        MachineConfig *config = machine("", "", "", "");

        g_free(config->board->accelerator);
        config->board->accelerator = g_strdup("xen");
        expect_missing(config, &nothing, "-accel 'xen'");
    }
    {
        MachineConfig *config = machine("", "", "", "");
        Error *err = NULL;

        g_free(config->cpu->model);
        config->cpu->model = g_strdup("help");
        g_assert_null(plan(config, &nothing, &err));
        error_free_or_abort(&err);
    }
}

static void test_parse(void)
{
    static const struct {
        const char *text, *implied, *name, *value;
    } cases[] = {
        { "a=1,b=2", NULL, "b", "2" },
        { "x,,y=1,,2,b", "n", "x,y", "1,2" },
        { "tap,id=n", "type", "type", "tap" },
        { "{\"id\": \"n,m\"}", NULL, "id", "n,m" },
        { "{\"id\"", NULL, "id", NULL },
        { "[1]", NULL, "id", NULL },
        { "", "a", "a", NULL },
    };

    for (int i = 0; i < ARRAY_SIZE(cases); i++) {
        g_autoptr(QDict) dict = machine_option_parse(cases[i].text,
                                                     cases[i].implied);

        g_assert_cmpstr(qdict_get_try_str(dict, cases[i].name), ==,
                        cases[i].value);
    }
}

int main(int argc, char **argv)
{
    module_call_init(MODULE_INIT_QOM);
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/machine/plan/plain", test_plain);
    g_test_add_func("/machine/plan/given", test_given);
    g_test_add_func("/machine/plan/reach", test_reach);
    g_test_add_func("/machine/plan/tricks", test_tricks);
    g_test_add_func("/machine/plan/parse", test_parse);
    return g_test_run();
}
