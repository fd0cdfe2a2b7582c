/* supervisor.h - the first process: holds the sockets, starts the serving process again.
 *
 * Tiny on purpose: poll() and a signalfd, fixed arrays, nothing allocated after the start, no
 * configuration and no peer's bytes. It must be so small that it cannot fail, because the kernel
 * closes every listening socket with the last process that holds it.
 *
 * The serving process gets the held sockets the systemd way (LISTEN_FDS, LISTEN_PID,
 * LISTEN_FDNAMES; from fd 3 on) and a SOCK_SEQPACKET channel (SLUICE_CHANNEL=fd) on which it
 * sends up the sockets that it binds; channel.h and inherited.h are its side of it.
 *
 * Signals: SIGTERM, SIGINT, SIGHUP and SIGUSR1 go on to the serving process. Until it has said
 * READY they wait (its handlers may not be there yet), SIGTERM and SIGINT for at most 2 s.
 *
 * SIGUSR2 is an upgrade: the file at the path by which we were started takes over, serving process
 * and supervisor both; upgrade.c tells how. The pid stays. One that fails changes nothing. Up to 8
 * old serving processes may still be draining.
 *
 * Its end:
 *   exits before the first READY with 0, 1 or 2   the supervisor exits with that code
 *   exits with 0 later                            the supervisor exits with 0
 *   killed, or any other exit                     it is started again: the first 5 times at
 *                                                 once, then after 50 ms doubling to 5 s; to have
 *                                                 lived 1 s forgets them
 *   the same after SIGTERM or SIGINT              only while a drain runs and its deadline has not
 *                                                 passed, with SLUICE_DRAIN; else exit 0 when that
 *                                                 signal was its cause, 3 when it crashed
 * A death is told by the channel, which closes without CHANNEL_END, before SIGCHLD; after the first
 * READY another is started then, unless the exit code decides (SIGTERM, SIGINT) or an upgrade is
 * under way.
 *
 * Processes that still drain behind an upgrade are waited for first.
 *
 * It may run the application: started once, when the first serving process is ready, in a process
 * group of its own, with none of our variables and no descriptor but 0, 1 and 2. It outlives
 * serving processes and upgrades. It gets SIGTERM when the serving process says so (at EGRESS_ONLY)
 * or has ended for good, SIGKILL goes to its group at the deadline, and what is left of the group
 * when it has ended. One that ends before it got SIGTERM ends us, with its exit code (128 and the
 * signal's number): the serving process is told, cleans up and exits.
 */
#ifndef SLUICE_LIFECYCLE_SUPERVISOR_H
#define SLUICE_LIFECYCLE_SUPERVISOR_H

/* argv: how to start the serving process; own: the supervisor itself, for an upgrade; app: the
 * application, or NULL. All end with NULL and stay. /proc/self/exe is executed with argv. Returns
 * the exit code of the whole program.
 */
int supervisor_run(char *const argv[], char *const own[], char *const app[]);

#endif
