/* A token in a slot: its identity, its pool of sessions, its login. Made when first seen and kept
 * until the process ends, since keys point to it. */
#ifndef BRIDGE_SLOT_H
#define BRIDGE_SLOT_H

#include <stdatomic.h>
#include <stdbool.h>

#include "module/module.h"
#include "token/crew.h"
#include "token/login.h"
#include "token/pool.h"
#include "token/token.h"

struct place_table;

/* What the token said of a mechanism; asked once. Written under the lock, read without it. */
struct mechanism_seen {
    struct mechanism_seen *next;
    CK_MECHANISM_TYPE type;
    _Atomic(CK_FLAGS) flags; /* 0 where the token does not have it; or NOT_ASKED, again */
};

#define NOT_ASKED CK_UNAVAILABLE_INFORMATION

struct slot {
    struct slot *next;
    struct module *module;
    struct token token; /* never changes */
    struct pool pool;
    struct login login;
    atomic_ulong flags;   /* of the token, as last heard */
    atomic_uint changes;  /* objects made and deleted by this library */
    atomic_uint retry_ms; /* what failed is tried again for so long */
    atomic_uint looks;    /* how often the module was initialised anew for a key that was gone, */
    _Atomic(uint64_t) looked; /* and when last: clock_ms */
    atomic_bool troubled;     /* the log said that something failed, not yet that it works again */
    _Atomic(struct mechanism_seen *) mechanisms; /* it only grows, at its front */
    _Atomic(uint64_t) learnt;                    /* how often they have changed */

    /* under the lock (module/lock.h) */
    CK_SLOT_ID id;
    bool lost;         /* the token was in no slot when it was looked for last */
    CK_SLOT_INFO info; /* C_GetSlotInfo, once has_info is set */
    bool has_info;
    struct place_table *places; /* token/place.h; NULL: nothing yet */
    struct crew crew;           /* threads for jobs that are paused */
};

/* What a module tells of its ends: all its slots'. */
extern const struct module_tenant slots_tenant;

/* Finds or makes the slot that holds the token which C_GetTokenInfo names for id. CKR_OK with *out
 * NULL: the slot is empty or its token unknown to the module. */
CK_RV slot_at(struct module *module, CK_SLOT_ID id, const struct pool_limits *limits,
              struct slot **out);

/* Applies the limits of one more configuration. */
void slot_allow(struct slot *slot, const struct pool_limits *limits);

/* How long a thread waits for another that does something for both: logs in, or makes a key. */
static inline unsigned slot_patience_ms(struct slot *slot)
{
    return slot->pool.wait_ms + atomic_load(&slot->retry_ms);
}

/* Whether the token that session is with lists mechanism with all of the flags (CKF_SIGN, ...).
 * Asked once, remembered; what C_GetMechanismInfo said where that is no answer. For who has no
 * session there is run_mechanism (token/run.h). */
CK_RV slot_mechanism(const struct session *session, CK_MECHANISM_TYPE mechanism, CK_FLAGS flags,
                     bool *has);

/* The same if it is remembered; false when it has to be asked. No call. */
bool slot_mechanism_known(const struct slot *slot, CK_MECHANISM_TYPE mechanism, CK_FLAGS flags,
                          bool *has);

/* A number that is another one, for ever, once slot_mechanism_known or slot_lacks may say something
 * else. */
static inline uint64_t slot_learnt(struct slot *slot)
{
    return atomic_load(&slot->learnt);
}

/* C_GetSlotInfo; asked once, remembered. */
CK_RV slot_info(struct slot *slot, CK_SLOT_INFO *info);

/* A use of a mechanism, by a number that is no mechanism's own, that the token turned out not to
 * have though it lists the mechanism. */
bool slot_lacks(const struct slot *slot, CK_MECHANISM_TYPE variant);
void slot_learn_lack(struct slot *slot, CK_MECHANISM_TYPE variant);

/* This library made or deleted an object of the token: what is remembered of them may be wrong. */
void slot_changed(struct slot *slot);

/* The token's flags as last heard, and the slot's id. */
CK_FLAGS slot_flags(struct slot *slot);
CK_SLOT_ID slot_id(struct slot *slot);

/* Whether C_GetTokenInfo, which returned rv, says that there is no token to use. */
bool slot_absent(CK_RV rv);

/* C_GetSlotList: the ids of the slots with a token, in memory that the caller frees with
 * OPENSSL_free. */
CK_RV slots_list(struct module *module, CK_SLOT_ID **ids, CK_ULONG *count);

/* What C_GetTokenInfo says now of the slot with this id: RV_TOKEN_MOVED where another token is in
 * it. */
CK_RV slot_identify(struct slot *slot, CK_SLOT_ID id, CK_FLAGS *flags);

/* Looks for the token again, whose slot may have another id by now. RV_TOKEN_GONE: it is nowhere.
 */
CK_RV slot_locate(struct slot *slot);

/* The slot's id, with the token looked for first where it was lost. */
CK_RV slot_find_token(struct slot *slot, CK_SLOT_ID *id);

/* Whether a session of the module that is in use has this number. */
bool slots_have_session(struct module *module, CK_SESSION_HANDLE ck);

#endif
