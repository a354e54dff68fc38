/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/*
 * host:port for tcp and udp.
 *
 * Host: a name, an IPv4 address, an IPv6 address in brackets (with %scope, written %25scope in an address), or nothing where one
 * listens: every interface. Port: a number or a name of the services file; 0 where one listens: a free one.
 *
 * Looking up. getaddrinfo blocks as long as the resolver does and no deadline can interrupt it (the manual says so); addresses in digits
 * ask nobody. AI_ADDRCONFIG is not used: it hides ::1 and 127.0.0.1 on a machine that has only a loopback interface,
 * and a family that this machine cannot reach fails at once anyway.
 *
 * Every interface is one IPv6 socket that takes IPv4 too (IPV6_V6ONLY off, whatever the sysctl says); family=4, family=6 and
 * machines without IPv6 get one of the single kinds.
 */
#include "transport/inet.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/memory.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { HOST_CAP = 256, PORT_CAP = 64 };

struct place {
        char host[HOST_CAP]; /* without brackets; "": every interface */
        char port[PORT_CAP];
        bool digits;  /* the port */
        bool literal; /* the host is an IPv6 address in brackets */
};

/* --- reading --- */

static bool is_digits(const char *text) {
        return *text && strspn(text, "0123456789") == strlen(text);
}

/* What is wrong with @host, a literal: its position in *@atp. */
static const char *check_literal(const char *host, size_t *atp) {
        char plain[HOST_CAP];
        struct in6_addr parsed;
        size_t len = strcspn(host, "%");

        *atp = 1;
        memcpy(plain, host, len);
        plain[len] = '\0';
        return inet_pton(AF_INET6, plain, &parsed) == 1 ? NULL : "that is no IPv6 address";
}

static const char *check_port(const struct place *place) {
        if (!place->port[0])
                return "the port is missing: a number or a service's name";
        if (place->digits)
                return strlen(place->port) <= 5 && strtol(place->port, NULL, 10) <= 65535
                               ? NULL
                               : "a port is at most 65535";
        for (const char *p = place->port; *p; p++)
                if (!isascii(*p) || (!isalnum((unsigned char)*p) && !strchr("-_.+/", *p)))
                        return "the port is neither a number nor a service's name";
        return NULL;
}

/* Splits @text; returns what is wrong with it (*@atp: where), or NULL. */
static const char *read_place(struct place *place, const char *text, size_t *atp) {
        const char *host = text, *end, *port, *why;

        *place = (struct place){0};
        *atp = 0;
        if (*text == '[') {
                host = text + 1;
                end = strchr(host, ']');
                if (!end)
                        return "the ] after the IPv6 address is missing";
                place->literal = true;
                port = end + 1;
                if (*port && *port != ':') {
                        *atp = (size_t)(port - text);
                        return "after ] comes :port";
                }
        } else {
                end = strrchr(text, ':');
                if (end && memchr(text, ':', (size_t)(end - text)))
                        return "an IPv6 address stands in brackets: [::1]:port";
                if (!end)
                        end = text + strlen(text);
                port = end;
        }
        if (!*port) {
                *atp = (size_t)(port - text);
                return "the port is missing: host:port";
        }
        if ((size_t)(end - host) >= HOST_CAP) {
                *atp = (size_t)(host - text) + HOST_CAP - 1;
                return "a host's name has at most 255 bytes";
        }
        memcpy(place->host, host, (size_t)(end - host));
        if (place->literal) {
                why = check_literal(place->host, atp);
                if (why)
                        return why;
        }
        *atp = (size_t)(++port - text);
        if (strlen(port) >= PORT_CAP)
                return "a service's name has at most 63 bytes";
        memcpy(place->port, port, strlen(port) + 1);
        place->digits = is_digits(place->port);
        return check_port(place);
}

int cfb_inet_check(const struct cfb_address *address) {
        struct place place;
        const char *why;
        size_t at;

        if (!address->rest[0])
                return cfb_address_refuse(address, 0, "host:port is missing");
        why = read_place(&place, address->rest, &at);
        if (why)
                return cfb_address_refuse(address, at, why);
        if (!address->from)
                return 0;
        why = read_place(&place, address->from, &at);
        return why ? cfb_socket_refused(-EINVAL, "from=", address->text, why) : 0;
}

int cfb_inet_check_open(const struct cfb_address *address) {
        struct place place;
        size_t at;

        read_place(&place, address->rest, &at);
        if (!place.host[0])
                return cfb_address_refuse(
                        address, 0, "the host is missing: without one an address can only be listened on");
        if (place.digits && strtol(place.port, NULL, 10) == 0)
                return cfb_address_refuse(address, at, "port 0 can only be listened on");
        return 0;
}

