#include "key/operation.h"

#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <openssl/async.h>
#include <openssl/crypto.h>

#include "base/scope.h"
#include "module/call.h"
#include "module/lock.h"
#include "module/retry.h"

/* What tells the application that a paused job can go on: one eventfd for each ASYNC_WAIT_CTX. */
struct bell {
    atomic_uint holders;
    int fd;
    unsigned generation;       /* lock_generation() of the process that made it */
    bool told;                 /* the ASYNC_WAIT_CTX holds it */
    struct operation *pending; /* of the job that is paused; used by the job's thread alone */
};

/* By which ASYNC_WAIT_CTX_get_fd knows our bell. */
static const char bell_key;

static void bell_release(struct bell *bell)
{
    if (bell == NULL || atomic_fetch_sub(&bell->holders, 1) != 1)
        return;
    (void)close(bell->fd);
    OPENSSL_free(bell);
}

static void operation_release(struct operation *operation)
{
    struct provider *provider;

    if (operation == NULL || atomic_fetch_sub(&operation->holders, 1) != 1)
        return;
    provider = operation->key->provider;
    if (!operation->lent)
        OPENSSL_cleanse(operation->out.data, operation->out.size);
    if (operation->in_job) {
        key_free(operation->key);
        provider_let_go(provider, operation->generation);
    }
    bell_release(operation->bell);
    if (!operation->in_place)
        OPENSSL_free(operation);
}

/* The ASYNC_WAIT_CTX goes, and with it the job that was given up. */
static void bell_cleanup(ASYNC_WAIT_CTX *ctx, const void *key, OSSL_ASYNC_FD fd, void *custom)
{
    struct bell *bell = custom;

    (void)ctx;
    (void)key;
    (void)fd;
    operation_release(MOVE(bell->pending));
    bell_release(bell);
}

static struct bell *bell_new(void)
{
    struct bell *bell = OPENSSL_zalloc(sizeof(*bell));

    if (bell == NULL)
        return NULL;
    atomic_init(&bell->holders, 1);
    bell->generation = lock_generation();
    bell->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (bell->fd >= 0)
        return bell;
    OPENSSL_free(bell);
    return NULL;
}

/* The bell that the application knows of. One from before a fork is the parent's. */
static struct bell *bell_known(ASYNC_WAIT_CTX *ctx)
{
    struct bell *bell;
    OSSL_ASYNC_FD fd;
    void *custom;

    if (ASYNC_WAIT_CTX_get_fd(ctx, &bell_key, &fd, &custom) != 1)
        return NULL;
    bell = custom;
    if (bell->generation == lock_generation())
        return bell;
    (void)ASYNC_WAIT_CTX_clear_fd(ctx, &bell_key);
    bell_release(bell);
    return NULL;
}

/* The bell for the job that this thread is in, held for an operation; NULL outside of one. */
static struct bell *bell_here(void)
{
    ASYNC_JOB *job = ASYNC_get_current_job();
    ASYNC_WAIT_CTX *ctx = job != NULL ? ASYNC_get_wait_ctx(job) : NULL;
    struct bell *bell = ctx != NULL ? bell_known(ctx) : NULL;

    if (ctx == NULL)
        return NULL;
    if (bell == NULL)
        return bell_new();
    atomic_fetch_add(&bell->holders, 1);
    return bell;
}

/* Tells the application of the bell, just before a pause: HAProxy takes it that a descriptor which
 * a job leaves behind has been there in a pause. False when that is not possible. */
static bool bell_tell(struct bell *bell)
{
    if (bell->told)
        return true;
    bell->told = ASYNC_WAIT_CTX_set_wait_fd(ASYNC_get_wait_ctx(ASYNC_get_current_job()), &bell_key,
                                            bell->fd, bell, bell_cleanup) == 1;
    if (bell->told)
        atomic_fetch_add(&bell->holders, 1);
    return bell->told;
}

/* Copies view to *room, which moves on behind it. */
static struct view keep(struct view view, uint8_t **room)
{
    struct view kept = { *room, view.len };

    if (view.len != 0)
        memcpy(*room, view.data, view.len);
    *room += view.len;
    return kept;
}

static struct operation *cleared(struct operation *operation)
{
    memset(operation, 0, offsetof(struct operation, mechanism));
    return operation;
}

static struct operation *in_place(struct operation_place *place)
{
    cleared(&place->operation)->in_place = true;
    place->operation.out.data = place->room;
    return &place->operation;
}

/* With so many bytes behind it, the first of which are for the result. */
static struct operation *on_heap(struct key *key, size_t behind)
{
    struct operation *operation = OPENSSL_malloc(sizeof(*operation) + behind);

    if (operation == NULL) {
        error_raise(&key->provider->core, REASON_MEMORY, "out of memory");
        return NULL;
    }
    cleared(operation)->out.data = (uint8_t *)(operation + 1);
    return operation;
}

/* Nothing in the job's memory is needed any more, and what is needed stays. */
static void outlive_job(struct operation *operation)
{
    uint8_t *room = operation->out.data + operation->out.size;

    operation->in = keep(operation->in, &room);
    operation->extra = keep(operation->extra, &room);
    operation->detail = (char *)room;
    operation->in_job = true;
    (void)key_ref(operation->key);
    operation->generation = provider_hold(operation->key->provider);
}

