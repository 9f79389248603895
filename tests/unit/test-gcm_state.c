#include "unit.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "key/gcm_state.h"

static char dir[] = "/tmp/bridge-unit-XXXXXX";
static uint8_t id[GCM_ID_LEN];
static char path[128];

/* For each case a key of its own. */
static void id_next(void)
{
    char *at = path + sprintf(path, "%s/", dir);

    id[0]++;
    for (unsigned i = 0; i < GCM_ID_LEN; i++)
        at += sprintf(at, "%02x", id[i]);
}

static struct gcm_reservation wanted(uint64_t limit, uint64_t seen)
{
    return (struct gcm_reservation){
        .dir = dir, .id = id, .base = 0x123456789abcdef0, .limit = limit, .seen = seen
    };
}

static void test_gcm_record_round_trip(void **state)
{
    static const uint64_t numbers[] = { 0, 1, 9, 10, 4096, GCM_MOST - 1, GCM_MOST };
    static const uint64_t bases[] = { 0, 1, 0xfedcba9876543210, UINT64_MAX };
    char text[GCM_RECORD_LEN + 1];

    (void)state;
    for (unsigned i = 0; i < COUNT_OF(numbers) * COUNT_OF(bases); i++) {
        struct gcm_record in = { .base = bases[i % 4], .reserved = numbers[i / 4] }, out;

        memset(in.id, (int)(0x5a + i), sizeof(in.id));
        gcm_record_write(&in, text);
        assert_int_equal(strlen(text), GCM_RECORD_LEN);
        assert_true(gcm_record_read((struct view){ (uint8_t *)text, GCM_RECORD_LEN }, &out));
        assert_memory_equal(out.id, in.id, GCM_ID_LEN);
        assert_int_equal(out.base, in.base);
        assert_int_equal(out.reserved, in.reserved);
    }
}

/* One byte that is another, wherever it is; a byte less or more; more than can be. */
static void test_gcm_record_damaged(void **state)
{
    struct gcm_record in = { .base = 77, .reserved = GCM_MOST + 1 }, out;
    uint8_t text[GCM_RECORD_LEN + 2] = { 0 };

    (void)state;
    gcm_record_write(&in, (char *)text);
    assert_false(gcm_record_read((struct view){ text, GCM_RECORD_LEN }, &out));
    in.reserved = 4096;
    gcm_record_write(&in, (char *)text);
    assert_true(gcm_record_read((struct view){ text, GCM_RECORD_LEN }, &out));
    assert_false(gcm_record_read((struct view){ text, GCM_RECORD_LEN - 1 }, &out));
    assert_false(gcm_record_read((struct view){ text, GCM_RECORD_LEN + 1 }, &out));
    assert_false(gcm_record_read((struct view){ text, 0 }, &out));
    for (unsigned i = 0; i < GCM_RECORD_LEN; i++)
        for (unsigned change = 1; change < 256; change++) {
            text[i] ^= (uint8_t)change;
            assert_false(gcm_record_read((struct view){ text, GCM_RECORD_LEN }, &out));
            text[i] ^= (uint8_t)change;
        }
}

static void test_gcm_block_size(void **state)
{
    static const struct {
        uint64_t reserved, limit, size;
    } cases[] = {
        { 0, GCM_MOST, 4096 },
        { GCM_MOST, GCM_MOST, 0 },
        { GCM_MOST - 1, GCM_MOST, 1 },
        { 0, 1, 1 },
        { 1, 1, 0 },
        { 2, 1, 0 },
        { 0, 64, 1 },
        { 0, 128, 2 },
        { 0, 64 * 4096, 4096 },
        { 64, 64 * 4096, 4095 },
        { 0, UINT64_MAX, 4096 },
        { UINT64_MAX, UINT64_MAX, 0 },
    };

    (void)state;
    for (unsigned i = 0; i < COUNT_OF(cases); i++)
        assert_int_equal(gcm_block_size(cases[i].reserved, cases[i].limit), cases[i].size);
}

/* To the last number, none of them twice and none left out. */
static void test_gcm_state_to_the_limit(void **state)
{
    uint64_t at = 0, base = 0x123456789abcdef0;

    (void)state;
    id_next();
    for (;;) {
        struct gcm_reservation got = wanted(1000, at);

        assert_true(gcm_state_reserve(&got));
        assert_int_equal(got.base, base);
        assert_int_equal(got.first, at);
        if (got.first == got.end)
            break;
        assert_true(got.end > at && got.end <= 1000);
        at = got.end;
    }
    assert_int_equal(at, 1000);
}

/* The base is that of the first. */
static void test_gcm_state_base(void **state)
{
    struct gcm_reservation first = wanted(GCM_MOST, 0), second = wanted(GCM_MOST, 0);

    (void)state;
    id_next();
    second.base = 1;
    assert_true(gcm_state_reserve(&first));
    assert_true(gcm_state_reserve(&second));
    assert_int_equal(second.base, first.base);
    assert_int_equal(second.first, first.end);
}

