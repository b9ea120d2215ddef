/*
 * qemu-vmstate: reads migration streams, and what QEMUs say of themselves
 *
 * The command line: finds the command, opens what it is to read, and prints
 * what it says.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu-version.h"
#include "qemu/help-texts.h"
#include "qemu/error-report.h"
#include "qapi/error.h"
#include <getopt.h>
#include "facts.h"
#include "tool.h"

/* A wrong use, as opposed to a stream that is wrong */
#define EXIT_USAGE 2
/* Of a command whose 1 is an answer */
#define EXIT_UNREADABLE 2

typedef struct Options {
    const char *section;
    bool command_line;
} Options;

typedef struct Command {
    const char *name;
    const char *arguments;
    const char *summary;
    const char *help;
    bool several;           /* takes more than one file */
    bool has_section;       /* takes --section */
    bool has_command_line;  /* takes --command-line */
    bool (*run)(Source *source, const Options *options, GString *out,
                Error **errp);
    /* Or else: takes two, and has an exit status of its own */
    int (*run_pair)(const char *one, const char *other);
} Command;

static bool run_info(Source *source, const Options *options, GString *out,
                     Error **errp)
{
    return tool_info(source, out, errp);
}

static bool run_verify(Source *source, const Options *options, GString *out,
                       Error **errp)
{
    return tool_verify(source, out, errp);
}

static bool run_dump(Source *source, const Options *options, GString *out,
                     Error **errp)
{
    return tool_dump(source, options->section, out, errp);
}

static bool run_config(Source *source, const Options *options, GString *out,
                       Error **errp)
{
    return options->command_line ? tool_command_line(source, out, errp)
                                 : tool_config(source, out, errp);
}

static bool run_hex(Source *source, const Options *options, GString *out,
                    Error **errp)
{
    return tool_hex(source, options->section, out, errp);
}

static MigrationFacts *read_facts(const char *name)
{
    Error *err = NULL;
    MigrationFacts *facts = tool_facts_read(name, &err);

    if (!facts) {
        error_reportf_err(err, "%s: ",
                          strcmp(name, "-") ? name : "standard input");
    }
    return facts;
}

static int run_compat(const char *one, const char *other)
{
    g_autoptr(MigrationFacts) source = read_facts(one);
    g_autoptr(MigrationFacts) destination = read_facts(other);
    g_autoptr(GString) out = g_string_new(NULL);
    bool good;

    if (!source || !destination) {
        return EXIT_UNREADABLE;
    }
    good = tool_compat(source, destination, out);
    fwrite(out->str, 1, out->len, stdout);
    return good ? EXIT_SUCCESS : EXIT_FAILURE;
}

static const Command commands[] = {
    {
        .name = "info",
        .arguments = "FILE",
        .summary = "what there is in a stream, as a table",
        .help = "Prints the version, the machine, and each section with its "
                "size.\nReads all of the stream, and checks it on the way.\n",
        .run = run_info,
    }, {
        .name = "verify",
        .arguments = "FILE...",
        .summary = "check all lengths, checksums and the index",
        .help = "Prints a line for each file that is good, and for one that "
                "is not, what is\nwrong with it.\n",
        .several = true,
        .run = run_verify,
    }, {
        .name = "dump",
        .arguments = "[--section NAME[/INSTANCE]] FILE",
        .summary = "the state of devices as JSON",
        .help = "Prints the fields of all devices, as the description in the "
                "stream names them.\nNumbers are decimal, whatever is no "
                "number is a string of hexadecimal digits.\n"
                "\n"
                "  --section NAME[/INSTANCE]  of the devices of that name only "
                "(info lists them)\n",
        .has_section = true,
        .run = run_dump,
    }, {
        .name = "config",
        .arguments = "[--command-line] FILE",
        .summary = "the machine as JSON",
        .help = "Prints what the machine is that a version 4 stream is of: "
                "its board, CPUs,\nmemory, devices, and what stands behind "
                "them.  That comes first: the rest of\nthe stream is not "
                "read.\n"
                "\n"
                "  --command-line  the QEMU command line that would make it, "
                "for a shell\n",
        .has_command_line = true,
        .run = run_config,
    }, {
        .name = "hex",
        .arguments = "[--section NAME] FILE",
        .summary = "the bytes of records",
        .help = "Prints each record of a version 4 stream: its header, and the "
                "first KiB of its\npayload.  One that is damaged is shown "
                "all the same.\n"
                "\n"
                "  --section NAME  only those of sections of that name\n",
        .has_section = true,
        .run = run_hex,
    }, {
        .name = "compat",
        .arguments = "SOURCE DESTINATION",
        .summary = "could a guest go from one QEMU to another?",
        .help = "Compares what two QEMUs say of themselves, as they would "
                "themselves.  Each is a\nfile with the answer to the QMP "
                "command query-vmstate, or the UNIX socket of a\nQMP "
                "monitor, which is asked.  Prints what would be sent "
                "otherwise than the\nsource has it, left off or refused.\n"
                "\n"
                "The exit status is 0 if the guest could go, 1 if it could "
                "not, and 2 when that\ncannot be told.\n",
        .run_pair = run_compat,
    },
};

