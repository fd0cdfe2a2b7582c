/* cmd_drain.h - sluice drain: takes a running sidecar out of service, and shows how it went. */
#ifndef SLUICE_CMD_DRAIN_H
#define SLUICE_CMD_DRAIN_H

int cmd_drain(int argc, char **argv);

#endif
