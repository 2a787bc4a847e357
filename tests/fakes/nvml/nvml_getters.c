/* One call for one value: clocks, memory, heat, errors, links, processes. */
#include "nvml.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { CLOCK_MEMORY = 2, LINKS = 18 };

int nvmlSystemGetDriverVersion(char *version, unsigned length)
{
    snprintf(version, length, "575.00.00");
    return NVML_SUCCESS;
}
const char *nvmlErrorString(int result) { return result ? "failed" : "success"; }

int nvmlDeviceGetName(device g, char *name, unsigned length)
{
    ENTER(g);
    snprintf(name, length, "Fake H100 80GB");
    return leave(NVML_SUCCESS);
}

GETTER(nvmlDeviceGetTotalEnergyConsumption, uint64_t, g->sensor_energy_j * 1000)
GETTER(nvmlDeviceGetCurrentClocksEventReasons, uint64_t, g->reasons)
GETTER(nvmlDeviceGetCurrentClocksThrottleReasons, uint64_t, g->reasons)
GETTER(nvmlDeviceGetPcieReplayCounter, uint32_t, g->pcie_replays)
GETTER(nvmlDeviceGetCurrPcieLinkGeneration, uint32_t, g->pcie_generation)
GETTER(nvmlDeviceGetCurrPcieLinkWidth, uint32_t, g->pcie_width)
GETTER(nvmlDeviceGetMaxPcieLinkGeneration, uint32_t, 5)
GETTER(nvmlDeviceGetMaxPcieLinkWidth, uint32_t, 16)
GETTER(nvmlDeviceGetPersistenceMode, uint32_t, g->persistence)
GETTER(nvmlDeviceGetPerformanceState, uint32_t, 0)

int nvmlDeviceGetClockInfo(device g, uint32_t kind, uint32_t *mhz)
{
    ENTER(g);
    *mhz = kind == CLOCK_MEMORY ? 2619 : (uint32_t)plant_clock_mhz(g);
    return leave(NVML_SUCCESS);
}

int nvmlDeviceGetMaxClockInfo(device g, uint32_t kind, uint32_t *mhz)
{
    ENTER(g);
    *mhz = kind == CLOCK_MEMORY ? 2619 : (uint32_t)MAX_CLOCK_MHZ;
    return leave(NVML_SUCCESS);
}

int nvmlDeviceSetGpuLockedClocks(device g, uint32_t least_mhz, uint32_t most_mhz)
{
    ENTER(g);
    if (node->no_permission || g->no_permission) return leave(NVML_NO_PERMISSION);
    if (least_mhz > most_mhz || most_mhz > MAX_CLOCK_MHZ) return leave(NVML_INVALID_ARGUMENT);
    g->locked_mhz = most_mhz;
    return leave(NVML_SUCCESS);
}

int nvmlDeviceResetGpuLockedClocks(device g)
{
    ENTER(g);
    if (node->no_permission || g->no_permission) return leave(NVML_NO_PERMISSION);
    g->locked_mhz = 0;
    return leave(NVML_SUCCESS);
}

int nvmlDeviceGetUtilizationRates(device g, struct rates *rates)
{
    ENTER(g);
    rates->gpu = g->reasons & REASON_IDLE ? 0 : 98;
    rates->memory = rates->gpu / 2;
    return leave(NVML_SUCCESS);
}

int nvmlDeviceGetMemoryInfo(device g, struct memory *memory)
{
    ENTER(g);
    memory->total = 80ull << 30;
    memory->used = (uint64_t)g->memory_used_bytes;
    memory->free = memory->total - memory->used;
    return leave(NVML_SUCCESS);
}

int nvmlDeviceGetTemperatureV(device g, struct temperature *reading)
{
    ENTER(g);
    reading->celsius = (int32_t)lround(g->temperature_c);
    return leave(NVML_SUCCESS);
}

int nvmlDeviceGetTemperature(device g, uint32_t sensor, uint32_t *celsius)
{
    ENTER(g);
    *celsius = (uint32_t)lround(g->temperature_c);
    return leave(sensor ? NVML_INVALID_ARGUMENT : NVML_SUCCESS);
}

int nvmlDeviceGetMarginTemperature(device g, struct margin *margin)
{
    ENTER(g);
    margin->celsius = (int32_t)lround(88 - g->temperature_c);
    return leave(NVML_SUCCESS);
}

int nvmlDeviceGetTotalEccErrors(device g, uint32_t uncorrected, uint32_t aggregate, uint64_t *count)
{
    ENTER(g);
    const double counts[2][2] = {{g->ecc_corrected_volatile, g->ecc_corrected_aggregate},
                                 {g->ecc_uncorrected_volatile, g->ecc_uncorrected_aggregate}};
    *count = (uint64_t)counts[uncorrected & 1][aggregate & 1];
    return leave(NVML_SUCCESS);
}

int nvmlDeviceGetRemappedRows(device g, uint32_t *corrected, uint32_t *uncorrected, uint32_t *pending, uint32_t *failure)
{
    ENTER(g);
    *corrected = (uint32_t)g->remapped_corrected, *uncorrected = (uint32_t)g->remapped_uncorrected;
    *pending = (uint32_t)g->remap_pending, *failure = (uint32_t)g->remap_failure;
    return leave(NVML_SUCCESS);
}

int nvmlDeviceGetNvLinkState(device g, uint32_t link, uint32_t *active)
{
    ENTER(g);
    *active = link < g->nvlinks_active;
    return leave(link < LINKS ? NVML_SUCCESS : NVML_INVALID_ARGUMENT);
}

int nvmlDeviceGetPcieThroughput(device g, uint32_t direction, uint32_t *kilobytes_per_s)
{
    ENTER(g);
    *kilobytes_per_s = direction < 2 ? (uint32_t)(g->pcie_bytes_per_s / 1000) : 0;
    leave(NVML_SUCCESS);
    pause_s(0.020); /* the driver counts over 20 ms */
    return NVML_SUCCESS;
}

int nvmlDeviceSetPersistenceMode(device g, uint32_t on)
{
    ENTER(g);
    if (!node->no_permission) g->persistence = on;
    return leave(node->no_permission ? NVML_NO_PERMISSION : NVML_SUCCESS);
}

int nvmlDeviceGetComputeRunningProcesses_v3(device g, uint32_t *count, struct process_entry *entries)
{
    ENTER(g);
    uint32_t room = entries ? *count : 0;
    *count = g->processes;
    if (room < g->processes) return leave(NVML_INSUFFICIENT_SIZE);
    for (uint32_t i = 0; i < g->processes; i++)
        entries[i] = (struct process_entry){g->pids[i], g->process_bytes[i], UINT32_MAX, UINT32_MAX};
    return leave(NVML_SUCCESS);
}
