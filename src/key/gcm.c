#include "key/gcm.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <openssl/rand.h>

#include "base/clock.h"
#include "base/process.h"
#include "base/scope.h"
#include "key/gcm_state.h"
#include "module/call.h"
#include "module/lock.h"

/* An IV: which process, and which of its encryptions. The numbers that a process gives out begin at
 * a random base, or go on in the file. */
#define FIELD_LEN 4

/* What comes of chance, for a process and a key. */
struct chance {
    uint8_t field[FIELD_LEN];
    uint8_t base[8];
};

struct gcm_counter {
    struct gcm_counter *next; /* these four under the lock (module/lock.h) */
    uint8_t id[GCM_ID_LEN];
    unsigned holders;
    bool passing; /* a session key's: freed with its last holder */

    /* under the counters' mutex */
    char *dir; /* of its file; NULL: there is none */
    unsigned generation;
    uint64_t process;
    bool drawn; /* field and base are this process's */
    uint8_t field[FIELD_LEN];
    uint64_t base;
    uint64_t at, end; /* the next number, and where the block ends */
    uint64_t seen;    /* in the file */
    bool reserving;   /* a thread of this process is at the file */
    pthread_cond_t turn;
    uint64_t *remembered; /* GCM_REMEMBERED of the callers' IVs, hashed; NULL: none yet */
    size_t brought;       /* by callers */
};

#define BUCKETS 256

static struct {
    struct gcm_counter *buckets[BUCKETS]; /* under the lock */
    struct mutex mutex;
    bool begun; /* under the lock */
} counters;

/* Anything that is hashed has its length before it: no two lists of fields are the same bytes. */
static bool add_field(struct bytes *to, const void *data, size_t len)
{
    uint8_t before[8];

    for (unsigned i = 0; i < sizeof(before); i++)
        before[i] = (uint8_t)((uint64_t)len >> (56 - 8 * i));
    return bytes_add(to, before, sizeof(before)) && (len == 0 || bytes_add(to, data, len));
}

static const char domain_key[] = "pkcs11-bridge: a key that AES-GCM encryptions are counted for";

/* The key's identity (SHA-256): docs/adr/0030-aes-gcm-counted.md. */
static bool identify(const struct key *key, uint8_t id[GCM_ID_LEN])
{
    const struct object *object = key->object;
    const CK_TOKEN_INFO *info = &object->slot->token.info;
    const uint8_t class = (uint8_t)object->class;
    _cleanup_(bytes_clear) struct bytes all = { NULL, 0 };

    return add_field(&all, domain_key, sizeof(domain_key) - 1) &&
           add_field(&all, info->serialNumber, sizeof(info->serialNumber)) &&
           add_field(&all, object->id.data, object->id.len) &&
           add_field(&all, object->label.data, object->label.len) &&
           add_field(&all, &class, sizeof(class)) &&
           host_hash(&key->provider->host, &digests[DIGEST_SHA2_256], NULL, view_bytes(&all), id);
}

static void counter_destroy(struct gcm_counter *counter)
{
    OPENSSL_free(counter->dir);
    OPENSSL_free(counter->remembered);
    OPENSSL_free(counter);
}

static void counter_scoped(struct gcm_counter **counter)
{
    if (*counter != NULL)
        counter_destroy(*counter);
}

static struct gcm_counter **bucket(const uint8_t id[GCM_ID_LEN])
{
    return &counters.buckets[id[0] % BUCKETS];
}

/* Under the lock: the one that is there, or *fresh. */
static struct gcm_counter *find(struct gcm_counter **fresh)
{
    struct gcm_counter **head = bucket((*fresh)->id), *found = *head;

    if (!counters.begun)
        mutex_begin(&counters.mutex);
    counters.begun = true;
    while (found != NULL && memcmp(found->id, (*fresh)->id, GCM_ID_LEN) != 0)
        found = found->next;
    if (found != NULL) {
        found->passing = found->passing && (*fresh)->passing;
        return found;
    }
    found = MOVE(*fresh);
    found->next = *head;
    *head = found;
    return found;
}

