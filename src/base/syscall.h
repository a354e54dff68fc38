/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
#ifndef CFB_BASE_SYSCALL_H
#define CFB_BASE_SYSCALL_H
/*
 * The system calls of the fast path, in place of the C library's functions: the count, or -errno.
 *
 * Why: on processors whose kernel empties the return-address predictor at every entry (AMD's "safe RET" among them) each return after a
 * system call is mispredicted: measured 60 ns for the first and 8 ns for each further one, of 330 ns for a small write to a pipe.
 * The fewer functions lie around the call the better; the C library's is one of them. And in a process that was just forked each function is
 * on a page that has to be found first, 2 to 3 us for sixteen of them: those at the end are for that. Where there is no assembly for the
 * architecture, and under sanitizers and analyzers, which watch memory through the C library's functions, those are called after all.
 */
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define CFB_SYSCALL_BY_LIBC 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || defined(__clang_analyzer__)
#define CFB_SYSCALL_BY_LIBC 1
#endif

#if defined(__x86_64__) && defined(__LP64__) && !defined(CFB_SYSCALL_BY_LIBC)
static inline int64_t cfb_syscall6(long number, int fd, const void *b, size_t c, long d, long e, long f) {
        register long r10 __asm__("r10") = d;
        register long r8 __asm__("r8") = e;
        register long r9 __asm__("r9") = f;
        long r;

        __asm__ volatile("syscall"
                         : "=a"(r)
                         : "a"(number), "D"((long)fd), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                         : "rcx", "r11", "memory");
        return r;
}
#define CFB_SYSCALL_INLINE 1
#elif defined(__aarch64__) && defined(__LP64__) && !defined(CFB_SYSCALL_BY_LIBC)
static inline int64_t cfb_syscall6(long number, int fd, const void *b, size_t c, long d, long e, long f) {
        register long x8 __asm__("x8") = number;
        register long x0 __asm__("x0") = fd;
        register long x1 __asm__("x1") = (long)b;
        register long x2 __asm__("x2") = (long)c;
        register long x3 __asm__("x3") = d;
        register long x4 __asm__("x4") = e;
        register long x5 __asm__("x5") = f;

        __asm__ volatile("svc 0"
                         : "+r"(x0)
                         : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5)
                         : "memory");
        return x0;
}
#define CFB_SYSCALL_INLINE 1
#endif

static inline int64_t cfb_sys_write(int fd, const void *data, size_t len) {
#ifdef CFB_SYSCALL_INLINE
        return cfb_syscall6(SYS_write, fd, data, len, 0, 0, 0);
#else
        ssize_t n = write(fd, data, len);

        return n < 0 ? -errno : n;
#endif
}

static inline int64_t cfb_sys_read(int fd, void *data, size_t cap) {
#ifdef CFB_SYSCALL_INLINE
        return cfb_syscall6(SYS_read, fd, data, cap, 0, 0, 0);
#else
        ssize_t n = read(fd, data, cap);

        return n < 0 ? -errno : n;
#endif
}

static inline int64_t cfb_sys_send(int fd, const void *data, size_t len, int flags) {
#ifdef CFB_SYSCALL_INLINE
        return cfb_syscall6(SYS_sendto, fd, data, len, flags, 0, 0);
#else
        ssize_t n = send(fd, data, len, flags);

        return n < 0 ? -errno : n;
#endif
}

static inline int64_t cfb_sys_recvmsg(int fd, struct msghdr *header, int flags) {
/* musl's recvmsg takes the padding out of its own msghdr; glibc's is the kernel's. */
#if defined(CFB_SYSCALL_INLINE) && defined(__GLIBC__)
        return cfb_syscall6(SYS_recvmsg, fd, header, (size_t)(unsigned)flags, 0, 0, 0);
#else
        ssize_t n = recvmsg(fd, header, flags);

        return n < 0 ? -errno : n;
#endif
}

static inline int64_t cfb_sys_recv(int fd, void *data, size_t cap, int flags) {
#ifdef CFB_SYSCALL_INLINE
        return cfb_syscall6(SYS_recvfrom, fd, data, cap, flags, 0, 0);
#else
        ssize_t n = recv(fd, data, cap, flags);

        return n < 0 ? -errno : n;
#endif
}

/* --- what a client's process calls before and after its function (process/service.c) --- */

static inline int64_t cfb_sys_accept(int fd, struct sockaddr *name, socklen_t *name_lenp, int flags) {
#ifdef CFB_SYSCALL_INLINE
        return cfb_syscall6(SYS_accept4, fd, name, (size_t)(uintptr_t)name_lenp, flags, 0, 0);
#else
        int accepted = accept4(fd, name, name_lenp, flags);

        return accepted < 0 ? -errno : accepted;
#endif
}

static inline void cfb_sys_close(int fd) {
#ifdef CFB_SYSCALL_INLINE
        cfb_syscall6(SYS_close, fd, NULL, 0, 0, 0, 0);
#else
        close(fd);
#endif
}

static inline int64_t cfb_sys_epoll_wait(int fd, struct epoll_event *event) {
#ifdef CFB_SYSCALL_INLINE
        return cfb_syscall6(SYS_epoll_pwait, fd, event, 1, -1, 0, 8);
#else
        int n = epoll_wait(fd, event, 1, -1);

        return n < 0 ? -errno : n;
#endif
}

static inline int64_t cfb_sys_epoll_ctl(int fd, int operation, int of, struct epoll_event *event) {
#ifdef CFB_SYSCALL_INLINE
        return cfb_syscall6(SYS_epoll_ctl, fd, (const void *)(intptr_t)operation, (size_t)of,
                            (long)(intptr_t)event, 0, 0);
#else
        return epoll_ctl(fd, operation, of, event) < 0 ? -errno : 0;
#endif
}

/* SIGKILL when the parent's thread ends, and who the parent is. */
static inline int cfb_sys_die_with_parent(void) {
#ifdef CFB_SYSCALL_INLINE
        cfb_syscall6(SYS_prctl, PR_SET_PDEATHSIG, (const void *)(intptr_t)SIGKILL, 0, 0, 0, 0);
        return (int)cfb_syscall6(SYS_getppid, 0, NULL, 0, 0, 0, 0);
#else
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        return getppid();
#endif
}

static inline void cfb_sys_set_mask(const sigset_t *mask) {
#ifdef CFB_SYSCALL_INLINE
        cfb_syscall6(SYS_rt_sigprocmask, SIG_SETMASK, mask, 0, 8, 0, 0);
#else
        sigprocmask(SIG_SETMASK, mask, NULL);
#endif
}

#endif
