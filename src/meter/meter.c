#include "meter/meter.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/crypto.h>

#include "base/descriptor.h"
#include "base/scope.h"
#include "meter/sum.h"

#define PAGE_BYTES (sizeof(struct page) + PAGE_SERIES * sizeof(struct series))

/* By which a series is found without reading its texts: where those of the counting code are. */
struct place {
    _Atomic(const char *) name, token;
};

struct mapped {
    struct mapped *before; /* the parent's, in which another thread may still be counting */
    struct page *page;
    struct place places[PAGE_SERIES];
};

static struct {
    char dir[4000];
    _Atomic(struct mapped *)
        mapped;             /* NULL: nothing is counted. What was there before a fork stays */
    atomic_bool inherited;  /* it is the parent's */
    atomic_bool forked;     /* and it has not been tried yet to have another */
    struct descriptor file; /* locked as long as this process lives */
} meter = { .file = { .fd = -1 } };

atomic_bool meter_on;

static const pthread_mutex_t fresh = PTHREAD_MUTEX_INITIALIZER;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

static void page_fill(struct page *page, uint64_t began)
{
    memcpy(page->magic, PAGE_MAGIC, sizeof(page->magic));
    page->version = PAGE_VERSION;
    page->series_count = PAGE_SERIES;
    page->pid = (uint64_t)getpid();
    page->began = began;
    page->series[0].family = SERIES_OTHER;
    page->series[0].mechanism = page->series[0].result = SERIES_NOTHING;
    atomic_store(&page->series[0].state, SERIES_READY);
}

/* With all of its blocks: a disk that is full must not be met when something is counted. */
static struct page *file_map(int fd)
{
    int error = posix_fallocate(fd, 0, (off_t)PAGE_BYTES);
    void *map = MAP_FAILED;

