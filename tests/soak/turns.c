/* turns.c - how long the loops' turns take, seen from outside: preloaded (LD_PRELOAD) into the
 * program, it stands between its loops and epoll_pwait(2). What passes between the return of one
 * call and the next is a turn. Each thread that waits so writes what it saw into the file
 * SLUICE_TURNS (tests/soak/turns.py reads it); the program itself pays nothing for it and knows
 * nothing of it.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { THREADS = 32, LONG_TURNS = 4096, LONG_US = 1000 };

/* Microseconds. In the file as they stand here. */
struct turn {
    uint64_t end; /* monotonic */
    uint32_t wall, cpu;
    uint32_t taken;  /* times that the kernel took the processor for others meanwhile */
    uint32_t waited; /* times that the turn itself waited for something */
};

struct thread {
    uint64_t tid; /* 0: the place is free */
    char name[16];
    uint64_t turns;
    uint64_t wall, cpu; /* of all turns */
    uint64_t n_long;    /* turns of LONG_US and more; the last LONG_TURNS of them: */
    struct turn longest[LONG_TURNS];
};

struct usage {
    uint64_t wall, cpu;
    long taken, waited;
};

static struct thread *threads;
static _Thread_local struct thread *mine;
static _Thread_local struct usage began;
static int (*real_wait)(int, struct epoll_event *, int, int, const sigset_t *);

static uint64_t clock_us(clockid_t which)
{
    struct timespec t;
    (void)clock_gettime(which, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static struct usage usage_now(void)
{
    struct rusage r;
    (void)getrusage(RUSAGE_THREAD, &r); /* its times are as old as the kernel's last tick */
    return (struct usage){
        .wall = clock_us(CLOCK_MONOTONIC),
        .cpu = clock_us(CLOCK_THREAD_CPUTIME_ID),
        .taken = r.ru_nivcsw,
        .waited = r.ru_nvcsw,
    };
}

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("SLUICE_TURNS");
    void *found = dlsym(RTLD_NEXT, "epoll_pwait");
    memcpy(&real_wait, &found, sizeof(found));
    int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0)
        return;
    void *p =
        mmap(NULL, THREADS * sizeof(struct thread), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    (void)close(fd);
    threads = p == MAP_FAILED ? NULL : p;
}

static struct thread *enter(void)
{
    uint64_t tid = (uint64_t)syscall(SYS_gettid);
    for (int i = 0; i < THREADS; i++) {
        uint64_t nobody = 0;
        _Atomic uint64_t *place = (_Atomic uint64_t *)(void *)&threads[i].tid;
        if (atomic_compare_exchange_strong(place, &nobody, tid)) {
            (void)prctl(PR_GET_NAME, threads[i].name);
            return &threads[i];
        }
    }
    return NULL;
}

static void note(struct thread *t)
{
    struct usage now = usage_now();
    uint64_t wall = now.wall - began.wall, cpu = now.cpu - began.cpu;
    t->turns++;
    t->wall += wall;
    t->cpu += cpu;
    if (wall < LONG_US)
        return;
    t->longest[t->n_long % LONG_TURNS] = (struct turn){
        .end = now.wall,
        .wall = (uint32_t)wall,
        .cpu = (uint32_t)cpu,
        .taken = (uint32_t)(now.taken - began.taken),
        .waited = (uint32_t)(now.waited - began.waited),
    };
    t->n_long++;
}

/* What io/loop.c calls in the place of epoll_wait(2). */
int epoll_pwait(int fd, struct epoll_event *events, int most, int timeout, const sigset_t *mask)
{
    if (!threads)
        return real_wait(fd, events, most, timeout, mask);
    if (mine)
        note(mine);
    int n = real_wait(fd, events, most, timeout, mask);
    if (!mine)
        mine = enter();
    began = usage_now();
    return n;
}
