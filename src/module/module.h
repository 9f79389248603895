/* A loaded PKCS#11 module. One per library in the process, however many provider instances use it:
 * one C_Initialize, and C_Finalize when the last user lets go (PKCS#11 v3.1 §5.4). */
#ifndef BRIDGE_MODULE_H
#define BRIDGE_MODULE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "module/interface.h"
#include "module/trust.h"

struct retry;
struct slot;
struct token_list;

enum module_state { MODULE_DOWN, MODULE_STARTING, MODULE_UP };

/* What calls have to heed at the module's door: nearly always nothing. */
enum heed {
    HEED_SERIAL = 1, /* it cannot take OS locking: one call at a time, under serial_lock */
    HEED_BARRED = 2, /* it is being started anew: only the thread that does it may call */
    HEED_ENDED = 4,  /* finalised for the end of the process: no call any more */
};

struct module;

/* What token/ has to do when a module comes to an end of some kind. All but wait_unused and
 * others_work are called under the lock. */
struct module_tenant {
    /* Sessions, handles and logins are void, and what the module said of its tokens is not known
     * any more. */
    void (*forget)(struct module *module);
    /* The same in the child of a fork, where all that there is is the parent's, to be left alone;
     * locks and who waits for them are made anew. */
    void (*disown)(struct module *module);
    /* The same, with the sessions closed; called without the lock. */
    void (*leave)(struct module *module, bool close);
    /* Nobody uses the module any more, whatever becomes of it: PINs are dropped. */
    void (*drop)(struct module *module);
    /* Waits until nobody has a session of the module, or until deadline (clock_ms). */
    bool (*wait_unused)(struct module *module, uint64_t deadline);
    /* Whether a slot other than this one is in use and its token answers. */
    bool (*others_work)(struct module *module, const struct slot *slot);
};

struct module {
    struct module *next;
    char *path;            /* as configured */
    char *init_args;       /* pReserved of C_Initialize, or NULL */
    struct file_seen file; /* what was there when it was loaded */
    struct functions functions;
    const struct module_tenant *tenant;
    atomic_uint heed; /* bits of enum heed */
    pthread_mutex_t serial_lock;
    atomic_bool ours;   /* our C_Initialize succeeded, so C_Finalize is ours as well; changed within
                           the gate, or by who finds the module finalised */
    atomic_bool leaves; /* it does not have C_SessionCancel, whatever its list says */
    atomic_ulong user;  /* who C_Login is for: CKU_USER, or what the module has in its place */
    atomic_flag end_follows_start, end_follows_login;
    _Atomic(enum module_state) state; /* changed under the lock, as the next */
    atomic_uint generation;           /* lock_generation() when it was started */
    atomic_uint patience_ms;          /* module_allow */
    atomic_ulong life; /* counts its starts and ends: no session outlasts one; the same */

    /* under the lock (module/lock.h) */
    unsigned users;
    bool inherited; /* a fork found it initialised by us, and it says that it still is */
    bool stays;     /* and yet it is left initialised (module_stay) */
    pthread_cond_t changed;
    struct slot *slots;        /* token/slot.h */
    struct token_list *tokens; /* token/tokens.h; NULL until C_GetSlotList was answered */
    bool listed;               /* C_GetSlotList was answered since the start */
    uint64_t restarted;        /* clock_ms of the last module_restart */
    uint64_t started;          /* clock_ms of the last C_Initialize */
    uint64_t begun;            /* the same of module_start */
    uint64_t missed;           /* clock_ms of the first module_look_again since; 0: none */
    CK_INFO info;              /* C_GetInfo, once has_info is set */
    bool has_info;
};

/* What the configuration has of a module. */
struct module_source {
    const char *path;      /* absolute */
    const char *init_args; /* or NULL */
    struct trust trust;    /* what the file must be like */
};

/* Loads the library, where its file may be trusted, or finds it loaded, and counts a user. Makes no
 * C_* call but C_GetInterface and C_GetFunctionList. False with a sentence in why (size bytes) when
 * that fails. */
bool module_open(const struct module_source *source, const struct module_tenant *tenant,
                 struct module **out, char *why, size_t size);

/* Makes the module ready for use in this process: C_Initialize, once, also anew after a fork. It is
 * finalised when the process ends with exit(), before its own exit handlers and destructors, unless
 * a call does not come back in time. RV_START_OVERDUE where another thread is at it for longer than
 * module_allow has; docs/adr/0018-no-deadline-for-c-initialize.md has why it waits itself. */
CK_RV module_start(struct module *module);

/* How long a thread waits for another that starts the module; the longest of several wins. */
void module_allow(struct module *module, unsigned patience_ms);

/* Whether module_start would find nothing to do. Who holds a token's mutex and sees this has the
 * module until it is released: a restart takes that mutex before it goes on. */
bool module_ready(const struct module *module);

/* Under the lock: the module was found finalised by a call that began in this life of it; the next
 * use starts it again. */
void module_lost(struct module *module, unsigned long life);

/* Somebody has logged in. What the module registered for exit() meanwhile comes after C_Finalize as
 * well. */
void module_logged_in(struct module *module);

/* From now on the module is left initialised, whoever lets go of it. */
void module_stay(struct module *module);

/* From now on, this user logs in. */
void module_login_as(struct module *module, CK_USER_TYPE user);

/* C_Finalize and C_Initialize, for a module that has lost what it was connected to and does not
 * mend that by itself: so says the work with slot. Waits for the sessions that are in use, which
 * the caller must have none of. Nothing happens where the program had initialised the module, or an
 * ancestor of this process had (unless that was another user, who may see other files), where
 * another thread just did this, where a session stays in use, where a call does not come back, or
 * where another token in use answers: its session objects would be gone. True where it was started
 * anew here, and is up. */
bool module_restart(struct module *module, const struct slot *slot);

/* The same for who found no token that fits, where the last C_Initialize is a second ago: some
 * modules look for tokens then and never again. */
void module_renew(struct module *module);

/* For who misses a token in a module that was started lately, by module_start: it may have looked
 * at its tokens while another process was writing them, as SoftHSM's do at each login. At the first
 * call it may be asked again at once; at the following ones after a pause in which it is finalised
 * and initialised again, as in module_restart. looks is the caller's for all of its calls. False
 * most_ms after the first such call of anybody since the start, so that what is truly absent is
 * waited for once. */
bool module_look_again(struct module *module, const struct slot *slot, struct retry *looks,
                       unsigned most_ms);

/* Lets go. The last user's sessions are closed and the module finalised, unless touch is false
 * (too much of the process has ended), the module stays, or the program had initialised it before
 * us. */
void module_close(struct module *module, bool touch);

/* C_GetInfo, C_GetTokenInfo, C_GetSlotInfo, C_GetMechanismInfo. */
CK_RV module_info(struct module *module, CK_INFO *info);
CK_RV module_token_info(struct module *module, CK_SLOT_ID slot, CK_TOKEN_INFO *info);
CK_RV module_slot_info(struct module *module, CK_SLOT_ID slot, CK_SLOT_INFO *info);
CK_RV module_mechanism_info(struct module *module, CK_SLOT_ID slot, CK_MECHANISM_TYPE type,
                            CK_MECHANISM_INFO *info);

/* C_GetSlotList: the ids of the slots with a token, in memory that the caller frees with
 * OPENSSL_free. Where it fails, *ids and *count stay as they are. */
CK_RV module_slots(struct module *module, CK_SLOT_ID **ids, CK_ULONG *count);

#endif
