#include "audit/trail.h"

#include <limits.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

#include <openssl/crypto.h>

#include "audit/chain.h"
#include "audit/line.h"
#include "audit/sink.h"
#include "base/clock.h"
#include "base/scope.h"
#include "module/ending.h"
#include "module/lock.h"

/* Lines that wait for the thread, at most. */
#define PENDING_MAX ((size_t)512 * 1024)

/* The thread ends when there has been nothing to do for so long. */
#define IDLE_MS 5000

/* A line that somebody waits for; on the waiting thread's stack. */
struct waiter {
    struct waiter *next;
    uint64_t number;
    bool settled, written;
};

struct trail {
    struct trail *next; /* of all, under the lock */
    bool chained;
    unsigned wait_ms;

    /* under the mutex; what a fork voids is made anew by trail_begin */
    struct mutex mutex;
    unsigned generation; /* lock_generation() and one more */
    pthread_cond_t work, settled;
    bool thread; /* there is one */
    bool overdue;
    struct bytes pending; /* each line with a NUL behind it; owned, PENDING_MAX bytes of room */
    uint64_t queued;      /* the number of the last line in pending */
    uint64_t end;         /* of the one that ends the chain; 0: there is none so far */
    struct waiter *waiters;

    /* the thread's */
    struct bytes taken;
    struct sink sink;
    struct chain chain;
    struct sink syslog; /* where nobody who can write to a file can write as well */
    uint8_t head[HMAC_LEN];
    bool announced; /* the chain, there */
};

static struct trail *trails;

const char *trail_where(const struct trail *trail)
{
    return trail->sink.path;
}

static void begin_chain(struct trail *trail)
{
    chain_begin(&trail->chain);
    trail->announced = trail->sink.kind != SINK_FILE;
}

/* Under the mutex: what a parent had is the parent's. An open file is kept. */
static void trail_begin(struct trail *trail)
{
    if (trail->generation == lock_generation() + 1)
        return;
    trail->generation = lock_generation() + 1;
    condition_init(&trail->work);
    condition_init(&trail->settled);
    trail->thread = trail->overdue = false;
    trail->pending.len = trail->taken.len = 0;
    trail->waiters = NULL;
    begin_chain(trail);
}

/* To syslog, so that a chain which is missing as a whole is missed. Where that does not take it at
 * once, with the lines to come: not by syslog(3), which waits for a daemon that is stuck, and keeps
 * a lock meanwhile that the child of a fork finds taken. */
static void announce(struct trail *trail)
{
    char hex[2 * HMAC_LEN + 1], text[PATH_MAX + 256];
    int len;

    if (trail->announced || trail->chain.next == 0)
        return;
    for (size_t i = 0; i < HMAC_LEN; i++)
        (void)sprintf(hex + 2 * i, "%02x", trail->head[i]);
    len = snprintf(text, sizeof(text), "the audit chain %s begins in %s with %s", trail->chain.name,
                   trail->sink.path, hex);
    trail->announced = sink_ready(&trail->syslog) &&
                       sink_write(&trail->syslog, text,
                                  (size_t)len < sizeof(text) ? (size_t)len : sizeof(text) - 1);
}

static bool chained_write(struct trail *trail, const char *line, size_t len)
{
    char text[TRAIL_LINE_MAX + CHAIN_ADDS];
    uint8_t link[HMAC_LEN];

    memcpy(text, line, len);
    len = chain_add(&trail->chain, text, len, link);
    if (!sink_write(&trail->sink, text, len))
        return false;
    if (trail->chain.next == 0)
        memcpy(trail->head, link, HMAC_LEN);
    chain_go_on(&trail->chain, link);
    return true;
}

static bool head_write(struct trail *trail)
{
    struct line line;

    line_begin(&line, "chain");
    return chained_write(trail, line.text, line.len);
}

/* On the trail's thread. */
static bool write_one(struct trail *trail, const char *text, size_t len)
{
    char line[TRAIL_LINE_MAX + 2];

    if (trail->chained)
        return (trail->chain.next != 0 || head_write(trail)) && chained_write(trail, text, len);
    memcpy(line, text, len);
    line[len] = '}';
    return sink_write(&trail->sink, line, len + 1);
}

/* Under the mutex. */
static void settle(struct trail *trail, uint64_t number, bool written)
{
    for (struct waiter *waiter = trail->waiters; waiter != NULL; waiter = waiter->next)
        if (waiter->number == number) {
            waiter->settled = true;
            waiter->written = written;
        }
}

