#include "module/module.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

#include <openssl/crypto.h>

#include "base/log.h"
#include "base/scope.h"
#include "module/call.h"
#include "module/ending.h"
#include "module/lock.h"
#include "module/retry.h"
#include "token/session.h"
#include "token/slot.h"

/* Modules are never unloaded: vendor libraries leave threads and exit handlers behind. */
static struct module *modules;

static bool same_text(const char *a, const char *b)
{
    return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

static struct module *module_find(const CK_FUNCTION_LIST *functions)
{
    struct module *module = modules;

    while (module != NULL && module->functions != functions)
        module = module->next;
    return module;
}

static void module_free(struct module **module)
{
    if (*module == NULL)
        return;
    OPENSSL_free((*module)->path);
    OPENSSL_free((*module)->init_args);
    OPENSSL_free(*module);
}

static struct module *module_new(const char *path, const char *init_args,
                                 CK_FUNCTION_LIST *functions)
{
    _cleanup_(module_free) struct module *module = OPENSSL_zalloc(sizeof(*module));

    if (module == NULL)
        return NULL;
    module->path = OPENSSL_strdup(path);
    module->init_args = init_args != NULL ? OPENSSL_strdup(init_args) : NULL;
    if (module->path == NULL || (init_args != NULL && module->init_args == NULL))
        return NULL;
    module->functions = functions;
    (void)pthread_mutex_init(&module->serial_lock, NULL);
    condition_init(&module->changed);
    return MOVE(module);
}

static CK_FUNCTION_LIST *load(const char *path, char *why, size_t size)
{
    CK_FUNCTION_LIST *functions = NULL;
    CK_C_GetFunctionList get_function_list;
    void *library;

    if (path[0] != '/') {
        (void)snprintf(
            why, size,
            "cannot load the PKCS#11 module %s: pkcs11-module-path must be an absolute path", path);
        return NULL;
    }
    library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) {
        (void)snprintf(why, size, "cannot load the PKCS#11 module: %s; check pkcs11-module-path",
                       dlerror());
        return NULL;
    }
    call_named("C_GetFunctionList");
    *(void **)&get_function_list = dlsym(library, "C_GetFunctionList");
    if (get_function_list == NULL || get_function_list(&functions) != CKR_OK || functions == NULL) {
        (void)snprintf(why, size,
                       "cannot use %s: it is not a PKCS#11 module (no C_GetFunctionList)", path);
        (void)dlclose(library);
        return NULL;
    }
    return functions;
}

/* Under the lock: the known module of these functions, or fresh made known. */
static struct module *module_share(struct module **fresh, const CK_FUNCTION_LIST *functions)
{
    struct module *module = module_find(functions);

    if (module == NULL) {
        module = MOVE(*fresh);
        module->next = modules;
        modules = module;
    }
    module->users++;
    return module;
}

bool module_open(const char *path, const char *init_args, struct module **out, char *why,
                 size_t size)
{
    CK_FUNCTION_LIST *functions = load(path, why, size);
    _cleanup_(module_free) struct module *fresh = NULL;

    if (functions == NULL)
        return false;
    fresh = module_new(path, init_args, functions);
    if (fresh == NULL) {
        (void)snprintf(why, size, "out of memory");
        return false;
    }
    lock_take();
    *out = module_share(&fresh, functions);
    lock_release();
    if (!same_text((*out)->init_args, init_args)) {
        (void)snprintf(why, size,
                       "cannot use %s with other pkcs11-module-init-args than another "
                       "configuration in this process",
                       path);
        module_close(*out, false);
        return false;
    }
    return true;
}

bool module_ready(const struct module *module)
{
    return module->state == MODULE_UP && module->generation == lock_generation();
}

/* Under the lock: what the module said before it was finalised is not known any more. */
static void module_down(struct module *module)
{
    module->listed = module->has_info = false;
    for (struct slot *slot = module->slots; slot != NULL; slot = slot->next)
        slot_ask_anew(slot);
    module->state = MODULE_DOWN;
}

/* Under the lock: what an ancestor of this process left behind is dropped, not closed. */
static void module_disown(struct module *module)
{
    condition_init(&module->changed);
    (void)pthread_mutex_init(&module->serial_lock, NULL);
    for (struct slot *slot = module->slots; slot != NULL; slot = slot->next) {
        condition_init(&slot->changed);
        sessions_free(slot_forget(slot));
        slot->open = 0;
        slot->keeper_busy = false;
        slot->waiters = NULL;
        slot->mending = false;
        slot->login = LOGIN_OUT;
    }
    module->taken = 0;
    module_down(module);
}

static CK_RV initialise(struct module *module, bool *ours)
{
    CK_C_INITIALIZE_ARGS args = { .flags = CKF_OS_LOCKING_OK, .pReserved = module->init_args };
    CK_RV rv;

    atomic_store(&module->serial, false);
    rv = P11_CALL(module, C_Initialize, &args);
    if (rv == CKR_CANT_LOCK) {
        args.flags = 0;
        rv = P11_CALL(module, C_Initialize, args.pReserved != NULL ? &args : NULL);
        atomic_store(&module->serial, true);
    }
    *ours = rv == CKR_OK;
    return rv == CKR_CRYPTOKI_ALREADY_INITIALIZED ? CKR_OK : rv;
}

/* The end of the process does not wait longer for what other threads do. */
#define END_WAIT_MS 1000

