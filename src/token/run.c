#include "token/run.h"

#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/rare.h"
#include "base/scope.h"
#include "base/user.h"
#include "meter/meter.h"
#include "module/call.h"
#include "module/ckr.h"
#include "module/retry.h"
#include "token/copy.h"

struct work {
    struct run run;
    struct object *object; /* NULL: run.task runs without */
    object_task *on_object;
};

/* A try that failed. */
struct attempt {
    unsigned long epoch;       /* of the session that it had, or wanted */
    struct handle handle;      /* of the object, if it got so far */
    CK_SESSION_HANDLE session; /* the number of the session, for the witness */
    unsigned failed;           /* how many there were, with this one */
    struct verdict verdict;
    bool committed; /* it must not be made again if the call that failed may have done its work */
    bool outdated;  /* another thread has ended the epoch since */
};

/* For pkcs11-metrics: what call returned led to it. */
RARE static void count_recovery(const struct slot *slot, CK_RV rv, const char *call)
{
    const struct meter_event event = { .family = SERIES_RECOVERY,
                                       .name = call,
                                       .token = slot->token.label,
                                       .mechanism = SERIES_NOTHING,
                                       .result = rv,
                                       .tries = 1 };

    if (meter_is_on())
        meter_count(&event);
}

/* Every session and handle of this epoch is void, and the token may be in another slot. One thread
 * mends; nobody gets a session meanwhile. */
static void repair_token(struct slot *slot, CK_RV rv, unsigned long epoch)
{
    const char *call = call_name();
    bool gone = rv == CKR_DEVICE_REMOVED || rv == CKR_TOKEN_NOT_PRESENT;

    if (!pool_mend(&slot->pool, epoch, !gone))
        return;
    count_recovery(slot, rv, call);
    if (rv != CKR_SESSION_HANDLE_INVALID)
        (void)slot_locate(slot);
    pool_mended(&slot->pool);
}

static void repair_module(struct slot *slot, CK_RV rv, unsigned long epoch)
{
    bool first;

    lock_take();
    first = atomic_load(&slot->pool.epoch) == epoch;
    if (first)
        module_lost(slot->module, atomic_load(&slot->module->life));
    lock_release();
    if (first)
        count_recovery(slot, rv, call_name());
}

/* Nothing is repaired twice: what failed in an epoch that is over is mended. */
static void repair(const struct work *work, CK_RV rv, const struct attempt *attempt)
{
    struct slot *slot = work->run.slot;
    const char *name = call_name();

    switch (attempt->verdict.repair) {
    case REPAIR_TOKEN:
        repair_token(slot, rv, attempt->epoch);
        break;
    case REPAIR_LOGIN:
        pool_logged_out(&slot->pool, attempt->epoch);
        break;
    case REPAIR_MODULE:
        repair_module(slot, rv, attempt->epoch);
        break;
    case REPAIR_HANDLE:
        if (work->object != NULL)
            object_lost(work->object, attempt->handle);
        break;
    default:
        break;
    }
    call_named(name); /* an error message is about what failed */
}

static CK_RV perform(const struct work *work, struct session *session, struct handle *handle)
{
    WITHIN_GATE;
    CK_RV rv;

    if (work->object == NULL)
        return work->run.task(session, work->run.arg);
    rv = object_handle(work->object, session, handle);
    return rv == CKR_OK ? work->on_object(session, *handle, work->run.arg) : rv;
}

/* What is to be known of a try that failed before its session, if it had one, is given back. */
RARE static CK_RV try_failed(struct session *session, struct attempt *attempt, CK_RV rv)
{
    attempt->verdict = ckr_verdict(call_name(), rv);
    attempt->committed = session != NULL && session->committed;
    attempt->outdated = session != NULL && !session_current(session);
    if (session != NULL) {
        session->spoilt = session->keeper ? attempt->verdict.active : attempt->verdict.spoils;
        session->pending = attempt->verdict.pending;
    }
    return rv;
}