static struct gcm_counter *counter_new(const struct key *key)
{
    _cleanup_(counter_scoped) struct gcm_counter *fresh = OPENSSL_zalloc(sizeof(*fresh));
    struct gcm_counter *found;

    if (fresh == NULL || !identify(key, fresh->id)) {
        error_raise(&key->provider->core, REASON_MEMORY,
                    "cannot encrypt: there is no memory, or no SHA-256, to count encryptions");
        return NULL;
    }
    fresh->passing = key->object->session_object;
    condition_init(&fresh->turn);
    lock_take();
    found = find(&fresh);
    found->holders++;
    lock_release();
    return found;
}

void gcm_counter_free(struct gcm_counter *counter)
{
    struct gcm_counter **at;
    bool last;

    if (counter == NULL)
        return;
    lock_take();
    last = --counter->holders == 0 && counter->passing;
    at = bucket(counter->id);
    while (last && *at != counter)
        at = &(*at)->next;
    if (last)
        *at = counter->next;
    lock_release();
    if (last)
        counter_destroy(counter);
}

/* The key's, which it keeps. NULL with an error raised. */
static struct gcm_counter *counter_of(struct key *key)
{
    struct gcm_counter *known = atomic_load(&key->counter), *made;

    if (known != NULL)
        return known;
    made = counter_new(key);
    if (made == NULL || atomic_compare_exchange_strong(&key->counter, &known, made))
        return made;
    gcm_counter_free(made);
    return known;
}

/* What is done with a counter, for a key. */
struct work {
    const struct key *key;
    struct gcm_counter *counter;
    const char *dir;
    uint64_t limit, number;
    uint8_t iv[GCM_IV_LEN];
    enum reason reason; /* why not, which is raised once the mutex is released */
    char why[512];
};

static bool no(struct work *work, enum reason reason, const char *why)
{
    work->reason = reason;
    (void)snprintf(work->why, sizeof(work->why), "%s", why);
    return false;
}

static bool raise_why(const struct work *work)
{
    char uri[512];

    error_raise(&work->key->provider->core, work->reason, "cannot encrypt with %s: %s",
                key_describe(work->key, uri, sizeof(uri)), work->why);
    return false;
}

static bool is_this_process(unsigned generation, uint64_t process)
{
    return generation == lock_generation() && process == process_number();
}

/* After a fork: the block is the parent's, and so is the field; the thread that was at the file is
 * not here. The count goes on. */
static void adopt(struct gcm_counter *counter)
{
    if (is_this_process(counter->generation, counter->process))
        return;
    counter->generation = lock_generation();
    counter->process = process_number();
    counter->drawn = false;
    counter->reserving = false;
    condition_init(&counter->turn);
    if (counter->dir != NULL)
        counter->at = counter->end;
}

/* Whoever counts first says where; a second place would be a second number. */
static bool place(const struct work *work)
{
    struct gcm_counter *counter = work->counter;

    if (counter->dir == NULL && counter->at == 0 && !counter->drawn) {
        counter->dir = work->dir != NULL ? OPENSSL_strdup(work->dir) : NULL;
        counter->end = work->dir != NULL ? 0 : UINT64_MAX;
        return (counter->dir != NULL) == (work->dir != NULL);
    }
    return counter->dir == NULL ? work->dir == NULL
                                : work->dir != NULL && strcmp(counter->dir, work->dir) == 0;
}

enum step { STEP_TAKE, STEP_DRAW, STEP_RESERVE, STEP_WAIT, STEP_SPENT, STEP_ELSEWHERE };

static enum step next_step(const struct work *work)
{
    struct gcm_counter *counter = work->counter;

