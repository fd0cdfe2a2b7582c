/* commands.c - the table of subcommands. */
#include "cmd_breaker.h"
#include "cmd_connections.h"
#include "cmd_diff.h"
#include "cmd_drain.h"
#include "cmd_endpoint.h"
#include "cmd_help.h"
#include "cmd_lease.h"
#include "cmd_proxy.h"
#include "cmd_reload.h"
#include "cmd_schema.h"
#include "cmd_status.h"
#include "cmd_validate.h"
#include "demo_app.h"

const struct command *const commands[] = {
    &command_proxy,       &command_validate, &command_schema,  &command_diff,     &command_status,
    &command_connections, &command_reload,   &command_drain,   &command_endpoint, &command_lease,
    &command_breaker,     &command_demo_app, &command_version, &command_help,     NULL,
};
