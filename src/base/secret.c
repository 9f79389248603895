#include "base/secret.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/crypto.h>

#include "base/clock.h"
#include "base/environment.h"
#include "base/log.h"
#include "base/scope.h"

struct secret {
    atomic_uint holders;
    size_t len;
    char data[SECRET_MAX + 1];
};

/* Before each piece of such memory. All are in a list, since locks on memory are not inherited. */
struct block {
    struct block *next, *before;
    size_t size; /* with this */
    _Alignas(16) char memory[];
};

static const pthread_mutex_t fresh = PTHREAD_MUTEX_INITIALIZER;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct block *blocks; /* under the mutex */

static void block_link(struct block *block)
{
    (void)pthread_mutex_lock(&mutex);
    block->next = blocks;
    if (blocks != NULL)
        blocks->before = block;
    blocks = block;
    (void)pthread_mutex_unlock(&mutex);
}

static void block_unlink(const struct block *block)
{
    (void)pthread_mutex_lock(&mutex);
    if (block->next != NULL)
        block->next->before = block->before;
    *(block->before != NULL ? &block->before->next : &blocks) = block->next;
    (void)pthread_mutex_unlock(&mutex);
}

void secrets_before_fork(void)
{
    (void)pthread_mutex_lock(&mutex);
}

void secrets_after_fork(void)
{
    (void)pthread_mutex_unlock(&mutex);
}

void secrets_forked(void)
{
    KEEP_ERRNO;

    mutex = fresh;
    for (const struct block *block = blocks; block != NULL; block = block->next)
        (void)mlock(block, block->size);
}

/* mlock may fail under RLIMIT_MEMLOCK: the secret is then as safe as the system lets it be. */
void *secret_memory(size_t len)
{
    const size_t size = sizeof(struct block) + len;
    struct block *block =
        mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (block == MAP_FAILED)
        return NULL;
    (void)mlock(block, size);
    (void)madvise(block, size, MADV_DONTDUMP);
    block->size = size;
    block_link(block);
    return block->memory;
}

void secret_memory_free(void *memory)
{
    struct block *block;

    if (memory == NULL)
        return;
    block = (struct block *)(void *)((char *)memory - offsetof(struct block, memory));
    block_unlink(block);
    OPENSSL_cleanse(memory, block->size - sizeof(*block));
    (void)munmap(block, block->size);
}

char *secret_text(const char *text, size_t len)
{
    char *copy = memchr(text, '\0', len) == NULL ? secret_memory(len + 1) : NULL;

    if (copy != NULL)
        memcpy(copy, text, len);
    return copy;
}

void secret_text_free(char *text)
{
    secret_memory_free(text);
}

void secret_text_scoped(char **text)
{
    secret_text_free(*text);
}

static struct secret *secret_alloc(void)
{
    struct secret *secret = secret_memory(sizeof(*secret));

    if (secret != NULL)
        atomic_init(&secret->holders, 1);
    return secret;
}

struct secret *secret_new(const void *data, size_t len)
{
    struct secret *secret = len <= SECRET_MAX ? secret_alloc() : NULL;

    if (secret == NULL)
        return NULL;
    if (len != 0)
        memcpy(secret->data, data, len);
    secret->len = len;
    return secret;
}

struct secret *secret_ref(struct secret *secret)
{
    if (secret != NULL)
        atomic_fetch_add(&secret->holders, 1);
    return secret;
}

void secret_free(struct secret *secret)
{
    if (secret == NULL || atomic_fetch_sub(&secret->holders, 1) != 1)
        return;
    secret_memory_free(secret);
}

void secret_scoped(struct secret **secret)
{
    secret_free(*secret);
}

const char *secret_data(const struct secret *secret)
{
    return secret->data;
}

size_t secret_len(const struct secret *secret)
{
    return secret->len;
}

bool secret_equal(const struct secret *a, const struct secret *b)
{
    return a->len == b->len && CRYPTO_memcmp(a->data, b->data, a->len) == 0;
}

/* How long one waits for whoever writes to a pipe. Others may wait for the same login. */
#define PIPE_WAIT_MS 10000

/* A file that holds secrets, being read. */
struct source {
    int fd;
    bool line; /* one line is wanted: a pipe need not end after it */
    uint64_t deadline;
};

static void source_scoped(const struct source *source)
{
    fd_scoped(&source->fd);
}

/* Waits for more: of a pipe until the deadline, of a person at a terminal. */
static bool source_wait(const struct source *source)
{
    struct pollfd more = { .fd = source->fd, .events = POLLIN };
    uint64_t now = clock_ms();
    int left = now < source->deadline ? (int)(source->deadline - now) : 0;
    int ready = poll(&more, 1, isatty(source->fd) ? -1 : left);

    if (ready == 0)
        errno = ETIMEDOUT;
    return ready > 0 || (ready < 0 && errno == EINTR);
}

