/* Encryptions with AES-GCM are counted for each key, and no IV comes twice; from OpenSSL 3.5 on.
 *
 * What is looked at of an IV is its counter, the last 64 bits, as well: two processes that had one
 * number would still differ in the 32 random bits before it. */
#include "skey.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/params.h>

#include "pkcs11_bridge.h"

#define IV_LEN 12

static const char *self;
static unsigned char message[64] = "a message";

struct iv {
    unsigned char bytes[IV_LEN];
};

static const char *uri_of(const char *name)
{
    static _Thread_local char uri[512];

    snprintf(uri, sizeof(uri), "%s;%s", token_uri(), name);
    return uri;
}

static SKEY *made(SKEY *key)
{
    char error[512];

    if (key == NULL)
        fail_msg("%s", last_error(error, sizeof(error)));
    return key;
}

/* A new key on the token; name: of the URI, with object= and id=. */
static SKEY *generate(OSSL_LIB_CTX *libctx, const char *name)
{
    size_t len = 32;
    const OSSL_PARAM params[] = { TEXT_PARAM(PKCS11_BRIDGE_KEYGEN_URI, uri_of(name)),
                                  TEXT_PARAM(PKCS11_BRIDGE_KEYGEN_IF_EXISTS, "add"),
                                  OSSL_PARAM_construct_size_t(SKEY_KEY_LENGTH, &len),
                                  OSSL_PARAM_construct_end() };

    return made(EVP_SKEY_generate(libctx, "AES", OURS, params));
}

static SKEY *open_key(OSSL_LIB_CTX *libctx, const char *name)
{
    const OSSL_PARAM params[] = { TEXT_PARAM(PKCS11_BRIDGE_KEYGEN_URI, uri_of(name)),
                                  OSSL_PARAM_construct_end() };

    return made(EVP_SKEY_import(libctx, "AES", OURS, SKEY_ALL, params));
}

/* A library context with this limit and more settings. */
static OSSL_LIB_CTX *limited(uint64_t limit_, const char *more)
{
    char settings[1024];
    OSSL_LIB_CTX *libctx;

    snprintf(settings, sizeof(settings), "pkcs11-gcm-limit = %" PRIu64 "\n%s", limit_, more);
    libctx = libctx_new(settings);
    assert_non_null(libctx);
    return libctx;
}

/* The same with counters in this folder of the test's. */
static OSSL_LIB_CTX *kept(uint64_t limit_, const char *dir)
{
    char line[512];

    snprintf(line, sizeof(line), "pkcs11-gcm-state = %s\n", dir);
    return limited(limit_, line);
}

/* A folder that is empty. */
static const char *folder(const char *name)
{
    static char dir[256];

    snprintf(dir, sizeof(dir), "%s/%s", getenv("BRIDGE_DIR"), name);
    assert_int_equal(mkdir(dir, 0700), 0);
    return dir;
}

static EVP_CIPHER *gcm(OSSL_LIB_CTX *libctx)
{
    return EVP_CIPHER_fetch(libctx, PKCS11_BRIDGE_CIPHER_PREFIX "AES-256-GCM", NULL);
}

static bool begin(EVP_CIPHER_CTX *ctx, OSSL_LIB_CTX *libctx, SKEY *key, const unsigned char *iv,
                  int encrypt)
{
    EVP_CIPHER *cipher = gcm(libctx);
    bool ok =
        EVP_CipherInit_SKEY(ctx, cipher, key, iv, iv != NULL ? IV_LEN : 0, encrypt, NULL) == 1;

    EVP_CIPHER_free(cipher);
    return ok;
}

static bool iv_of(EVP_CIPHER_CTX *ctx, struct iv *iv)
{
    OSSL_PARAM params[] = { OSSL_PARAM_construct_octet_string(OSSL_CIPHER_PARAM_IV, iv->bytes,
                                                              IV_LEN),
                            OSSL_PARAM_construct_end() };

    return EVP_CIPHER_CTX_get_params(ctx, params) == 1;
}

