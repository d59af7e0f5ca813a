/* An emulated SteamVR: the library vrclient.so that OpenVR loads, with those functions of IVRSystem that the driver calls.

   What they answer is in the file STATE, written by vla_ros/emulators/vive.py, which has it locked (flock) while SteamVR is to
   run. On the command line, from the Python package openvr: SYSTEM, the interface's name; FUNCTIONS, how many it has, and
   AT_name, which of them is which; sizes in bytes; numbers of OpenVR's enumerations. */

#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <unistd.h>

#define RETRIES 1000 /* of reading while the file is written */

struct slot { /* one device; kind 0: none */
    uint8_t pose[POSE_SIZE];
    uint8_t controls[CONTROLS_SIZE];
    char serial[SERIAL_SIZE];
    int32_t kind;
    float battery;
};

struct shared {
    _Atomic uint32_t sequence; /* odd while the rest is written */
    struct slot slots[SLOTS];
};

_Static_assert(sizeof(struct slot) == SLOT_SIZE, "the writer's slot has another size");

static int file = -1;
static struct shared *shared = MAP_FAILED;
static struct shared copy; /* OpenVR's Python driver calls under a lock */
static int quit_told;

static int ended(void)
{
    if (shared == MAP_FAILED)
        return 1;
    if (flock(file, LOCK_SH | LOCK_NB) != 0)
        return 0;
    flock(file, LOCK_UN);
    return 1;
}

static void let_go(void *self)
{
    (void)self;
    if (shared != MAP_FAILED)
        munmap(shared, sizeof *shared);
    if (file >= 0)
        close(file);
    shared = MAP_FAILED;
    file = -1;
}

/* Return the device's slot as it is now, 0 where there is none. */
static const struct slot *slot_at(uint32_t index)
{
    if (index >= SLOTS || ended())
        return 0;
    for (int i = 0; i < RETRIES; i++) {
        uint32_t before = atomic_load(&shared->sequence);
        memcpy(copy.slots, shared->slots, sizeof copy.slots);
        atomic_thread_fence(memory_order_seq_cst);
        if (before % 2 == 0 && before == atomic_load(&shared->sequence))
            return copy.slots[index].kind ? &copy.slots[index] : 0;
    }
    return 0;
}

/* IVRSystem */

static void poses(int32_t universe, float ahead, uint8_t *out, uint32_t count)
{
    memset(out, 0, (size_t)count * POSE_SIZE);
    if (universe != STANDING || ahead != 0.0f)
        return;
    for (uint32_t i = 0; i < count && i < SLOTS; i++) {
        const struct slot *slot = slot_at(i);
        if (slot)
            memcpy(out + (size_t)i * POSE_SIZE, slot->pose, POSE_SIZE);
    }
}

static int32_t kind(uint32_t index)
{
    const struct slot *slot = slot_at(index);
    return slot ? slot->kind : 0;
}

static uint8_t bool_property(uint32_t index, int32_t property, int32_t *error)
{
    const struct slot *slot = slot_at(index);
    *error = slot && property == HAS_BATTERY ? 0 : UNKNOWN_PROPERTY;
    return *error == 0 && slot->battery >= 0.0f;
}

static float float_property(uint32_t index, int32_t property, int32_t *error)
{
    const struct slot *slot = slot_at(index);
    *error = slot && property == BATTERY ? 0 : UNKNOWN_PROPERTY;
    return *error ? 0.0f : slot->battery;
}

static uint32_t string_property(uint32_t index, int32_t property, char *out, uint32_t size, int32_t *error)
{
    const struct slot *slot = slot_at(index);
    *error = slot && property == SERIAL ? 0 : UNKNOWN_PROPERTY;
    if (*error)
        return 0;
    uint32_t length = (uint32_t)strnlen(slot->serial, SERIAL_SIZE - 1) + 1;
    if (!out || size < length) {
        *error = TOO_SMALL;
        return length;
    }
    memcpy(out, slot->serial, length);
    out[length - 1] = 0;
    return length;
}

static uint8_t next_event(uint32_t *event, uint32_t size)
{
    if (quit_told || !ended())
        return 0;
    memset(event, 0, size);
    event[0] = QUIT;
    quit_told = 1;
    return 1;
}

static uint8_t controls(uint32_t index, uint8_t *out, uint32_t size)
{
    const struct slot *slot = slot_at(index);
    if (!slot || size != CONTROLS_SIZE)
        return 0;
    memcpy(out, slot->controls, size);
    return 1;
}

static void *nothing(void) { return 0; }

static void *system_table[FUNCTIONS];

/* IVRClientCore_003: one object, whose first word points to its methods (Itanium C++ ABI) */

static int32_t init(void *self, int32_t application, const char *info)
{
    (void)self, (void)info;
    let_go(0);
    quit_told = 0;
    file = open(STATE, O_RDWR | O_CLOEXEC);
    if (file >= 0)
        shared = mmap(0, sizeof *shared, PROT_READ, MAP_SHARED, file, 0);
    if (application != BACKGROUND || ended()) {
        let_go(0);
        return NO_SERVER;
    }
    return 0;
}

static int32_t has_interface(void *self, const char *name)
{
    (void)self;
    return strcmp(name, SYSTEM) ? NO_INTERFACE : 0;
}

static void *interface(void *self, const char *name, int32_t *error)
{
    (void)self;
    int here = strcmp(name, "FnTable:" SYSTEM) == 0;
    if (error)
        *error = here ? 0 : NO_INTERFACE;
    return here ? system_table : 0;
}

static void *methods[] = {init, let_go, has_interface, interface, nothing, nothing, nothing};
static void **client = methods;

void *VRClientCoreFactory(const char *name, int32_t *result)
{
    (void)name;
    for (int i = 0; i < FUNCTIONS; i++)
        system_table[i] = nothing;
    system_table[AT_getDeviceToAbsoluteTrackingPose] = poses;
    system_table[AT_getTrackedDeviceClass] = kind;
    system_table[AT_getBoolTrackedDeviceProperty] = bool_property;
    system_table[AT_getFloatTrackedDeviceProperty] = float_property;
    system_table[AT_getStringTrackedDeviceProperty] = string_property;
    system_table[AT_pollNextEvent] = next_event;
    system_table[AT_getControllerState] = controls;
    if (result)
        *result = 0;
    return &client;
}