    if (error == 0)
        map = mmap(NULL, PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    else
        errno = error;
    return map != MAP_FAILED ? map : NULL;
}

/* One that was unloaded may have left files of this process behind. */
#define NAMES_MOST 64

/* Under a name that nobody reads until there is all in it. */
static int file_create(int dir, uint64_t began, char *name)
{
    char hidden[PAGE_FILE + 1];
    int fd = -1;

    for (unsigned i = 0; fd < 0 && i < NAMES_MOST; i++) {
        (void)snprintf(name, PAGE_FILE, "%ld-%llu-%u" METER_SUFFIX, (long)getpid(),
                       (unsigned long long)began, i);
        (void)snprintf(hidden, sizeof(hidden), ".%s", name);
        if (faccessat(dir, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
            continue;
        fd = openat(dir, hidden, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0644);
        if (fd < 0 && errno != EEXIST)
            return -1;
    }
    return fd;
}

static struct page *file_make(int dir, int *fd)
{
    const uint64_t began = process_began((uint64_t)getpid());
    char name[PAGE_FILE], hidden[PAGE_FILE + 1];
    struct page *page;

    *fd = file_create(dir, began, name);
    if (*fd < 0)
        return NULL;
    (void)snprintf(hidden, sizeof(hidden), ".%s", name);
    page = flock(*fd, LOCK_EX | LOCK_NB) == 0 ? file_map(*fd) : NULL;
    if (page != NULL) {
        page_fill(page, began);
        if (renameat(dir, hidden, dir, name) == 0)
            return page;
        (void)munmap(page, PAGE_BYTES);
    }
    (void)unlinkat(dir, hidden, 0);
    (void)close(*fd);
    return NULL;
}

static bool begin(void)
{
    _cleanup_(fd_scoped) int dir = open(meter.dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct mapped *mapped = dir >= 0 ? OPENSSL_zalloc(sizeof(*mapped)) : NULL;
    int fd;

    if (mapped == NULL)
        return false;
    mapped->page = file_make(dir, &fd);
    if (mapped->page == NULL) {
        OPENSSL_free(mapped);
        return false;
    }
    (void)descriptor_take(&meter.file, fd);
    mapped->before = atomic_load(&meter.mapped);
    atomic_store(&meter.inherited, false);
    atomic_store_explicit(&meter.mapped, mapped, memory_order_release);
    atomic_store(&meter_on, true);
    return true;
}

bool meter_begin(const char *dir, char *why, size_t size)
{
    bool on, first = false;

    (void)pthread_mutex_lock(&mutex);
    if (!meter_is_on() && strlen(dir) < sizeof(meter.dir)) {
        (void)snprintf(meter.dir, sizeof(meter.dir), "%s", dir);
        first = begin();
    }
    on = meter_is_on();
    if (!on)
        (void)snprintf(why, size,
                       "cannot count in %s: %s; pkcs11-metrics wants a directory in which this "
                       "user may make files",
                       dir, strlen(dir) < sizeof(meter.dir) ? strerror(errno) : "a name too long");
    else if (strcmp(dir, meter.dir) != 0)
        (void)snprintf(why, size, "this process counts in %s already, and not in %s", meter.dir,
                       dir);
    (void)pthread_mutex_unlock(&mutex);
    if (first)
        meter_retire(meter.dir);
    return on && strcmp(dir, meter.dir) == 0;
}

const struct page *meter_page(void)
{
    const struct mapped *mapped = atomic_load(&meter.mapped);

    return mapped != NULL ? mapped->page : NULL;
}

void meter_forked(void)
{
    mutex = fresh;
    atomic_store(&meter.inherited, true);
    atomic_store(&meter.forked, meter_is_on());
}

static void begin_again(void)
{
    KEEP_ERRNO;
    (void)pthread_mutex_lock(&mutex);
    if (atomic_load(&meter.forked))
        (void)begin();
    atomic_store(&meter.forked, false);
    (void)pthread_mutex_unlock(&mutex);
}

static const char *text_or_none(const char *text)
{
    return text != NULL ? text : "";
}

static bool same_labels(const struct series *series, const struct meter_event *event)
{
    return series->family == event->family && series->result == event->result &&
           series->mechanism == event->mechanism;
}

/* Texts are the same when they are at the same place. What this process did not fill (its parent
 * did, or another that has the same page) is compared once. */
static bool same_texts(const struct series *series, struct place *place,
                       const struct meter_event *event)
{
    const char *name = atomic_load_explicit(&place->name, memory_order_acquire);

    if (name != NULL)
        return name == text_or_none(event->name) &&
               atomic_load_explicit(&place->token, memory_order_relaxed) == event->token;
    if (strncmp(series->name, text_or_none(event->name), SERIES_TEXT - 1) != 0 ||
        strncmp(series->token, text_or_none(event->token), SERIES_TEXT - 1) != 0)
        return false;
    atomic_store_explicit(&place->token, event->token, memory_order_relaxed);
    atomic_store_explicit(&place->name, text_or_none(event->name), memory_order_release);
    return true;
}

static void fill(struct series *series, const struct meter_event *event)
{
    series->family = event->family;
    series->mechanism = event->mechanism;
    series->result = event->result;
    (void)snprintf(series->name, sizeof(series->name), "%s", text_or_none(event->name));
    (void)snprintf(series->token, sizeof(series->token), "%s", text_or_none(event->token));
    atomic_store_explicit(&series->state, SERIES_READY, memory_order_release);
}

static size_t hash(const struct meter_event *event)
{
    uint64_t mixed = (uint64_t)(uintptr_t)event->name * 0x9e3779b97f4a7c15U;

    mixed = (mixed ^ (uint64_t)(uintptr_t)event->token ^ event->family) * 0x9e3779b97f4a7c15U;
    mixed = (mixed ^ event->mechanism ^ event->result << 32) * 0x9e3779b97f4a7c15U;
    return (size_t)(mixed >> 40);
}

/* Two threads may each make one for the same labels: whoever reads adds them up. */
static bool is_it(struct mapped *mapped, size_t at, const struct meter_event *event)
{
    struct series *series = &mapped->page->series[at];
    uint32_t state = atomic_load_explicit(&series->state, memory_order_acquire);

    if (state == SERIES_FREE &&
        atomic_compare_exchange_strong(&series->state, &state, SERIES_CLAIMED)) {
        fill(series, event);
        return same_texts(series, &mapped->places[at], event);
    }
    return state == SERIES_READY && same_labels(series, event) &&
           same_texts(series, &mapped->places[at], event);
}

/* The one for all that has no place any more is the first. */
static struct series *find(struct mapped *mapped, const struct meter_event *event)
{
    size_t at = hash(event);

    for (size_t n = 0; n < PAGE_SERIES; n++, at++) {
        at %= PAGE_SERIES;
        if (at != 0 && is_it(mapped, at, event))
            return &mapped->page->series[at];
    }
    return &mapped->page->series[0];
}

static void add(_Atomic(uint64_t) *counter, uint64_t more)
{
    (void)atomic_fetch_add_explicit(counter, more, memory_order_relaxed);
}

static unsigned bucket(uint64_t ns)
{
    static const uint64_t bounds[SERIES_BOUNDS] = SERIES_BOUNDS_NS;
    unsigned i = 0;

    while (i < SERIES_BOUNDS && ns > bounds[i])
        i++;
    return i;
}

static struct mapped *here(void)
{
    if (atomic_load_explicit(&meter.forked, memory_order_relaxed))
        begin_again();
    return atomic_load_explicit(&meter.mapped, memory_order_acquire);
}

void meter_count(const struct meter_event *event)
{
    struct mapped *mapped = here();
    struct series *series;

    if (mapped == NULL)
        return;
    series = find(mapped, event);
    add(&series->count, 1);
    add(&series->ns, event->ns);
    add(&series->tries, event->tries);
    add(&series->buckets[bucket(event->ns)], 1);
}

void meter_sessions(const char *token, unsigned open, unsigned busy)
{
    const struct meter_event event = { .family = SERIES_SESSIONS,
                                       .token = token,
                                       .mechanism = SERIES_NOTHING,
                                       .result = SERIES_NOTHING };
    struct mapped *mapped = atomic_load_explicit(&meter.mapped, memory_order_acquire);
    struct series *series;

    if (mapped == NULL || atomic_load(&meter.inherited))
        return;
    series = find(mapped, &event);
    atomic_store_explicit(&series->count, open, memory_order_relaxed);
    atomic_store_explicit(&series->tries, busy, memory_order_relaxed);
}
