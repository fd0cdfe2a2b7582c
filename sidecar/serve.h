/* serve.h - the serving process: what the supervisor starts. */
#ifndef SLUICE_SERVE_H
#define SLUICE_SERVE_H

/* Reads the configuration, takes over or binds the sockets, serves until it is drained. Returns
 * the exit code: 0 done, 1 bad configuration or a socket that can't be had, 3 internal fault.
 * last_good_dir: where a copy of what was taken is kept (config/last_good.h); NULL: nowhere. */
int serve(const char *config_file, const char *last_good_dir);

#endif
