/* cmd_proxy.c - sluice proxy: the supervisor, and behind it the serving process. */
#include "cmd_proxy.h"

#include "base/log_journal.h"
#include "lifecycle/supervisor.h"
#include "serve.h"

#include <sys/prctl.h>

enum { OPTION_NO_SUPERVISOR = OPTION_LONG, OPTION_SERVING, OPTION_LAST_GOOD };

static const struct command_option options[] = {
    {'c', "config", "FILE", "the configuration (YAML)", OPTION_REQUIRED},
    {OPTION_LAST_GOOD, "last-good", "DIR",
     "keeps a copy of the configuration in force there, and starts with it when the file is bad",
     0},
    {OPTION_NO_SUPERVISOR, "no-supervisor", NULL, "one process: for debuggers", 0},
    {OPTION_SERVING, "serving", NULL, "the serving process, started by the supervisor",
     OPTION_HIDDEN},
    {0},
};

static int cmd_proxy(int argc, char **argv)
{
    struct command_line l;
    char *file = NULL, *last_good = NULL;
    bool serving = false;
    int key;

    command_line_init(&l, &command_proxy, argc, argv);
    while ((key = command_next_only(&l)) > 0) {
        if (key == 'c')
            file = optarg;
        else if (key == OPTION_LAST_GOOD)
            last_good = optarg;
        else
            serving = true;
    }
    if (key < 0)
        return l.exit_code;
    if (!file)
        return command_misuse(&command_proxy, "-c FILE is required");
    /* Executed by descriptor, it would be called by its number. */
    (void)prctl(PR_SET_NAME, "sluice");
    (void)log_journal_open(serving ? "serving" : "supervisor");
    if (serving)
        return serve(file, last_good);
    char name[] = "sluice", proxy[] = "proxy", c[] = "-c", flag[] = "--serving";
    char last_good_flag[] = "--last-good";
    /* The serving process has one word more than the upgraded supervisor. */
    char *own[] = {name, proxy, c, file, NULL, NULL, NULL};
    char *args[] = {name, proxy, c, file, flag, NULL, NULL, NULL};
    if (last_good) {
        own[4] = args[5] = last_good_flag;
        own[5] = args[6] = last_good;
    }
    return supervisor_run(args, own);
}

const struct command command_proxy = {
    .name = "proxy",
    .fn = cmd_proxy,
    .does = "Runs the sidecar",
    .description = "Runs the sidecar. A supervisor holds the sockets and starts the serving "
                   "process again when it dies; SIGTERM or SIGINT drains and exits, a second "
                   "SIGINT forces, SIGUSR1 reopens the access log, SIGUSR2 upgrades to the "
                   "program's new file, SIGHUP reads the configuration again.",
    .options = options,
    .exits = {"it drained and ended", "it could not start"},
};
