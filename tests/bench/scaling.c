/* How signatures with one key scale with threads, and how evenly the threads get theirs.
 *
 *     scaling TURNS SECONDS SHAPE,... WAY...
 *
 * SHAPE: N: that many threads on one token; Nt: on two tokens (soft and other), in turn; Np: that
 * many processes with one thread each, which is what the machine can do. WAY: NAME=FILE, a provider
 * by its openssl.cnf, with a P-256 key p256 on the token soft (PIN 1234); or software, a key of the
 * default provider, which no thread has to wait for.
 *
 * The key is loaded once for all threads of a process; each has a context that stays, and calls
 * EVP_PKEY_sign. Each shape with each way is a process anew for each of the TURNS, which take
 * SECONDS; they take turns, so that what the machine does besides hits all of them alike.
 *
 * Prints a line for each shape and way: both; signatures per second, as the median, the lowest and
 * the highest of the turns; the ratio to the first shape, and that to the first way, as the medians
 * of the ratios of each turn, because what a lock costs depends on where the machine runs the
 * processors just then; the least and the most that any one thread made (of the turn where they
 * were furthest apart); and the longest that any one signature took, in milliseconds. With more
 * threads than processors there is the scheduler's part in that: compare with software. */
#include <pthread.h>
#include <signal.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/store.h>

#define THREADS_MOST   64
#define PROCESSES_MOST 16
#define SHAPES_MOST    16
#define WAYS_MOST      8
#define TURNS_MOST     100
#define WARM_SECONDS   0.05

static const char *const tokens[] = { "soft", "other" };

static void must(bool ok, const char *what)
{
    if (ok)
        return;
    (void)fprintf(stderr, "scaling: %s\n", what);
    ERR_print_errors_fp(stderr);
    _exit(1);
}

