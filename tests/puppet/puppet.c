/* puppet CONFIGURATION: uses the provider as its standard input says, a line for each step, and
 * answers each with a line, so that a test can look at the process in between.
 *
 *   secure        whether the kernel says AT_SECURE: "yes", "no"
 *   uri FILE      opens the private key of the URI that is in FILE
 *   pem FILE      reads the private key from a PEM file, with PEM_read_bio_PrivateKey_ex
 *   file FILE     the same through OSSL_STORE, which opens the file itself
 *   ask FILE      the same as uri, with a passphrase callback that says what is in PUPPET_PIN
 *   sign decrypt  with the key that was opened last
 *   fork          makes a child that signs and then waits: its process id
 *   heir          makes one that unloads the provider, with what its parent did, and then waits
 *   pid           its own
 *   free          lets go of the keys
 *   unload        and of the provider
 *
 * What it reads itself, and may be secret, is in memory that no core dump has. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/store.h>
#include <openssl/ui.h>

#define TEXT_MAX 4096
#define KEYS_MAX 16

static OSSL_LIB_CTX *libctx;
static EVP_PKEY *keys[KEYS_MAX];
static int count;
static pid_t child;
static char *hidden; /* TEXT_MAX bytes that are in no core dump */

/* The first line of the file. */
static const char *read_hidden(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = fd >= 0 ? read(fd, hidden, TEXT_MAX - 1) : -1;

    if (fd >= 0)
        (void)close(fd);
    hidden[got > 0 ? got : 0] = '\0';
    hidden[strcspn(hidden, "\n")] = '\0';
    return hidden;
}

static int keep(EVP_PKEY *key)
{
    if (key == NULL || count == KEYS_MAX)
        return 0;
    keys[count++] = key;
    return 1;
}

static int answer_pin(char *buf, int size, int writing, void *arg)
{
    int fd = open(arg, O_RDONLY | O_CLOEXEC);
    ssize_t got = fd >= 0 ? read(fd, buf, (size_t)size) : -1;

    (void)writing;
    if (fd >= 0)
        (void)close(fd);
    return got > 0 && buf[got - 1] == '\n' ? (int)got - 1 : (int)got;
}

static int open_store(const char *uri, UI_METHOD *method, void *arg)
{
    OSSL_STORE_CTX *store = OSSL_STORE_open_ex(uri, libctx, NULL, method, arg, NULL, NULL, NULL);
    OSSL_STORE_INFO *info = NULL;
    EVP_PKEY *key = NULL;

    if (store != NULL && OSSL_STORE_expect(store, OSSL_STORE_INFO_PKEY) == 1)
        info = OSSL_STORE_load(store);
    if (info != NULL)
        key = OSSL_STORE_INFO_get1_PKEY(info);
    OSSL_STORE_INFO_free(info);
    OSSL_STORE_close(store);
    return keep(key);
}

static int do_uri(const char *file)
{
    int ok = open_store(read_hidden(file), NULL, NULL);

    OPENSSL_cleanse(hidden, TEXT_MAX);
    return ok;
}

static int do_ask(const char *file)
{
    UI_METHOD *method = UI_UTIL_wrap_read_pem_callback(answer_pin, 0);
    int ok = open_store(read_hidden(file), method, getenv("PUPPET_PIN"));

    UI_destroy_method(method);
    return ok;
}

static int do_file(const char *file)
{
    return open_store(file, NULL, NULL);
}

/* The C library's buffer, which the program owns: nobody wipes it by himself. */
static int do_pem(const char *file)
{
    FILE *stream = fopen(file, "re");
    BIO *bio = stream != NULL && setvbuf(stream, hidden, _IOFBF, TEXT_MAX) == 0
                   ? BIO_new_fp(stream, BIO_CLOSE)
                   : NULL;
    int ok = bio != NULL && keep(PEM_read_bio_PrivateKey_ex(bio, NULL, NULL, NULL, libctx, NULL));

    BIO_free(bio);
    OPENSSL_cleanse(hidden, TEXT_MAX);
    return ok;
}

