/* One page by HTTP/1.1, for Prometheus: libmicrohttpd's, where the command was built with it. */
#ifndef BRIDGE_CLI_HTTP_H
#define BRIDGE_CLI_HTTP_H

#include "cli/cli.h"

/* Serves what page gives for arg, for free(3), at /metrics until SIGTERM or SIGINT; NULL is an
 * error 500. address: a port, of 127.0.0.1, or ADDRESS:PORT with a numeric address, of IPv6 in
 * brackets. The port 0 is any that is free; which one is told. */
enum status http_serve(const char *address, char *(*page)(const void *arg), const void *arg);

#endif
