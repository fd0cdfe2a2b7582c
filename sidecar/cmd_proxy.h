/* cmd_proxy.h - `sluice proxy`: runs the sidecar. */
#ifndef SLUICE_CMD_PROXY_H
#define SLUICE_CMD_PROXY_H

#include "command.h"

extern const struct command command_proxy;

#endif
