/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
#ifndef CFB_BASE_ERROR_H
#define CFB_BASE_ERROR_H
/*
 * Failures: results inside the library, and the one record a thread keeps of its last failure.
 *
 * Negative results are fatal and forwarded unchanged; positive ones are conditions documented for one function.
 * A failure is recorded where it happens, as arguments in a fixed thread-local struct: no formatting, no allocation. The
 * sentence is made by confab_explain alone, by the explainer recorded with it (so this folder knows nothing of IPC).
 */
#include <stddef.h>
#include <stdint.h>

struct cfb_failure {
        int error;         /* negative errno */
        const char *call;  /* what was tried: "connect", "mq_open"; static storage */
        char subject[232]; /* on what: the address or path, cut */
        char detail[248];  /* a word or two for the explainer: a key, a name; cut */
        int64_t a, b;      /* numbers for the explainer: positions, sizes, limits */
        /* Writes what the failure means and what to try; NULL: strerror and a general hint. Returns as snprintf. */
        size_t (*explain)(const struct cfb_failure *failure, char *text, size_t text_cap);
};
typedef size_t cfb_explainer(const struct cfb_failure *failure, char *text, size_t text_cap);

void cfb_record(int error, const char *call, const char *subject);
void cfb_record_with(int error, const char *call, const char *subject, cfb_explainer *explain,
                     const char *detail, int64_t a, int64_t b);

/*
 * Records a failure of this thread and returns @error (negative). @subject and @detail are copied; both may be NULL.
 * Inline: so whoever reads the caller, compilers and analyzers too, sees that the result is negative.
 */
static inline int cfb_failed_with(int error, const char *call, const char *subject, cfb_explainer *explain,
                                  const char *detail, int64_t a, int64_t b) {
        cfb_record_with(error, call, subject, explain, detail, a, b);
        return error;
}

static inline int cfb_failed(int error, const char *call, const char *subject) {
        cfb_record(error, call, subject);
        return error;
}

/* The last failure of this thread: for explainers' tests and for adding a subject the place of failure did not know. */
struct cfb_failure *cfb_last_failure(void);

/*
 * Where a negative result is born and each hop it takes: nothing in release builds, a path on stderr in debug builds
 * with CONFAB_TRACE set (a debugging aid of ours; release builds contain no trace of it).
 */
#ifdef CFB_DEBUG
int cfb_trace_at(int result, const char *file, int line);
#define cfb_trace(result) cfb_trace_at((result), __FILE__, __LINE__)
#else
#define cfb_trace(result) (result)
#endif

#define CFB_PRINTF(format_at, first) __attribute__((format(printf, format_at, first)))

/* snprintf that appends: writes at text + *used, counts in *used what the whole would need. */
void cfb_append(char *text, size_t text_cap, size_t *used, const char *format, ...) CFB_PRINTF(4, 5);

#endif