static int do_sign(const char *none)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    unsigned char sig[1024];
    size_t len = sizeof(sig);
    int ok = count > 0 &&
             EVP_DigestSignInit_ex(ctx, NULL, "SHA256", libctx, NULL, keys[count - 1], NULL) == 1 &&
             EVP_DigestSign(ctx, sig, &len, (const unsigned char *)"message", 7) == 1;

    (void)none;
    EVP_MD_CTX_free(ctx);
    return ok;
}

static int do_decrypt(const char *none)
{
    EVP_PKEY *key = count > 0 ? keys[count - 1] : NULL;
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(libctx, key, NULL);
    unsigned char in[512] = { 0 }, out[512];
    size_t len = sizeof(out);
    int ok = ctx != NULL && EVP_PKEY_decrypt_init(ctx) == 1 &&
             EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_NO_PADDING) == 1 &&
             EVP_PKEY_decrypt(ctx, out, &len, in, (size_t)EVP_PKEY_get_size(key)) == 1;

    (void)none;
    EVP_PKEY_CTX_free(ctx);
    return ok;
}

static int do_free(const char *none)
{
    (void)none;
    while (count > 0)
        EVP_PKEY_free(keys[--count]);
    return 1;
}

static int do_unload(const char *none)
{
    (void)do_free(none);
    OSSL_LIB_CTX_free(libctx);
    libctx = NULL;
    return 1;
}

/* The child says by the pipe that it has done it. */
static void wait_in_child(int pipe_end, int (*work)(const char *))
{
    char done = work(NULL) ? '1' : '0';

    (void)!write(pipe_end, &done, 1);
    for (;;)
        (void)pause();
}

static int fork_to(int (*work)(const char *))
{
    int ends[2];
    char done = '0';

    if (pipe(ends) != 0)
        return 0;
    child = fork();
    if (child == 0)
        wait_in_child(ends[1], work);
    (void)close(ends[1]);
    (void)!read(ends[0], &done, 1);
    (void)close(ends[0]);
    return done == '1';
}

static int do_fork(const char *none)
{
    (void)none;
    return fork_to(do_sign);
}

static int do_heir(const char *none)
{
    (void)none;
    return fork_to(do_unload);
}

static int do_pid(const char *none)
{
    (void)none;
    printf("%d ", (int)getpid());
    return 1;
}

static int do_secure(const char *none)
{
    (void)none;
    return getauxval(AT_SECURE) != 0;
}

static const struct {
    const char *word;
    int (*run)(const char *file);
} steps[] = {
    { "secure", do_secure }, { "uri", do_uri },   { "ask", do_ask },         { "file", do_file },
    { "pem", do_pem },       { "sign", do_sign }, { "fork", do_fork },       { "free", do_free },
    { "unload", do_unload }, { "pid", do_pid },   { "decrypt", do_decrypt }, { "heir", do_heir },
};

static int step(const char *word, const char *file)
{
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++)
        if (strcmp(steps[i].word, word) == 0)
            return steps[i].run(file);
    return 0;
}

/* Of the errors, those that have a text. */
static void print_answer(const char *word, int ok)
{
    const char *data;
    int flags;

    printf("%s: %s", word, ok ? "yes" : "no");
    while (ERR_get_error_all(NULL, NULL, NULL, &data, &flags) != 0)
        if (!ok && (flags & ERR_TXT_STRING) != 0 && data[0] != '\0')
            printf("; %s", data);
    if (child > 0 && (strcmp(word, "fork") == 0 || strcmp(word, "heir") == 0))
        printf(" %d", (int)child);
    printf("\n");
    (void)fflush(stdout);
}

int main(int argc, char **argv)
{
    char line[TEXT_MAX];

    (void)prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY);
    hidden = mmap(NULL, TEXT_MAX, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    libctx = OSSL_LIB_CTX_new();
    if (argc != 2 || hidden == MAP_FAILED || madvise(hidden, TEXT_MAX, MADV_DONTDUMP) != 0 ||
        OSSL_LIB_CTX_load_config(libctx, argv[1]) != 1) {
        ERR_print_errors_fp(stderr);
        return 2;
    }
    while (fgets(line, sizeof(line), stdin) != NULL) {
        char *word = strtok(line, " \n"), *file = strtok(NULL, "\n");

        if (word != NULL)
            print_answer(word, step(word, file));
    }
    if (child > 0)
        (void)kill(child, SIGKILL);
    return 0;
}
