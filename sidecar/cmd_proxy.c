/* cmd_proxy.c - sluice proxy: the supervisor, and behind it the serving process. */
#include "cmd_proxy.h"

#include "base/log.h"
#include "lifecycle/supervisor.h"
#include "serve.h"

#include <stdio.h>

static int usage(FILE *to, int code)
{
    (void)fputs("usage: sluice proxy -c FILE [--no-supervisor]\n"
                "\n"
                "Runs the sidecar. A supervisor holds the sockets and starts the serving process\n"
                "again when it dies; SIGTERM or SIGINT drains and exits, a second SIGINT forces,\n"
                "SIGUSR1 reopens the access log.\n"
                "\n"
                "  -c, --config FILE   the configuration (YAML)\n"
                "  --no-supervisor     one process: for debuggers\n",
                to);
    return code;
}

int cmd_proxy(int argc, char **argv)
{
    char *file = NULL;
    bool serving = false;
    for (int i = 1; i < argc; i++) {
        struct str a = str_of(argv[i]);
        if (str_eq(a, STR("-h")) || str_eq(a, STR("--help")))
            return usage(stdout, 0);
        if ((str_eq(a, STR("-c")) || str_eq(a, STR("--config"))) && i + 1 < argc) {
            file = argv[++i];
        } else if (str_eq(a, STR("--serving")) || str_eq(a, STR("--no-supervisor"))) {
            serving = true;
        } else {
            (void)fprintf(stderr, "sluice proxy: unexpected argument \"%s\"\n\n", argv[i]);
            return usage(stderr, 2);
        }
    }
    if (!file) {
        (void)fputs("sluice proxy: -c FILE is required\n\n", stderr);
        return usage(stderr, 2);
    }
    if (serving)
        return serve(file);
    char name[] = "sluice", proxy[] = "proxy", c[] = "-c", flag[] = "--serving";
    char *const args[] = {name, proxy, c, file, flag, NULL};
    return supervisor_run(args);
}
