#include "module/module.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

#include <openssl/crypto.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/scope.h"
#include "base/user.h"
#include "module/door.h"
#include "module/ending.h"
#include "module/lock.h"
#include "module/retry.h"

/* Modules are never unloaded: vendor libraries leave threads and exit handlers behind. */
static struct module *modules;

static bool same_text(const char *a, const char *b)
{
    return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

static struct module *module_find(const struct functions *functions)
{
    struct module *module = modules;

    while (module != NULL && module->functions.v2_40 != functions->v2_40)
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

static struct module *module_new(const struct module_source *source,
                                 const struct module_tenant *tenant,
                                 const struct functions *functions)
{
    _cleanup_(module_free) struct module *module = OPENSSL_zalloc(sizeof(*module));
    const char *init_args = source->init_args;

    if (module == NULL)
        return NULL;
    module->path = OPENSSL_strdup(source->path);
    module->init_args = init_args != NULL ? OPENSSL_strdup(init_args) : NULL;
    if (module->path == NULL || (init_args != NULL && module->init_args == NULL))
        return NULL;
    module->functions = *functions;
    module->tenant = tenant;
    module->user = CKU_USER;
    (void)pthread_mutex_init(&module->serial_lock, NULL);
    condition_init(&module->changed);
    return MOVE(module);
}

/* A fork waits: in the child, what a constructor has not done yet would never be. */
static bool load(const char *path, struct functions *out, char *why, size_t size)
{
    WITHIN_GATE;
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);

    if (library == NULL) {
        (void)snprintf(why, size, "cannot load the PKCS#11 module: %s; check pkcs11-module-path",
                       dlerror());
        return false;
    }
    if (functions_find(library, out))
        return true;
    (void)snprintf(why, size, "cannot use %s: it is not a PKCS#11 module (no C_GetFunctionList)",
                   path);
    (void)dlclose(library);
    return false;
}

/* By its own path, so that it is the same library to those in the process who load it as well, and
 * finds what lies beside it. Nobody whom the user does not trust can have led that elsewhere
 * between the look and the loading; whether somebody else has is looked at afterwards. */
static bool load_trusted(const struct module_source *source, struct file_seen *file,
                         struct functions *out, char *why, size_t size)
{
    if (source->path[0] != '/') {
        (void)snprintf(
            why, size,
            "cannot load the PKCS#11 module %s: pkcs11-module-path must be an absolute path",
            source->path);
        return false;
    }
    if (!trust_check(source->path, &source->trust, file, why, size) ||
        !load(source->path, out, why, size))
        return false;
    if (trust_still(source->path, file))
        return true;
    (void)snprintf(why, size, "cannot use %s: it was replaced while it was loaded; try again",
                   source->path);
    return false;
}

/* Under the lock: the known module of these functions, or fresh made known. */
static struct module *module_share(struct module **fresh, const struct functions *functions)
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

/* Whether the module, which another configuration may have loaded, is what source has. */
static bool module_fits(const struct module *module, const struct module_source *source,
                        const struct file_seen *file, char *why, size_t size)
{
    if (!same_text(module->init_args, source->init_args)) {
        (void)snprintf(why, size,
                       "cannot use %s with other pkcs11-module-init-args than another "
                       "configuration in this process",
                       source->path);
        return false;
    }
    if (source->trust.sha256 != NULL && !file_same(&module->file, file)) {
        (void)snprintf(why, size,
                       "cannot use %s: this process has loaded the file that was there before, of "
                       "which pkcs11-module-sha256 does not speak; start it anew",
                       source->path);
        return false;
    }
    return true;
}

bool module_open(const struct module_source *source, const struct module_tenant *tenant,
                 struct module **out, char *why, size_t size)
{
    struct file_seen file;
    struct functions functions;
    _cleanup_(module_free) struct module *fresh = NULL;

    if (!load_trusted(source, &file, &functions, why, size))
        return false;
    fresh = module_new(source, tenant, &functions);
    if (fresh == NULL) {
        (void)snprintf(why, size, "out of memory");
        return false;
    }
    fresh->file = file;
    lock_take();
    *out = module_share(&fresh, &functions);
    lock_release();
    if (module_fits(*out, source, &file, why, size))
        return true;
    module_close(*out, false);
    return false;
}

bool module_ready(const struct module *module)
{
    /* in this order: in a child, the state is set before the generation */
    return module->generation == lock_generation() && module->state == MODULE_UP;
}

/* Under the lock: nothing that the module said or gave out counts any more. */
static void module_down(struct module *module, enum module_state state)
{
    module->listed = module->has_info = false;
    atomic_fetch_add(&module->life, 1);
    module->tenant->forget(module);
    module->state = state;
}

/* Under the lock: what an ancestor of this process left behind is dropped, not closed. */
static void module_disown(struct module *module)
{
    module->inherited = module->state == MODULE_UP && (module->ours || module->inherited);
    condition_init(&module->changed);
    (void)pthread_mutex_init(&module->serial_lock, NULL);
    module->tenant->disown(module);
    atomic_store(&module->ours, false);
    atomic_fetch_and(&module->heed, ~HEED_BARRED);
    module_down(module, MODULE_DOWN);
}

/* Within the gate, as finalise: whoever finds it clear knows whose the module is. */
static CK_RV initialise(struct module *module)
{
    WITHIN_GATE;
    CK_C_INITIALIZE_ARGS args = { .flags = CKF_OS_LOCKING_OK, .pReserved = module->init_args };
    CK_RV rv;

    atomic_fetch_and(&module->heed, ~HEED_SERIAL);
    rv = P11_CALL(module, C_Initialize, &args);
    if (rv == CKR_CANT_LOCK) {
        args.flags = 0;
        rv = P11_CALL(module, C_Initialize, args.pReserved != NULL ? &args : NULL);
        atomic_fetch_or(&module->heed, HEED_SERIAL);
    }
    atomic_store(&module->ours, rv == CKR_OK);
    return rv == CKR_CRYPTOKI_ALREADY_INITIALIZED ? CKR_OK : rv;
}

static void finalise(struct module *module)
{
    WITHIN_GATE;
    void *reserved = NULL;

    atomic_store(&module->ours, false);
    (void)P11_CALL(module, C_Finalize, reserved);
}

/* The end of the process does not wait longer for what other threads do. */
#define END_WAIT_MS 1000

/* With the gate shut, also where another thread has the module to itself and is about to start it
 * anew: this one passes in its place, and it finds the door closed. What lies between exit() and
 * here may have left the lock taken. */
static void module_end(struct module *module)
{
    bool due;

    if (!lock_take_within(END_WAIT_MS))
        return;
    due = module->generation == lock_generation() && atomic_load(&module->ours) && !module->stays;
    lock_release();
    if (!due && (atomic_load(&module->heed) & HEED_BARRED) == 0)
        return;
    call_bar(module);
    if (due)
        finalise(module);
    atomic_fetch_or(&module->heed, HEED_ENDED);
    call_unbar(module);
}

/* Run by exit(). A call that does not come back keeps all modules as they are: no HSM that hangs
 * shall keep the process. */
static void modules_end(void)
{
    static atomic_bool done; /* the first time counts: nobody waits twice */
    struct module *module = NULL;

    if (atomic_load(&done) || ending_begun() || call_inside() || !gate_close(END_WAIT_MS))
        return;
    if (!atomic_exchange(&done, true) && gate_clear() && lock_take_within(END_WAIT_MS)) {
        module = modules;
        lock_release();
    }
    for (; module != NULL; module = module->next)
        module_end(module);
    gate_open();
}

/* At least, whatever the configuration has. */
#define START_WAIT_MS 1000

void module_allow(struct module *module, unsigned patience_ms)
{
    if (patience_ms > atomic_load(&module->patience_ms))
        atomic_store(&module->patience_ms, patience_ms);
}

static CK_RV start_overdue(const struct module *module, unsigned patience_ms)
{
    call_named("C_Initialize");
    call_detail_set("another thread has been starting the PKCS#11 module %s for %u ms, and its "
                    "C_Initialize has not come back (pkcs11-session-wait-ms and pkcs11-retry-ms)",
                    module->path, patience_ms);
    return RV_START_OVERDUE;
}

/* Under the lock: *claimed when this thread is the one to start the module, not when it is up. */
static CK_RV module_claim(struct module *module, bool *claimed)
{
    unsigned patience = atomic_load(&module->patience_ms);
    uint64_t deadline;

    patience = patience > START_WAIT_MS ? patience : START_WAIT_MS;
    deadline = clock_ms() + patience;
    for (;;) {
        if (module->generation != lock_generation()) {
            module_disown(module);
            module->generation = lock_generation();
        }
        *claimed = module->state == MODULE_DOWN;
        if (*claimed)
            module->state = MODULE_STARTING;
        if (*claimed || module->state == MODULE_UP)
            return CKR_OK;
        if (!lock_wait_until(&module->changed, deadline) && clock_ms() >= deadline)
            return start_overdue(module, patience);
    }
}

static void module_settle(struct module *module, enum module_state state)
{
    lock_take();
    module_down(module, state);
    module->started = clock_ms();
    (void)pthread_cond_broadcast(&module->changed);
    lock_release();
}

CK_RV module_start(struct module *module)
{
    bool claimed;
    CK_RV rv;

    if (call_inside())
        return RV_RECURSION;
    if (ending_begun())
        return RV_PROCESS_ENDS;
    lock_take();
    rv = module_claim(module, &claimed);
    lock_release();
    if (rv != CKR_OK || !claimed)
        return rv;
    rv = initialise(module);
    if (rv == CKR_OK)
        ending_first(&module->end_follows_start, modules_end);
    lock_take();
    module->begun = clock_ms();
    module->missed = 0;
    lock_release();
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

void module_login_as(struct module *module, CK_USER_TYPE user)
{
    atomic_store(&module->user, user);
}

void module_lost(struct module *module, unsigned long life)
{
    if (!module_ready(module) || life != atomic_load(&module->life))
        return;
    atomic_store(&module->ours, false);
    module_down(module, MODULE_DOWN);
}

#define RESTART_INTERVAL_MS 500
#define RESTART_WAIT_MS     1000

/* Under the lock: true when this thread is the one to restart the module; nobody takes a session
 * until module_settle or restart_withdraw. */
static bool restart_claim(struct module *module, unsigned interval_ms)
{
    bool claimed = module_ready(module) &&
                   (module->ours || (module->inherited && user_changed())) &&
                   (module->restarted == 0 || clock_ms() - module->restarted >= interval_ms);

    if (claimed)
        module->state = MODULE_STARTING;
    return claimed;
}

static void restart_withdraw(struct module *module)
{
    lock_take();
    module->restarted = clock_ms();
    module->state = MODULE_UP;
    (void)pthread_cond_broadcast(&module->changed);
    lock_release();
}

/* With no call under way, so that none runs into C_Finalize, and with all void that is of its life
 * before, so that none finds the module started anew with that. The gate is shut for the moment
 * that this takes; a module that takes its time, or hangs, holds up no other. False where a call
 * does not come back. */
static bool bar(struct module *module)
{
    bool clear;

    if (!gate_close(RESTART_WAIT_MS))
        return false;
    clear = gate_clear();
    if (clear) {
        call_bar(module);
        lock_take();
        module_down(module, MODULE_STARTING);
        lock_release();
    }
    gate_open();
    return clear;
}

static bool finalise_and_initialise(struct module *module)
{
    CK_RV rv;

    finalise(module);
    rv = initialise(module);
    lock_take();
    module->restarted = clock_ms();
    lock_release();
    call_unbar(module); /* before another thread may start it anew */
    module_settle(module, rv == CKR_OK ? MODULE_UP : MODULE_DOWN);
    return rv == CKR_OK;
}

/* quiet: nobody needs to know. */
static bool restart(struct module *module, unsigned interval_ms, bool quiet)
{
    bool claimed;

    lock_take();
    claimed = restart_claim(module, interval_ms);
    lock_release();
    if (!claimed)
        return false;
    if (!module->tenant->wait_unused(module, clock_ms() + RESTART_WAIT_MS) || !bar(module)) {
        restart_withdraw(module);
        return false;
    }
    if (!quiet)
        log_line("%s: finalising it and initialising it again", module->path);
    return finalise_and_initialise(module);
}

static bool restart_for(struct module *module, const struct slot *slot, unsigned interval_ms,
                        bool quiet)
{
    const char *name = call_name();
    bool restarted = !call_inside() && !module->tenant->others_work(module, slot) &&
                     restart(module, interval_ms, quiet);

    call_named(name); /* an error message is about what failed */
    return restarted;
}

bool module_restart(struct module *module, const struct slot *slot)
{
    return restart_for(module, slot, RESTART_INTERVAL_MS, false);
}

#define RENEWAL_INTERVAL_MS 1000

void module_renew(struct module *module)
{
    bool due;

    lock_take();
    due = clock_ms() - module->started >= RENEWAL_INTERVAL_MS;
    lock_release();
    if (due)
        (void)module_restart(module, NULL);
}

/* After a start, the time in which the first look at the tokens is made. */
#define FIRST_LOOK_MS 1000

/* Until when somebody who misses a token may look again. */
static uint64_t patience(struct module *module, unsigned most_ms)
{
    uint64_t time = clock_ms(), until;

    lock_take();
    if (module->missed == 0 && time - module->begun < FIRST_LOOK_MS)
        module->missed = time;
    until = module->missed != 0 ? module->missed + most_ms : 0;
    lock_release();
    return until;
}

bool module_look_again(struct module *module, const struct slot *slot, struct retry *looks,
                       unsigned most_ms)
{
    uint64_t until = patience(module, most_ms);

    if (until < clock_ms() || !retry_pause(looks))
        return false;
    looks->deadline = until;
    if (looks->tries > 1)
        (void)restart_for(module, slot, 0, true);
    return true;
}

/* Under the lock: whether the last user of a module that this process started leaves it. */
static bool module_leave(struct module *module)
{
    if (module->users != 0)
        return false;
    module->tenant->drop(module);
    if (!module_ready(module) || module->stays)
        return false;
    module->state = MODULE_STARTING;
    return true;
}

void module_close(struct module *module, bool touch)
{
    bool last;

    lock_take();
    module->users--;
    last = touch && module_leave(module);
    lock_release();
    if (!last)
        return;
    module->tenant->leave(module, !module->ours);
    if (module->ours)
        finalise(module);
    module_settle(module, MODULE_DOWN);
}

CK_RV module_info(struct module *module, CK_INFO *info)
{
    return P11_CALL(module, C_GetInfo, info);
}

/* Some modules end texts with NUL instead of padding them with blanks (PKCS#11 v3.1 §3.2). */
static void pad(CK_UTF8CHAR *text, size_t size)
{
    while (size > 0 && (text[size - 1] == '\0' || text[size - 1] == ' '))
        text[--size] = ' ';
}

CK_RV module_token_info(struct module *module, CK_SLOT_ID slot, CK_TOKEN_INFO *info)
{
    CK_RV rv = P11_CALL(module, C_GetTokenInfo, slot, info);

    pad(info->label, sizeof(info->label));
    pad(info->manufacturerID, sizeof(info->manufacturerID));
    pad(info->model, sizeof(info->model));
    pad(info->serialNumber, sizeof(info->serialNumber));
    return rv;
}

CK_RV module_slot_info(struct module *module, CK_SLOT_ID slot, CK_SLOT_INFO *info)
{
    return P11_CALL(module, C_GetSlotInfo, slot, info);
}

CK_RV module_mechanism_info(struct module *module, CK_SLOT_ID slot, CK_MECHANISM_TYPE type,
                            CK_MECHANISM_INFO *info)
{
    return P11_CALL(module, C_GetMechanismInfo, slot, type, info);
}

#define SLOTS_GUESS 64UL
#define SLOTS_MOST  (1UL << 20)

CK_RV module_slots(struct module *module, CK_SLOT_ID **ids, CK_ULONG *count)
{
    _cleanup_(free_scoped) CK_SLOT_ID *list = NULL;
    CK_ULONG room, next = SLOTS_GUESS, found;
    CK_RV rv;

    do {
        room = next;
        OPENSSL_free(list);
        list = OPENSSL_zalloc(room * sizeof(*list));
        if (list == NULL)
            return CKR_HOST_MEMORY;
        found = room;
        rv = P11_CALL(module, C_GetSlotList, CK_TRUE, list, &found);
        next = found > room ? found : room * 2;
    } while (rv == CKR_BUFFER_TOO_SMALL && next <= SLOTS_MOST);
    if (rv == CKR_OK && found > room) {
        call_detail_set("C_GetSlotList returned %lu slots, where there was room for %lu",
                        (unsigned long)found, (unsigned long)room);
        rv = RV_LENGTH;
    }
    if (rv != CKR_OK)
        return rv;
    *ids = MOVE(list);
    *count = found;
    return CKR_OK;
}
