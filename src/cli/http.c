#include "cli/http.h"

#include "cli/say.h"

#ifdef BRIDGE_HTTP
#include <errno.h>
#include <netdb.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <microhttpd.h>

#include <openssl/crypto.h>

#define TIMEOUT_S        10
#define CONNECTIONS_MOST 64

struct served {
    char *(*page)(const void *arg);
    const void *arg;
};

static enum MHD_Result answer(struct MHD_Connection *connection, unsigned status, char *text)
{
    static char none[] = "";
    struct MHD_Response *response = MHD_create_response_from_buffer(
        strlen(text != NULL ? text : none), text != NULL ? text : none,
        text != NULL ? MHD_RESPMEM_MUST_FREE : MHD_RESPMEM_PERSISTENT);
    enum MHD_Result queued;

    if (response == NULL) {
        free(text);
        return MHD_NO;
    }
    (void)MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE,
                                  "application/openmetrics-text; version=1.0.0; charset=utf-8");
    queued = MHD_queue_response(connection, status, response);
    MHD_destroy_response(response);
    return queued;
}

static enum MHD_Result respond(void *arg, struct MHD_Connection *connection, const char *url,
                               const char *method, const char *version, const char *data,
                               size_t *size, void **state)
{
    const struct served *served = arg;
    char *text;

    (void)version;
    (void)data;
    (void)size;
    (void)state;
    if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 && strcmp(method, MHD_HTTP_METHOD_HEAD) != 0)
        return answer(connection, MHD_HTTP_METHOD_NOT_ALLOWED, NULL);
    if (strcmp(url, "/metrics") != 0)
        return answer(connection, MHD_HTTP_NOT_FOUND, NULL);
    text = served->page(served->arg);
    return answer(connection, text != NULL ? MHD_HTTP_OK : MHD_HTTP_INTERNAL_SERVER_ERROR, text);
}

/* "[::1]:80", "127.0.0.1:80", "80"; host and port into text (size bytes), which they point to. */
static bool split(const char *address, char *text, size_t size, const char **host,
                  const char **port)
{
    char *colon;

    if (strlen(address) >= size)
        return false;
    (void)OPENSSL_strlcpy(text, address, size);
    colon = strrchr(text, ':');
    *host = "127.0.0.1";
    *port = text;
    if (colon == NULL)
        return true;
    *colon = '\0';
    *port = colon + 1;
    *host = text;
    if (text[0] == '[' && colon > text && colon[-1] == ']') {
        colon[-1] = '\0';
        *host = text + 1;
    }
    return true;
}

/* getaddrinfo(3) takes 99999 for another. */
static bool is_port(const char *text)
{
    char *end = NULL;

    return text[0] >= '0' && text[0] <= '9' && strtoul(text, &end, 10) <= UINT16_MAX &&
           *end == '\0';
}

static struct addrinfo *resolve(const char *address)
{
    const struct addrinfo hints = { .ai_socktype = SOCK_STREAM,
                                    .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE };
    struct addrinfo *found = NULL;
    const char *host, *port;
    char text[128];

    if (split(address, text, sizeof(text), &host, &port) && is_port(port) &&
        getaddrinfo(host, port, &hints, &found) == 0)
        return found;
    complain("--listen %s: it takes a port, or an address and a port (127.0.0.1:9464, "
             "[::1]:9464)",
             address);
    return NULL;
}

static struct MHD_Daemon *start(const struct addrinfo *at, struct served *served)
{
    unsigned flags = MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_AUTO |
                     (at->ai_family == AF_INET6 ? MHD_USE_IPv6 : 0);

    return MHD_start_daemon(flags, 0, NULL, NULL, respond, served, MHD_OPTION_SOCK_ADDR,
                            at->ai_addr, MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)TIMEOUT_S,
                            MHD_OPTION_CONNECTION_LIMIT, (unsigned)CONNECTIONS_MOST,
                            MHD_OPTION_END);
}

enum status http_serve(const char *address, char *(*page)(const void *arg), const void *arg)
{
    struct served served = { page, arg };
    struct addrinfo *at = resolve(address);
    struct MHD_Daemon *daemon;
    sigset_t stop;
    int signal;

    if (at == NULL)
        return STATUS_USAGE;
    (void)sigemptyset(&stop); /* before there is a thread that could get them */
    (void)sigaddset(&stop, SIGTERM);
    (void)sigaddset(&stop, SIGINT);
    (void)pthread_sigmask(SIG_BLOCK, &stop, NULL);
    daemon = start(at, &served);
    freeaddrinfo(at);
    if (daemon == NULL) {
        complain("cannot listen on %s: %s", address, strerror(errno));
        return STATUS_FAILED;
    }
    complain("serving /metrics on port %u",
             (unsigned)MHD_get_daemon_info(daemon, MHD_DAEMON_INFO_BIND_PORT)->port);
    (void)sigwait(&stop, &signal);
    MHD_stop_daemon(daemon);
    return STATUS_DONE;
}

#else
enum status http_serve(const char *address, char *(*page)(const void *arg), const void *arg)
{
    (void)page;
    (void)arg;
    complain("--listen %s: this command was built without libmicrohttpd; --textfile does without",
             address);
    return STATUS_FAILED;
}
#endif
