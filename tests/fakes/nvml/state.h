/* The simulated node: one struct in a file that every process maps. Powers are W, energies J, clocks MHz. */
#pragma once
#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

enum { MAX_GPUS = 64, MAX_PROCESSES = 16, MAX_EVENTS = 256 };
enum { STEP_NS = 5000000, RING_STEPS = 200, SENSOR_STEPS = 20, WINDOW_STEPS = 5, CATCH_UP_STEPS = 4000 };
#define STEP_S (STEP_NS * 1e-9)
#define IDLE_W 70.0
#define MAX_CLOCK_MHZ 1980.0
#define IDLE_CLOCK_MHZ 345.0

enum { REASON_IDLE = 0x1, REASON_LOCKED = 0x2, REASON_POWER = 0x4, REASON_HW = 0x8,
       REASON_SW_THERMAL = 0x20, REASON_HW_THERMAL = 0x40, REASON_BRAKE = 0x80 };

/* Every steerable value is a double, so that one table of names and offsets reaches all of them (steer.c). */
struct gpu {
    double demand_w, gain_ratio, ambient_c, lost, gone, forced_reasons;
    double requested_w, other_limit_w, min_w, max_w, default_w, locked_mhz;
    double ecc_corrected_volatile, ecc_uncorrected_volatile, ecc_corrected_aggregate, ecc_uncorrected_aggregate;
    double remapped_corrected, remapped_uncorrected, remap_pending, remap_failure, recovery_action;
    double nvlinks_active, nvlink_errors, pcie_replays, pcie_generation, pcie_width, pcie_bytes_per_s;
    double persistence, memory_used_bytes, no_permission, disobeys;
    /* what physics makes of them */
    double power_w, temperature_c, energy_j, true_energy_j, wish_w;
    double sensor_w, sensor_energy_j, ring[RING_STEPS], pcie_bytes;
    double power_s, thermal_s, software_thermal_s, hardware_thermal_s, brake_s;
    uint64_t step, sensor_step, phase, reads[2];
    uint32_t reasons, processes, pids[MAX_PROCESSES];
    uint64_t process_bytes[MAX_PROCESSES];
    char uuid[48];
};

struct event { uint32_t gpu; uint64_t type, code; };

struct node {
    uint64_t magic, start_ns, seed, sets, events_seen, unloads;
    uint32_t gpus, turns; /* how often something was turned from outside: who waits for an event sleeps on it */
    pthread_mutex_t lock, set_lock; /* the driver's state; and its queue of limit setters */
    double hang, unloaded, refusals, tau_s, overshoot_ratio, no_permission, set_min_s, set_max_s;
    char hang_call[64]; /* '' : hang concerns every call */
    struct event events[MAX_EVENTS];
    char log_path[512];
    struct gpu gpu[MAX_GPUS];
};

struct node *node_create(const char *path, uint32_t gpus, uint64_t seed);
struct node *node_open(const char *path);
void node_lock(pthread_mutex_t *lock);
void node_turned(struct node *n);
void node_await_turn(struct node *n, uint32_t turns, uint64_t end_ns);
void node_push_event(struct node *n, uint32_t gpu, uint64_t type, uint64_t code);
uint64_t mix(uint64_t x);
uint64_t boottime_ns(void);
void pause_s(double seconds);

void plant_start(struct node *n, struct gpu *g);
void plant_advance(struct node *n, struct gpu *g);
double plant_enforced_w(const struct gpu *g);
double plant_average_w(const struct gpu *g);
double plant_clock_mhz(const struct gpu *g);