static double now(void)
{
    struct timespec time;

    (void)clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

struct shape {
    const char *name;
    unsigned threads, processes, tokens;
};

/* What a process made in a turn. */
struct result {
    double rate;
    unsigned long least, most; /* of a thread */
    double longest;            /* seconds for a signature */
};

/* On cache lines of its own: what the threads share must be the provider's doing. */
struct worker {
    alignas(128) EVP_PKEY_CTX *ctx;
    pthread_t thread;
    unsigned long done;
    double longest;
};

static struct worker workers[THREADS_MOST];

/* What a turn begins with is not measured: sessions are opened, and it takes a while until each of
 * many threads has had a processor. */
enum phase { WARM, MEASURED, OVER };

static _Atomic enum phase phase;
static atomic_uint begun; /* threads */

static void sign(EVP_PKEY_CTX *ctx)
{
    static const unsigned char digest[32] = { 1 };
    unsigned char out[128];
    size_t len = sizeof(out);

    must(EVP_PKEY_sign(ctx, out, &len, digest, sizeof(digest)) == 1, "EVP_PKEY_sign");
}

/* The clock is read after each signature; while they take less than QUICK, so that reading it would
 * be seen, after every MANY of them, which makes the longest wrong by some microseconds. */
#define QUICK 5e-6
#define MANY  16

static void work(struct worker *worker, enum phase during)
{
    unsigned long done = 0, many = 1;
    double before = now(), longest = 0;

    while (atomic_load_explicit(&phase, memory_order_relaxed) == during) {
        double after;

        for (unsigned long n = 0; n < many; n++)
            sign(worker->ctx);
        done += many;
        after = now();
        longest = after - before > longest ? after - before : longest;
        many = after - before < QUICK * (double)many ? MANY : 1;
        before = after;
    }
    worker->done = done;
    worker->longest = longest;
}

static void *run(void *arg)
{
    sign(((struct worker *)arg)->ctx);
    atomic_fetch_add(&begun, 1);
    work(arg, WARM);
    work(arg, MEASURED);
    return NULL;
}

static void pause_for(double seconds)
{
    double start = now();

    while (now() < start + seconds)
        (void)nanosleep(&(struct timespec){ 0, 5000000 }, NULL);
}

static void add(struct result *sum, const struct result *one)
{
    sum->rate += one->rate;
    sum->least = one->least < sum->least ? one->least : sum->least;
    sum->most = one->most > sum->most ? one->most : sum->most;
    sum->longest = one->longest > sum->longest ? one->longest : sum->longest;
}

/* The threads are at work. */
static struct result measure(unsigned threads, double length)
{
    struct result sum = { .least = ~0UL };
    double start = now();

    atomic_store(&phase, MEASURED);
    pause_for(length);
    atomic_store(&phase, OVER);
    length = now() - start;
    for (unsigned t = 0; t < threads; t++) {
        const struct worker *w = &workers[t];

        (void)pthread_join(w->thread, NULL);
        add(&sum, &(struct result){ (double)w->done / length, w->done, w->done, w->longest });
    }
    return sum;
}

static EVP_PKEY *load(const char *token)
{
    char uri[128];
    OSSL_STORE_CTX *store;
    EVP_PKEY *found = NULL;

    (void)snprintf(uri, sizeof(uri), "pkcs11:token=%s;object=p256;type=private", token);
    store = OSSL_STORE_open(uri, NULL, NULL, NULL, NULL);
    while (store != NULL && found == NULL && !OSSL_STORE_eof(store)) {
        OSSL_STORE_INFO *info = OSSL_STORE_load(store);

        if (info != NULL)
            found = OSSL_STORE_INFO_get1_PKEY(info);
        OSSL_STORE_INFO_free(info);
    }
    OSSL_STORE_close(store);
    must(found != NULL, uri);
    return found;
}

static void begin(const struct shape *shape, const char *way)
{
    const char *conf = strchr(way, '=');
    EVP_PKEY *keys[2] = { NULL };

    if (conf != NULL)
        (void)setenv("OPENSSL_CONF", conf + 1, 1);
    for (unsigned k = 0; k < shape->tokens; k++)
        keys[k] = conf != NULL ? load(tokens[k]) : EVP_EC_gen("P-256");
    for (unsigned t = 0; t < shape->threads; t++) {
        workers[t].ctx = EVP_PKEY_CTX_new(keys[t % shape->tokens], NULL);
        must(EVP_PKEY_sign_init(workers[t].ctx) == 1, "EVP_PKEY_sign_init");
    }
    for (unsigned t = 0; t < shape->threads; t++)
        must(pthread_create(&workers[t].thread, NULL, run, &workers[t]) == 0, "pthread_create");
    while (atomic_load(&begun) < shape->threads)
        pause_for(0.005);
    pause_for(WARM_SECONDS);
}

/* A process says when it is warm, waits for the word, and says what it made. */
struct process {
    int to, from;
};

static void serve(const struct shape *shape, const char *way, double length, int from, int to)
{
    struct result result;
    char word = 0;

    begin(shape, way);
    must(write(to, &word, 1) == 1, "write");
    if (read(from, &word, 1) != 1)
        _exit(0);
    result = measure(shape->threads, length);
    must(write(to, &result, sizeof(result)) == sizeof(result), "write");
    _exit(0); /* no way is measured by how it ends */
}

static void start(struct process *process, const struct shape *shape, const char *way,
                  double length)
{
    int to[2], from[2];

    must(pipe(to) == 0 && pipe(from) == 0, "pipe");
    if (fork() == 0) {
        (void)close(to[1]);
        (void)close(from[0]);
        serve(shape, way, length, to[0], from[1]);
    }
    (void)close(to[0]);
    (void)close(from[1]);
    *process = (struct process){ to[1], from[0] };
}

/* False when a process ended before its time. */
static bool take_turn(const struct shape *shape, const char *way, double length, struct result *sum)
{
    struct process processes[PROCESSES_MOST];
    struct result result;
    bool ok = true;
    char word = 0;

    *sum = (struct result){ .least = ~0UL };
    for (unsigned p = 0; p < shape->processes; p++) { /* SoftHSM minds two logins at once */
        start(&processes[p], shape, way, length);
        ok = read(processes[p].from, &word, 1) == 1 && ok;
    }
    for (unsigned p = 0; ok && p < shape->processes; p++)
        ok = write(processes[p].to, &word, 1) == 1;
    for (unsigned p = 0; ok && p < shape->processes; p++) {
        ok = read(processes[p].from, &result, sizeof(result)) == sizeof(result);
        add(sum, &result);
    }
    for (unsigned p = 0; p < shape->processes; p++) {
        (void)close(processes[p].to);
        (void)close(processes[p].from);
    }
    while (wait(NULL) > 0)
        ;
    return ok;
}

/* All turns of a shape with a way. */
struct cell {
    bool fails;
    double rates[TURNS_MOST];
    unsigned turns;
    struct result worst; /* but for its rate */
};

static struct cell cells[SHAPES_MOST][WAYS_MOST];

static void note(struct cell *cell, const struct result *result)
{
    double apart = (double)result->most * (double)cell->worst.least;

    if (cell->turns == 0 || apart > (double)cell->worst.most * (double)result->least) {
        cell->worst.least = result->least;
        cell->worst.most = result->most;
    }
    if (result->longest > cell->worst.longest)
        cell->worst.longest = result->longest;
    cell->rates[cell->turns++] = result->rate;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static double median(double *values, unsigned n)
{
    qsort(values, n, sizeof(values[0]), compare);
    return (values[n / 2] + values[(n - 1) / 2]) / 2;
}

static void print_ratio(const struct cell *cell, const struct cell *to)
{
    double ratios[TURNS_MOST];

    for (unsigned n = 0; n < cell->turns; n++)
        ratios[n] = cell->rates[n] / to->rates[n];
    if (to->fails)
        printf("\t-");
    else
        printf("\t%.2f", median(ratios, cell->turns));
}

static void print(const char *shape, const char *way, const struct cell *cell,
                  const struct cell *first_shape, const struct cell *first_way)
{
    double rates[TURNS_MOST];
    unsigned last = cell->turns - 1;

    printf("%s\t%.*s", shape, (int)strcspn(way, "="), way);
    if (cell->fails) {
        printf("\t-\t-\t-\t-\t-\t-\t-\t-\n");
        return;
    }
    memcpy(rates, cell->rates, sizeof(rates));
    printf("\t%.1f", median(rates, cell->turns));
    printf("\t%.1f\t%.1f", rates[0], rates[last]);
    print_ratio(cell, first_shape);
    print_ratio(cell, first_way);
    printf("\t%lu\t%lu\t%.3f\n", cell->worst.least, cell->worst.most, cell->worst.longest * 1e3);
}

static unsigned parse_shapes(char *text, struct shape *shapes)
{
    char *rest = NULL;
    unsigned count = 0;

    for (char *name = strtok_r(text, ",", &rest); name != NULL; name = strtok_r(NULL, ",", &rest)) {
        unsigned number = (unsigned)atoi(name);
        bool processes = strchr(name, 'p') != NULL;

        must(count < SHAPES_MOST && number >= 1 &&
                 number <= (processes ? PROCESSES_MOST : THREADS_MOST),
             "SHAPE");
        shapes[count++] = (struct shape){ name, processes ? 1 : number, processes ? number : 1,
                                          strchr(name, 't') != NULL ? 2 : 1 };
    }
    return count;
}

static void turn_cell(struct cell *cell, const struct shape *shape, const char *way, double length)
{
    struct result result;

    cell->fails = cell->fails || !take_turn(shape, way, length, &result);
    if (!cell->fails)
        note(cell, &result);
}

int main(int argc, char **argv)
{
    struct shape shapes[SHAPES_MOST];
    int turns, ways = argc - 4;
    unsigned count;

    if (ways < 1 || ways > WAYS_MOST) {
        (void)fprintf(stderr, "usage: scaling TURNS SECONDS SHAPE,... WAY...\n");
        return 2;
    }
    turns = atoi(argv[1]);
    must(turns >= 1 && turns <= TURNS_MOST, "TURNS");
    count = parse_shapes(argv[3], shapes);
    (void)signal(SIGPIPE, SIG_IGN);
    for (int turn = 0; turn < turns; turn++)
        for (unsigned s = 0; s < count; s++)
            for (int w = 0; w < ways; w++)
                turn_cell(&cells[s][w], &shapes[s], argv[4 + w], atof(argv[2]));
    for (unsigned s = 0; s < count; s++)
        for (int w = 0; w < ways; w++)
            print(shapes[s].name, argv[4 + w], &cells[s][w], &cells[0][w], &cells[s][0]);
    return 0;
}
