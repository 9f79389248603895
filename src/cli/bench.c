/* pkcs11-bridge bench: signatures a second, by threads. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/libcrypto.h"
#include "base/scope.h"
#include "cli/cli.h"
#include "cli/json.h"
#include "cli/key.h"
#include "cli/say.h"

enum { THREADS, SECONDS };
static const struct option_row options[] = {
    [THREADS] = { "threads", "LIST", "numbers of threads, with commas between: 1,2,4,8 without" },
    [SECONDS] = { "seconds", "N", "how long for each number: 2 without" },
    { NULL, NULL, NULL },
};

#define RUNS_MOST    16
#define THREADS_MOST 256

struct bench {
    struct context *context;
    EVP_PKEY *pkey;
    atomic_bool over;
    atomic_ulong signatures;
    atomic_bool failed;
    char error[2048]; /* of the first thread that failed */
};

static void *work(void *arg)
{
    struct bench *bench = arg;
    unsigned char message[32] = { 0 };
    struct key_signer signer;
    bool ok = key_signer_begin(&signer, bench->context, bench->pkey);

    while (ok && !atomic_load(&bench->over)) {
        ok = key_signer_sign(&signer, message, sizeof(message));
        atomic_fetch_add(&bench->signatures, ok);
        message[0]++;
    }
    key_signer_end(&signer);
    if (!ok && !atomic_exchange(&bench->failed, true))
        (void)error_text("a signature failed", bench->error, sizeof(bench->error));
    return NULL;
}

static void wait_with_progress(struct bench *bench, unsigned threads, unsigned seconds)
{
    uint64_t end = clock_ms() + 1000UL * seconds;

    while (clock_ms() < end && !atomic_load(&bench->failed)) {
        if (isatty(STDERR_FILENO))
            (void)fprintf(stderr, "\r%u threads: %lu signatures ", threads,
                          atomic_load(&bench->signatures));
        clock_sleep_ms(50);
    }
    if (isatty(STDERR_FILENO))
        (void)fprintf(stderr, "\r\033[K");
}

/* Signatures a second; below 0 where one failed. */
static double run_threads(struct bench *bench, unsigned threads, unsigned seconds)
{
    pthread_t ids[THREADS_MOST];
    unsigned started = 0;
    uint64_t began = clock_ns();
    double elapsed;

    atomic_store(&bench->over, false);
    atomic_store(&bench->signatures, 0);
    while (started < threads && pthread_create(&ids[started], NULL, work, bench) == 0)
        started++;
    wait_with_progress(bench, threads, seconds);
    atomic_store(&bench->over, true);
    elapsed = (double)(clock_ns() - began) / (double)NS_PER_S;
    for (unsigned i = 0; i < started; i++)
        (void)pthread_join(ids[i], NULL);
    if (started < threads && !atomic_exchange(&bench->failed, true))
        (void)snprintf(bench->error, sizeof(bench->error), "cannot start %u threads", threads);
    return atomic_load(&bench->failed) ? -1 : (double)atomic_load(&bench->signatures) / elapsed;
}

static unsigned read_list(const char *text, unsigned *list)
{
    unsigned count = 0;

    for (char *end = NULL; count < RUNS_MOST; text = end + 1) {
        unsigned long number = strtoul(text, &end, 10);

        if (end == text || number < 1 || number > THREADS_MOST)
            break;
        list[count++] = (unsigned)number;
        if (*end == '\0')
            return count;
        if (*end != ',')
            break;
    }
    complain("--threads: it takes up to %d numbers from 1 to %d, with commas between", RUNS_MOST,
             THREADS_MOST);
    return 0;
}

static void report(struct json *json, unsigned threads, double rate)
{
    if (json == NULL) {
        (void)printf("%8u %12.1f\n", threads, rate);
        (void)fflush(stdout);
        return;
    }
    json_object(json, NULL);
    json_number(json, "threads", threads);
    json_decimal(json, "signatures_per_second", rate);
    json_end(json);
}

static bool run_all(struct bench *bench, const unsigned *list, unsigned count, unsigned seconds,
                    struct json *json)
{
    double rate = 0;

    for (unsigned i = 0; rate >= 0 && i < count; i++) {
        rate = run_threads(bench, list[i], seconds);
        if (rate >= 0)
            report(json, list[i], rate);
    }
    return rate >= 0;
}

static enum status run_on(struct call *call, struct bench *bench, const unsigned *list,
                          unsigned count, unsigned seconds)
{
    struct json json = { .out = stdout };
    bool ok;

    if (call->json)
        json_array(&json, NULL);
    else
        (void)printf(" threads signatures/s\n");
    ok = run_all(bench, list, count, seconds, call->json ? &json : NULL);
    if (call->json)
        json_end(&json);
    if (!ok)
        complain("%s", bench->error);
    return ok ? STATUS_DONE : STATUS_FAILED;
}

static enum status bench(struct call *call)
{
    const char *threads = call_option(call, THREADS);
    unsigned list[RUNS_MOST], count = read_list(threads != NULL ? threads : "1,2,4,8", list);
    unsigned long seconds;
    struct bench bench = { .context = &call->context };
    _cleanup_(pkey_scoped) EVP_PKEY *pkey = NULL;

    if (count == 0 || !call_number(call, SECONDS, 1, 3600, 2, &seconds))
        return STATUS_USAGE;
    bench.pkey = pkey = key_open(&call->context, call->operands[0]);
    if (pkey != NULL)
        return run_on(call, &bench, list, count, (unsigned)seconds);
    complain_openssl("the key cannot be opened");
    return STATUS_FAILED;
}

const struct subcommand bench_subcommand = {
    .name = "bench",
    .operands = "URI",
    .least = 1,
    .most = 1,
    .summary = "Measures signatures a second, by threads",
    .options = options,
    .run = bench,
};
