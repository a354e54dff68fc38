/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
#ifndef CONFAB_TESTS_HARNESS_H
#define CONFAB_TESTS_HARNESS_H
/*
 * The test runner: TEST(name) { ... } registers itself, tests/harness.c has main().
 *
 * Each test runs in a process of its own, in a process group and an empty temporary directory of its own (which is its working
 * directory), with standard input from /dev/null. It fails when a check fails, when it crashes, after its timeout (30 s, times
 * HARNESS_TIMEOUT_SCALE), and when it leaves something behind: a descriptor, a child, a process, a POSIX or System V queue, a System V
 * segment or semaphore set, a file in /dev/shm, a socket or FIFO in its directory. Plain files there are removed and allowed.
 *
 * HARNESS_STORM_HZ=10000 runs the tests in a storm of signals (storm.h).
 *
 * A failed check ends the process that made it, in whichever thread; in a process the test forked, it fails the test as well.
 */
#include <errno.h>
#include <stddef.h>
#include <stdint.h>

struct harness_test {
        const char *name;
        void (*run)(void);
        int timeout_s;
        struct harness_test *next;
};

void harness_add(struct harness_test *test);
/* The test under way, for suites that make their entries at run time. */
extern const struct harness_test *harness_current;
/* How long the test under way may take. */
int64_t harness_time_limit_ns(void);
void harness_check_eq(intmax_t a, intmax_t b, const char *a_text, const char *b_text, const char *file,
                      int line);
void harness_check_str(const char *a, const char *b, const char *a_text, const char *b_text, const char *file,
                       int line);
void harness_check_mem(const void *a, const void *b, size_t len, const char *a_text, const char *b_text,
                       const char *file, int line);
intmax_t harness_check_ok(intmax_t result, const char *text, const char *file, int line);
_Noreturn void harness_failed(const char *text, const char *file, int line);
_Noreturn void harness_skip(const char *reason);

#define TEST_TIMEOUT(test_name, seconds)                                                                \
        static void test_##test_name(void);                                                             \
        static struct harness_test entry_##test_name = {#test_name, test_##test_name, (seconds), NULL}; \
        __attribute__((constructor)) static void register_##test_name(void) {                           \
                harness_add(&entry_##test_name);                                                        \
        }                                                                                               \
        static void test_##test_name(void)
/* Much for what takes milliseconds: the machine may be busy, and what hangs hangs for ever. */
#define TEST(test_name) TEST_TIMEOUT(test_name, HARNESS_TIMEOUT_S)
enum { HARNESS_TIMEOUT_S = 30 };

/*
 * HARNESS_TSAN: ThreadSanitizer is in here. Four bytes more for each of ours are resident, and a handler may run late, at the thread's next
 * call that the sanitizer knows. HARNESS_ASAN: AddressSanitizer is; what was freed stays resident for a while.
 */
#if defined(__has_feature)
#define HARNESS_HAS_FEATURE(feature) __has_feature(feature)
#else
#define HARNESS_HAS_FEATURE(feature) 0
#endif
#if defined(__SANITIZE_THREAD__) || HARNESS_HAS_FEATURE(thread_sanitizer)
#define HARNESS_TSAN 1
#else
#define HARNESS_TSAN 0
#endif
#if defined(__SANITIZE_ADDRESS__) || HARNESS_HAS_FEATURE(address_sanitizer)
#define HARNESS_ASAN 1
#else
#define HARNESS_ASAN 0
#endif

#define check(expr) ((expr) ? (void)0 : harness_failed("check(" #expr ")", __FILE__, __LINE__))
/* Integers (pointers do not compile here: use check). */
#define check_eq(a, b)       harness_check_eq((intmax_t)(a), (intmax_t)(b), #a, #b, __FILE__, __LINE__)
#define check_str(a, b)      harness_check_str((a), (b), #a, #b, __FILE__, __LINE__)
#define check_mem(a, b, len) harness_check_mem((a), (b), (len), #a, #b, __FILE__, __LINE__)
/* A result of the library's: fails with confab_explain's sentence if it is negative; gives it back. */
#define check_ok(result) harness_check_ok((intmax_t)(result), #result, __FILE__, __LINE__)
/* A system call of the test's own, made again when a signal ended it: the suite runs in a storm of them, too (storm.h). */
#define restarted(call)                                  \
        __extension__({                                  \
                __typeof__(call) result_;                \
                do                                       \
                        result_ = (call);                \
                while (result_ == -1 && errno == EINTR); \
                result_;                                 \
        })
/* Sleeps so long, whatever signals come. */
void nap_ms(int64_t ms);
/* Ends the test as skipped; the reason must stand in tests/allowed-skips. */
#define skip(reason) harness_skip(reason)

#endif
