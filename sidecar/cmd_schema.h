/* cmd_schema.h - `sluice schema`: the configuration described, for editors and for people. */
#ifndef SLUICE_CMD_SCHEMA_H
#define SLUICE_CMD_SCHEMA_H

#include "command.h"

extern const struct command command_schema;

#endif