static void write_file(const char *text, size_t len)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

    assert_int_equal(write(fd, text, len), len);
    close(fd);
}

static void assert_refused(uint64_t seen, const char *part)
{
    struct gcm_reservation got = wanted(GCM_MOST, seen);

    assert_false(gcm_state_reserve(&got));
    check_contains(got.why, part, part);
    check_contains(got.why, path, part);
}

static void test_gcm_state_refused(void **state)
{
    struct gcm_record record = { .base = 1, .reserved = 100 };
    char text[GCM_RECORD_LEN + 1];

    (void)state;
    id_next();
    gcm_record_write(&record, text); /* another key's */
    write_file(text, GCM_RECORD_LEN);
    assert_refused(0, "damaged");
    memcpy(record.id, id, GCM_ID_LEN);
    gcm_record_write(&record, text);
    write_file(text, GCM_RECORD_LEN);
    assert_refused(101, "older");
    write_file(text, GCM_RECORD_LEN / 2);
    assert_refused(0, "damaged");
    write_file("", 0);
    assert_refused(0, "damaged");
    unlink(path);
    assert_refused(100, "gone");
    assert_int_equal(symlink("/etc/passwd", path), 0);
    assert_refused(0, "cannot open");
    unlink(path);
    assert_int_equal(chmod(dir, 0777), 0);
    assert_refused(0, "everybody");
    assert_int_equal(chmod(dir, 0700), 0);
}

static void test_gcm_state_no_directory(void **state)
{
    struct gcm_reservation got = wanted(GCM_MOST, 0);

    (void)state;
    got.dir = "/nowhere/at/all";
    assert_false(gcm_state_reserve(&got));
    check_contains(got.why, "No such file", "directory");
}

/* What a process left that ended while it made the file. */
static void test_gcm_state_half_made(void **state)
{
    struct gcm_reservation got = wanted(GCM_MOST, 0);
    char fresh[160];
    int fd;

    (void)state;
    id_next();
    snprintf(fresh, sizeof(fresh), "%s.new", path);
    fd = open(fresh, O_WRONLY | O_CREAT, 0600);
    assert_int_equal(write(fd, "half", 4), 4);
    close(fd);
    assert_true(gcm_state_reserve(&got));
    assert_int_equal(got.first, 0);
    assert_int_equal(access(fresh, F_OK), -1);
}

/* The kernel ends a process that writes more than it may, before it writes: here between the
 * file's beginning and its content, and then between the lock and the next number. */
static void assert_killed_in_write(void)
{
    struct gcm_reservation got = wanted(GCM_MOST, 0);
    const struct rlimit none = { 0, 0 };
    int status = 0;
    pid_t child = fork();

    if (child == 0) {
        (void)setrlimit(RLIMIT_CORE, &none);
        (void)setrlimit(RLIMIT_FSIZE, &none);
        _exit(gcm_state_reserve(&got));
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGXFSZ);
}

static void test_gcm_state_killed(void **state)
{
    struct gcm_reservation got = wanted(GCM_MOST, 0);

    (void)state;
    id_next();
    for (unsigned n = 0; n < 3; n++) {
        assert_killed_in_write();
        if (!gcm_state_reserve(&got))
            fail_msg("%s", got.why);
        assert_int_equal(got.first, n * GCM_BLOCK_MOST);
    }
}

/* Another process has the lock for a while. */
static void test_gcm_state_waits(void **state)
{
    struct gcm_reservation got = wanted(GCM_MOST, 0);
    int held[2], status = 0, fd;
    char byte;
    pid_t child;

    (void)state;
    id_next();
    assert_true(gcm_state_reserve(&got));
    assert_int_equal(pipe(held), 0);
    child = fork();
    if (child == 0) {
        fd = open(path, O_RDWR);
        (void)flock(fd, LOCK_EX);
        (void)!write(held[1], "x", 1);
        usleep(100000);
        (void)flock(fd, LOCK_UN);
        _exit(0);
    }
    assert_int_equal(read(held[0], &byte, 1), 1);
    got.seen = got.end;
    assert_true(gcm_state_reserve(&got));
    assert_int_equal(waitpid(child, &status, 0), child);
    close(held[0]);
    close(held[1]);
}

static int setup(void **state)
{
    (void)state;
    return mkdtemp(dir) == NULL;
}

static int teardown(void **state)
{
    char command[64];

    (void)state;
    snprintf(command, sizeof(command), "rm -rf %s", dir);
    return system(command);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gcm_record_round_trip),
        cmocka_unit_test(test_gcm_record_damaged),
        cmocka_unit_test(test_gcm_block_size),
        cmocka_unit_test(test_gcm_state_to_the_limit),
        cmocka_unit_test(test_gcm_state_base),
        cmocka_unit_test(test_gcm_state_refused),
        cmocka_unit_test(test_gcm_state_no_directory),
        cmocka_unit_test(test_gcm_state_half_made),
        cmocka_unit_test(test_gcm_state_killed),
        cmocka_unit_test(test_gcm_state_waits),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
