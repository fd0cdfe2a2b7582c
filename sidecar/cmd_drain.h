/* cmd_drain.h - sluice drain: takes a running sidecar out of service, and shows how it went. */
#ifndef SLUICE_CMD_DRAIN_H
#define SLUICE_CMD_DRAIN_H

#include "command.h"

extern const struct command command_drain;

#endif
