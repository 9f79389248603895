/* What to write in the configuration of the server that was named: docs/applications.md, where its
 * version was tried. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/scope.h"
#include "cli/doctor.h"
#include "cli/say.h"

struct server {
    const char *name;
    const char *version;  /* a command for a shell, that says it behind a slash or a blank */
    unsigned least[3];    /* the first that was seen to take a URI; 0: none does */
    const char *uri_line; /* of its configuration, with a URI for %s */
    const char *pem_line; /* the same with a file */
};

#define VERSION(command) "PATH=$PATH:/usr/sbin:/usr/local/sbin " command " 2>&1"

static const struct server servers[] = {
    { "apache",
      VERSION("apache2 -v || httpd -v"),
      { 2, 4, 0 },
      "SSLCertificateKeyFile \"%s\"",
      "SSLCertificateKeyFile \"%s\"" },
    { "dovecot",
      VERSION("dovecot --version"),
      { 0 },
      NULL,
      "ssl_key = <%s (from 2.4 on: ssl_server_key_file = the same without <)" },
    { "haproxy",
      VERSION("haproxy -v"),
      { 0 },
      NULL,
      "crt /path/of/certificate.pem, and the key beside it: mv '%s' /path/of/certificate.pem.key" },
    { "lighttpd",
      VERSION("lighttpd -v"),
      { 1, 4, 85 },
      "ssl.privkey = \"%s\"",
      "ssl.privkey = \"%s\"" },
    { "nginx",
      VERSION("nginx -v"),
      { 1, 30, 0 },
      "ssl_certificate_key \"store:%s\";",
      "ssl_certificate_key %s;" },
    { "postfix", VERSION("postconf mail_version"), { 0 }, NULL, "smtpd_tls_key_file = %s" },
    { "stunnel",
      VERSION("stunnel4 -version || stunnel -version"),
      { 5, 82, 0 },
      "key = %s",
      "key = %s" },
};

static const struct server *find(const char *name)
{
    for (size_t i = 0; i < COUNT(servers); i++)
        if (strcmp(servers[i].name, name) == 0)
            return &servers[i];
    return NULL;
}

bool doctor_knows_server(const char *name)
{
    if (find(name) != NULL)
        return true;
    complain("--server %s: known are apache, dovecot, haproxy, lighttpd, nginx, postfix, stunnel",
             name);
    return false;
}

/* The first numbers with dots between them in what its command says. */
static bool read_version(const char *line, unsigned version[3])
{
    for (const char *c = line; *c != '\0'; c++) {
        version[2] = 0;
        if (*c >= '0' && *c <= '9' &&
            sscanf(c, "%u.%u.%u", &version[0], &version[1], &version[2]) >= 2)
            return true;
        while (*c >= '0' && *c <= '9' && c[1] != '\0')
            c++;
    }
    return false;
}

static bool ask_version(const struct server *server, unsigned version[3])
{
    char line[256];
    FILE *pipe = popen(server->version, "re");
    bool known = false;

    while (pipe != NULL && !known && fgets(line, sizeof(line), pipe) != NULL)
        known = strstr(line, "not found") == NULL && read_version(line, version);
    while (pipe != NULL && fgets(line, sizeof(line), pipe) != NULL)
        ; /* all of it, so that it ends as it would */
    if (pipe != NULL)
        (void)pclose(pipe);
    return known;
}

static bool takes_uri(const struct server *server, const unsigned version[3])
{
    for (size_t i = 0; i < COUNT(server->least); i++)
        if (version[i] != server->least[i])
            return server->least[0] != 0 && version[i] > server->least[i];
    return true;
}

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
static void write_line(const char *format, const char *value, char *out, size_t size)
{
    (void)snprintf(out, size, format, value);
}
#pragma GCC diagnostic pop

bool doctor_server(struct doctor *doctor)
{
    const struct server *server = doctor->server != NULL ? find(doctor->server) : NULL;
    unsigned version[3] = { 0, 0, 0 };
    char line[2048], file[512];
    bool there;

    if (server == NULL || doctor->key == NULL)
        return true;
    there = ask_version(server, version);
    (void)snprintf(file, sizeof(file), "/etc/ssl/private/%s.key", server->name);
    if (there && takes_uri(server, version)) {
        found(doctor, WELL, "server", "%s %u.%u.%u takes a URI in the place of a key's file",
              server->name, version[0], version[1], version[2]);
        write_line(server->uri_line, doctor->key, line, sizeof(line));
    } else {
        found(doctor, there ? WELL : NOTED, "server", "%s %s, and gets the URI in a PEM file",
              server->name,
              !there                  ? "is not installed here"
              : server->least[0] != 0 ? "takes a URI in later versions only"
                                      : "reads keys from files only");
        advise_run(doctor, "pkcs11-bridge pem '%s' --out %s", doctor->key, file);
        write_line(server->pem_line, file, line, sizeof(line));
    }
    advise(doctor, "in its configuration: %s", line);
    return true;
}