/* out: where the result may be, outside of a job; NULL: nowhere but in the operation. */
static struct operation *begin(struct operation_place *place, struct key *key, struct view in,
                               struct view extra, uint8_t *out, size_t out_size)
{
    struct bell *bell = key->provider->config.async && !call_inside() ? bell_here() : NULL;
    size_t copies = bell != NULL ? in.len + extra.len + CALL_DETAIL_MAX : 0;
    bool lent = bell == NULL && out != NULL;
    struct operation *operation = lent || (bell == NULL && out_size <= OPERATION_ROOM)
                                      ? in_place(place)
                                      : on_heap(key, out_size + copies);

    if (operation == NULL) {
        bell_release(bell);
        return NULL;
    }
    operation->key = key;
    operation->in = in;
    operation->extra = extra;
    operation->out.size = out_size;
    operation->lent = lent;
    if (lent)
        operation->out.data = out;
    else
        memset(operation->out.data, 0, out_size);
    operation->bell = bell;
    operation->pins = key_pins(key);
    atomic_init(&operation->holders, 1);
    if (bell != NULL)
        outlive_job(operation);
    return operation;
}

struct operation *operation_begin(struct operation_place *place, struct key *key, struct view in,
                                  struct view extra, size_t out_size)
{
    return begin(place, key, in, extra, NULL, out_size);
}

static bool overlap(struct view in, const uint8_t *out, size_t out_size)
{
    return in.len != 0 && in.data < out + out_size && out < in.data + in.len;
}

struct operation *operation_begin_into(struct operation_place *place, struct key *key,
                                       struct view in, struct view extra, uint8_t *out,
                                       size_t out_size)
{
    return begin(place, key, in, extra, overlap(in, out, out_size) ? NULL : out, out_size);
}

void operation_take(const struct operation *operation, uint8_t *out)
{
    if (!operation->lent && operation->out.len != 0)
        memcpy(out, operation->out.data, operation->out.len);
}

static CK_RV run_here(struct operation *operation)
{
    return run_on_object(operation->key->object, &operation->pins, operation->task, operation);
}

/* Rings before the job can see that the work is done, and then takes the ring back. */
static void ring(struct operation *operation)
{
    const uint64_t one = 1;

    lock_take();
    (void)!write(operation->bell->fd, &one, sizeof(one));
    operation->done = true;
    lock_release();
}

/* On a thread of the crew. */
static void run_errand(struct errand *errand)
{
    struct operation *operation =
        (struct operation *)((char *)errand - offsetof(struct operation, errand));

    operation->rv = run_here(operation);
    operation->call = call_name();
    (void)OPENSSL_strlcpy(operation->detail, call_detail(), CALL_DETAIL_MAX);
    ring(operation);
    operation_release(operation);
}

static bool is_done(struct operation *operation)
{
    bool done;

    lock_take();
    done = operation->done;
    lock_release();
    return done;
}

/* The application may resume a job too early, or have forbidden pauses (ASYNC_block_pause(3)), when
 * ASYNC_pause_job comes back at once: then the thread waits a little, and not for nothing. */
#define EARLY_MS 5

/* False when the process was forked meanwhile: nobody does the work here. */
static bool wait_paused(struct operation *operation)
{
    struct bell *bell = operation->bell;
    struct pollfd early = { .fd = bell->fd, .events = POLLIN };
    uint64_t count;

    while (!is_done(operation)) {
        if (bell_tell(bell))
            (void)ASYNC_pause_job();
        if (is_done(operation))
            break;
        if (operation->generation != lock_generation())
            return false;
        (void)poll(&early, 1, EARLY_MS);
    }
    if (bell->generation == lock_generation()) /* else the ring is for the parent */
        (void)!read(bell->fd, &count, sizeof(count));
    return true;
}

/* In the child of a fork: the bell that both processes have is the parent's. */
static void bell_renew(struct operation *operation)
{
    bell_release(operation->bell);
    operation->bell = bell_here();
    if (operation->bell != NULL)
        operation->generation = provider_hold(operation->key->provider);
}

/* Has the crew do it and waits for that. False when it is not done. */
static bool send_and_wait(struct operation *operation, bool *sent)
{
    struct bell *bell = operation->bell;
    bool done;

    operation->errand.run = run_errand;
    *sent = bell != NULL && crew_send(operation->key->object->slot, &operation->errand);
    if (!*sent)
        return false;
    bell->pending = operation;
    done = wait_paused(operation);
    bell->pending = NULL;
    return done;
}

/* False when no thread of the crew did it. */
static bool run_elsewhere(struct operation *operation)
{
    bool sent, done;

    atomic_fetch_add(&operation->holders, 1); /* the crew's hold */
    while (!(done = send_and_wait(operation, &sent)) && sent)
        bell_renew(operation);
    if (!done) {
        operation_release(operation);
        return false;
    }
    call_named(operation->call);
    call_detail_set("%s", operation->detail);
    return true;
}

CK_RV operation_run(struct operation *operation, object_task *task)
{
    KEEP_ERRNO;
    operation->task = task;
    return operation->bell != NULL && run_elsewhere(operation) ? operation->rv
                                                               : run_here(operation);
}

void operation_end(struct operation **operation)
{
    operation_release(*operation);
    *operation = NULL;
}

bool login_failed(CK_RV rv)
{
    return rv != CKR_OK && strcmp(call_name(), "C_Login") == 0;
}
