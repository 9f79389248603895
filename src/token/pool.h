/* The pool of sessions with a token. A session is with one thread at a time.
 *
 * The pool counts the token's epochs: when sessions and handles are void, because the token failed,
 * logged out, or was taken out, because the module was finalised or the process forked, the next
 * epoch begins. It is changed in epoch.c alone, and compared in module/session.h. */
#ifndef BRIDGE_POOL_H
#define BRIDGE_POOL_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "module/lock.h"
#include "module/session.h"

struct slot;
struct waiter;

/* Threads that wait, the first one first. */
struct queue {
    struct waiter *first, **end;
};

/* How many sessions a pool may have (pkcs11-sessions-max) and keep without work
 * (pkcs11-module-cache-sessions), and how long things may take. The largest of several settings
 * wins. */
struct pool_limits {
    unsigned sessions_max;
    unsigned sessions_idle;
    unsigned wait_ms;  /* pkcs11-session-wait-ms */
    unsigned retry_ms; /* pkcs11-retry-ms */
};

/* Of no use to others but through the functions below. What every operation writes has cache lines
 * of its own (of 64 bytes), so that the epoch, which every call reads, stays in those of all
 * processors. */
struct pool {
    struct slot *slot;
    atomic_ulong epoch; /* changed under the mutex; read without it where the answer may be old */
    atomic_bool untidy; /* there are remains */

    _Alignas(64) struct mutex mutex;
    /* under the mutex */
    struct session *idle;
    unsigned idle_count;
    unsigned taken;     /* by somebody, of whatever epoch, keepers included */
    unsigned open;      /* of this epoch, idle or taken or being opened; with the keepers lent */
    unsigned limit;     /* of open: what the configuration and the token allow */
    unsigned keep_idle; /* sessions that stay open without work */
    enum standing standing;
    bool awaited;         /* somebody waits for taken to be 0 */
    bool mending;         /* a thread looks for the token, and nobody gets a session meanwhile */
    struct queue waiters; /* for sessions */

    _Alignas(64) struct queue makers; /* for keepers */
    uint64_t turn;           /* clock_ns when the first of the waiters comes before all others */
    struct session *members; /* all that have not been freed, of whatever epoch */
    struct session *keepers; /* where session objects are made: open for as long as they live */
    struct session
        *remains;        /* still to be closed, once nobody can be in a call with their objects */
    unsigned lent;       /* of open: keepers, or to be opened for one */
    unsigned long homes; /* the number of the last keeper */
    bool apart;          /* there is a keeper beside the pool, or it is being opened */
    bool admitting;      /* a thread identifies the token or logs in, and the others wait */
    unsigned closing;    /* of open: on their way out */
    unsigned opening;    /* of open: not there yet */
    unsigned squeezed;   /* of open: where the token had no more; 0: it has not come to that */
    unsigned probe_ms;   /* the pause before one more than that is tried */
    uint64_t probe;      /* clock_ns when it is over */
    unsigned long left;  /* the epoch before this one, where it ended with its last session */
    unsigned wait_ms;    /* for a session, when all are busy */
    pthread_cond_t changed; /* standing, or taken */
};

/* Under the lock, once. */
void pool_begin(struct pool *pool, struct slot *slot);

/* Applies the limits of one more configuration; token_max is the token's own. */
void pool_allow(struct pool *pool, const struct pool_limits *limits, CK_ULONG token_max);

/* Takes an idle session, opens one, or waits for one to come back. Who waits is served in the order
 * of arrival, and after a short time, in which a quick token's sessions change hands without a
 * thread being put to sleep, before all who come. RV_SESSIONS_BUSY after pkcs11-session-wait-ms.
 * write: one that may write to the token. The caller gives it back with session_return. */
CK_RV pool_take(struct pool *pool, bool write, struct session **out);

/* A keeper, a session that session objects are made on: they live as long as it does. One stands
 * beside the pool; where more threads want one at once, up to a fifth of the pool's sessions are
 * lent for it. Who waits is served in the order of arrival; RV_SESSIONS_BUSY after patience_ms.
 * With no patience, just the one beside the pool. */
CK_RV pool_take_keeper(struct pool *pool, unsigned patience_ms, struct session **out);

/* An object was made on keeper, which the caller has: it stays a keeper until pool_unhome is called
 * with the number that comes back, because the object is gone, or given up. */
unsigned long pool_home(struct session *keeper);
void pool_unhome(struct pool *pool, unsigned long home);

/* Gives it back; a spoilt, outdated or superfluous one is closed. For _cleanup_(session_return). */
void session_return(struct session **session);

/* Claims the right to raise the standing of the token that session is with, where it is below
 * wanted: *claimed, and pool_admitted with what was reached is due. Waits for another thread that
 * does it. RV_STALE when the epoch is over. */
CK_RV pool_admit(struct session *session, enum standing wanted, unsigned patience_ms,
                 bool *claimed);
void pool_admitted(struct session *session, enum standing reached);

/* Whether a handle is of the present epoch, for who would take a session just to use it. */
bool pool_knows(const struct pool *pool, struct handle handle);

/* Whether there are sessions of this epoch. */
bool pool_in_use(struct pool *pool);

/* Sessions that may be open, as far as the token had them when they were wanted last. */
unsigned pool_limit(struct pool *pool);

/* Whether one of the pool's sessions of this epoch has this number. */
bool pool_has(struct pool *pool, CK_SESSION_HANDLE ck);

/* The ends of an epoch. Each but the last three does nothing when epoch is over already.
 * pool_mend: the token failed; true for the one thread that looks for it until pool_mended. close:
 * its sessions can be closed; keepers later, since their objects go with them: SoftHSM 2.6 crashes
 * when another thread is in the middle of C_SignInit with one. pool_logged_out: handles of private
 * objects are void (PKCS#11 v3.1 §5.6.9), idle sessions stay. */
bool pool_mend(struct pool *pool, unsigned long epoch, bool close);
void pool_mended(struct pool *pool);
void pool_logged_out(struct pool *pool, unsigned long epoch);

/* Under the lock. The module forgot the sessions; or they are the parent's of this process. */
void pool_forget(struct pool *pool);
void pool_disown(struct pool *pool);

/* All sessions are closed, if close is set, keepers too, and forgotten. */
void pool_leave(struct pool *pool, bool close);

/* Waits until nobody has a session, or until deadline (clock_ms). */
bool pool_wait_unused(struct pool *pool, uint64_t deadline);

#endif