/* The IV of an encryption that is begun, and goes no further. */
static bool next_iv(OSSL_LIB_CTX *libctx, SKEY *key, struct iv *iv)
{
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    bool ok = begin(ctx, libctx, key, NULL, 1) && iv_of(ctx, iv);

    EVP_CIPHER_CTX_free(ctx);
    return ok;
}

static bool encrypts(OSSL_LIB_CTX *libctx, SKEY *key, const unsigned char *iv)
{
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    unsigned char out[sizeof(message)];
    int n = 0;
    bool ok = begin(ctx, libctx, key, iv, 1) &&
              EVP_CipherUpdate(ctx, out, &n, message, sizeof(message)) == 1;

    EVP_CIPHER_CTX_free(ctx);
    return ok;
}

static void assert_error(const char *part)
{
    char error[1024];

    last_error(error, sizeof(error));
    if (strstr(error, part) == NULL)
        fail_msg("'%s' is not in '%s'", part, error);
}

/* As many encryptions as there are until one is refused, for this reason; most stands for all. */
static unsigned long count_until(OSSL_LIB_CTX *libctx, SKEY *key, unsigned long most,
                                 const char *part)
{
    unsigned long n = 0;
    struct iv iv;

    while (n < most && next_iv(libctx, key, &iv))
        n++;
    if (n < most)
        assert_error(part);
    return n;
}

static int by_counter(const void *a, const void *b)
{
    return memcmp(((const struct iv *)a)->bytes + 4, ((const struct iv *)b)->bytes + 4, 8);
}

static void assert_unique(struct iv *ivs, size_t count)
{
    qsort(ivs, count, sizeof(*ivs), by_counter);
    for (size_t i = 1; i < count; i++)
        if (by_counter(&ivs[i - 1], &ivs[i]) == 0)
            fail_msg("a counter comes twice among %zu IVs", count);
}

/* One message through and back, with the IV that was made. */
struct sealed {
    struct iv iv;
    unsigned char data[sizeof(message)], tag[16];
};

static void seal(OSSL_LIB_CTX *libctx, SKEY *key, struct sealed *out)
{
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    int n = 0;

    assert_true(begin(ctx, libctx, key, NULL, 1) && iv_of(ctx, &out->iv));
    assert_int_equal(EVP_CipherUpdate(ctx, out->data, &n, message, sizeof(message)), 1);
    assert_int_equal(EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, 16, out->tag), 1);
    EVP_CIPHER_CTX_free(ctx);
}

static void assert_opens(OSSL_LIB_CTX *libctx, SKEY *key, struct sealed *sealed)
{
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    unsigned char back[sizeof(message)];
    int n = 0;

    assert_true(begin(ctx, libctx, key, sealed->iv.bytes, 0));
    assert_int_equal(EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, 16, sealed->tag), 1);
    assert_int_equal(EVP_CipherUpdate(ctx, back, &n, sealed->data, sizeof(message)), 1);
    assert_memory_equal(back, message, sizeof(message));
    EVP_CIPHER_CTX_free(ctx);
}

static void test_gcm_limit(void **state)
{
    OSSL_LIB_CTX *libctx = limited(5, "");
    SKEY *key = generate(libctx, "object=gcm-limit"), *other = generate(libctx, "object=gcm-fresh");
    struct sealed sealed;

    (void)state;
    seal(libctx, key, &sealed);
    assert_int_equal(count_until(libctx, key, 100, "pkcs11-gcm-limit"), 4);
    assert_int_equal(count_until(libctx, key, 100, "pkcs11-gcm-limit"), 0);
    assert_opens(libctx, key, &sealed);
    assert_int_equal(count_until(libctx, other, 100, "pkcs11-gcm-limit"), 5);
    EVP_SKEY_free(other);
    EVP_SKEY_free(key);
    OSSL_LIB_CTX_free(libctx);
}