/* Fills attempt where it fails. */
static CK_RV try_once(const struct work *work, struct attempt *attempt)
{
    _cleanup_(session_return) struct session *session = NULL;
    const struct run *run = &work->run;
    CK_RV rv;

    attempt->epoch = atomic_load(&run->slot->pool.epoch);
    attempt->handle = (struct handle){ 0, 0 };
    rv = session_take(run->slot, run->purpose, run->login, run->pins, &session);
    if (rv == CKR_OK) {
        attempt->epoch = session->epoch;
        attempt->session = session->ck;
        session->committed = false;
        rv = perform(work, session, &attempt->handle);
    }
    return rv == CKR_OK ? CKR_OK : try_failed(session, attempt, rv);
}

/* What modules say while another thread closes sessions and their objects vanish can be anything:
 * SoftHSM 2.6 may find that the key's CKA_SIGN is off. */
static bool try_again(const struct work *work, const struct attempt *attempt, CK_RV rv,
                      unsigned tries)
{
    if ((attempt->committed && attempt->verdict.begun) ||
        (work->run.elsewhere && rv == RV_TOKEN_GONE))
        return false;
    return attempt->outdated || verdict_try_again(&attempt->verdict, tries);
}

/* Tells the operator, once, that somebody waits for the token, and once that it works again. */
RARE static void tell(struct slot *slot, bool troubled, CK_RV rv)
{
    bool changes = atomic_exchange(&slot->troubled, troubled) != troubled;

    if (changes && troubled)
        log_line("token '%s': %s: %s; trying again for %u ms", slot->token.label, call_name(),
                 ckr_describe(rv)->name != NULL ? ckr_describe(rv)->name : ckr_describe(rv)->advice,
                 atomic_load(&slot->retry_ms));
    else if (changes)
        log_line("token '%s' works again", slot->token.label);
}

/* Tries that failed before the module is finalised and initialised again. */
#define TRIES_BEFORE_RESTART 4

static bool restart_helps(const struct verdict *verdict)
{
    return verdict->repair == REPAIR_TOKEN || verdict->repair == REPAIR_SESSION;
}

#define LOOK_MS      500
#define LOOK_DOUBLED 6

/* For a key that is gone, which may be so for good: not always at once, since it disturbs others
 * who use the token. */
static bool look_is_due(struct slot *slot)
{
    unsigned looks = atomic_load(&slot->looks);
    uint64_t pause = (uint64_t)LOOK_MS << (looks < LOOK_DOUBLED ? looks : LOOK_DOUBLED);
    bool due = looks == 0 || clock_ms() - atomic_load(&slot->looked) >= pause;

    if (due) {
        atomic_store(&slot->looked, clock_ms());
        atomic_fetch_add(&slot->looks, 1);
    }
    return due;
}

/* A module may have looked at its files when it was initialised, and may have been kept from seeing
 * some then: a server gives up root for its workers. Once in an operation. */
static bool look_anew(struct slot *slot, CK_RV rv, bool *anew)
{
    bool hidden = rv == RV_KEY_GONE && user_changed();

    if (*anew || !(ckr_is_blind(call_name(), rv) || (hidden && look_is_due(slot))))
        return false;
    *anew = true;
    (void)module_restart(slot->module, slot);
    return true;
}

/* Another process may have been writing the token when the module, lately, was started. Where it
 * has no PIN, there is a session with it that is of no use to anybody. */
static bool look_again(struct slot *slot, CK_RV rv, struct retry *looks)
{
    const struct slot *unused = rv == CKR_USER_PIN_NOT_INITIALIZED ? slot : NULL;

    return ckr_is_unread(call_name(), rv) &&
           module_look_again(slot->module, unused, looks, looks->budget_ms);
}

/* What was done about the tries that failed. */
struct mending {
    struct retry retry, looks;
    bool anew;
};

/* tpm2-pkcs11 makes session objects on sessions that may write, and on no other. */
static bool write_instead(struct work *work, CK_RV rv)
{
    if (rv != CKR_SESSION_READ_ONLY || work->run.purpose != TO_READ)
        return false;
    work->run.purpose = TO_WRITE;
    return true;
}

/* The last resort. What it mended is not given up since the time ran out over it. */
static bool start_anew(struct slot *slot, const struct attempt *attempt, const struct retry *retry)
{
    bool in_time = clock_ms() < retry->deadline;

    return retry->tries >= TRIES_BEFORE_RESTART && restart_helps(&attempt->verdict) &&
           module_restart(slot->module, slot) && in_time;
}

/* Whether there is to be another try after this one, which gave rv: what it needs is mended. A
 * token may want a login for what needs none elsewhere, a secret that is derived from a public
 * object: the next try has one. */