    adopt(counter);
    if (!place(work))
        return STEP_ELSEWHERE;
    if (counter->at >= work->limit)
        return STEP_SPENT;
    if (!counter->drawn)
        return STEP_DRAW;
    if (counter->at < counter->end)
        return STEP_TAKE;
    return counter->reserving ? STEP_WAIT : STEP_RESERVE;
}

static uint64_t number_of(const uint8_t bytes[8])
{
    uint64_t n = 0;

    for (unsigned i = 0; i < 8; i++)
        n = n << 8 | bytes[i];
    return n;
}

static bool chance_draw(struct work *work, struct chance *chance)
{
    HOST_WORK;

    return RAND_bytes_ex(work->key->provider->host.libctx, (uint8_t *)chance, sizeof(*chance), 0) ==
               1 ||
           no(work, REASON_OPERATION, "there are no random numbers for the IV");
}

/* Random numbers may wait for a fork, which waits for the mutex: without it. */
static bool draw(struct work *work)
{
    struct gcm_counter *counter = work->counter;
    struct chance chance;
    bool ok;

    mutex_release(&counters.mutex);
    ok = chance_draw(work, &chance);
    mutex_take(&counters.mutex);
    adopt(counter);
    if (!ok || counter->drawn)
        return ok;
    memcpy(counter->field, chance.field, FIELD_LEN);
    if (counter->seen == 0)
        counter->base = number_of(chance.base);
    counter->drawn = true;
    return true;
}

static bool settle(struct work *work, const struct gcm_reservation *got, bool ok)
{
    struct gcm_counter *counter = work->counter;

    counter->reserving = false;
    (void)pthread_cond_broadcast(&counter->turn);
    if (!ok)
        return no(work, REASON_OPERATION, got->why);
    counter->base = got->base;
    counter->at = got->first;
    counter->end = counter->seen = got->end;
    return true;
}

/* A fork waits: the child has no descriptor of the file, and no part in its lock. */
static bool reserve_in_file(struct gcm_reservation *wanted)
{
    HOST_WORK;

    return gcm_state_reserve(wanted);
}

/* One thread is at the file, without the mutex. */
static bool reserve(struct work *work)
{
    struct gcm_counter *counter = work->counter;
    struct gcm_reservation wanted = { .dir = counter->dir,
                                      .id = counter->id,
                                      .base = counter->base,
                                      .limit = work->limit,
                                      .seen = counter->seen };
    bool ok;

    counter->reserving = true;
    mutex_release(&counters.mutex);
    ok = reserve_in_file(&wanted);
    mutex_take(&counters.mutex);
    return settle(work, &wanted, ok);
}

static bool spent(struct work *work)
{
    char why[256];

    (void)snprintf(why, sizeof(why),
                   "it has encrypted %" PRIu64 " messages with AES-GCM, as many as "
                   "pkcs11-gcm-limit allows (SP 800-38D, 8.3): make a new key",
                   work->limit);
    return no(work, REASON_KEY, why);
}

static bool elsewhere(struct work *work)
{
    return no(work, REASON_CONFIGURATION,
              "its encryptions are counted in another place already: every library context of a "
              "process needs the same pkcs11-gcm-state");
}

static bool step_make(struct work *work, enum step step)
{
    switch (step) {
    case STEP_DRAW:
        return draw(work);
    case STEP_RESERVE:
        return reserve(work);
    case STEP_WAIT:
        (void)mutex_wait_until(&counters.mutex, &work->counter->turn, clock_ns() + NS_PER_S);
        return true;
    case STEP_SPENT:
        return spent(work);
    default:
        return elsewhere(work);
    }
}

static void iv_write(struct work *work)
{
    uint64_t n = work->counter->base + work->number;

    memcpy(work->iv, work->counter->field, FIELD_LEN);
    for (unsigned i = 0; i < 8; i++)
        work->iv[FIELD_LEN + i] = (uint8_t)(n >> (56 - 8 * i));
}