#define BATCH 64

/* What to write next, of the lines taken. */
struct place {
    size_t at;
    uint64_t number, end; /* of the line there; of the one that ends the chain */
};

/* Threads that still work when the process ends begin another chain behind that. */
static bool write_next(struct trail *trail, struct place *place, bool ready)
{
    const char *line = (const char *)trail->taken.data + place->at;
    size_t len = strlen(line);
    bool written = ready && write_one(trail, line, len);

    if (written && place->number == place->end) {
        announce(trail);
        begin_chain(trail);
    }
    place->at += len + 1;
    place->number++;
    return written;
}

/* Up to BATCH lines. Returns how many. */
static size_t write_some(struct trail *trail, struct place *place, bool *written)
{
    bool ready = sink_ready(&trail->sink);
    size_t count = 0;

    while (count < BATCH && place->at < trail->taken.len)
        written[count++] = write_next(trail, place, ready);
    announce(trail);
    return count;
}

/* Under the mutex, which is released meanwhile. first: the number of the first line taken. */
static void write_all(struct trail *trail, uint64_t first)
{
    struct place place = { .number = first };
    bool written[BATCH];

    while (place.at < trail->taken.len) {
        size_t count;

        place.end = trail->end;
        mutex_release(&trail->mutex);
        count = write_some(trail, &place, written);
        mutex_take(&trail->mutex);
        for (size_t i = 0; i < count; i++)
            settle(trail, first++, written[i]);
        trail->overdue = false;
        (void)pthread_cond_broadcast(&trail->settled);
    }
}

/* Under the mutex: the lines that wait, in exchange for those that are written. */
static void take(struct trail *trail)
{
    struct bytes written = trail->taken;

    trail->taken = trail->pending;
    trail->pending = (struct bytes){ written.data, 0 };
}

static void *work(void *arg)
{
    struct trail *trail = arg;
    bool in_time = true;

    mutex_take(&trail->mutex);
    while (trail->pending.len != 0 || in_time) {
        uint64_t first;

        if (trail->pending.len == 0) {
            in_time =
                mutex_wait_until(&trail->mutex, &trail->work, clock_ns() + IDLE_MS * NS_PER_MS);
            continue;
        }
        take(trail);
        first = trail->queued + 1;
        for (size_t i = 0; i < trail->taken.len; i++)
            first -= trail->taken.data[i] == '\0';
        write_all(trail, first);
        trail->taken.len = 0;
        in_time = true;
    }
    trail->thread = false;
    mutex_release(&trail->mutex);
    return NULL;
}

/* Under the mutex: with all signals blocked, which are for the program's own threads, and among
 * them those of a FIFO that nobody reads and of a file that may not grow. */
static bool thread_start(struct trail *trail)
{
    sigset_t all, before;
    pthread_t thread;

    if (trail->thread)
        return true;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    trail->thread = pthread_create(&thread, NULL, work, trail) == 0;
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (trail->thread)
        (void)pthread_detach(thread);
    return trail->thread;
}

/* Under the mutex: its number, or 0 where it finds no room. */
static uint64_t queue(struct trail *trail, const char *line, size_t len)
{
    if (!thread_start(trail) || len > TRAIL_LINE_MAX || trail->pending.len + len >= PENDING_MAX)
        return 0;
    memcpy(trail->pending.data + trail->pending.len, line, len);
    trail->pending.len += len;
    trail->pending.data[trail->pending.len++] = '\0';
    (void)pthread_cond_signal(&trail->work);
    return ++trail->queued;
}

static void forget(struct trail *trail, const struct waiter *waiter)
{
    struct waiter **position = &trail->waiters;

    while (*position != NULL && *position != waiter)
        position = &(*position)->next;
    if (*position != NULL)
        *position = waiter->next;
}

/* Under the mutex. In the child of a fork that this thread made meanwhile there is none. */
static void wait_for(struct trail *trail, struct waiter *waiter)
{
    uint64_t deadline = clock_ns() + trail->wait_ms * NS_PER_MS;
    bool in_time = !trail->overdue;

    waiter->next = trail->waiters;
    trail->waiters = waiter;
    while (!waiter->settled && in_time)
        in_time = mutex_wait_until(&trail->mutex, &trail->settled, deadline);
    if (!waiter->settled)
        trail->overdue = true;
    forget(trail, waiter);
}

