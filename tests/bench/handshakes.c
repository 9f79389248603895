/* TLS 1.3 handshakes per second with a server: each of CLIENTS threads connects, shakes hands
 * without resumption, and closes.
 *
 *     handshakes PORT CLIENTS SECONDS
 *
 * Prints handshakes per second and how many failed. */
#include <arpa/inet.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <openssl/ssl.h>

static struct sockaddr_in address = { .sin_family = AF_INET };
static SSL_CTX *tls;
static atomic_ulong done, failed;
static atomic_bool stop;

static double now(void)
{
    struct timespec time;

    (void)clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static bool handshake(void)
{
    const struct linger at_once = { 1, 0 }; /* no connections in TIME_WAIT */
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    SSL *ssl = SSL_new(tls);
    bool ok = connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0 &&
              SSL_set_fd(ssl, fd) == 1 && SSL_connect(ssl) == 1;

    SSL_free(ssl);
    (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
    (void)close(fd);
    return ok;
}

static void *client(void *arg)
{
    (void)arg;
    while (!atomic_load(&stop)) {
        bool ok = handshake();

        atomic_fetch_add(ok ? &done : &failed, 1);
    }
    return NULL;
}

int main(int argc, char **argv)
{
    int clients = argc == 4 ? atoi(argv[2]) : 0;
    pthread_t threads[256];
    double start, length;
    unsigned long before;

    if (clients < 1 || clients > 256) {
        (void)fprintf(stderr, "usage: handshakes PORT CLIENTS SECONDS\n");
        return 2;
    }
    address.sin_port = htons((unsigned short)atoi(argv[1]));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    tls = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_min_proto_version(tls, TLS1_3_VERSION);
    SSL_CTX_set1_groups_list(tls, "X25519:P-256");
    SSL_CTX_set_session_cache_mode(tls, SSL_SESS_CACHE_OFF);
    for (int n = 0; n < clients; n++)
        pthread_create(&threads[n], NULL, client, NULL);
    (void)nanosleep(&(struct timespec){ 0, 500000000 }, NULL); /* the first ones open sessions */
    before = atomic_load(&done);
    start = now();
    while (now() < start + atof(argv[3]))
        (void)nanosleep(&(struct timespec){ 0, 10000000 }, NULL);
    length = now() - start;
    printf("%.1f\t%lu\n", (double)(atomic_load(&done) - before) / length, atomic_load(&failed));
    atomic_store(&stop, true);
    for (int n = 0; n < clients; n++)
        pthread_join(threads[n], NULL);
    return 0;
}
