#include "key/gcm_state.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/scope.h"

#define TITLE       "pkcs11-bridge AES-GCM\n"
#define ID_AT       (sizeof(TITLE) - 1 + 4)
#define BASE_AT     (ID_AT + 2UL * GCM_ID_LEN + 1 + 5)
#define RESERVED_AT (BASE_AT + 16 + 1 + 9)
#define CHECK_AT    (RESERVED_AT + 20 + 1)

#define LOCK_WAIT_MS 10000
#define FRESH        ".new" /* under this name a file is made */
#define FILE_NAME    (2UL * GCM_ID_LEN + sizeof(FRESH))

/* CRC-32 (ITU-T V.42 §8.1.1.6.2), against accidents. */
static uint32_t crc32_of(const char *data, size_t len)
{
    uint32_t crc = UINT32_MAX;

    for (size_t i = 0; i < len; i++) {
        crc ^= (uint8_t)data[i];
        for (unsigned bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? UINT32_C(0xedb88320) : 0);
    }
    return ~crc;
}

/* out: two digits for each byte, and a NUL. */
static void hex_write(const uint8_t *data, size_t len, char *out)
{
    for (size_t i = 0; i < len; i++)
        (void)snprintf(out + 2 * i, 3, "%02x", data[i]);
}

void gcm_record_write(const struct gcm_record *record, char *text)
{
    char id[2UL * GCM_ID_LEN + 1];

    hex_write(record->id, GCM_ID_LEN, id);
    (void)snprintf(text, CHECK_AT + 1,
                   TITLE "key %s\nbase %016" PRIx64 "\nreserved %020" PRIu64 "\n", id, record->base,
                   record->reserved);
    (void)snprintf(text + CHECK_AT, GCM_RECORD_LEN - CHECK_AT + 1, "check %08" PRIx32 "\n",
                   crc32_of(text, CHECK_AT));
}

/* Of what is no digit, some number: the record is written again and compared. */
static uint64_t number_read(const uint8_t *text, size_t digits, unsigned radix)
{
    uint64_t n = 0;

    for (size_t i = 0; i < digits; i++)
        n = n * radix + (text[i] >= 'a' ? text[i] - 'a' + 10U : (unsigned)(text[i] - '0')) % radix;
    return n;
}

bool gcm_record_read(struct view text, struct gcm_record *out)
{
    char again[GCM_RECORD_LEN + 1];

    if (text.len != GCM_RECORD_LEN)
        return false;
    for (size_t i = 0; i < GCM_ID_LEN; i++)
        out->id[i] = (uint8_t)number_read(text.data + ID_AT + 2 * i, 2, 16);
    out->base = number_read(text.data + BASE_AT, 16, 16);
    out->reserved = number_read(text.data + RESERVED_AT, 20, 10);
    gcm_record_write(out, again);
    return out->reserved <= GCM_MOST && memcmp(again, text.data, GCM_RECORD_LEN) == 0;
}

uint64_t gcm_block_size(uint64_t reserved, uint64_t limit)
{
    uint64_t size;

    if (reserved >= limit)
        return 0;
    size = (limit - reserved) / 64;
    if (size > GCM_BLOCK_MOST)
        return GCM_BLOCK_MOST;
    return size != 0 ? size : 1;
}

/* One key's file, and what is asked of it. */
struct file {
    struct gcm_reservation *reservation;
    char name[FILE_NAME], fresh[FILE_NAME];
    int dir, fd;
};

__attribute__((format(printf, 2, 3))) static bool fail(const struct file *file, const char *format,
                                                       ...)
{
    char *why = file->reservation->why;
    const size_t size = sizeof(file->reservation->why);
    va_list args;
    size_t used;

    va_start(args, format);
    (void)vsnprintf(why, size, format, args);
    va_end(args);
    used = strlen(why);
    (void)snprintf(why + used, size - used, " %s/%s", file->reservation->dir, file->name);
    return false;
}

static bool fail_errno(const struct file *file, const char *what)
{
    return fail(file, "%s: cannot %s", strerror(errno), what);
}

