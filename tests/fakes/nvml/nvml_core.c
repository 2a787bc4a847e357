/* The calls without which nothing works; the variant "few" of the library has only these. */
#include "nvml.h"
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct node *node;
static int log_file = -1;
static uint64_t unloads; /* of the driver, when this process opened its session */
static device listed[MAX_GPUS];
static unsigned listed_count;

int lacks(const char *name) /* GPUWARDEN_FAKE_NVML_LACKS: names of calls and numbers of fields, with commas between */
{
    const char *list = getenv("GPUWARDEN_FAKE_NVML_LACKS");
    size_t length = strlen(name);
    for (const char *at = list ? list : ""; *at; at += strcspn(at, ","), at += *at == ',')
        if (strcspn(at, ",") == length && !strncmp(at, name, length)) return ++node->refusals > 0;
    return 0;
}

static int hangs(const char *call)
{
    return *(volatile double *)&node->hang && (!node->hang_call[0] || !strcmp(node->hang_call, call));
}

int begin(const char *call)
{
    if (!node) return NVML_UNINITIALIZED;
    while (hangs(call)) pause_s(0.005);
    if (node->unloads != unloads) return NVML_UNINITIALIZED;
    return lacks(call) ? NVML_NOT_SUPPORTED : NVML_SUCCESS;
}

int index_of(device g) { return (int)(g - node->gpu); }

int enter(const char *call, device g)
{
    int refused = begin(call);
    if (refused) return refused;
    if (g < node->gpu || g >= node->gpu + node->gpus) return NVML_INVALID_ARGUMENT;
    node_lock(&node->lock);
    if (g->lost) return leave(NVML_GPU_IS_LOST);
    plant_advance(node, g);
    return NVML_SUCCESS;
}

int leave(int result)
{
    pthread_mutex_unlock(&node->lock);
    return result;
}

uint32_t read_power_mw(device g, int kind)
{
    char line[128];
    uint64_t read = ++g->reads[kind];
    uint32_t mw = (uint32_t)floor(kind == INSTANT ? g->sensor_w : plant_average_w(g)) * 1000 + (uint32_t)(read % 1000);
    int length = snprintf(line, sizeof line, "%llu %d %d %s %llu %u\n", (unsigned long long)boottime_ns(), getpid(), index_of(g),
                          kind == INSTANT ? "instant" : "average", (unsigned long long)read, mw);
    if (log_file >= 0 && write(log_file, line, (size_t)length) != length) abort();
    return mw;
}

int nvmlInitWithFlags(unsigned flags)
{
    (void)flags;
    const char *path = getenv("GPUWARDEN_FAKE_NVML");
    if (!node) node = path ? node_open(path) : NULL;
    if (!node) return NVML_DRIVER_NOT_LOADED;
    while (hangs("nvmlInit")) pause_s(0.005);
    if (node->unloaded) return NVML_DRIVER_NOT_LOADED;
    unloads = node->unloads;
    listed_count = 0;
    for (device g = node->gpu; g < node->gpu + node->gpus; g++)
        if (!g->gone) listed[listed_count++] = g;
    if (log_file < 0) log_file = open(node->log_path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    return NVML_SUCCESS;
}
int nvmlInit_v2(void) { return nvmlInitWithFlags(0); }
int nvmlShutdown(void) { return NVML_SUCCESS; }

int nvmlDeviceGetCount_v2(unsigned *count)
{
    int refused = begin(__func__);
    *count = listed_count;
    return refused;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, device *g)
{
    if (index >= listed_count) return NVML_INVALID_ARGUMENT;
    *g = listed[index];
    ENTER(*g);
    return leave(NVML_SUCCESS);
}

int nvmlDeviceGetUUID(device g, char *uuid, unsigned length)
{
    ENTER(g);
    return leave(snprintf(uuid, length, "%s", g->uuid) < (int)length ? NVML_SUCCESS : NVML_INSUFFICIENT_SIZE);
}

GETTER(nvmlDeviceGetPowerUsage, uint32_t, read_power_mw(g, AVERAGE))
GETTER(nvmlDeviceGetPowerManagementLimit, uint32_t, g->requested_w * 1000)
GETTER(nvmlDeviceGetEnforcedPowerLimit, uint32_t, plant_enforced_w(g) * 1000)
GETTER(nvmlDeviceGetPowerManagementDefaultLimit, uint32_t, g->default_w * 1000)

int nvmlDeviceGetPowerManagementLimitConstraints(device g, uint32_t *least, uint32_t *most)
{
    ENTER(g);
    *least = (uint32_t)(g->min_w * 1000), *most = (uint32_t)(g->max_w * 1000);
    return leave(NVML_SUCCESS);
}

/* Setters of all processes queue for the driver, and each takes 10 to 20 ms. */
static void wait_for_driver(void)
{
    node_lock(&node->set_lock);
    double chance = (double)(mix(node->seed + ++node->sets) % 1001) / 1000;
    pause_s(node->set_min_s + (node->set_max_s - node->set_min_s) * chance);
    pthread_mutex_unlock(&node->set_lock);
}

int nvmlDeviceSetPowerManagementLimit(device g, uint32_t mw)
{
    ENTER(g);
    if (node->no_permission || g->no_permission) return leave(NVML_NO_PERMISSION);
    if (mw < g->min_w * 1000 || mw > g->max_w * 1000) return leave(NVML_INVALID_ARGUMENT);
    leave(NVML_SUCCESS);
    wait_for_driver();
    ENTER(g);
    g->requested_w = mw / 1000.0;
    return leave(NVML_SUCCESS);
}
