/*
 * qemu-vmstate config: the machine that a stream is of
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qapi/qmp/qjson.h"
#include "migration/config/config.h"
#include "migration/config/plan.h"
#include "tool.h"

static MachineConfig *read_machine(Source *source, Error **errp)
{
    g_autoptr(StreamReader) reader = stream_reader_new(source_read, source);
    g_autoptr(GByteArray) json = g_byte_array_new();
    uint32_t version = stream_reader_preamble(reader, errp);

    if (version && version != STREAM_VERSION) {
        error_setg(errp, "a stream of version %" PRIu32 " does not say what "
                   "machine it is of: expected version %d", version,
                   STREAM_VERSION);
        return NULL;
    }
    if (!version || !stream_reader_machine(reader, json, errp)) {
        return NULL;
    }
    return machine_config_parse((const char *)json->data, json->len, errp);
}

bool tool_config(Source *source, GString *out, Error **errp)
{
    g_autoptr(MachineConfig) config = read_machine(source, errp);
    g_autoptr(QDict) dict = config ? machine_config_to_qdict(config) : NULL;
    g_autoptr(GString) text = NULL;

    if (!dict) {
        return false;
    }
    text = qobject_to_json_pretty(QOBJECT(dict), true);
    g_string_append_printf(out, "%s\n", text->str);
    return true;
}

bool tool_command_line(Source *source, GString *out, Error **errp)
{
    const MachinePlanSide side = { .trust = true };
    g_autoptr(MachineConfig) config = read_machine(source, errp);
    g_autoptr(GPtrArray) arguments = config ? machine_plan(config, &side, errp)
                                            : NULL;
    g_autofree char *line = NULL;

    if (!arguments) {
        return false;
    }
    g_ptr_array_insert(arguments, 0, g_strdup("qemu-system-x86_64"));
    line = machine_plan_to_shell(arguments);
    g_string_append_printf(out, "%s\n", line);
    return true;
}