/* One number: for a key that is opened again, by another library context, by another EVP_SKEY. */
static void test_gcm_reopened(void **state)
{
    OSSL_LIB_CTX *libctx = limited(7, "");
    SKEY *key = generate(libctx, "object=gcm-again"), *other;
    struct iv iv;

    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        assert_true(next_iv(libctx, key, &iv));
        EVP_SKEY_free(key);
        key = open_key(libctx, "object=gcm-again");
    }
    other = open_key(libctx, "object=gcm-again");
    assert_true(next_iv(libctx, other, &iv) && next_iv(libctx, key, &iv));
    EVP_SKEY_free(other);
    EVP_SKEY_free(key);
    OSSL_LIB_CTX_free(libctx);
    libctx = limited(7, "");
    key = open_key(libctx, "object=gcm-again");
    assert_int_equal(count_until(libctx, key, 100, "pkcs11-gcm-limit"), 2);
    EVP_SKEY_free(key);
    OSSL_LIB_CTX_free(libctx);
}

static void test_gcm_two_contexts(void **state)
{
    OSSL_LIB_CTX *a = limited(10, ""), *b = limited(10, "");
    SKEY *in_a = generate(a, "object=gcm-two"), *in_b = open_key(b, "object=gcm-two");
    struct iv ivs[10];

    (void)state;
    for (unsigned i = 0; i < 10; i++)
        assert_true(next_iv(i & 1 ? a : b, i & 1 ? in_a : in_b, &ivs[i]));
    assert_unique(ivs, 10);
    assert_int_equal(count_until(a, in_a, 100, "pkcs11-gcm-limit"), 0);
    assert_int_equal(count_until(b, in_b, 100, "pkcs11-gcm-limit"), 0);
    EVP_SKEY_free(in_a);
    EVP_SKEY_free(in_b);
    OSSL_LIB_CTX_free(a);
    OSSL_LIB_CTX_free(b);
}

/* Keys whose id and label are the same letters one after the other. */
static void test_gcm_which_key(void **state)
{
    static const char *const names[] = { "id=%61%62;object=gcm", "id=%61;object=bgcm",
                                         "id=%61%62%67;object=cm", "id=%61%62;object=gcn" };
    OSSL_LIB_CTX *libctx = limited(2, "");

    (void)state;
    for (unsigned i = 0; i < COUNT_OF(names); i++) {
        SKEY *key = generate(libctx, names[i]);

        assert_int_equal(count_until(libctx, key, 100, "pkcs11-gcm-limit"), 2);
        EVP_SKEY_free(key);
    }
    OSSL_LIB_CTX_free(libctx);
}

/* Each session key by itself, and none in the folder: no other process has it. */
static void test_gcm_session_keys(void **state)
{
    static unsigned char bytes[32] = "the same bytes";
    const char *dir = folder("session");
    OSSL_LIB_CTX *libctx = kept(3, dir);

    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        SKEY *key = made(EVP_SKEY_import_raw_key(libctx, "AES", bytes, 32, OURS));

        assert_int_equal(count_until(libctx, key, 100, "pkcs11-gcm-limit"), 3);
        EVP_SKEY_free(key);
    }
    assert_int_equal(rmdir(dir), 0);
    OSSL_LIB_CTX_free(libctx);
}

#define THREADS 16
#define SHARED  100000

struct crowd {
    OSSL_LIB_CTX *libctx;
    const char *name;
    pthread_barrier_t start;
    _Atomic size_t count;
    struct iv ivs[SHARED + THREADS];
};

static void *crowd_run(void *arg)
{
    struct crowd *crowd = arg;
    SKEY *key = open_key(crowd->libctx, crowd->name);
    struct iv iv;

    (void)pthread_barrier_wait(&crowd->start);
    while (next_iv(crowd->libctx, key, &iv))
        crowd->ivs[atomic_fetch_add(&crowd->count, 1) % (SHARED + THREADS)] = iv;
    EVP_SKEY_free(key);
    return NULL;
}