/* Reads up to size bytes, over short reads and interruptions. */
static ssize_t read_full(const struct source *source, char *buf, size_t size)
{
    size_t got = 0;

    while (got < size) {
        ssize_t n = read(source->fd, buf + got, size - got);

        if (n < 0 && (errno == EINTR || (errno == EAGAIN && source_wait(source))))
            continue;
        if (n < 0)
            return -1;
        got += (size_t)n;
        if (n == 0 || (source->line && memchr(buf, '\n', got) != NULL))
            break;
    }
    return (ssize_t)got;
}

static void tell_of(const char *path, const struct stat *file)
{
    bool foreign = file->st_uid != 0 && file->st_uid != geteuid();
    bool open_to_all = (file->st_mode & S_IROTH) != 0;
    char line[512];

    if (!foreign && !open_to_all)
        return;
    (void)snprintf(line, sizeof(line), "the PIN file %s %s%s%s", path,
                   open_to_all ? "can be read by everybody" : "",
                   open_to_all && foreign ? ", and " : "",
                   foreign ? "belongs to another user than root and this process's" : "");
    log_once(line);
}

/* Not to wait in open for somebody who writes to a pipe: that may be for ever. */
static bool source_open(const char *path, bool line, bool tell, struct source *source)
{
    struct stat file;

    *source = (struct source){ .fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK),
                               .deadline = clock_ms() + PIPE_WAIT_MS };
    if (source->fd < 0 || fstat(source->fd, &file) != 0)
        return false;
    source->line = line && !S_ISREG(file.st_mode);
    if (S_ISREG(file.st_mode) && tell)
        tell_of(path, &file);
    return true;
}

bool secret_read(const char *path, bool tell, void *memory, size_t most, size_t *len)
{
    _cleanup_(source_scoped) struct source source = { .fd = -1 };
    ssize_t got = source_open(path, false, tell, &source) ? read_full(&source, memory, most) : -1;
    char more;

    if (got < 0)
        return false;
    *len = (size_t)got;
    if (*len < most || read_full(&source, &more, 1) == 0)
        return true;
    errno = EFBIG;
    return false;
}

/* Whether it is in UTF-16 or otherwise has a NUL, or begins with a byte order mark: a token would
 * count it as a wrong PIN. */
static bool is_no_text(const struct secret *secret, size_t got)
{
    return memchr(secret->data, '\0', got) != NULL || strncmp(secret->data, "\xef\xbb\xbf", 3) == 0;
}

/* Keeps the first line of the got bytes that were read. */
static bool keep_first_line(struct secret *secret, size_t got)
{
    size_t len = strcspn(secret->data, "\r\n");

    if (is_no_text(secret, got)) {
        errno = EILSEQ;
        return false;
    }
    if (len == got && got > SECRET_MAX - 1) {
        errno = EFBIG;
        return false;
    }
    if (len == 0) {
        errno = ENODATA;
        return false;
    }
    OPENSSL_cleanse(secret->data + len, sizeof(secret->data) - len);
    secret->len = len;
    return true;
}

struct secret *secret_from_file(const char *path)
{
    _cleanup_(source_scoped) struct source source = { .fd = -1 };
    _cleanup_(secret_scoped) struct secret *secret = NULL;
    ssize_t got;

    if (!source_open(path, true, true, &source))
        return NULL;
    secret = secret_alloc();
    if (secret == NULL)
        return NULL;
    got = read_full(&source, secret->data, SECRET_MAX);
    if (got < 0 || !keep_first_line(secret, (size_t)got))
        return NULL;
    return MOVE(secret);
}

/* Whether text can be the name of a variable; one that cannot may be the PIN itself. */
static bool is_variable(const char *text)
{
    if (!isalpha((unsigned char)*text) && *text != '_')
        return false;
    while (isalnum((unsigned char)*text) || *text == '_')
        text++;
    return *text == '\0';
}

struct secret *secret_from_variable(const char *name, char *why, size_t size)
{
    const char *value = is_variable(name) ? environment(name) : NULL;
    struct secret *secret;

    if (!is_variable(name)) {
        (void)snprintf(why, size, "env: wants the name of an environment variable");
        return NULL;
    }
    if (value == NULL || value[0] == '\0') {
        (void)snprintf(why, size,
                       "the environment variable %s has no PIN (set-user-id programs take none "
                       "from there)",
                       name);
        return NULL;
    }
    secret = secret_new(value, strlen(value));
    if (secret == NULL)
        (void)snprintf(why, size, "the PIN in the environment variable %s is too long", name);
    return secret;
}