/* Who can write there can put an older file back. */
static bool dir_open(struct file *file)
{
    struct stat status;

    file->dir = open(file->reservation->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (file->dir < 0 || fstat(file->dir, &status) != 0)
        return fail_errno(file, "open the directory of");
    return (status.st_mode & S_IWOTH) == 0 ||
           fail(file, "everybody can write to the directory (chmod o-w) of");
}

/* Other processes hold it for as long as an fsync takes. */
static bool lock(const struct file *file, int fd)
{
    uint64_t deadline = clock_ms() + LOCK_WAIT_MS;

    while (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        if (errno != EWOULDBLOCK && errno != EINTR)
            return fail_errno(file, "lock");
        if (clock_ms() >= deadline)
            return fail(file, "another process has had for 10 seconds the lock of");
        clock_rest();
    }
    return true;
}

static bool record_put(const struct file *file, int fd, const struct gcm_record *record)
{
    char text[GCM_RECORD_LEN + 1];

    gcm_record_write(record, text);
    errno = ENOSPC; /* where less is written */
    return (pwrite(fd, text, GCM_RECORD_LEN, 0) == GCM_RECORD_LEN && fdatasync(fd) == 0) ||
           fail_errno(file, "write");
}

static bool exists(struct file *file)
{
    file->fd = openat(file->dir, file->name, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    return file->fd >= 0;
}

/* Under its own name once it is on the disk, whole; and locked until its name is there as well. */
static bool create_locked(const struct file *file)
{
    struct gcm_record record = { .base = file->reservation->base };
    _cleanup_(fd_scoped) int fd = -1;

    fd =
        openat(file->dir, file->fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return fail_errno(file, "create");
    memcpy(record.id, file->reservation->id, GCM_ID_LEN);
    if (lock(file, fd) && record_put(file, fd, &record) &&
        ((renameat(file->dir, file->fresh, file->dir, file->name) == 0 && fsync(file->dir) == 0) ||
         fail_errno(file, "create")))
        return true;
    (void)unlinkat(file->dir, file->fresh, 0);
    return false;
}

/* The directory's lock is for who makes files in it. */
static bool create(struct file *file)
{
    bool made;

    if (file->reservation->seen != 0)
        return fail(file, "it is gone, and its count with it:");
    if (!lock(file, file->dir))
        return false;
    made = exists(file) || (errno == ENOENT && create_locked(file) && exists(file));
    (void)flock(file->dir, LOCK_UN);
    return made || (file->reservation->why[0] == '\0' && fail_errno(file, "open"));
}

static bool file_open(struct file *file)
{
    if (!dir_open(file))
        return false;
    if (exists(file))
        return true;
    return errno == ENOENT ? create(file) : fail_errno(file, "open");
}

static bool record_get(const struct file *file, struct gcm_record *record)
{
    uint8_t text[GCM_RECORD_LEN + 1];
    ssize_t len = pread(file->fd, text, sizeof(text), 0);

    if (len < 0)
        return fail_errno(file, "read");
    if (!gcm_record_read((struct view){ text, (size_t)len }, record) ||
        memcmp(record->id, file->reservation->id, GCM_ID_LEN) != 0)
        return fail(file, "it is damaged, and what was counted is not known:");
    return record->reserved >= file->reservation->seen ||
           fail(file, "somebody put back an older state:");
}

static bool reserve(const struct file *file)
{
    struct gcm_reservation *reservation = file->reservation;
    struct gcm_record record = { .base = 0 };

    if (!lock(file, file->fd) || !record_get(file, &record))
        return false;
    reservation->base = record.base;
    reservation->first = record.reserved;
    record.reserved += gcm_block_size(record.reserved, reservation->limit);
    reservation->end = record.reserved;
    return reservation->first == reservation->end || record_put(file, file->fd, &record);
}

static void file_scoped(const struct file *file)
{
    if (file->fd >= 0)
        (void)flock(file->fd, LOCK_UN); /* a child of a fork may have the descriptor as well */
    fd_scoped(&file->fd);
    fd_scoped(&file->dir);
}

bool gcm_state_reserve(struct gcm_reservation *reservation)
{
    KEEP_ERRNO;
    _cleanup_(file_scoped) struct file file = { .reservation = reservation, .dir = -1, .fd = -1 };

    reservation->why[0] = '\0';
    hex_write(reservation->id, GCM_ID_LEN, file.name);
    hex_write(reservation->id, GCM_ID_LEN, file.fresh);
    memcpy(file.fresh + 2UL * GCM_ID_LEN, FRESH, sizeof(FRESH));
    return file_open(&file) && reserve(&file);
}
