#include "meter/sum.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/crypto.h>

#include "base/clock.h"
#include "base/scope.h"

#define RETIRED        "retired"
#define RETIRED_NEW    ".retired"
#define LOCK           ".lock"
#define RETIRE_MOST    256
#define SERIES_MOST    8192 /* of all processes; what is beyond is counted in the last */
#define PROCESSES_MOST 65536

uint64_t process_began(uint64_t pid)
{
    char path[64], text[1024];
    _cleanup_(fd_scoped) int fd = -1;
    const char *at;
    ssize_t len;

    (void)snprintf(path, sizeof(path), "/proc/%llu/stat", (unsigned long long)pid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    len = fd >= 0 ? read(fd, text, sizeof(text) - 1) : -1;
    if (len <= 0)
        return 0;
    text[len] = '\0';
    at = strrchr(text, ')'); /* behind the name, which may have anything in it */
    for (int field = 2; at != NULL && field < 22; field++)
        at = strchr(at + 1, ' ');
    return at != NULL ? strtoull(at + 1, NULL, 10) : 0;
}

void sum_clear(struct sum *sum)
{
    OPENSSL_free(sum->list);
    OPENSSL_free(sum->index);
    *sum = (struct sum){ .list = NULL };
}

static bool same(const struct series *a, const struct series *b)
{
    return a->family == b->family && a->mechanism == b->mechanism && a->result == b->result &&
           strcmp(a->name, b->name) == 0 && strcmp(a->token, b->token) == 0;
}

/* FNV-1a */
static uint32_t hash_more(uint32_t hash, const void *data, size_t len)
{
    const uint8_t *bytes = data;

    for (size_t i = 0; i < len; i++)
        hash = (hash ^ bytes[i]) * UINT32_C(0x01000193);
    return hash;
}

static uint32_t hash_of(const struct series *series)
{
    uint32_t hash = hash_more(UINT32_C(0x811c9dc5), &series->family, sizeof(series->family));

    hash = hash_more(hash, &series->mechanism, sizeof(series->mechanism));
    hash = hash_more(hash, &series->result, sizeof(series->result));
    hash = hash_more(hash, series->name, strlen(series->name) + 1);
    return hash_more(hash, series->token, strlen(series->token));
}

/* Its place in the index, or the one that it is to have. */
static uint32_t *place_of(const struct sum *sum, const struct series *series)
{
    size_t mask = 2 * sum->room - 1, at = hash_of(series) & mask;

    while (sum->index[at] != 0 && !same(&sum->list[sum->index[at] - 1], series))
        at = (at + 1) & mask;
    return &sum->index[at];
}

/* Twice the room, a power of two. */
static bool grow(struct sum *sum)
{
    size_t room = sum->room != 0 ? 2 * sum->room : 64;
    struct series *list = OPENSSL_realloc(sum->list, room * sizeof(*list));
    uint32_t *index;

    if (list == NULL)
        return false;
    sum->list = list;
    index = OPENSSL_zalloc(2 * room * sizeof(*index));
    if (index == NULL)
        return false;
    OPENSSL_free(sum->index);
    sum->index = index;
    sum->room = room;
    for (uint32_t i = 0; i < sum->count; i++)
        *place_of(sum, &sum->list[i]) = i + 1;
    return true;
}

/* What has no place any more has one together. */
static const struct series other = { .family = SERIES_OTHER,
                                     .mechanism = SERIES_NOTHING,
                                     .result = SERIES_NOTHING };

static struct series *series_new(struct sum *sum, const struct series *like)
{
    struct series *series;

    if (sum->count == SERIES_MOST)
        return &sum->list[SERIES_MOST - 1];
    if (sum->count == sum->room && !grow(sum))
        return NULL;
    if (sum->count == SERIES_MOST - 1)
        like = &other;
    series = &sum->list[sum->count];
    memset(series, 0, sizeof(*series));
    series->state = SERIES_READY;
    series->family = like->family;
    series->mechanism = like->mechanism;
    series->result = like->result;
    memcpy(series->name, like->name, sizeof(series->name));
    memcpy(series->token, like->token, sizeof(series->token));
    *place_of(sum, series) = (uint32_t)++sum->count;
    return series;
}

bool sum_add(struct sum *sum, const struct series *series)
{
    uint32_t at = sum->room != 0 ? *place_of(sum, series) : 0;
    struct series *mine = at != 0 ? &sum->list[at - 1] : series_new(sum, series);

    if (mine == NULL)
        return false;
    mine->count += series->count;
    mine->ns += series->ns;
    mine->tries += series->tries;
    for (unsigned i = 0; i < SERIES_BUCKETS; i++)
        mine->buckets[i] += series->buckets[i];
    return true;
}

bool sum_add_page(struct sum *sum, const struct page *page, size_t count, bool state)
{
    bool ok = true;

    for (size_t i = 0; ok && i < count; i++) {
        const struct series *series = &page->series[i];

        if (series->state == SERIES_READY && (state || series->family != SERIES_SESSIONS))
            ok = sum_add(sum, series);
    }
    return ok;
}

/* A file that was read, whole. */
struct read {
    struct page *page;
    size_t size;
    int fd;
};

static void read_scoped(const struct read *read)
{
    OPENSSL_free(read->page);
    fd_scoped(&read->fd);
}

static bool is_text(const char *text, size_t size)
{
    return memchr(text, '\0', size) != NULL;
}

static bool is_page(const struct page *page, size_t size)
{
    if (memcmp(page->magic, PAGE_MAGIC, sizeof(page->magic)) != 0 ||
        page->version != PAGE_VERSION || page->series_count > SERIES_MOST ||
        size != sizeof(*page) + page->series_count * sizeof(struct series) ||
        !is_text(page->merged, sizeof(page->merged)))
        return false;
    for (size_t i = 0; i < page->series_count; i++)
        if (page->series[i].family >= SERIES_FAMILIES ||
            !is_text(page->series[i].name, SERIES_TEXT) ||
            !is_text(page->series[i].token, SERIES_TEXT))
            return false;
    return true;
}

static bool read_whole(int fd, void *data, size_t size)
{
    size_t done = 0;
    ssize_t n = 1;

    while (done < size && n > 0) {
        n = pread(fd, (char *)data + done, size - done, (off_t)done);
        done += n > 0 ? (size_t)n : 0;
    }
    return done == size;
}

/* What is in it now; false where that is no page. */
static bool read_contents(struct read *read)
{
    return read_whole(read->fd, read->page, read->size) && is_page(read->page, read->size);
}

/* False where it is no such file, of so many series at most: a process has no more than
 * PAGE_SERIES, and who adds them up is not to be kept busy by who writes more. */
static bool read_page(int dir, const char *name, size_t most, struct read *read)
{
    struct stat file;

    *read =
        (struct read){ .fd = openat(dir, name,
                                    O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY) };
    if (read->fd < 0 || fstat(read->fd, &file) != 0 || !S_ISREG(file.st_mode) ||
        file.st_size < (off_t)sizeof(struct page) ||
        file.st_size > (off_t)(sizeof(struct page) + most * sizeof(struct series)))
        return false;
    read->size = (size_t)file.st_size;
    read->page = OPENSSL_malloc(read->size);
    return read->page != NULL && read_contents(read);
}

/* Whoever counts in it has it locked; but a daemon may have closed what it did not know. Others who
 * read it may look at the same time. */
static bool is_dead(const struct read *read)
{
    return flock(read->fd, LOCK_SH | LOCK_NB) == 0 &&
           (read->page->began == 0 || process_began(read->page->pid) != read->page->began);
}

/* A file of this directory: who writes the sum of the dead names any. */
static bool is_meter(const char *name)
{
    size_t len = strlen(name), suffix = sizeof(METER_SUFFIX) - 1;

    return name[0] != '.' && strchr(name, '/') == NULL && len < PAGE_FILE && len > suffix &&
           strcmp(name + len - suffix, METER_SUFFIX) == 0;
}

static void dir_scoped(DIR *const *dir)
{
    if (*dir != NULL)
        (void)closedir(*dir);
}

/* One that was added to the sum of the dead and could not be removed any more. */
static bool is_merged(const struct read *retired, const char *name)
{
    return retired->page != NULL && strcmp(retired->page->merged, name) == 0;
}

static bool add_file(struct sum *sum, int dir, const char *name)
{
    _cleanup_(read_scoped) struct read read = { .fd = -1 };
    bool dead;

    if (!read_page(dir, name, PAGE_SERIES, &read))
        return true;
    dead = is_dead(&read);
    sum->processes += !dead;
    return sum_add_page(sum, read.page, read.page->series_count, !dead);
}

static bool add_all(struct sum *sum, DIR *dir, const struct read *retired)
{
    const struct dirent *entry;
    unsigned count = 0;
    bool ok = retired->page == NULL ||
              sum_add_page(sum, retired->page, retired->page->series_count, false);

    while (ok && count < PROCESSES_MOST && (entry = readdir(dir)) != NULL)
        if (is_meter(entry->d_name) && !is_merged(retired, entry->d_name)) {
            ok = add_file(sum, dirfd(dir), entry->d_name);
            count++;
        }
    return ok;
}

#define LOCK_TRIES 1000

/* No file leaves while they are read. Who has it locked for good is not waited for. */
static int lock_shared(int dir)
{
    int fd = openat(dir, LOCK, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);

    for (unsigned i = 0; fd >= 0 && i < LOCK_TRIES && flock(fd, LOCK_SH | LOCK_NB) != 0; i++)
        clock_rest();
    return fd;
}

bool sum_dir(struct sum *sum, const char *path, char *why, size_t size)
{
    _cleanup_(dir_scoped) DIR *dir = opendir(path);
    _cleanup_(fd_scoped) __attribute__((unused)) int lock =
        dir != NULL ? lock_shared(dirfd(dir)) : -1;
    _cleanup_(read_scoped) struct read retired = { .fd = -1 };

    if (dir == NULL) {
        (void)snprintf(why, size, "cannot read %s: %s", path, strerror(errno));
        return false;
    }
    if (!read_page(dirfd(dir), RETIRED, SERIES_MOST, &retired)) {
        OPENSSL_free(MOVE(retired.page));
        if (retired.fd < 0 && errno != ENOENT) {
            (void)snprintf(why, size, "cannot read %s/" RETIRED ": %s", path, strerror(errno));
            return false;
        }
    }
    if (add_all(sum, dir, &retired))
        return true;
    (void)snprintf(why, size, "out of memory");
    return false;
}

static bool write_whole(int fd, const void *data, size_t size)
{
    size_t done = 0;
    ssize_t n = 1;

    while (done < size && n > 0) {
        n = write(fd, (const char *)data + done, size - done);
        done += n > 0 ? (size_t)n : 0;
    }
    return done == size;
}

/* A new file: what is there under its name may be anybody's, if the directory is. */
static int retired_create(int dir)
{
    (void)unlinkat(dir, RETIRED_NEW, 0);
    return openat(dir, RETIRED_NEW, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0644);
}

/* The sum of the dead, with that of the file merged in it. */
static bool retired_write(int dir, const struct sum *sum, const char *merged)
{
    _cleanup_(fd_scoped) int fd = retired_create(dir);
    struct page head = { .version = PAGE_VERSION, .series_count = (uint32_t)sum->count };

    memcpy(head.magic, PAGE_MAGIC, sizeof(head.magic));
    (void)snprintf(head.merged, sizeof(head.merged), "%s", merged);
    return fd >= 0 && write_whole(fd, &head, sizeof(head)) &&
           write_whole(fd, sum->list, sum->count * sizeof(*sum->list)) &&
           renameat(dir, RETIRED_NEW, dir, RETIRED) == 0;
}

/* Read again once it is dead: it may have counted after it was read, and died before it was looked
 * at. Killed between writing and removing, the next who comes removes the file. */
static bool retire_one(int dir, struct sum *sum, const char *name)
{
    _cleanup_(read_scoped) struct read read = { .fd = -1 };

    if (!read_page(dir, name, PAGE_SERIES, &read) || !is_dead(&read) || !read_contents(&read))
        return true;
    return sum_add_page(sum, read.page, read.page->series_count, false) &&
           retired_write(dir, sum, name) && unlinkat(dir, name, 0) == 0;
}

static void retire_all(DIR *dir)
{
    _cleanup_(read_scoped) struct read retired = { .fd = -1 };
    _cleanup_(sum_clear) struct sum sum = { .list = NULL };
    const struct dirent *entry;
    unsigned count = 0;

    if (read_page(dirfd(dir), RETIRED, SERIES_MOST, &retired)) {
        if (!sum_add_page(&sum, retired.page, retired.page->series_count, false) ||
            (is_meter(retired.page->merged) && unlinkat(dirfd(dir), retired.page->merged, 0) != 0 &&
             errno != ENOENT))
            return;
    } else if (retired.fd >= 0 || errno != ENOENT) {
        return; /* what it has is not lost for that */
    }
    while (count < RETIRE_MOST && (entry = readdir(dir)) != NULL)
        if (is_meter(entry->d_name)) {
            if (!retire_one(dirfd(dir), &sum, entry->d_name))
                return;
            count++;
        }
}

void meter_retire(const char *path)
{
    KEEP_ERRNO;
    _cleanup_(dir_scoped) DIR *dir = opendir(path);
    _cleanup_(fd_scoped) int lock =
        dir != NULL
            ? openat(dirfd(dir), LOCK,
                     O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, 0644)
            : -1;

    if (lock >= 0 && flock(lock, LOCK_EX | LOCK_NB) == 0)
        retire_all(dir);
}