/* --- looking up --- */

static const struct {
        int code, error;
        const char *means;
} look_ups[] = {
        {EAI_NONAME, -ENOENT, "no host of that name is known"},
#ifdef EAI_NODATA /* musl lacks these two */
        {EAI_NODATA, -ENOENT, "that host has no address of the family asked for"},
#endif
#ifdef EAI_ADDRFAMILY
        {EAI_ADDRFAMILY, -ENOENT, "that host has no address of the family asked for"},
#endif
        {EAI_FAMILY, -EAFNOSUPPORT, "this machine does not have that kind of address"},
        {EAI_SERVICE, -EINVAL, "no service of that name is in /etc/services"},
        {EAI_AGAIN, -EHOSTUNREACH, "the name server does not answer; try again, or see /etc/resolv.conf"},
        {EAI_FAIL, -EHOSTUNREACH, "the name server failed for good; see /etc/resolv.conf"},
        {EAI_MEMORY, -ENOMEM, "no memory"},
};

static int failed_look_up(int code, const struct confab_endpoint *endpoint) {
        if (code == EAI_SYSTEM)
                return cfb_socket_failed(errno ? -errno : -EIO, "getaddrinfo", endpoint);
        for (size_t i = 0; i < CFB_ARRAY_LEN(look_ups); i++)
                if (look_ups[i].code == code)
                        return cfb_socket_refused(look_ups[i].error, "looking the host up",
                                                  confab_address(endpoint), look_ups[i].means);
        return cfb_socket_refused(-EINVAL, "looking the host up", confab_address(endpoint),
                                  gai_strerror(code));
}

int cfb_inet_look_up(struct addrinfo **listp, const struct confab_endpoint *endpoint, const char *text,
                     int family, int type, bool passive) {
        struct addrinfo hints = {.ai_family = family, .ai_socktype = type};
        struct place place;
        size_t at;
        int code;

        read_place(&place, text, &at); /* checked when the address was read */
        hints.ai_flags = (passive ? AI_PASSIVE : 0) | (place.digits ? AI_NUMERICSERV : 0) |
                         (place.literal ? AI_NUMERICHOST : 0);
        code = getaddrinfo(place.host[0] ? place.host : NULL, place.port, &hints, listp);
        /* glibc calls a service it does not know for this kind of socket so, too */
        if (code == EAI_NONAME && !place.host[0])
                code = EAI_SERVICE;
        return code ? failed_look_up(code, endpoint) : 0;
}

void cfb_inet_free(struct addrinfo **listp) {
        if (*listp)
                freeaddrinfo(*listp);
        *listp = NULL;
}

/* --- showing --- */

void cfb_inet_append(char *text, size_t text_cap, size_t *used, const struct sockaddr *name) {
        const struct sockaddr_in6 *in6 = (const void *)name;
        const struct sockaddr_in *in = (const void *)name;
        char shown[INET6_ADDRSTRLEN];

        if (name->sa_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr)) {
                inet_ntop(AF_INET, &in6->sin6_addr.s6_addr[12], shown, sizeof(shown));
                cfb_append(text, text_cap, used, "%s:%u", shown, ntohs(in6->sin6_port));
        } else if (name->sa_family == AF_INET6) {
                inet_ntop(AF_INET6, &in6->sin6_addr, shown, sizeof(shown));
                cfb_append(text, text_cap, used, "[%s", shown);
                if (in6->sin6_scope_id)
                        cfb_append(text, text_cap, used, "%%25%u", in6->sin6_scope_id);
                cfb_append(text, text_cap, used, "]:%u", ntohs(in6->sin6_port));
        } else if (name->sa_family == AF_INET) {
                inet_ntop(AF_INET, &in->sin_addr, shown, sizeof(shown));
                cfb_append(text, text_cap, used, "%s:%u", shown, ntohs(in->sin_port));
        }
}

size_t cfb_inet_peer_address(const struct confab_peer *peer, enum cfb_socket_kind kind, const char *scheme,
                             char *text, size_t text_cap) {
        struct cfb_socket_peer read;
        size_t used = 0;

        if (cfb_socket_peer_read(&read, peer, kind) < 0 ||
            (read.any.sa_family != AF_INET && read.any.sa_family != AF_INET6))
                return 0;
        cfb_append(text, text_cap, &used, "%s://", scheme);
        cfb_inet_append(text, text_cap, &used, &read.any);
        return used;
}

/* --- failures in words --- */

/*
 * Who holds a port: the kernel names no one in EADDRINUSE. /proc/net tells the socket's inode and user, /proc/PID/fd which process has it
 * (of processes we may look into). Only when somebody reads the sentence.
 */
