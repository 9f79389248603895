#include "key/operation.h"

#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <openssl/crypto.h>

#include "base/rare.h"
#include "base/scope.h"
#include "module/call.h"
#include "module/lock.h"
#include "module/retry.h"
#include "token/crew.h"

/* What tells the application that a paused job can go on: one eventfd for each ASYNC_WAIT_CTX. */
struct bell {
    atomic_uint holders;
    int fd;
    unsigned generation;       /* lock_generation() of the process that made it */
    bool told;                 /* the ASYNC_WAIT_CTX holds it */
    struct operation *pending; /* of the job that is paused; used by the job's thread alone */
};

/* What an operation has besides in a job: the key is held then, and the provider outlives it. */
struct job {
    struct operation *operation;
    struct bell *bell; /* NULL where there was no memory for one after a fork */
    atomic_uint holders;
    struct errand errand;
    unsigned generation; /* lock_generation() of its process */
    bool done;           /* under the lock; then rv, call and detail are set */
    CK_RV rv;
    const char *call;
    char detail[CALL_DETAIL_MAX];
};

/* An operation that is not in its caller's memory. */
struct on_heap {
    struct operation operation;
    struct job job; /* of one in a job */
    uint8_t room[]; /* for the result and, in a job, for what it works on */
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

static void job_end(struct job *job)
{
    struct provider *provider = job->operation->key->provider;

    key_free(job->operation->key);
    provider_let_go(provider, job->generation);
    bell_release(job->bell);
}

static void operation_release(struct operation *operation)
{
    struct job *job = operation->job;

    if (job != NULL && atomic_fetch_sub(&job->holders, 1) != 1)
        return;
    if (!operation->lent)
        OPENSSL_cleanse(operation->out.data, operation->out.size);
    if (job != NULL)
        job_end(job);
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
    if (bell->pending != NULL)
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
static struct bell *bell_known(const struct jobs *jobs, ASYNC_WAIT_CTX *ctx)
{
    struct bell *bell;
    OSSL_ASYNC_FD fd;
    void *custom;

    if (jobs->get_fd(ctx, &bell_key, &fd, &custom) != 1)
        return NULL;
    bell = custom;
    if (bell->generation == lock_generation())
        return bell;
    (void)jobs->clear_fd(ctx, &bell_key);
    bell_release(bell);
    return NULL;
}

/* The bell for the job that this thread is in, held for an operation; or NULL. */
static struct bell *bell_here(const struct jobs *jobs)
{
    ASYNC_WAIT_CTX *ctx = jobs->get_wait_ctx(jobs->get_current_job());
    struct bell *bell = ctx != NULL ? bell_known(jobs, ctx) : NULL;

    if (ctx == NULL)
        return NULL;
    if (bell == NULL)
        return bell_new();
    atomic_fetch_add(&bell->holders, 1);
    return bell;
}

/* Tells the application of the bell, just before a pause: HAProxy takes it that a descriptor which
 * a job leaves behind has been there in a pause. False when that is not possible. */
static bool bell_tell(const struct jobs *jobs, struct bell *bell)
{
    if (bell->told)
        return true;
    bell->told = jobs->set_wait_fd(jobs->get_wait_ctx(jobs->get_current_job()), &bell_key, bell->fd,
                                   bell, bell_cleanup) == 1;
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

/* All but the mechanism. */
static struct operation *fill(struct operation *operation, struct key *key, struct view in,
                              struct view extra, struct room out)
{
    operation->key = key;
    operation->pins = key_pins(key);
    operation->in = in;
    operation->extra = extra;
    operation->out = out;
    operation->refused = false;
    operation->answer = CKR_OK;
    operation->kind = NULL;
    operation->in_place = operation->lent = false;
    operation->job = NULL;
    return operation;
}

/* Nothing in the job's memory is needed any more, and what is needed stays. */
static void outlive_job(struct on_heap *heap, struct bell *bell)
{
    struct operation *operation = &heap->operation;
    uint8_t *room = heap->room + operation->out.size;

    operation->in = keep(operation->in, &room);
    operation->extra = keep(operation->extra, &room);
    heap->job = (struct job){ .operation = operation, .bell = bell };
    atomic_init(&heap->job.holders, 1);
    (void)key_ref(operation->key);
    heap->job.generation = provider_hold(operation->key->provider);
    operation->job = &heap->job;
}

/* In a job, or with a long result. */
RARE static struct operation *begin_on_heap(struct key *key, struct view in, struct view extra,
                                            size_t out_size, bool in_job)
{
    struct bell *bell = in_job ? bell_here(&key->provider->jobs) : NULL;
    size_t copies = bell != NULL ? in.len + extra.len : 0;
    struct on_heap *heap = OPENSSL_malloc(sizeof(*heap) + out_size + copies);

    if (heap == NULL) {
        error_raise(&key->provider->core, REASON_MEMORY, "out of memory");
        bell_release(bell);
        return NULL;
    }
    (void)fill(&heap->operation, key, in, extra, (struct room){ heap->room, out_size, false, 0 });
    memset(heap->room, 0, out_size);
    if (bell != NULL)
        outlive_job(heap, bell);
    return &heap->operation;
}

static bool is_in_job(const struct key *key)
{
    return !call_inside() && key->provider->jobs.get_current_job() != NULL;
}

struct operation *operation_begin(struct operation_place *place, struct key *key, struct view in,
                                  struct view extra, size_t out_size)
{
    bool in_job = is_in_job(key);

    if (in_job || out_size > OPERATION_ROOM)
        return begin_on_heap(key, in, extra, out_size, in_job);
    (void)fill(&place->operation, key, in, extra, (struct room){ place->room, out_size, false, 0 });
    memset(place->room, 0, out_size);
    place->operation.in_place = true;
    return &place->operation;
}

static bool overlap(struct view in, const uint8_t *out, size_t out_size)
{
    return in.len != 0 && in.data < out + out_size && out < in.data + in.len;
}

struct operation *operation_begin_into(struct operation_place *place, struct key *key,
                                       struct view in, struct view extra, uint8_t *out,
                                       size_t out_size)
{
    if (is_in_job(key) || overlap(in, out, out_size))
        return operation_begin(place, key, in, extra, out_size);
    (void)fill(&place->operation, key, in, extra, (struct room){ out, out_size, false, 0 });
    place->operation.in_place = place->operation.lent = true;
    return &place->operation;
}

void operation_take(const struct operation *operation, uint8_t *out)
{
    if (!operation->lent && operation->out.len != 0)
        memcpy(out, operation->out.data, operation->out.len);
}

RARE static struct deed *deed_fill(const struct operation *operation, struct deed *deed)
{
    *deed = (struct deed){ .what = operation->kind->name,
                           .mechanism = &operation->mechanism.ck.mechanism };
    return deed;
}

static CK_RV run_here(struct operation *operation)
{
    struct deed deed;

    return run_on_object(operation->key->object, &operation->pins,
                         operation->pins.config->witness != NULL ? deed_fill(operation, &deed)
                                                                 : NULL,
                         operation->kind->task, operation);
}

/* Rings before the job can see that the work is done, and then takes the ring back. */
static void ring(struct job *job)
{
    const uint64_t one = 1;

    lock_take();
    (void)!write(job->bell->fd, &one, sizeof(one));
    job->done = true;
    lock_release();
}

/* On a thread of the crew. */
static void run_errand(struct errand *errand)
{
    struct job *job = (struct job *)((char *)errand - offsetof(struct job, errand));

    job->rv = run_here(job->operation);
    job->call = call_name();
    (void)OPENSSL_strlcpy(job->detail, call_detail(), sizeof(job->detail));
    ring(job);
    operation_release(job->operation);
}

static bool is_done(struct job *job)
{
    bool done;

    lock_take();
    done = job->done;
    lock_release();
    return done;
}

/* The application may resume a job too early, or have forbidden pauses (ASYNC_block_pause(3)), when
 * ASYNC_pause_job comes back at once, or the configuration has (pkcs11-async = off): then the
 * thread waits a little, and not for nothing. */
#define EARLY_MS 5

/* False when the process was forked meanwhile: nobody does the work here. */
static bool wait_paused(struct job *job)
{
    const struct provider *provider = job->operation->key->provider;
    const struct jobs *jobs = &provider->jobs;
    struct bell *bell = job->bell;
    struct pollfd early = { .fd = bell->fd, .events = POLLIN };
    uint64_t count;

    while (!is_done(job)) {
        if (provider->config.async && bell_tell(jobs, bell))
            (void)jobs->pause_job();
        if (is_done(job))
            break;
        if (job->generation != lock_generation())
            return false;
        (void)poll(&early, 1, EARLY_MS);
    }
    if (bell->generation == lock_generation()) /* else the ring is for the parent */
        (void)!read(bell->fd, &count, sizeof(count));
    return true;
}

/* In the child of a fork: the bell that both processes have is the parent's. */
static void bell_renew(struct job *job)
{
    bell_release(job->bell);
    job->bell = bell_here(&job->operation->key->provider->jobs);
    if (job->bell != NULL)
        job->generation = provider_hold(job->operation->key->provider);
}

/* Has the crew do it and waits for that. False when it is not done. */
static bool send_and_wait(struct job *job, bool *sent)
{
    struct bell *bell = job->bell;
    bool done;

    job->errand.run = run_errand;
    *sent = bell != NULL && crew_send(job->operation->key->object->slot, &job->errand);
    if (!*sent)
        return false;
    bell->pending = job->operation;
    done = wait_paused(job);
    bell->pending = NULL;
    return done;
}

/* False when no thread of the crew did it. */
static bool run_elsewhere(struct job *job)
{
    bool sent, done;

    atomic_fetch_add(&job->holders, 1); /* the crew's hold */
    while (!(done = send_and_wait(job, &sent)) && sent)
        bell_renew(job);
    if (!done) {
        operation_release(job->operation);
        return false;
    }
    call_named(job->call);
    call_detail_set("%s", job->detail);
    return true;
}

CK_RV operation_run(struct operation *operation, const struct operation_kind *kind)
{
    KEEP_ERRNO;
    operation->kind = kind;
    return operation->job != NULL && run_elsewhere(operation->job) ? operation->job->rv
                                                                   : run_here(operation);
}

void operation_end(struct operation **operation)
{
    if (*operation != NULL)
        operation_release(*operation);
    *operation = NULL;
}

bool login_failed(CK_RV rv)
{
    return rv != CKR_OK && strcmp(call_name(), "C_Login") == 0;
}