RARE static bool mend(struct work *work, struct attempt *attempt, CK_RV rv, struct mending *mending)
{
    struct slot *slot = work->run.slot;
    struct retry *retry = &mending->retry;

    attempt->failed++;
    retry->budget_ms = mending->looks.budget_ms = atomic_load(&slot->retry_ms);
    if (work->run.once ||
        (!try_again(work, attempt, rv, retry->tries) && !look_anew(slot, rv, &mending->anew) &&
         !look_again(slot, rv, &mending->looks) && !write_instead(work, rv)))
        return false;
    repair(work, rv, attempt);
    work->run.login |= attempt->verdict.repair == REPAIR_LOGIN;
    if (retry->tries > 1)
        tell(slot, true, rv);
    return start_anew(slot, attempt, retry) || retry_pause(retry);
}

/* The witness, if there is one, may say no. */
RARE static CK_RV witness_begin(struct work *work)
{
    struct deed *deed = work->run.deed;
    struct witness *witness = work->run.pins->config->witness;

    if (witness == NULL) {
        work->run.deed = NULL;
        return CKR_OK;
    }
    if (work->object != NULL)
        deed->object = object_names(work->object);
    return witness_before(witness, deed, work->run.slot);
}

RARE static void witness_end(const struct work *work, const struct attempt *attempt, CK_RV rv)
{
    struct witness *witness = work->run.pins->config->witness;
    const struct deed_outcome outcome = { .rv = rv,
                                          .tries = attempt->failed + (rv == CKR_OK),
                                          .session = attempt->session,
                                          .epoch = attempt->epoch };

    witness_after(witness, work->run.deed, &outcome);
}

static CK_RV run(struct work *work)
{
    struct mending mending = { .anew = false };
    struct attempt attempt;
    CK_RV rv = work->run.deed != NULL ? witness_begin(work) : CKR_OK;

    if (rv != CKR_OK)
        return rv;
    attempt.failed = 0;
    attempt.session = CK_INVALID_HANDLE;
    do
        rv = try_once(work, &attempt);
    while (rv != CKR_OK && mend(work, &attempt, rv, &mending));
    if (rv == CKR_OK && atomic_load_explicit(&work->run.slot->troubled, memory_order_relaxed))
        tell(work->run.slot, false, rv);
    if (work->run.deed != NULL)
        witness_end(work, &attempt, rv);
    return rv;
}

CK_RV run_task(const struct run *task)
{
    struct work work = { .run = *task };

    return run(&work);
}

struct question {
    CK_MECHANISM_TYPE mechanism;
    CK_FLAGS flags;
    bool has;
};

static CK_RV ask_mechanism(struct session *session, void *arg)
{
    struct question *question = arg;

    return slot_mechanism(session, question->mechanism, question->flags, &question->has);
}

/* CKR_GENERAL_ERROR, and that again: it is taken for a no, this time. */
static bool is_doubtful(CK_RV rv)
{
    return rv != CKR_OK && strcmp(call_name(), "C_GetMechanismInfo") == 0 &&
           ckr_verdict(call_name(), rv).repair == REPAIR_DOUBT;
}

CK_RV run_mechanism(struct slot *slot, CK_MECHANISM_TYPE mechanism, CK_FLAGS flags, bool *has)
{
    struct question question = { mechanism, flags, false };
    const struct run ask = {
        .slot = slot, .purpose = TO_READ, .task = ask_mechanism, .arg = &question
    };
    CK_RV rv = CKR_OK;

    if (!slot_mechanism_known(slot, mechanism, flags, &question.has))
        rv = run_task(&ask);
    *has = question.has;
    return is_doubtful(rv) ? CKR_OK : rv;
}

CK_RV run_on_object(struct object *object, struct pin_source *pins, struct deed *deed,
                    object_task *task, void *arg)
{
    struct work work = { .run = { .slot = object->slot,
                                  .purpose = TO_READ,
                                  .login = object->private,
                                  .pins = pins,
                                  .arg = arg,
                                  .deed = deed },
                         .object = object,
                         .on_object = task };
    CK_RV rv = run(&work);

    if (rv == CKR_OK && copy_is_due(object))
        copy_make(object, pins);
    return rv;
}