static void crowd_check(OSSL_LIB_CTX *libctx, const char *name)
{
    static struct crowd crowd;
    pthread_t threads[THREADS];

    memset(&crowd, 0, sizeof(crowd));
    crowd.libctx = libctx;
    crowd.name = name;
    (void)pthread_barrier_init(&crowd.start, NULL, THREADS);
    EVP_SKEY_free(generate(libctx, name));
    for (unsigned i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, crowd_run, &crowd), 0);
    for (unsigned i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_int_equal(crowd.count, SHARED);
    assert_unique(crowd.ivs, SHARED);
    OSSL_LIB_CTX_free(libctx);
}

static void test_gcm_threads(void **state)
{
    (void)state;
    crowd_check(limited(SHARED, ""), "object=gcm-threads");
}

static void test_gcm_threads_with_file(void **state)
{
    (void)state;
    crowd_check(kept(SHARED, folder("threads")), "object=gcm-threads-file");
}

/* How processes begin together: each says that it is ready, and waits until all are. */
static int ready[2], go[2];

#define READY_FD 100
#define GO_FD    101

/* A process of its own: encrypts until it is refused, and writes the IVs. */
static int worker(const char *name, const char *dir, const char *limit_, const char *out)
{
    OSSL_LIB_CTX *libctx = kept(strtoull(limit_, NULL, 10), dir);
    SKEY *key = open_key(libctx, name);
    FILE *file = fopen(out, "wb");
    char error[1024];
    struct iv iv;

    (void)!write(READY_FD, "r", 1);
    (void)!read(GO_FD, error, 1);
    while (next_iv(libctx, key, &iv))
        (void)fwrite(&iv, sizeof(iv), 1, file);
    last_error(error, sizeof(error));
    (void)fclose(file);
    EVP_SKEY_free(key);
    OSSL_LIB_CTX_free(libctx);
    return strstr(error, "pkcs11-gcm-limit") == NULL;
}

static pid_t worker_start(const char *name, const char *dir, const char *limit_, const char *out)
{
    pid_t child = fork();

    if (child == 0) {
        (void)dup2(ready[1], READY_FD);
        (void)dup2(go[0], GO_FD);
        (void)close(go[1]);
        (void)execl(self, self, "worker", name, dir, limit_, out, (char *)NULL);
        _exit(127);
    }
    return child;
}

#define WORKERS  4
#define TOGETHER 20000

static void test_gcm_processes(void **state)
{
    const char *dir = folder("processes");
    OSSL_LIB_CTX *libctx = kept(TOGETHER, dir);
    SKEY *key = generate(libctx, "object=gcm-processes");
    static struct iv ivs[TOGETHER + 1];
    char out[WORKERS][300];
    pid_t children[WORKERS];
    size_t count = 0;
    char byte;

    (void)state;
    assert_int_equal(pipe(ready) | pipe(go), 0);
    for (unsigned i = 0; i < WORKERS; i++) {
        snprintf(out[i], sizeof(out[i]), "%s.ivs%u", dir, i);
        children[i] = worker_start("object=gcm-processes", dir, "20000", out[i]);
    }
    for (unsigned i = 0; i < WORKERS; i++)
        assert_int_equal(read(ready[0], &byte, 1), 1);
    close(go[1]);
    for (unsigned i = 0; i < WORKERS; i++) {
        int status = 0;
        FILE *file;

        assert_int_equal(waitpid(children[i], &status, 0), children[i]);
        assert_int_equal(status, 0);
        file = fopen(out[i], "rb");
        count += fread(ivs + count, sizeof(*ivs), TOGETHER + 1 - count, file);
        (void)fclose(file);
    }
    assert_int_equal(count, TOGETHER);
    assert_unique(ivs, count);
    assert_int_equal(count_until(libctx, key, 10, "pkcs11-gcm-limit"), 0);
    close(ready[0]);
    close(ready[1]);
    close(go[0]);
    EVP_SKEY_free(key);
    OSSL_LIB_CTX_free(libctx);
}

/* What processes that are killed have used, in memory that they share: more than a block each. */
#define IVS_EACH 7000
#define IVS_MOST 4000000

