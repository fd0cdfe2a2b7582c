/* cmd_proxy.h - sluice proxy: runs the sidecar. */
#ifndef SLUICE_CMD_PROXY_H
#define SLUICE_CMD_PROXY_H

/* argv[0] is the subcommand's name, here and in all cmd_*(). Returns the exit code. */
int cmd_proxy(int argc, char **argv);

#endif