/* Under the mutex. */
static bool write_and_wait(struct trail *trail, const char *line, size_t len)
{
    struct waiter waiter = { .number = queue(trail, line, len) };

    if (waiter.number != 0)
        wait_for(trail, &waiter);
    return waiter.written;
}

bool trail_write(struct trail *trail, const char *line, size_t len)
{
    bool written;

    mutex_take(&trail->mutex);
    trail_begin(trail);
    written = write_and_wait(trail, line, len);
    mutex_release(&trail->mutex);
    return written;
}

/* The end of the process: a chain that is complete says so. */
static void trail_end(struct trail *trail)
{
    struct line line;

    line_begin(&line, "end");
    mutex_take(&trail->mutex);
    if (trail->chained && trail->generation == lock_generation() + 1 && trail->queued != 0) {
        trail->end = trail->queued + 1;
        (void)write_and_wait(trail, line.text, line.len);
    }
    mutex_release(&trail->mutex);
}

#define END_WAIT_MS 1000

static void trails_end(void)
{
    struct trail *first;

    if (!lock_take_within(END_WAIT_MS))
        return;
    first = trails;
    lock_release();
    for (struct trail *trail = first; trail != NULL; trail = trail->next)
        trail_end(trail);
}

/* The words, and a path for anything else. */
static struct sink sink_of(const char *where)
{
    static const struct {
        const char *word;
        enum sink_kind kind;
        const char *path;
    } words[] = { { "syslog", SINK_SYSLOG, _PATH_LOG },
                  { "journald", SINK_JOURNALD, "/run/systemd/journal/socket" } };
    struct sink sink = { .kind = SINK_FILE, .path = where, .descriptor = { .fd = -1 } };

    for (size_t i = 0; i < COUNT(words); i++)
        if (strcmp(where, words[i].word) == 0) {
            sink.kind = words[i].kind;
            sink.path = words[i].path;
        }
    return sink;
}

static void trail_free(struct trail *trail)
{
    if (trail == NULL)
        return;
    descriptor_close(&trail->sink.descriptor);
    descriptor_close(&trail->syslog.descriptor);
    OPENSSL_free(trail->pending.data);
    OPENSSL_free(trail->taken.data);
    if (trail->sink.kind == SINK_FILE)
        OPENSSL_free((void *)(uintptr_t)trail->sink.path);
    OPENSSL_free(trail);
}

static struct trail *trail_new(const char *where, bool chained, unsigned wait_ms)
{
    struct trail *trail = OPENSSL_zalloc(sizeof(*trail));

    if (trail == NULL)
        return NULL;
    trail->sink = sink_of(where);
    trail->syslog = sink_of("syslog");
    trail->sink.wait_ms = trail->wait_ms = wait_ms;
    trail->chained = chained;
    trail->pending.data = OPENSSL_malloc(PENDING_MAX);
    trail->taken.data = OPENSSL_malloc(PENDING_MAX);
    if (trail->sink.kind == SINK_FILE)
        trail->sink.path = OPENSSL_strdup(where);
    if (trail->pending.data != NULL && trail->taken.data != NULL && trail->sink.path != NULL)
        return trail;
    trail_free(trail);
    return NULL;
}

static bool is_same(const struct trail *trail, const struct trail *other)
{
    return trail->sink.kind == other->sink.kind &&
           strcmp(trail->sink.path, other->sink.path) == 0 && trail->chained == other->chained &&
           trail->wait_ms == other->wait_ms;
}

/* trail, or the same one that there is already. */
static struct trail *trail_share(struct trail *trail)
{
    struct trail *same;

    lock_take();
    same = trails;
    while (same != NULL && !is_same(same, trail))
        same = same->next;
    if (same == NULL) {
        mutex_begin(&trail->mutex);
        trail->next = trails;
        trails = trail;
    }
    lock_release();
    if (same == NULL)
        return trail;
    trail_free(trail);
    return same;
}

/* With the rights of now; what is wrong is seen at the first line. */
static void open_now(struct trail *trail)
{
    (void)sink_ready(&trail->sink);
    if (trail->chained && trail->sink.kind == SINK_FILE)
        (void)sink_ready(&trail->syslog);
}

struct trail *trail_get(const char *where, bool chained, unsigned wait_ms)
{
    static atomic_flag ends = ATOMIC_FLAG_INIT;
    struct trail *trail = trail_new(where, chained, wait_ms);

    if (trail == NULL)
        return NULL;
    open_now(trail);
    ending_first(&ends, trails_end);
    return trail_share(trail);
}
