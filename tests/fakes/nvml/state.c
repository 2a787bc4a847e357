/* Makes and maps the shared node. Both locks are robust: a process killed inside a call does not stop the others. */
#define _GNU_SOURCE
#include "state.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define MAGIC 0x6770757761726433ull

uint64_t mix(uint64_t x) /* splitmix64 */
{
    x += 0x9e3779b97f4a7c15ull;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
    return x ^ (x >> 31);
}

uint64_t boottime_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_BOOTTIME, &t);
    return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

void pause_s(double seconds)
{
    struct timespec t = {(time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9)};
    while (nanosleep(&t, &t) && errno == EINTR) {}
}

void node_lock(pthread_mutex_t *lock)
{
    if (pthread_mutex_lock(lock) == EOWNERDEAD) pthread_mutex_consistent(lock);
}

static struct node *map(const char *path, int flags)
{
    int fd = open(path, flags | O_RDWR | O_CLOEXEC, 0600);
    if (fd < 0) return NULL;
    struct stat file;
    if (flags & O_CREAT ? ftruncate(fd, sizeof(struct node)) : fstat(fd, &file) || file.st_size != sizeof(struct node)) {
        close(fd);
        return NULL;
    }
    struct node *n = mmap(NULL, sizeof *n, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    return n == MAP_FAILED ? NULL : n;
}

static void lock_start(pthread_mutex_t *lock)
{
    pthread_mutexattr_t shared;
    pthread_mutexattr_init(&shared);
    pthread_mutexattr_setpshared(&shared, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&shared, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(lock, &shared);
}

static void gpu_start(struct node *n, uint32_t i) /* an H100-like card */
{
    struct gpu *g = &n->gpu[i];
    uint64_t chance = mix(n->seed * 1000 + i);
    *g = (struct gpu){.demand_w = IDLE_W, .ambient_c = 30, .min_w = 200, .max_w = 700, .default_w = 700, .requested_w = 700,
                      .nvlinks_active = 18, .pcie_generation = 5, .pcie_width = 16, .persistence = 1, .memory_used_bytes = 1 << 29};
    g->gain_ratio = ((double)(chance % 10001) - 5000) / 100000; /* within 5 % */
    g->phase = (chance >> 32) % SENSOR_STEPS;
    snprintf(g->uuid, sizeof g->uuid, "GPU-%08x-0000-4000-8000-%012x", (unsigned)n->seed, i);
    plant_start(n, g);
}

struct node *node_create(const char *path, uint32_t gpus, uint64_t seed)
{
    struct node *n = gpus <= MAX_GPUS ? map(path, O_CREAT | O_TRUNC) : NULL;
    if (!n) return NULL;
    n->start_ns = boottime_ns() - 2000000000ull; /* two seconds of idling lie behind it: every ring is full */
    n->seed = seed, n->gpus = gpus, n->tau_s = 0.15, n->set_min_s = 0.010, n->set_max_s = 0.020;
    snprintf(n->log_path, sizeof n->log_path, "%s.log", path);
    lock_start(&n->lock);
    lock_start(&n->set_lock);
    for (uint32_t i = 0; i < gpus; i++) gpu_start(n, i);
    n->magic = MAGIC;
    return n;
}

struct node *node_open(const char *path)
{
    struct node *n = map(path, 0);
    return n && n->magic == MAGIC ? n : NULL;
}

void node_push_event(struct node *n, uint32_t gpu, uint64_t type, uint64_t code)
{
    n->events[n->events_seen++ % MAX_EVENTS] = (struct event){gpu, type, code};
}

void node_turned(struct node *n)
{
    __atomic_add_fetch(&n->turns, 1, __ATOMIC_SEQ_CST);
    syscall(SYS_futex, &n->turns, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

/* Until something was turned since `turns` was read, or `end_ns`. A driver sleeps so; looking again and again would count as the caller's work. */
void node_await_turn(struct node *n, uint32_t turns, uint64_t end_ns)
{
    uint64_t now_ns = boottime_ns(), left_ns = end_ns > now_ns ? end_ns - now_ns : 0;
    struct timespec left = {(time_t)(left_ns / 1000000000ull), (long)(left_ns % 1000000000ull)};
    syscall(SYS_futex, &n->turns, FUTEX_WAIT, turns, &left, NULL, 0);
}