static void print_help(void)
{
    size_t i;

    printf("Usage: qemu-vmstate COMMAND [OPTION]... FILE...\n"
           "Reads QEMU migration streams from files.\n"
           "\n"
           "Commands:\n");
    for (i = 0; i < ARRAY_SIZE(commands); i++) {
        printf("  %-8s %s\n", commands[i].name, commands[i].summary);
    }
    printf("\n"
           "FILE is a stream of version 4, or of version 3 as far as that "
           "allows; - is\n"
           "standard input.  'qemu-vmstate COMMAND --help' tells more of a "
           "command.\n"
           "The exit status is 0 when all is good, 1 when a stream is not or "
           "cannot be\n"
           "read, and 2 for a wrong command line; compat has its own.\n"
           "\n" QEMU_HELP_BOTTOM "\n");
}

static void print_command_help(const Command *command)
{
    printf("Usage: qemu-vmstate %s %s\n%s", command->name, command->arguments,
           command->help);
}

static int G_GNUC_PRINTF(1, 2) usage(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    error_vreport(fmt, ap);
    va_end(ap);
    error_printf("Try 'qemu-vmstate --help'.\n");
    return EXIT_USAGE;
}

static const Command *find_command(const char *name)
{
    size_t i;

    for (i = 0; i < ARRAY_SIZE(commands); i++) {
        if (!strcmp(name, commands[i].name)) {
            return &commands[i];
        }
    }
    return NULL;
}

/* Runs a command on one file */
static bool run_file(const Command *command, const Options *options,
                     const char *file)
{
    bool standard = !strcmp(file, "-");
    const char *name = standard ? "standard input" : file;
    int fd = standard ? STDIN_FILENO : open(file, O_RDONLY | O_CLOEXEC);
    g_autoptr(GString) out = g_string_new(NULL);
    g_autoptr(Source) source = NULL;
    Error *err = NULL;
    bool good;

    if (fd < 0) {
        error_report("%s: cannot open: %s", name, strerror(errno));
        return false;
    }
    source = source_new_fd(fd, isatty(STDERR_FILENO) ? name : NULL);
    good = command->run(source, options, out, &err);
    source_end_progress(source);
    if (out->len) {
        printf("%s%s", command->several ? name : "",
               command->several ? ": " : "");
        fwrite(out->str, 1, out->len, stdout);
        fflush(stdout);
    }
    if (!good) {
        error_reportf_err(err, "%s: ", name);
    }
    if (!standard) {
        close(fd);
    }
    return good;
}

static int run_command(const Command *command, int argc, char **argv)
{
    static const struct option longs[] = {
        { "help", no_argument, NULL, 'h' },
        { "command-line", no_argument, NULL, 'c' },
        { "section", required_argument, NULL, 's' },
        { NULL, 0, NULL, 0 },
    };
    Options options = { 0 };
    int status = EXIT_SUCCESS;
    int c;

    opterr = 0;
    while ((c = getopt_long(argc, argv, ":h", longs, NULL)) != -1) {
        if (c == 'h') {
            print_command_help(command);
            return EXIT_SUCCESS;
        } else if (c == ':') {
            return usage("%s: option '%s' needs a value", command->name,
                         argv[optind - 1]);
        } else if (c == '?') {
            return usage("%s: unknown option '%s'", command->name,
                         argv[optind - 1]);
        } else if (c == 'c' ? !command->has_command_line
                            : !command->has_section) {
            return usage("%s: unknown option '--%s'", command->name,
                         c == 'c' ? "command-line" : "section");
        } else if (c == 'c') {
            options.command_line = true;
        } else {
            options.section = optarg;
        }
    }
    if (command->run_pair && argc - optind != 2) {
        return usage("%s: expected two QEMUs, got %d", command->name,
                     argc - optind);
    }
    if (optind == argc) {
        return usage("%s: no file is given", command->name);
    }
    if (!command->several && !command->run_pair && argc - optind > 1) {
        return usage("%s: expected one file, got %d", command->name,
                     argc - optind);
    }
    if (command->run_pair) {
        status = command->run_pair(argv[optind], argv[optind + 1]);
    }
    for (; command->run && optind < argc; optind++) {
        if (!run_file(command, &options, argv[optind])) {
            status = EXIT_FAILURE;
        }
    }
    if (ferror(stdout) || fclose(stdout)) {
        error_report("cannot write to standard output: %s", strerror(errno));
        status = command->run_pair ? EXIT_UNREADABLE : EXIT_FAILURE;
    }
    return status;
}

int main(int argc, char **argv)
{
    const Command *command;

    error_init(argv[0]);
    if (argc < 2) {
        return usage("no command is given");
    }
    if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h")) {
        print_help();
        return EXIT_SUCCESS;
    }
    if (!strcmp(argv[1], "--version") || !strcmp(argv[1], "-V")) {
        printf("qemu-vmstate version " QEMU_FULL_VERSION "\n"
               QEMU_COPYRIGHT "\n");
        return EXIT_SUCCESS;
    }
    command = find_command(argv[1]);
    if (!command) {
        return usage("unknown command '%s'", argv[1]);
    }
    return run_command(command, argc - 1, argv + 1);
}
