/* cmd_connections.h - `sluice connections`: what is open in a running sidecar. */
#ifndef SLUICE_CMD_CONNECTIONS_H
#define SLUICE_CMD_CONNECTIONS_H

#include "command.h"

extern const struct command command_connections;

#endif
