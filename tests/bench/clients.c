/* New TLS connections to several servers for a long time, each failure told.
 *
 *     clients CLIENTS PAUSE-MS NAME=PORT...
 *
 * Each of CLIENTS threads connects to a server on 127.0.0.1, with EC or RSA and TLS 1.2 or 1.3 as
 * chance has it, shakes hands without resumption, asks for /, reads the answer, hangs up, and
 * pauses. SIGTERM ends it. Prints, divided by tabs, for each connection that fails
 *
 *     failed BEGIN END SERVER KEY VERSION PORT KIND
 *
 * (times in seconds since 1970; PORT: the client's own, 0 before there was a connection), and every
 * second and at the end for each server and type of key, since the start,
 *
 *     done SERVER KEY COUNT LONGEST-MS */
#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

#define CLIENTS_MOST    64
#define SERVERS_MOST    8
#define TIMEOUT_SECONDS 20
#define AFTER_FAILURE   50 /* ms */

static const struct {
    const char *name, *sigalgs;
} key_types[] = {
    { "EC", "ECDSA+SHA256" },
    { "RSA", "rsa_pss_rsae_sha256:RSA+SHA256" },
};
static const struct {
    const char *name;
    int number;
} versions[] = { { "TLS 1.2", TLS1_2_VERSION }, { "TLS 1.3", TLS1_3_VERSION } };

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static struct server {
    char *name;
    struct sockaddr_in address;
    struct {
        unsigned long done;
        double longest;
    } keys[COUNT(key_types)];
} servers[SERVERS_MOST];
static unsigned server_count;
static SSL_CTX *contexts[COUNT(key_types)][COUNT(versions)];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* over the servers' numbers */
static long pause_ms;
static atomic_bool stop;

