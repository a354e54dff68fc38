/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/* confab completion bash|zsh|fish: a script for the shell, made from the tables of the commands. */
#include "columns.h"

#include <string.h>

static const struct cli_option options[] = {CLI_OPTIONS_END};

static void print_schemes(const char *before, const char *after) {
        const char *scheme;

        for (unsigned i = 0; confab_mechanism(i, &scheme, NULL, NULL) == 0; i++)
                printf("%s%s%s", before, scheme, after);
}

/* Without SIG, as they are typed; real-time ones count from SIGRTMIN and are too many to help. */
static void print_signals(void) {
        struct confab_signal signal = {.size = sizeof(signal)};

        for (int number = 1; confab_signal_describe(&signal, number) == 0; number++)
                printf("%s%s", number > 1 ? " " : "", signal.name + 3);
}

/* The words an operand of @cmd can be. */
static void print_operands(const struct cli_cmd *cmd) {
        if (cmd->operand_words == NULL)
                return;
        if (strcmp(cmd->operand_words, "@topics") == 0) {
                fputs("addresses", stdout);
                for (const struct cli_cmd *const *c = cli_commands; *c != NULL; c++)
                        printf(" %s", (*c)->name);
                print_schemes(" ", "");
        } else if (strcmp(cmd->operand_words, "@addresses") == 0) {
                print_schemes("", ":// ");
        } else if (strcmp(cmd->operand_words, "@signals") == 0) {
                print_signals();
        } else {
                fputs(cmd->operand_words, stdout);
        }
}

static void print_options(const struct cli_cmd *cmd) {
        fputs("--help", stdout);
        for (const struct cli_option *o = cmd->options; o->name != NULL; o++)
                printf(" --%s", o->name);
}

/* Behind an option with a value, by either of its names, come its words. */
static void print_bash_value(const struct cli_option *o) {
        printf("                if [ \"$prev\" = --%s", o->name);
        if (o->letter != 0)
                printf(" ] || [ \"$prev\" = -%c", o->letter);
        printf(" ]; then options= words='%s'; fi\n", o->words != NULL ? o->words : "");
}

static int print_bash(void) {
        fputs("# bash completion of confab; put it into: source <(confab completion bash)\n"
              "_confab() {\n"
              "        local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} words= options=\n"
              "        # readline cuts words at the colon of an address: join them again\n"
              "        if declare -F _get_comp_words_by_ref >/dev/null; then\n"
              "                _get_comp_words_by_ref -n : cur prev\n"
              "        fi\n"
              "        if [ \"$COMP_CWORD\" -eq 1 ]; then\n"
              "                COMPREPLY=($(compgen -W '",
              stdout);
        for (const struct cli_cmd *const *c = cli_commands; *c != NULL; c++)
                printf("%s ", (*c)->name);
        fputs("--help --version' -- \"$cur\"))\n"
              "                return\n"
              "        fi\n"
              "        case ${COMP_WORDS[1]} in\n",
              stdout);
        for (const struct cli_cmd *const *c = cli_commands; *c != NULL; c++) {
                printf("        %s)\n                options='", (*c)->name);
                print_options(*c);
                fputs("' words='", stdout);
                print_operands(*c);
                fputs("'\n", stdout);
                for (const struct cli_option *o = (*c)->options; o->name != NULL; o++)
                        if (o->value != NULL)
                                print_bash_value(o);
                fputs("                ;;\n", stdout);
        }
        fputs("        esac\n"
              "        case $cur in\n"
              "        -*) COMPREPLY=($(compgen -W \"$options\" -- \"$cur\")) ;;\n"
              "        *) COMPREPLY=($(compgen -W \"$words\" -- \"$cur\")) ;;\n"
              "        esac\n"
              "        if declare -F __ltrim_colon_completions >/dev/null; then\n"
              "                __ltrim_colon_completions \"$cur\"\n"
              "        fi\n"
              "}\n"
              "complete -o default -o nospace -F _confab confab\n",
              stdout);
        return CLI_DONE;
}

/* Text inside '...' of a shell; zsh's own specials of _arguments and _describe are escaped where @zsh. */
static void print_quoted(const char *text, bool zsh) {
        for (; *text != '\0'; text++) {
                if (*text == '\'')
                        fputs("'\\''", stdout);
                else if (zsh && strchr("[]:\\", *text) != NULL)
                        printf("\\%c", *text);
                else
                        putchar(*text);
        }
}