static unsigned long inode_of_port(const char *table, unsigned port, unsigned *uidp) {
        FILE *file = fopen(table, "re");
        unsigned long inode = 0;
        char line[512];

        while (file && !inode && fgets(line, sizeof(line), file)) {
                unsigned local, uid;
                unsigned long found;

                if (sscanf(line,
                           " %*u: %*64[0-9A-Fa-f]:%x %*64[0-9A-Fa-f]:%*x %*x %*x:%*x %*x:%*x %*x %u %*d %lu",
                           &local, &uid, &found) == 3 &&
                    local == port) {
                        inode = found;
                        *uidp = uid;
                }
        }
        if (file)
                fclose(file);
        return inode;
}

static bool has_socket(const char *pid, unsigned long inode) {
        char path[64], wanted[40], link[64];
        struct dirent *entry;
        bool found = false;
        DIR *dir;

        snprintf(wanted, sizeof(wanted), "socket:[%lu]", inode);
        snprintf(path, sizeof(path), "/proc/%.20s/fd", pid);
        dir = opendir(path);
        while (dir && !found && (entry = readdir(dir))) {
                ssize_t len = readlinkat(dirfd(dir), entry->d_name, link, sizeof(link) - 1);

                if (len > 0) {
                        link[len] = '\0';
                        found = strcmp(link, wanted) == 0;
                }
        }
        if (dir)
                closedir(dir);
        return found;
}

static void append_holder(char *text, size_t text_cap, size_t *used, bool tcp, unsigned port) {
        static const char *const tables[2][2] = {{"/proc/net/udp", "/proc/net/udp6"},
                                                 {"/proc/net/tcp", "/proc/net/tcp6"}};
        struct dirent *entry;
        unsigned uid = 0;
        unsigned long inode = inode_of_port(tables[tcp][0], port, &uid);
        DIR *dir;

        if (!inode)
                inode = inode_of_port(tables[tcp][1], port, &uid);
        if (!inode)
                return;
        dir = opendir("/proc");
        while (dir && (entry = readdir(dir)))
                if (is_digits(entry->d_name) && has_socket(entry->d_name, inode)) {
                        char path[64], name[32] = "";
                        FILE *file;

                        snprintf(path, sizeof(path), "/proc/%.20s/comm", entry->d_name);
                        file = fopen(path, "re");
                        if (file && fgets(name, sizeof(name), file))
                                name[strcspn(name, "\n")] = '\0';
                        if (file)
                                fclose(file);
                        cfb_append(text, text_cap, used, ": process %s (%s)", entry->d_name, name);
                        closedir(dir);
                        return;
                }
        if (dir)
                closedir(dir);
        cfb_append(text, text_cap, used, ": a process of user %u", uid);
}

static unsigned first_free_port(void) {
        CFB_CLEANUP(cfb_closep)
        int fd = open("/proc/sys/net/ipv4/ip_unprivileged_port_start", O_RDONLY | O_CLOEXEC);
        char text[16] = "";

        return fd >= 0 && read(fd, text, sizeof(text) - 1) > 0 ? (unsigned)strtoul(text, NULL, 10) : 1024;
}

/* detail: the address tried, in digits; a: its port; b: whether it is tcp. */
static size_t explain_bind(const struct cfb_failure *failure, char *text, size_t text_cap) {
        size_t used = 0;

        if (text_cap)
                text[0] = '\0';
        cfb_append(text, text_cap, &used, "%s: %s %s: ", failure->subject, failure->call, failure->detail);
        if (failure->error == -EADDRINUSE) {
                cfb_append(text, text_cap, &used, "somebody has port %lld already", (long long)failure->a);
                append_holder(text, text_cap, &used, failure->b, (unsigned)failure->a);
                cfb_append(text, text_cap, &used, "; end it, or take another port (0: any free one)");
        } else if (failure->a < first_free_port()) {
                cfb_append(text, text_cap, &used,
                           "no permission: ports below %u need root or CAP_NET_BIND_SERVICE (setcap "
                           "cap_net_bind_service+ep "
                           "PROGRAM, or the sysctl net.ipv4.ip_unprivileged_port_start)",
                           first_free_port());
        } else {
                cfb_append(text, text_cap, &used,
                           "no permission; a security policy of this machine forbids it");
        }
        return used;
}