/* Under the mutex: a number that nobody else has. */
static bool count(struct work *work)
{
    enum step step;

    while ((step = next_step(work)) != STEP_TAKE)
        if (!step_make(work, step))
            return false;
    work->number = work->counter->at++;
    iv_write(work);
    return true;
}

static bool work_begin(struct work *work, struct key *key)
{
    const struct config *config = &key->provider->config;

    *work = (struct work){ .key = key, .counter = counter_of(key), .limit = config->gcm_limit };
    if (!key->object->session_object)
        work->dir = config->gcm_state;
    return work->counter != NULL;
}

static void permit_give(struct gcm_permit *permit)
{
    *permit = (struct gcm_permit){ true, lock_generation(), process_number() };
}

bool gcm_iv_next(struct key *key, uint8_t iv[GCM_IV_LEN], struct gcm_permit *permit)
{
    struct work work;
    bool ok;

    permit->good = false;
    if (!work_begin(&work, key))
        return false;
    mutex_take(&counters.mutex);
    ok = count(&work);
    mutex_release(&counters.mutex);
    if (!ok)
        return raise_why(&work);
    memcpy(iv, work.iv, GCM_IV_LEN);
    permit_give(permit);
    return true;
}

/* What is remembered of an IV of any length: never 0, which stands for none. */
static bool iv_hash(struct work *work, struct view iv, uint64_t *out)
{
    uint8_t hash[DIGEST_MAX];

    if (!host_hash(&work->key->provider->host, &digests[DIGEST_SHA2_256], NULL, iv, hash))
        return no(work, REASON_OPERATION, "there is no SHA-256 to remember the IV by");
    *out = number_of(hash) | 1;
    return true;
}

static bool is_remembered(const struct gcm_counter *counter, uint64_t hash)
{
    bool found = false;

    for (size_t i = 0; i < GCM_REMEMBERED; i++)
        found |= counter->remembered[i] == hash;
    return found;
}

static bool remember(struct work *work, uint64_t hash)
{
    struct gcm_counter *counter = work->counter;

    if (counter->remembered == NULL)
        counter->remembered = OPENSSL_zalloc(GCM_REMEMBERED * sizeof(*counter->remembered));
    if (counter->remembered == NULL)
        return no(work, REASON_MEMORY, "out of memory");
    if (is_remembered(counter, hash))
        return no(work, REASON_KEY,
                  "a message was encrypted with this IV before, and a second one "
                  "would give the key away");
    counter->remembered[counter->brought++ % GCM_REMEMBERED] = hash;
    return true;
}

/* Those that are made in this process begin with its field. */
static bool may_be_ours(const struct work *work, struct view iv)
{
    return iv.len == GCM_IV_LEN && memcmp(iv.data, work->counter->field, FIELD_LEN) == 0;
}

static bool admit(struct work *work, struct view iv, uint64_t hash)
{
    if (!count(work))
        return false;
    if (may_be_ours(work, iv))
        return no(work, REASON_KEY, "the IV may be one that was made here: take another");
    return remember(work, hash);
}

bool gcm_iv_take(struct key *key, struct view iv, struct gcm_permit *permit)
{
    struct work work;
    uint64_t hash = 0;
    bool ok;

    permit->good = false;
    if (!work_begin(&work, key))
        return false;
    if (!iv_hash(&work, iv, &hash))
        return raise_why(&work);
    mutex_take(&counters.mutex);
    ok = admit(&work, iv, hash);
    mutex_release(&counters.mutex);
    if (!ok)
        return raise_why(&work);
    permit_give(permit);
    return true;
}

bool gcm_permit_use(const struct key *key, struct view iv, struct gcm_permit *permit)
{
    struct work work = { .key = key };
    bool good = permit != NULL && permit->good && iv.len != 0 &&
                is_this_process(permit->generation, permit->process);

    if (permit != NULL)
        permit->good = false;
    if (good)
        return true;
    (void)no(&work, REASON_OPERATION,
             "the IV was used, or made before a fork: initialise the encryption again");
    return raise_why(&work);
}