/* With the gate shut. What lies between exit() and here may have left the lock taken. */
static void module_end(struct module *module)
{
    bool finalise;

    if (!lock_take_within(END_WAIT_MS))
        return;
    finalise = module_ready(module) && module->ours && !module->stays;
    lock_release();
    if (!finalise)
        return;
    (void)P11_CALL(module, C_Finalize, NULL);
    atomic_store(&module->ended, true);
}

/* Run by exit(). A call that does not come back keeps all modules as they are: no HSM that hangs
 * shall keep the process. */
static void modules_end(void)
{
    static bool done; /* the first time counts: nobody waits twice */
    struct module *module = NULL;

    if (done || ending_begun() || call_inside() || !gate_close(END_WAIT_MS))
        return;
    done = true;
    if (gate_clear() && lock_take_within(END_WAIT_MS)) {
        module = modules;
        lock_release();
    }
    for (; module != NULL; module = module->next)
        module_end(module);
    gate_open();
}

/* Under the lock: true when this thread is the one to start the module, false when it is up. */
static bool module_claim(struct module *module)
{
    for (;;) {
        if (module->generation != lock_generation()) {
            module_disown(module);
            module->generation = lock_generation();
        }
        if (module->state == MODULE_UP)
            return false;
        if (module->state == MODULE_DOWN) {
            module->state = MODULE_STARTING;
            return true;
        }
        lock_wait(&module->changed);
    }
}

static void module_settle(struct module *module, enum module_state state)
{
    lock_take();
    module_down(module);
    module->state = state;
    (void)pthread_cond_broadcast(&module->changed);
    lock_release();
}

CK_RV module_start(struct module *module)
{
    bool claimed;
    CK_RV rv;

    if (call_inside())
        return RV_RECURSION;
    lock_take();
    claimed = module_claim(module);
    lock_release();
    if (!claimed)
        return CKR_OK;
    rv = initialise(module, &module->ours);
    if (rv == CKR_OK)
        ending_first(&module->end_follows_start, modules_end);
    module_settle(module, rv == CKR_OK ? MODULE_UP : MODULE_DOWN);
    return rv;
}

void module_logged_in(struct module *module)
{
    ending_first(&module->end_follows_login, modules_end);
}

void module_stay(struct module *module)
{
    lock_take();
    module->stays = true;
    lock_release();
}

void module_lost(struct module *module)
{
    if (!module_ready(module))
        return;
    module_down(module);
    for (struct slot *slot = module->slots; slot != NULL; slot = slot->next)
        sessions_free(slot_forget(slot));
}

void module_hold(struct module *module)
{
    module->taken++;
}

void module_release(struct module *module)
{
    if (module->taken != 0 && --module->taken == 0)
        (void)pthread_cond_broadcast(&module->changed);
}

#define RESTART_INTERVAL_MS 500
#define RESTART_WAIT_MS     1000

/* Under the lock: true when this thread is the one to restart the module and no session of it is in
 * use; nobody takes one until module_settle. */
static bool module_claim_restart(struct module *module)
{
    uint64_t time = clock_ms(), deadline = time + RESTART_WAIT_MS;

    if (!module_ready(module) || !module->ours ||
        (module->restarted != 0 && time - module->restarted < RESTART_INTERVAL_MS))
        return false;
    module->state = MODULE_STARTING;
    while (module->taken != 0 && lock_wait_until(&module->changed, deadline))
        ;
    module->restarted = clock_ms();
    if (module->taken == 0)
        return true;
    module->state = MODULE_UP;
    (void)pthread_cond_broadcast(&module->changed);
    return false;
}

/* With the gate shut, so that no call runs into C_Finalize. */
static CK_RV finalise_and_initialise(struct module *module)
{
    bool shut = gate_close(RESTART_WAIT_MS);
    CK_RV rv;

    (void)P11_CALL(module, C_Finalize, NULL);
    rv = initialise(module, &module->ours);
    if (shut)
        gate_open();
    return rv;
}

void module_restart(struct module *module)
{
    const char *name = call_name();
    bool claimed;
    CK_RV rv;

    if (call_inside())
        return;
    lock_take();
    claimed = module_claim_restart(module);
    for (struct slot *slot = module->slots; claimed && slot != NULL; slot = slot->next)
        sessions_free(slot_forget(slot));
    lock_release();
    if (!claimed)
        return;
    log_line("%s: finalising it and initialising it again", module->path);
    rv = finalise_and_initialise(module);
    module_settle(module, rv == CKR_OK ? MODULE_UP : MODULE_DOWN);
    call_named(name); /* an error message is about what failed */
}

/* Under the lock: whether this was the last user of a module that this process started. */
static bool module_leave(struct module *module)
{
    if (--module->users != 0 || !module_ready(module) || module->stays)
        return false;
    module->state = MODULE_STARTING;
    return true;
}

void module_close(struct module *module, bool touch)
{
    struct session *sessions = NULL;
    bool last;

    lock_take();
    if (!touch) {
        module->users--;
        lock_release();
        return;
    }
    last = module_leave(module);
    for (struct slot *slot = module->slots; last && slot != NULL; slot = slot->next) {
        sessions = sessions_join(slot_forget(slot), sessions);
        secret_free(MOVE(slot->pin));
        OPENSSL_free(MOVE(slot->pin_file));
    }
    lock_release();
    if (!last)
        return;
    if (module->ours)
        (void)P11_CALL(module, C_Finalize, NULL);
    else
        sessions_close(module, sessions, true);
    sessions_free(sessions);
    module_settle(module, MODULE_DOWN);
}