struct used {
    struct iv iv;
    _Atomic uint32_t whole; /* it was written to its end */
};

struct ledger {
    _Atomic size_t count;
    struct used used[IVS_MOST];
};

/* A number is used from the moment on when it is written there. */
static void use_up(OSSL_LIB_CTX *libctx, SKEY *key, struct ledger *ledger)
{
    EVP_CIPHER *cipher = gcm(libctx);
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    struct iv iv;

    for (unsigned n = 0; n < IVS_EACH; n++) {
        size_t at;

        if (EVP_CipherInit_SKEY(ctx, cipher, key, NULL, 0, 1, NULL) != 1 || !iv_of(ctx, &iv))
            break;
        at = atomic_fetch_add(&ledger->count, 1);
        if (at >= IVS_MOST)
            break;
        ledger->used[at].iv = iv;
        atomic_store(&ledger->used[at].whole, 1);
    }
    for (;;)
        (void)pause();
}

static unsigned kills(void)
{
    const char *text = getenv("BRIDGE_KILLS");

    return text != NULL ? (unsigned)atoi(text) : 1000;
}

static unsigned random_below(unsigned limit_)
{
    static uint32_t x = 2463534242;

    x ^= x << 13;
    x ^= x >> 17;
    x ^= x << 5;
    return x % limit_;
}

/* All that were used, in memory to be freed. */
static struct iv *ledger_ivs(struct ledger *ledger, size_t *count)
{
    size_t most = ledger->count < IVS_MOST ? ledger->count : IVS_MOST;
    struct iv *ivs = malloc((most + 1) * sizeof(*ivs));

    *count = 0;
    for (size_t i = 0; i < most; i++)
        if (atomic_load(&ledger->used[i].whole))
            ivs[(*count)++] = ledger->used[i].iv;
    return ivs;
}

/* Two at a time, each killed after a random while, many of them while they are at the file: its
 * blocks are of one number towards the limit, and of 4,096 far from it. */
