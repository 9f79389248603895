/* A token in a slot: its identity, its pool of sessions, its login. Made when first seen and kept
 * until the process ends, since keys point to it. */
#ifndef BRIDGE_SLOT_H
#define BRIDGE_SLOT_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "base/secret.h"
#include "module/module.h"
#include "token/crew.h"

struct place;
struct session;
struct waiter;

enum login_state { LOGIN_OUT, LOGIN_BUSY, LOGIN_IN };

/* What the token said of a mechanism; asked once. */
struct mechanism_seen {
    struct mechanism_seen *next;
    CK_MECHANISM_TYPE type;
    CK_FLAGS flags; /* 0 where the token does not have it */
};

struct slot {
    struct slot *next;
    struct module *module;
    CK_TOKEN_INFO token; /* all but its flags never change */
    char label[33];

    /* under the lock (module/lock.h) */
    CK_SLOT_ID id;
    CK_FLAGS flags;    /* of the token */
    bool flags_fresh;  /* asked since the last C_Login */
    CK_SLOT_INFO info; /* C_GetSlotInfo, once has_info is set */
    bool has_info;
    atomic_ulong epoch; /* counts the restarts: sessions and handles of another epoch are void. Changed
                           under the lock; looked at without it where the answer may be old */
    enum login_state login;
    struct secret *pin; /* the one that the token took */
    char *pin_file;     /* where it came from, or NULL */
    struct mechanism_seen *mechanisms;
    struct session *idle;
    struct session *keeper; /* where session objects are made: open for as long as they live */
    bool keeper_busy;
    unsigned open;    /* sessions, idle or taken or being opened; without the keeper */
    unsigned closing; /* of open: on their way out */
    unsigned idle_count;
    unsigned limit;     /* of open: what the configuration and the token allow */
    unsigned keep_idle; /* sessions that stay open without work */
    unsigned wait_ms;   /* for a session, when all are busy */
    unsigned retry_ms;  /* what failed is tried again for so long */
    struct waiter *waiters; /* for sessions, the first one first */
    unsigned changes;       /* objects made and deleted by this library */
    struct place *places;   /* token/place.h */
    struct crew crew;       /* threads for jobs that are paused */
    bool mending;           /* a thread does, and the others wait */
    atomic_bool troubled;   /* the log said that something failed, not yet that it works again */
    pthread_cond_t changed; /* the login or the keeper */
};

/* A thread that waits for a session. */
struct waiter {
    struct waiter *next;
    pthread_cond_t turn;
};

/* How many sessions slots of this module may have (pkcs11-sessions-max) and keep without work
 * (pkcs11-module-cache-sessions), and how long they may take. Set before the first use; the largest of several settings wins.
 */
struct pool_limits {
    unsigned sessions_max;
    unsigned sessions_idle;
    unsigned wait_ms;  /* pkcs11-session-wait-ms */
    unsigned retry_ms; /* pkcs11-retry-ms */
};

/* Finds or makes the slot that holds the token which C_GetTokenInfo names for id. CKR_OK with *out
 * NULL: the slot is empty or its token unknown to the module. */
CK_RV slot_at(struct module *module, CK_SLOT_ID id, const struct pool_limits *limits,
              struct slot **out);

/* Under the lock: applies the limits of one more configuration. */
void slot_allow(struct slot *slot, const struct pool_limits *limits);

/* The ids of the slots with a token, in memory that the caller frees with OPENSSL_free. */
CK_RV slot_list(struct module *module, CK_SLOT_ID **ids, CK_ULONG *count);

/* Whether the token lists mechanism with all of the flags (CKF_SIGN, ...). Asked once, remembered.
 */
bool slot_has_mechanism(struct slot *slot, CK_MECHANISM_TYPE mechanism, CK_FLAGS flags);

/* C_GetSlotInfo; asked once, remembered. */
CK_RV slot_info(struct slot *slot, CK_SLOT_INFO *info);

/* A use of a mechanism, by a number that is no mechanism's own, that the token turned out not to
 * have though it lists the mechanism. */
bool slot_lacks(struct slot *slot, CK_MECHANISM_TYPE variant);
void slot_learn_lack(struct slot *slot, CK_MECHANISM_TYPE variant);

/* Under the lock: nothing that was open or known by handle is valid any more. close: the sessions
 * belong to this process and C_CloseSession may be called on them (they are handed back for that).
 */
struct session *slot_forget(struct slot *slot);

/* Under the lock: what the token said of itself and its mechanisms is not known any more. */
void slot_ask_anew(struct slot *slot);

/* slot_forget, unless another thread did it since epoch: then false. Until slot_end_mending nobody
 * gets a session of the slot. */
bool slot_begin_mending(struct slot *slot, unsigned long epoch, struct session **void_sessions);
void slot_end_mending(struct slot *slot);

/* This library made or deleted an object of the token: what is remembered of them may be wrong. */
void slot_changed(struct slot *slot);

/* Under the lock: a session came back, or there is room for one: the first that waits shall look. */
void slot_wake(struct slot *slot);

/* The token's flags as last heard, and the slot's id. */
CK_FLAGS slot_flags(struct slot *slot);
CK_SLOT_ID slot_id(struct slot *slot);

/* Looks for the token again, whose slot may have another id by now. RV_TOKEN_GONE: it is nowhere.
 */
CK_RV slot_locate(struct slot *slot);

#endif
