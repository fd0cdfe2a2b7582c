/* cmd_proxy.c - sluice proxy: the supervisor, and behind it the serving process. */
#include "cmd_proxy.h"

#include "base/log_journal.h"
#include "base/mem.h"
#include "lifecycle/supervisor.h"
#include "serve.h"

#include <sys/prctl.h>

enum { OPTION_NO_SUPERVISOR = OPTION_LONG, OPTION_SERVING, OPTION_LAST_GOOD, OPTION_EXEC };

static const struct command_option options[] = {
    {'c', "config", "FILE", "the configuration (YAML)", OPTION_REQUIRED},
    {OPTION_LAST_GOOD, "last-good", "DIR",
     "keeps a copy of the configuration in force there, and starts with it when the file is bad",
     0},
    {OPTION_EXEC, "exec", NULL,
     "runs the application CMD, from when the listeners are open until everything is drained; in "
     "place of app.command",
     0},
    {OPTION_NO_SUPERVISOR, "no-supervisor", NULL, "one process: for debuggers", 0},
    {OPTION_SERVING, "serving", NULL, "the serving process, started by the supervisor",
     OPTION_HIDDEN},
    {0},
};

struct proxy_options {
    char *file, *last_good;
    bool serving, no_supervisor;
    char **app; /* NULL: none */
};

/* False: *ret_code is what to exit with. */
static bool read_options(int argc, char **argv, struct proxy_options *o, int *ret_code)
{
    struct command_line l;
    bool exec = false;
    int key;

    command_line_init(&l, &command_proxy, argc, argv);
    while ((key = command_next(&l)) > 0) {
        if (key == 'c')
            o->file = optarg;
        else if (key == OPTION_LAST_GOOD)
            o->last_good = optarg;
        else if (key == OPTION_EXEC)
            exec = true;
        else if (key == OPTION_SERVING)
            o->serving = true;
        else
            o->no_supervisor = true;
    }
    *ret_code = l.exit_code;
    if (key < 0)
        return false;
    if (!o->file)
        *ret_code = command_misuse(&command_proxy, "-c FILE is required");
    else if (!exec && optind < argc)
        *ret_code = command_misuse(&command_proxy, "unexpected argument \"%s\"", argv[optind]);
    else if (exec && (optind >= argc || argv[optind][0] == '\0'))
        *ret_code = command_misuse(&command_proxy, "--exec needs a command behind \"--\"");
    else if (exec && o->no_supervisor)
        *ret_code = command_misuse(&command_proxy,
                                   "--exec needs the supervisor: it is the application's parent");
    else {
        o->app = exec ? argv + optind : NULL;
        return true;
    }
    return false;
}

/* With room for everything; the words are the caller's. */
static char **words_of(const struct proxy_options *o, bool serving, size_t room)
{
    static char name[] = "sluice", proxy[] = "proxy", c[] = "-c", flag[] = "--serving";
    static char last_good[] = "--last-good", exec[] = "--exec", end[] = "--";
    char **w = mem_zalloc(room * sizeof(*w));
    size_t n = 0;
    if (!w)
        return NULL;
    w[n++] = name;
    w[n++] = proxy;
    w[n++] = c;
    w[n++] = o->file;
    if (serving)
        w[n++] = flag;
    if (o->last_good) {
        w[n++] = last_good;
        w[n++] = o->last_good;
    }
    if (o->app && !serving) {
        w[n++] = exec;
        w[n++] = end;
        for (char **a = o->app; *a; a++)
            w[n++] = *a;
    }
    return w;
}

static int cmd_proxy(int argc, char **argv)
{
    struct proxy_options o = {0};
    int code = EXIT_USAGE;

    if (!read_options(argc, argv, &o, &code))
        return code;
    bool serving = o.serving || o.no_supervisor;
    /* Executed by descriptor, it would be called by its number. */
    (void)prctl(PR_SET_NAME, "sluice");
    (void)log_journal_open(serving ? "serving" : "supervisor");
    if (serving)
        return serve(o.file, o.last_good);
    /* What an upgrade starts, too: the supervisor again, and the serving process. */
    size_t room = (size_t)argc + 10;
    char **own = words_of(&o, false, room), **args = words_of(&o, true, room);
    code = own && args ? supervisor_run(args, own, o.app) : EXIT_FAULT;
    free(own);
    free(args);
    return code;
}

const struct command command_proxy = {
    .name = "proxy",
    .fn = cmd_proxy,
    .operands = "[-- CMD [ARG...]]",
    .does = "Runs the sidecar",
    .description = "Runs the sidecar. A supervisor holds the sockets and starts the serving "
                   "process again when it dies; SIGTERM or SIGINT drains and exits, a second "
                   "SIGINT forces, SIGUSR1 reopens the access log, SIGUSR2 upgrades to the "
                   "program's new file, SIGHUP reads the configuration again.\n\n"
                   "With --exec -- CMD the supervisor runs the application, too: it gets SIGTERM "
                   "only when everything inbound is drained, and SIGKILL at the drain's deadline. "
                   "Where it ends before it was told to, sluice cleans up and exits with its exit "
                   "code: 128 and the signal's number where a signal killed it, 127 where CMD was "
                   "not found.",
    .options = options,
    .exits = {"it drained and ended", "it could not start"},
};
