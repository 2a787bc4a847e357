/* The few NVML types that the fake needs; numbers and layouts are those that nvidia-ml-py expects. */
#pragma once
#include "state.h"

enum { NVML_SUCCESS = 0, NVML_UNINITIALIZED = 1, NVML_INVALID_ARGUMENT = 2, NVML_NOT_SUPPORTED = 3, NVML_NO_PERMISSION = 4,
       NVML_NOT_FOUND = 6, NVML_INSUFFICIENT_SIZE = 7, NVML_DRIVER_NOT_LOADED = 9, NVML_TIMEOUT = 10, NVML_GPU_IS_LOST = 15 };
enum { EVENT_XID = 0x8, EVENT_RECOVERY = 0x8000 };

typedef struct gpu *device;

struct field_value {
    uint32_t field, scope;
    int64_t timestamp, latency_us;
    uint32_t type, result;
    union { double real; uint32_t u32; uint64_t u64; } value;
};
struct event_data { device gpu; uint64_t type, code; uint32_t gpu_instance, compute_instance; };
struct rates { uint32_t gpu, memory; };
struct memory { uint64_t total, free, used; };
struct temperature { uint32_t version, sensor; int32_t celsius; };
struct margin { uint32_t version; int32_t celsius; };
struct process_entry { uint32_t pid; uint64_t bytes; uint32_t gpu_instance, compute_instance; };

extern struct node *node;
int lacks(const char *name);
int begin(const char *call);                                 /* checks the session, waits while the call hangs */
int enter(const char *call, device g);                       /* checks, locks, brings the card up to now */
int leave(int result);                                       /* unlocks */
enum { INSTANT = 0, AVERAGE = 1 };
uint32_t read_power_mw(device g, int kind);                  /* and writes the log; under the lock */
int index_of(device g);

#define ENTER(g) do { int refused_ = enter(__func__, g); if (refused_) return refused_; } while (0)
#define GETTER(name, type, expression) \
    int name(device g, type *out) { ENTER(g); *out = (type)(expression); return leave(NVML_SUCCESS); }
