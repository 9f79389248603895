/* A file of counters, and the sum of the dead: whatever is in them, what is read is told. */
#include "fuzz.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "metrics/metrics.h"

static char folder[] = "/dev/shm/fuzz-meter-XXXXXX";

static void file_write(const char *name, const uint8_t *data, size_t len)
{
    char path[128];
    int fd;

    (void)snprintf(path, sizeof(path), "%s/%s", folder, name);
    fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    hold(fd >= 0 && write(fd, data, len) == (ssize_t)len && close(fd) == 0);
}

/* The head is hard to guess: one that fits, where the input says so. */
static void put_right(uint8_t *data, size_t len)
{
    struct page head;

    if (len < sizeof(head))
        return;
    memcpy(&head, data, sizeof(head));
    memcpy(head.magic, PAGE_MAGIC, sizeof(head.magic));
    head.version = PAGE_VERSION;
    head.series_count = (uint32_t)((len - sizeof(head)) / sizeof(struct series));
    memcpy(data, &head, sizeof(head));
}

static void hold_sum(void)
{
    struct sum sum = { .list = NULL };
    char why[512];
    FILE *out = fopen("/dev/null", "w");

    hold(sum_dir(&sum, folder, why, sizeof(why)));
    hold(out != NULL && metrics_write(&sum, out));
    (void)fclose(out);
    sum_clear(&sum);
}

static void folder_remove(void)
{
    static const char *const names[] = { "retired", ".retired", "1-1-0.meter", ".lock" };
    char path[128];

    for (size_t i = 0; i < COUNT_OF(names); i++) {
        (void)snprintf(path, sizeof(path), "%s/%s", folder, names[i]);
        (void)unlink(path);
    }
    (void)rmdir(folder);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    hold(mkdtemp(folder) != NULL && atexit(folder_remove) == 0);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = { data, size };
    unsigned how = input_byte(&input);
    size_t len = input.len;
    uint8_t *copy = input_copy(&input, &len, false);

    if ((how & 1) != 0)
        len = len < sizeof(struct page)
                  ? len
                  : sizeof(struct page) +
                        (len - sizeof(struct page)) / sizeof(struct series) * sizeof(struct series);
    if ((how & 1) != 0)
        put_right(copy, len);
    file_write((how & 2) != 0 ? "retired" : "1-1-0.meter", copy, len);
    hold_sum();
    if ((how & 4) != 0)
        meter_retire(folder);
    hold_sum();
    free(copy);
    return 0;
}