static void killed(uint64_t limit_, const char *dir, const char *name, unsigned while_us)
{
    OSSL_LIB_CTX *libctx = kept(limit_, dir);
    SKEY *key = generate(libctx, name);
    struct ledger *ledger = mmap(NULL, sizeof(*ledger), PROT_READ | PROT_WRITE,
                                 MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    pid_t children[2];
    struct iv *ivs;
    size_t count;

    assert_true(ledger != MAP_FAILED);
    for (unsigned i = 0; i < kills() / 4; i++) {
        for (unsigned c = 0; c < 2; c++) {
            children[c] = fork();
            if (children[c] == 0)
                use_up(libctx, key, ledger);
        }
        for (unsigned c = 0; c < 2; c++) {
            int status = 0;

            usleep(random_below(while_us));
            (void)kill(children[c], SIGKILL);
            assert_int_equal(waitpid(children[c], &status, 0), children[c]);
        }
    }
    ivs = ledger_ivs(ledger, &count);
    printf("%u processes killed, %zu IVs\n", kills() / 2, count);
    assert_true(count > 100 && count <= limit_ && ledger->count < IVS_MOST);
    assert_unique(ivs, count);
    free(ivs);
    munmap(ledger, sizeof(*ledger));
    EVP_SKEY_free(key);
    OSSL_LIB_CTX_free(libctx);
}

static void test_gcm_killed(void **state)
{
    (void)state;
    killed(4294967296, folder("killed"), "object=gcm-killed", 2000);
    killed(100000, folder("killed-close"), "object=gcm-killed-close", 400);
}

/* The one file that is in the folder. */
static const char *file_in(const char *dir)
{
    static char path[512];
    char command[400];
    FILE *list;

    snprintf(command, sizeof(command), "ls %s/????????????????*", dir);
    list = popen(command, "r");
    assert_non_null(fgets(path, sizeof(path), list));
    (void)pclose(list);
    path[strcspn(path, "\n")] = '\0';
    return path;
}

static size_t file_get(const char *path, char *text, size_t size)
{
    FILE *file = fopen(path, "rb");
    size_t len = fread(text, 1, size, file);

    (void)fclose(file);
    return len;
}

static void file_put(const char *path, const char *text, size_t len)
{
    FILE *file = fopen(path, "wb");

    assert_int_equal(fwrite(text, 1, len, file), len);
    (void)fclose(file);
}

/* Near the limit each number is a look at the file. */
static void test_gcm_damaged(void **state)
{
    const char *dir = folder("damaged");
    OSSL_LIB_CTX *libctx = kept(60, dir);
    SKEY *key = generate(libctx, "object=gcm-damaged");
    struct sealed sealed;
    struct iv iv;
    char text[512], old[512];
    size_t len, old_len;
    const char *path;

    (void)state;
    seal(libctx, key, &sealed);
    path = file_in(dir);
    old_len = file_get(path, old, sizeof(old));
    assert_true(next_iv(libctx, key, &iv));
    len = file_get(path, text, sizeof(text));
    for (size_t at = 0; at < len; at += 7) {
        text[at] ^= 1;
        file_put(path, text, len);
        assert_int_equal(count_until(libctx, key, 1, "damaged"), 0);
        text[at] ^= 1;
    }
    file_put(path, text, 0);
    assert_int_equal(count_until(libctx, key, 1, "damaged"), 0);
    file_put(path, old, old_len);
    assert_int_equal(count_until(libctx, key, 1, "older"), 0);
    (void)unlink(path);
    assert_int_equal(count_until(libctx, key, 1, "gone"), 0);
    assert_opens(libctx, key, &sealed);
    file_put(path, text, len);
    assert_true(next_iv(libctx, key, &iv));
    EVP_SKEY_free(key);
    OSSL_LIB_CTX_free(libctx);
}

static void fill_up(const char *dir, char path[300])
{
    static const char zeros[4096];
    int fd;

    snprintf(path, 300, "%s/fill", dir);
    fd = open(path, O_WRONLY | O_CREAT, 0600);
    while (write(fd, zeros, sizeof(zeros)) > 0)
        continue;
    close(fd);
}

/* A file system of 64 KiB that goes with its descriptor, whose name is given; or -1. */
static int small_disk(const char *dir, char name[32])
{
    int fd = -1;

    if (mount("none", dir, "tmpfs", 0, "size=64k,mode=700") == 0) {
        fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        (void)umount2(dir, MNT_DETACH);
    }
    snprintf(name, 32, "/proc/self/fd/%d", fd);
    return fd;
}

/* No room: no file, and no encryption; and none the second time, when half a file could be there.
 */
static void test_gcm_full_disk(void **state)
{
    char name[32], fill[300];
    int disk = small_disk(folder("full"), name);
    OSSL_LIB_CTX *libctx;
    SKEY *key;
    struct iv iv;

    (void)state;
    if (disk < 0) {
        printf("no tmpfs can be mounted here: %s\n", strerror(errno));
        skip();
    }
    fill_up(name, fill);
    libctx = kept(60, name);
    key = generate(libctx, "object=gcm-full");
    assert_int_equal(count_until(libctx, key, 1, "No space left"), 0);
    assert_int_equal(count_until(libctx, key, 1, "No space left"), 0);
    (void)unlink(fill);
    assert_true(next_iv(libctx, key, &iv));
    fill_up(name, fill); /* what is there already is written in its place */
    assert_true(next_iv(libctx, key, &iv));
    EVP_SKEY_free(key);
    OSSL_LIB_CTX_free(libctx);
    close(disk);
}

/* Two places would be two numbers. */
static void test_gcm_two_places(void **state)
{
    OSSL_LIB_CTX *a = kept(100, folder("one-place")), *b = kept(100, folder("two-places"));
    OSSL_LIB_CTX *c = limited(100, "");
    SKEY *in_a = generate(a, "object=gcm-places"), *in_b = open_key(b, "object=gcm-places");
    SKEY *in_c = open_key(c, "object=gcm-places");
    struct iv iv;

    (void)state;
    assert_true(next_iv(a, in_a, &iv));
    assert_int_equal(count_until(b, in_b, 1, "counted in another place"), 0);
    assert_int_equal(count_until(c, in_c, 1, "counted in another place"), 0);
    assert_true(next_iv(a, in_a, &iv));
    EVP_SKEY_free(in_a);
    EVP_SKEY_free(in_b);
    EVP_SKEY_free(in_c);
    OSSL_LIB_CTX_free(a);
    OSSL_LIB_CTX_free(b);
    OSSL_LIB_CTX_free(c);
}

static void iv_number(unsigned n, unsigned char iv[IV_LEN])
{
    memset(iv, 0x5c, IV_LEN);
    memcpy(iv + 8, &n, sizeof(n));
}

#define REMEMBERED 4096

static void test_gcm_caller_iv(void **state)
{
    OSSL_LIB_CTX *libctx = limited(20000, "pkcs11-gcm-caller-iv = yes\n"), *other = limited(9, "");
    SKEY *key = generate(libctx, "object=gcm-caller"), *again;
    unsigned char iv[IV_LEN];
    struct iv ours;

    (void)state;
    for (unsigned n = 0; n < REMEMBERED; n++) {
        iv_number(n, iv);
        assert_true(encrypts(libctx, key, iv));
    }
    again = open_key(libctx, "object=gcm-caller");
    for (unsigned n = 0; n < REMEMBERED; n += 63) {
        iv_number(n, iv);
        assert_false(encrypts(libctx, n & 1 ? key : again, iv));
        assert_error("with this IV before");
    }
    assert_true(next_iv(libctx, key, &ours));
    assert_false(encrypts(libctx, key, ours.bytes));
    assert_error("made here");
    iv_number(REMEMBERED, iv); /* the first is forgotten, the second is not */
    assert_true(encrypts(libctx, key, iv));
    iv_number(1, iv);
    assert_false(encrypts(libctx, key, iv));
    assert_error("with this IV before");
    EVP_SKEY_free(again);
    again = open_key(other, "object=gcm-caller");
    assert_false(encrypts(other, again, iv));
    assert_error("pkcs11-gcm-caller-iv");
    assert_false(encrypts(other, again, NULL)); /* the count is that of all */
    assert_error("pkcs11-gcm-limit");
    EVP_SKEY_free(again);
    EVP_SKEY_free(key);
    OSSL_LIB_CTX_free(libctx);
    OSSL_LIB_CTX_free(other);
}

/* A context that has its key from another message, and one whose IV came before the key. */
static void test_gcm_caller_iv_again(void **state)
{
    OSSL_LIB_CTX *libctx = limited(100, "pkcs11-gcm-caller-iv = yes\n");
    SKEY *key = generate(libctx, "object=gcm-caller-again");
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    unsigned char iv[IV_LEN], out[sizeof(message)];
    int n = 0;

    (void)state;
    iv_number(0, iv);
    assert_true(begin(ctx, libctx, key, iv, 1));
    assert_int_equal(EVP_CipherUpdate(ctx, out, &n, message, 16), 1);
    assert_int_equal(EVP_CipherInit_ex(ctx, NULL, NULL, NULL, iv, 1), 1);
    assert_int_not_equal(EVP_CipherUpdate(ctx, out, &n, message, 16), 1);
    assert_error("with this IV before");
    assert_int_not_equal(EVP_CipherUpdate(ctx, out, &n, message, 16), 1);
    EVP_CIPHER_CTX_free(ctx);
    EVP_SKEY_free(key);
    OSSL_LIB_CTX_free(libctx);
}

/* Both sides of a fork go on, in memory that they share: slot 0 and 1 are the parent's. */
static void forked(pid_t (*fork_)(void), OSSL_LIB_CTX *libctx, SKEY *key)
{
    struct iv *ivs = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    unsigned char out[sizeof(message)];
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    int n = 0, status = 0;
    pid_t child;

    do {
        assert_true(begin(ctx, libctx, key, NULL, 1) && iv_of(ctx, &ivs[0]));
        child = fork_();
        if (child == 0) { /* the IV that was made is the parent's; the next is not */
            bool ok = EVP_CipherUpdate(ctx, out, &n, message, 16) != 1;

            _exit(ok && next_iv(libctx, key, &ivs[2]) && next_iv(libctx, key, &ivs[3]) ? 0 : 1);
        }
        assert_int_equal(waitpid(child, &status, 0), child);
    } while (child_proves_nothing(status));
    assert_int_equal(status, 0);
    assert_int_equal(EVP_CipherUpdate(ctx, out, &n, message, 16), 1);
    assert_true(next_iv(libctx, key, &ivs[1]));
    assert_unique(ivs, 4);
    assert_memory_not_equal(ivs[1].bytes, ivs[2].bytes, 4); /* the random field */
    EVP_CIPHER_CTX_free(ctx);
    munmap(ivs, 4096);
}

static void test_gcm_fork(void **state)
{
    pid_t (*bare)(void) = (pid_t(*)(void))dlsym(RTLD_DEFAULT, "_Fork"); /* glibc 2.34 */
    OSSL_LIB_CTX *libctx = limited(1000, ""), *filed = kept(1000000, folder("fork"));
    SKEY *key = generate(libctx, "object=gcm-fork"), *other = generate(filed, "object=gcm-fork2");

    (void)state;
    forked(fork, libctx, key);
    forked(fork, filed, other);
    if (bare != NULL) {
        forked(bare, libctx, key);
        forked(bare, filed, other);
    }
    EVP_SKEY_free(key);
    EVP_SKEY_free(other);
    OSSL_LIB_CTX_free(libctx);
    OSSL_LIB_CTX_free(filed);
}

/* An initialisation that failed leaves no IV, made for another key, to encrypt with. */
static void test_gcm_failed_init(void **state)
{
    OSSL_LIB_CTX *libctx = limited(1000, "");
    SKEY *key = generate(libctx, "object=gcm-one"), *other = generate(libctx, "object=gcm-other");
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    unsigned char iv[IV_LEN] = { 1 }, out[sizeof(message)];
    int n = 0;

    (void)state;
    assert_true(begin(ctx, libctx, key, NULL, 1));
    assert_int_not_equal(EVP_CipherInit_SKEY(ctx, NULL, other, iv, IV_LEN, 1, NULL), 1);
    assert_error("AES-GCM makes its IVs here");
    assert_int_not_equal(EVP_CipherUpdate(ctx, out, &n, message, sizeof(message)), 1);
    assert_error("initialise it again");
    EVP_CIPHER_CTX_free(ctx);
    EVP_SKEY_free(key);
    EVP_SKEY_free(other);
    OSSL_LIB_CTX_free(libctx);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gcm_limit),        cmocka_unit_test(test_gcm_reopened),
        cmocka_unit_test(test_gcm_two_contexts), cmocka_unit_test(test_gcm_which_key),
        cmocka_unit_test(test_gcm_session_keys), cmocka_unit_test(test_gcm_threads),
        cmocka_unit_test(test_gcm_processes),    cmocka_unit_test(test_gcm_threads_with_file),
        cmocka_unit_test(test_gcm_killed),       cmocka_unit_test(test_gcm_damaged),
        cmocka_unit_test(test_gcm_full_disk),    cmocka_unit_test(test_gcm_two_places),
        cmocka_unit_test(test_gcm_caller_iv),    cmocka_unit_test(test_gcm_caller_iv_again),
        cmocka_unit_test(test_gcm_fork),         cmocka_unit_test(test_gcm_failed_init),
    };

    self = argv[0];
    if (!skey_functions()) {
        puts("this libcrypto does not know EVP_SKEY");
        return SKIPPED;
    }
    if (argc == 6 && strcmp(argv[1], "worker") == 0)
        return worker(argv[2], argv[3], argv[4], argv[5]);
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