static void print_zsh_option(const struct cli_option *o) {
        const char *letters[] = {o->letter != 0 ? "-" : NULL, "--"};

        for (unsigned i = 0; i < 2; i++) {
                if (letters[i] == NULL)
                        continue;
                if (i == 0)
                        printf(" \\\n                '-%c[", o->letter);
                else
                        printf(" \\\n                '--%s[", o->name);
                print_quoted(o->help, true);
                putchar(']');
                if (o->value != NULL)
                        printf(":%s:%s%s%s", o->value, o->words != NULL ? "(" : "",
                               o->words != NULL ? o->words : "", o->words != NULL ? ")" : "");
                putchar('\'');
        }
}

static int print_zsh(void) {
        fputs("#compdef confab\n"
              "# zsh completion of confab; put it as _confab into a folder of $fpath\n"
              "_confab() {\n"
              "        local -a commands\n"
              "        commands=(",
              stdout);
        for (const struct cli_cmd *const *c = cli_commands; *c != NULL; c++) {
                printf("\n                '%s:", (*c)->name);
                print_quoted((*c)->summary, true);
                putchar('\'');
        }
        fputs(")\n"
              "        if ((CURRENT == 2)); then\n"
              "                _describe command commands\n"
              "                return\n"
              "        fi\n"
              "        local command=$words[2]\n"
              "        shift words\n"
              "        ((CURRENT--))\n"
              "        case $command in\n",
              stdout);
        for (const struct cli_cmd *const *c = cli_commands; *c != NULL; c++) {
                printf("        %s)\n                _arguments -s '(-h --help)'{-h,--help}'[print help]'",
                       (*c)->name);
                for (const struct cli_option *o = (*c)->options; o->name != NULL; o++)
                        print_zsh_option(o);
                if ((*c)->operand_words == NULL) {
                        fputs(" \\\n                '*:operand:_files'", stdout);
                } else if ((*c)->max_operands > 0) {
                        fputs(" \\\n                '*:operand:(", stdout);
                        if (strcmp((*c)->operand_words, "@addresses") == 0)
                                print_schemes("", "\\:// "); /* _arguments splits its specs at colons */
                        else
                                print_operands(*c);
                        fputs(")'", stdout);
                }
                fputs("\n                ;;\n", stdout);
        }
        fputs("        esac\n"
              "}\n"
              "_confab \"$@\"\n",
              stdout);
        return CLI_DONE;
}

static int print_fish(void) {
        fputs("# fish completion of confab; put it into ~/.config/fish/completions/confab.fish\n"
              "complete -c confab -f\n",
              stdout);
        for (const struct cli_cmd *const *c = cli_commands; *c != NULL; c++) {
                printf("complete -c confab -n __fish_use_subcommand -a %s -d '", (*c)->name);
                print_quoted((*c)->summary, false);
                fputs("'\n", stdout);
                for (const struct cli_option *o = (*c)->options; o->name != NULL; o++) {
                        printf("complete -c confab -n '__fish_seen_subcommand_from %s' -l %s", (*c)->name,
                               o->name);
                        if (o->letter != 0)
                                printf(" -s %c", o->letter);
                        if (o->value != NULL)
                                fputs(" -x", stdout);
                        if (o->words != NULL)
                                printf(" -a '%s'", o->words);
                        fputs(" -d '", stdout);
                        print_quoted(o->help, false);
                        fputs("'\n", stdout);
                }
                if ((*c)->operand_words == NULL) {
                        printf("complete -c confab -n '__fish_seen_subcommand_from %s' -F\n", (*c)->name);
                } else if ((*c)->max_operands > 0) {
                        printf("complete -c confab -n '__fish_seen_subcommand_from %s' -a '", (*c)->name);
                        print_operands(*c);
                        fputs("'\n", stdout);
                }
        }
        return CLI_DONE;
}

static int run(struct cli_args *args) {
        static const struct {
                const char *name;
                int (*print)(void);
        } shells[] = {{"bash", print_bash}, {"zsh", print_zsh}, {"fish", print_fish}};

        for (unsigned i = 0; i < sizeof(shells) / sizeof(shells[0]); i++)
                if (strcmp(args->operands[0], shells[i].name) == 0)
                        return shells[i].print();
        return cli_usage(args, "there is no completion for '%s'; there is: bash, zsh, fish",
                         args->operands[0]);
}

const struct cli_cmd cmd_completion = {
        .name = "completion",
        .summary = "Prints the completion script for a shell",
        .usage = "bash|zsh|fish",
        .options = options,
        .operand_words = "bash zsh fish",
        .min_operands = 1,
        .max_operands = 1,
        .run = run,
};
