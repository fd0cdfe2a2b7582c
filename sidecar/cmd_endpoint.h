/* cmd_endpoint.h - `sluice endpoint`. */
#ifndef SLUICE_CMD_ENDPOINT_H
#define SLUICE_CMD_ENDPOINT_H

#include "command.h"

extern const struct command command_endpoint;

#endif