int cfb_inet_failed(int error, const char *call, const struct confab_endpoint *endpoint,
                    const struct sockaddr *name) {
        char shown[80] = "";
        size_t used = 0;
        const struct sockaddr_in *in = (const void *)name; /* the port lies at one place in both families */

        cfb_inet_append(shown, sizeof(shown), &used, name);
        if (strcmp(call, "bind") == 0 && (error == -EADDRINUSE || error == -EACCES))
                return cfb_failed_with(error, call, confab_address(endpoint), explain_bind, shown,
                                       ntohs(in->sin_port),
                                       strncmp(endpoint->transport->scheme, "tcp", 3) == 0);
        return cfb_socket_failed_on(error, call, confab_address(endpoint), shown);
}

/* --- binding --- */

int cfb_inet_bind_from(const struct confab_endpoint *endpoint, int fd, int family, int type) {
        CFB_CLEANUP(cfb_inet_free) struct addrinfo *list = NULL;
        int r, one = 1;

        if (!endpoint->address.from)
                return 0;
        r = cfb_inet_look_up(&list, endpoint, endpoint->address.from, family, type, true);
        if (r < 0)
                return r;
        /* The same from= twice in a row must not wait for the last connection's TIME_WAIT. */
        if (type == SOCK_STREAM)
                setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
        if (bind(fd, list->ai_addr, list->ai_addrlen) < 0)
                return cfb_inet_failed(-errno, "bind", endpoint, list->ai_addr);
        return 0;
}

static int bind_one(int *fdp, const struct confab_endpoint *endpoint, const struct sockaddr *name,
                    socklen_t len, int type, int flags, int (*prepare)(int fd)) {
        CFB_CLEANUP(cfb_closep) int fd = -1;
        int only = endpoint->address.family == AF_INET6;
        int r = cfb_socket_new(&fd, endpoint, name->sa_family, type, flags);

        if (r < 0)
                return r;
        if (name->sa_family == AF_INET6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only, sizeof(only)) < 0)
                return cfb_socket_failed(-errno, "setsockopt", endpoint);
        r = prepare ? prepare(fd) : 0;
        if (r < 0)
                return cfb_socket_failed(r, "setsockopt", endpoint);
        if (bind(fd, name, len) < 0)
                return cfb_inet_failed(-errno, "bind", endpoint, name);
        *fdp = cfb_steal_fd(&fd);
        return 0;
}

/* Whether a result stands for every interface in IPv4: its place is taken by the IPv6 one, which takes both. */
static bool is_every_ipv4(const struct addrinfo *info) {
        return info->ai_family == AF_INET &&
               ((const struct sockaddr_in *)(const void *)info->ai_addr)->sin_addr.s_addr == INADDR_ANY;
}

int cfb_inet_listen(int *fdp, const struct confab_endpoint *endpoint, int type, int flags,
                    int (*prepare)(int fd)) {
        CFB_CLEANUP(cfb_inet_free) struct addrinfo *list = NULL;
        const struct cfb_address *address = &endpoint->address;
        struct place place;
        size_t at;
        int r;

        if (address->from)
                return cfb_unsupported(address, "listen",
                                       "from= where one listens: the address itself is this side's");
        r = cfb_inet_look_up(&list, endpoint, address->rest, address->family, type, true);
        if (r < 0)
                return r;
        read_place(&place, address->rest, &at);
        r = -EADDRNOTAVAIL;
        for (int round = 0; round < 2; round++) /* second: what the first passed over */
                for (const struct addrinfo *info = list; info; info = info->ai_next) {
                        bool later = !place.host[0] && is_every_ipv4(info);

                        if (later != (round == 1))
                                continue;
                        r = bind_one(fdp, endpoint, info->ai_addr, info->ai_addrlen, type, flags, prepare);
                        if (r >= 0 || r == -EADDRINUSE || r == -EACCES)
                                return r;
                }
        return r;
}

int cfb_inet_name_chosen(struct confab_endpoint *endpoint, int fd, const char *scheme) {
        struct cfb_socket_name name = {.len = sizeof(name.un)};
        const char *keys = strchr(endpoint->address.text, '?');
        char text[CFB_ADDRESS_MAX + 128];
        struct place place;
        size_t used = 0, at;

        read_place(&place, endpoint->address.rest, &at);
        if (!place.digits || strtol(place.port, NULL, 10) != 0)
                return 0;
        if (getsockname(fd, &name.any, &name.len) < 0)
                return cfb_socket_failed(-errno, "getsockname", endpoint);
        cfb_append(text, sizeof(text), &used, "%s://", scheme);
        cfb_inet_append(text, sizeof(text), &used, &name.any);
        cfb_append(text, sizeof(text), &used, "%s", keys ? keys : "");
        endpoint->name = cfb_copy_text(text);
        return endpoint->name ? 0 : cfb_socket_failed(-ENOMEM, "listen", endpoint);
}