static double now(void)
{
    struct timespec time;

    (void)clock_gettime(CLOCK_REALTIME, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void wait_ms(long ms)
{
    (void)nanosleep(&(struct timespec){ ms / 1000, ms % 1000 * 1000000 }, NULL);
}

struct attempt {
    struct server *server;
    unsigned key, version;
    double begin;
    int fd;
    unsigned port;
};

static unsigned own_port(int fd)
{
    struct sockaddr_in address;
    socklen_t len = sizeof(address);

    return getsockname(fd, (struct sockaddr *)&address, &len) == 0 ? ntohs(address.sin_port) : 0;
}

static bool open_connection(struct attempt *attempt)
{
    const struct linger at_once = { 1, 0 }; /* no connections in TIME_WAIT */
    const struct timeval most = { TIMEOUT_SECONDS, 0 };

    attempt->fd = socket(AF_INET, SOCK_STREAM, 0);
    (void)setsockopt(attempt->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
    (void)setsockopt(attempt->fd, SOL_SOCKET, SO_RCVTIMEO, &most, sizeof(most));
    (void)setsockopt(attempt->fd, SOL_SOCKET, SO_SNDTIMEO, &most, sizeof(most));
    if (connect(attempt->fd, (const struct sockaddr *)&attempt->server->address,
                sizeof(attempt->server->address)) != 0)
        return false;
    attempt->port = own_port(attempt->fd);
    return true;
}

/* Why ssl's last call failed. */
static const char *kind(SSL *ssl, int rv)
{
    int saved = errno;
    const char *reason = ERR_reason_error_string(ERR_peek_last_error());

    switch (SSL_get_error(ssl, rv)) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
        return "timed out";
    case SSL_ERROR_SYSCALL:
        return saved != 0 ? strerror(saved) : "closed";
    default:
        return reason != NULL ? reason : "closed";
    }
}

/* NULL, or why it failed. */
static const char *talk(const struct attempt *attempt)
{
    static const char request[] = "GET / HTTP/1.0\r\nHost: localhost\r\n\r\n";
    SSL *ssl = SSL_new(contexts[attempt->key][attempt->version]);
    const char *why = NULL;
    char answer[1024];
    int rv = 0;

    ERR_clear_error();
    errno = 0;
    (void)SSL_set_tlsext_host_name(ssl, "localhost");
    if (SSL_set_fd(ssl, attempt->fd) != 1 || (rv = SSL_connect(ssl)) <= 0 ||
        (rv = SSL_write(ssl, request, sizeof(request) - 1)) <= 0 ||
        (rv = SSL_read(ssl, answer, sizeof(answer))) <= 0)
        why = kind(ssl, rv);
    else if (rv < 12 || memcmp(answer + 9, "200", 3) != 0)
        why = "not the answer";
    SSL_free(ssl);
    return why;
}

static void note_success(const struct attempt *attempt)
{
    double took = now() - attempt->begin;

    (void)pthread_mutex_lock(&lock);
    attempt->server->keys[attempt->key].done++;
    if (took > attempt->server->keys[attempt->key].longest)
        attempt->server->keys[attempt->key].longest = took;
    (void)pthread_mutex_unlock(&lock);
}

static bool connect_once(unsigned *seed)
{
    struct attempt attempt = { .server = &servers[(unsigned)rand_r(seed) % server_count],
                               .key = (unsigned)rand_r(seed) % COUNT(key_types),
                               .version = (unsigned)rand_r(seed) % COUNT(versions),
                               .begin = now() };
    const char *why = open_connection(&attempt) ? talk(&attempt) : strerror(errno);

    (void)close(attempt.fd);
    if (why == NULL)
        note_success(&attempt);
    else
        printf("failed\t%.6f\t%.6f\t%s\t%s\t%s\t%u\t%s\n", attempt.begin, now(),
               attempt.server->name, key_types[attempt.key].name, versions[attempt.version].name,
               attempt.port, why);
    return why == NULL;
}

static void *client(void *arg)
{
    unsigned seed = *(unsigned *)arg;

    while (!atomic_load(&stop))
        wait_ms(connect_once(&seed) ? pause_ms : AFTER_FAILURE);
    return NULL;
}

static void print_counts(void)
{
    (void)pthread_mutex_lock(&lock);
    for (unsigned s = 0; s < server_count; s++)
        for (unsigned k = 0; k < COUNT(key_types); k++)
            printf("done\t%s\t%s\t%lu\t%.1f\n", servers[s].name, key_types[k].name,
                   servers[s].keys[k].done, servers[s].keys[k].longest * 1e3);
    (void)pthread_mutex_unlock(&lock);
}

static void make_contexts(void)
{
    for (unsigned k = 0; k < COUNT(key_types); k++)
        for (unsigned v = 0; v < COUNT(versions); v++) {
            SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());

            SSL_CTX_set_min_proto_version(ctx, versions[v].number);
            SSL_CTX_set_max_proto_version(ctx, versions[v].number);
            SSL_CTX_set1_sigalgs_list(ctx, key_types[k].sigalgs);
            SSL_CTX_set1_groups_list(ctx, "X25519:P-256");
            SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
            contexts[k][v] = ctx;
        }
}

static void add_server(char *name_and_port)
{
    struct server *server = &servers[server_count++];
    char *port = strchr(name_and_port, '=');

    *port++ = '\0';
    server->name = name_and_port;
    server->address.sin_family = AF_INET;
    server->address.sin_port = htons((unsigned short)atoi(port));
    server->address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
}

static void begin_stop(int number)
{
    (void)number;
    atomic_store(&stop, true);
}

int main(int argc, char **argv)
{
    unsigned clients = argc > 3 ? (unsigned)atoi(argv[1]) : 0, seeds[CLIENTS_MOST];
    pthread_t threads[CLIENTS_MOST];

    if (clients < 1 || clients > CLIENTS_MOST || argc - 3 > SERVERS_MOST) {
        (void)fprintf(stderr, "usage: clients CLIENTS PAUSE-MS NAME=PORT...\n");
        return 2;
    }
    pause_ms = atol(argv[2]);
    for (int n = 3; n < argc; n++)
        add_server(argv[n]);
    make_contexts();
    (void)setvbuf(stdout, NULL, _IOLBF, 0);
    (void)signal(SIGPIPE, SIG_IGN);
    (void)signal(SIGTERM, begin_stop);
    for (unsigned n = 0; n < clients; n++) {
        seeds[n] = n;
        (void)pthread_create(&threads[n], NULL, client, &seeds[n]);
    }
    while (!atomic_load(&stop)) {
        wait_ms(1000);
        print_counts();
    }
    for (unsigned n = 0; n < clients; n++)
        (void)pthread_join(threads[n], NULL);
    print_counts();
    return 0;
}
