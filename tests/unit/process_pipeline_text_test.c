/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
#include "guarded.h"
#include "harness.h"

#include <confab/process.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What was read, in one line: words in [], a stage's redirections in <>, stages joined by |. */
static void show(char *text, size_t text_cap, const struct confab_pipeline *pipeline) {
        size_t used = 0;

        text[0] = '\0';
        for (unsigned i = 0; i < pipeline->n_stages; i++) {
                const struct confab_stage *stage = &pipeline->stages[i];

                used += (size_t)snprintf(text + used, text_cap - used, "%s", i ? "|" : "");
                for (const char *const *word = stage->argv; *word; word++)
                        used += (size_t)snprintf(text + used, text_cap - used, "[%s]", *word);
                for (unsigned k = 0; k < stage->n_redirections; k++) {
                        const struct confab_redirection *r = &stage->redirections[k];

                        used += (size_t)snprintf(text + used, text_cap - used, "<%u %d %d %s>", r->kind,
                                                 r->descriptor, r->source, r->name ? r->name : "-");
                }
        }
}

static const struct {
        const char *text, *read;
} good[] = {
        {"ls", "[ls]"},
        {"  ls\t-l  ", "[ls][-l]"},
        {"ps -ef | cut -c1-8|sort |uniq| wc -l", "[ps][-ef]|[cut][-c1-8]|[sort]|[uniq]|[wc][-l]"},
        {"echo 'a b' \"c d\" e\\ f", "[echo][a b][c d][e f]"},
        {"echo ''", "[echo][]"},
        {"echo a'b'\"c\"\\d", "[echo][abcd]"},
        {"echo '\\' \"\\\\ \\\" \\$ \\` \\a\"", "[echo][\\][\\ \" $ ` \\a]"},
        {"echo \"a\\\nb\" c\\\nd \\\n e", "[echo][ab][cd][e]"},
        {"grep foo$ 'a$b' \"c$ d\" $", "[grep][foo$][a$b][c$ d][$]"},
        {"find . -exec echo {} +", "[find][.][-exec][echo][{}][+]"},
        {"echo a#b a~b ] a=b", "[echo][a#b][a~b][]][a=b]"},
        {"cat <in >out", "[cat]<1 0 0 in><2 1 0 out>"},
        {"<in cat>out", "[cat]<1 0 0 in><2 1 0 out>"},
        {"cat >> 'a b' 2> err", "[cat]<3 1 0 a b><2 2 0 err>"},
        {"cat 2>&1 >x 3<&0 2>&- <&-", "[cat]<5 2 1 -><2 1 0 x><5 3 0 -><6 2 0 -><6 0 0 ->"},
        {"cat 12>x a2>y", "[cat][a2]<2 12 0 x><2 1 0 y>"},
        {"cat > tcp://127.0.0.1:7000 < 'mq:///a?capacity=3'",
         "[cat]<2 1 0 tcp://127.0.0.1:7000><1 0 0 mq:///a?capacity=3>"},
        {"make |& less", "[make]<5 2 1 ->|[less]"},
        {"a |\n\n b", "[a]|[b]"},
        {"\n a \n\n", "[a]"},
        {"echo 'if' if", "[echo][if][if]"},
        {"'if' x", "[if][x]"},
        {"'a=b' x", "[a=b][x]"},
        {"a-b=c x", "[a-b=c][x]"},
        {"echo 12", "[echo][12]"},
        {"\xc3\xa4 \xff", "[\xc3\xa4][\xff]"},
};

TEST(read) {
        char text[512];

        for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
                struct confab_pipeline *pipeline;

                check_ok(confab_pipeline_parse(&pipeline, good[i].text));
                check_eq(pipeline->size, sizeof(*pipeline));
                show(text, sizeof(text), pipeline);
                check_str(text, good[i].read);
                confab_pipeline_free(pipeline);
        }
        check(confab_pipeline_free(NULL) == NULL);
}

/* Each with the byte it is refused at, and a part of why. */
static const struct {
        const char *text;
        int at;
        const char *why;
} bad[] = {
        {"", 1, "program's name"},
        {" \n", 3, "program's name"},
        {"| a", 1, "program's name"},
        {"a |", 4, "program's name"},
        {"a | | b", 5, "program's name"},
        {"> x", 1, "program's name"},
        {"a; b", 2, ";"},
        {"a && b", 3, "&"},
        {"a &", 3, "&"},
        {"a || b", 3, "||"},
        {"(a)", 1, "("},
        {"a )", 3, ")"},
        {"a\nb", 2, "new line"},
        {"echo $HOME", 6, "$"},
        {"echo $(a)", 6, "$"},
        {"echo \"$x\"", 7, "$"},
        {"echo $1 $? ", 6, "$"},
        {"echo $'a'", 6, "$"},
        {"echo `a`", 6, "`"},
        {"echo \"`a`\"", 7, "`"},
        {"echo *", 6, "*"},
        {"echo a?", 7, "?"},
        {"echo [a]", 6, "["},
        {"echo ~", 6, "~"},
        {"echo #a", 6, "#"},
        {"cat > ~/x", 7, "~"},
        {"echo 'a", 6, "'"},
        {"echo \"a", 6, "\""},
        {"echo a\\", 7, "\\"},
        {"cat <", 6, "name of a file"},
        {"cat > | b", 7, "name of a file"},
        {"cat << x", 6, "redirection"},
        {"cat <> x", 6, "redirection"},
        {"cat >| x", 6, "redirection"},
        {"cat >>> x", 7, "redirection"},
        {"cat >& x", 7, "number"},
        {"cat 2>&1x", 9, "number"},
        {"cat &> x", 5, "> FILE 2>&1"},
        {"cat > mq:///a?max=5", 14, "goes into quotes"},
        {"cat < tcp://a:1&", 16, "goes into quotes"},
        {"cat a://b c?", 12, "matches file names"},
        {"a=b c", 1, "env NAME=value"},
        {"! a", 1, "shell's language"},
        {"if a", 1, "shell's language"},
        {"a | while b", 5, "shell's language"},
        {"cat 999999>x", 5, "number"},
};

TEST(refused_with_the_place) {
        char text[512], place[32];

        for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
                struct confab_pipeline *pipeline = NULL;

                if (confab_pipeline_parse(&pipeline, bad[i].text) != -EINVAL)
                        check_str("taken", bad[i].text);
                check(pipeline == NULL);
                confab_explain(text, sizeof(text));
                snprintf(place, sizeof(place), ": byte %d: ", bad[i].at);
                if (!strstr(text, place))
                        check_str(text, bad[i].text); /* shows both */
                if (!strstr(text, bad[i].why))
                        check_str(text, bad[i].why);
        }
        check_eq(confab_pipeline_parse(NULL, "a"), -EINVAL);
        check_eq(confab_pipeline_parse(&(struct confab_pipeline *){NULL}, NULL), -EINVAL);
}

/* Every beginning of a text, up against memory that is not there. */
TEST(nothing_is_read_behind_the_end) {
        static const char whole[] = "a 'b' \"c\\$\" d\\ e 2>&1 12>>x <y $ |& f | g\\\nh 3>&- \n";
        struct guarded guarded = guarded_new(sizeof(whole));

        for (size_t len = 0; len < sizeof(whole); len++) {
                char beginning[sizeof(whole)] = "";
                struct confab_pipeline *pipeline;

                memcpy(beginning, whole, len);
                if (confab_pipeline_parse(&pipeline, (char *)guarded_put(&guarded, beginning, len + 1)) == 0)
                        confab_pipeline_free(pipeline);
        }
        guarded_free(&guarded);
}
