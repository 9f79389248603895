/* A loaded PKCS#11 module. One per library in the process, however many provider instances use it:
 * one C_Initialize, and C_Finalize when the last user lets go (PKCS#11 v3.1 §5.4). */
#ifndef BRIDGE_MODULE_H
#define BRIDGE_MODULE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "module/cryptoki.h"

enum module_state { MODULE_DOWN, MODULE_STARTING, MODULE_UP };

struct module {
    struct module *next;
    char *path;      /* as configured */
    char *init_args; /* pReserved of C_Initialize, or NULL */
    CK_FUNCTION_LIST *functions;
    atomic_bool serial; /* it cannot take OS locking: one call at a time, under serial_lock */
    pthread_mutex_t serial_lock;
    atomic_bool ended; /* finalised for the end of the process: no call any more */
    atomic_flag end_follows_start, end_follows_login;

    /* under the lock (module/lock.h) */
    unsigned users;
    enum module_state state;
    bool ours;           /* our C_Initialize succeeded, so C_Finalize is ours as well */
    bool stays;          /* and yet it is left initialised (module_stay) */
    unsigned generation; /* lock_generation() when it was started */
    pthread_cond_t changed;
    struct slot *slots;
    bool listed;  /* C_GetSlotList was answered since the start */
    unsigned taken;      /* sessions that somebody has */
    uint64_t restarted; /* clock_ms of the last module_restart */
    CK_INFO info; /* C_GetInfo, once has_info is set */
    bool has_info;
};

/* Loads the library at path (absolute) or finds it loaded, and counts a user. Makes no C_* call but
 * C_GetFunctionList. False with a sentence in why (size bytes) when that fails. */
bool module_open(const char *path, const char *init_args, struct module **out, char *why,
                 size_t size);

/* Makes the module ready for use in this process: C_Initialize, once, also anew after a fork. It is
 * finalised when the process ends with exit(), before its own exit handlers and destructors, unless
 * a call does not come back in time. */
CK_RV module_start(struct module *module);

/* Under the lock: whether module_start would find nothing to do. */
bool module_ready(const struct module *module);

/* Under the lock: the module was found finalised; the next use starts it again. */
void module_lost(struct module *module);

/* Somebody has logged in. What the module registered for exit() meanwhile comes after C_Finalize as
 * well. */
void module_logged_in(struct module *module);

/* From now on the module is left initialised, whoever lets go of it. */
void module_stay(struct module *module);

/* Under the lock: somebody has a session of the module, or gives it back. */
void module_hold(struct module *module);
void module_release(struct module *module);

/* C_Finalize and C_Initialize, for a module that has lost what it was connected to and does not
 * mend that by itself. Waits for the sessions that are in use, which the caller must have none of.
 * Nothing happens where the program had initialised the module, where another thread just did this,
 * or where a session stays in use. */
void module_restart(struct module *module);

/* Lets go. The last user's sessions are closed and the module finalised, unless touch is false
 * (too much of the process has ended), the module stays, or the program had initialised it before
 * us. */
void module_close(struct module *module, bool touch);

#endif
