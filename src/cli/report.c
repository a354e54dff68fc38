/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/*
 * report.html: one file, no script, no network. It follows the reader's light or dark, and is laid out for 400 to 1280 pixels:
 * plots are SVG in percent of their width with text in pixels, so nothing shrinks; the property table, which needs the width of
 * a desk, is a list of cards on narrow screens.
 */
#include "demo.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

static const char style[] =
        ":root{color-scheme:light "
        "dark;--paper:#fcfcfa;--panel:#f1f3f4;--ink:#1c2329;--soft:#5a6670;--line:#d5dade;--accent:#1f66ad;"
        "--tint:#d9e7f5;--warm:#b4540a;--bad:#b3261e;--ghost:#c3cad0}\n"
        "@media(prefers-color-scheme:dark){:root{--paper:#14181b;--panel:#1d2327;--ink:#e4e8ea;--soft:#"
        "98a4ad;--line:#343c42;"
        "--accent:#6db1f2;--tint:#1f3850;--warm:#f0a35e;--bad:#ff8a80;--ghost:#48525a}}\n"
        "*{box-sizing:border-box}body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.55 "
        "system-ui,'Segoe UI',"
        "'DejaVu Sans',sans-serif}main{max-width:1240px;margin:0 auto;padding:28px 20px 60px}\n"
        "h1{font-size:30px;line-height:1.2;margin:0 0 8px}h2{font-size:21px;margin:52px 0 "
        "6px}p{max-width:76ch;margin:8px 0}"
        ".soft,small,figcaption{color:var(--soft);font-size:14px}\n"
        ".best{display:grid;grid-template-columns:repeat(auto-fit,minmax(230px,1fr));gap:14px;margin:26px 0 "
        "0}"
        ".best div{background:var(--panel);border-radius:10px;padding:14px 16px}.best "
        "b{display:block;font-size:25px;"
        "line-height:1.3}.best span{color:var(--soft);font-size:14px}\n"
        "table{border-collapse:collapse;width:100%;font-size:15px}th,td{padding:7px 10px;border-bottom:1px "
        "solid var(--line);"
        "text-align:left;vertical-align:top}th{font-weight:600;color:var(--soft);font-size:13px;vertical-"
        "align:bottom}"
        ".n{text-align:right;font-variant-numeric:tabular-nums}\n"
        ".bar{display:inline-block;width:110px;height:9px;border-radius:5px;background:var(--panel);margin-"
        "left:10px;"
        "vertical-align:1px}.bar i{display:block;height:9px;border-radius:5px;background:var(--accent)}\n"
        ".bad{color:var(--bad);font-weight:600}.yes{color:var(--accent);font-weight:600}.no{color:var(--soft)"
        "}\n"
        "figure{margin:16px 0 0}svg{display:block;width:100%;overflow:visible}svg "
        "text{fill:var(--soft);font-size:12px}\n"
        ".rows{display:grid;grid-template-columns:minmax(112px,150px) "
        "minmax(0,1fr);column-gap:14px;padding-right:16px}"
        ".rows>div{font-size:14px;line-height:30px;white-space:nowrap}\n"
        ".key{display:flex;flex-wrap:wrap;gap:4px 20px;color:var(--soft);font-size:13px;margin:12px 0 8px}"
        ".key svg{display:inline-block;width:26px;height:12px;vertical-align:-1px;margin-right:5px}\n"
        ".grid{stroke:var(--line)}.range{stroke:var(--accent);stroke-width:3;stroke-linecap:round;opacity:."
        "35}"
        ".p50{fill:var(--accent)}.p99{fill:var(--paper);stroke:var(--accent);stroke-width:2}.p999{stroke:var("
        "--accent);"
        "stroke-width:2}.max{stroke:var(--soft);stroke-width:1.5}.poll{fill:var(--warm)}\n"
        ".many{display:grid;grid-template-columns:repeat(auto-fill,minmax(270px,1fr));gap:26px 22px}.many "
        "h3{font-size:15px;"
        "margin:0;display:flex;justify-content:space-between;gap:8px}.many h3 "
        "span{font-weight:400;color:var(--soft);"
        "font-size:13px}.ghost{stroke:var(--ghost);stroke-width:1;opacity:.55}.own{stroke:var(--accent);"
        "stroke-width:2.5;"
        "stroke-linecap:round}.dot{fill:var(--accent)}\n"
        ".props{font-size:12.5px;table-layout:fixed}.props th,.props td{padding:5px "
        "5px;overflow-wrap:anywhere}"
        ".props th:first-child{width:112px}.props td.yes{font-weight:600}\n"
        ".cards{display:none}details{background:var(--panel);border-radius:10px;padding:10px 14px;margin:8px "
        "0}summary{font-weight:600;"
        "cursor:pointer}dl{display:grid;grid-template-columns:auto 1fr;gap:2px "
        "14px;font-size:14px;margin:10px 0 4px}dt{"
        "color:var(--soft)}dd{margin:0;text-align:right;overflow-wrap:anywhere}\n"
        "code{font-family:ui-monospace,'DejaVu Sans Mono',monospace;font-size:.9em;overflow-wrap:anywhere}\n"
        ".choose "
        "td:last-child{white-space:nowrap}@media(max-width:1080px){.propswide{display:none}.cards{display:"
        "block}}"
        "@media(max-width:860px){.wide{display:none}}"
        "@media(max-width:560px){main{padding:20px 14px 44px}h1{font-size:25px}th,td{padding:7px "
        "5px}table{font-size:14px}"
        ".bar{display:none}.choose "
        "td:last-child{white-space:normal}.rows{grid-template-columns:minmax(0,1fr)}.rows>div{line-height:"
        "20px;margin-top:8px}.rows>div:empty{margin:0}.choose td,.choose "
        "th{display:block;border:0;padding:2px 0}.choose tr{display:block;padding:10px 0;"
        "border-bottom:1px solid var(--line)}.choose thead{display:none}}\n";

void report_text(FILE *file, const char *text) {
        for (; *text; text++)
                switch (*text) {
                case '<':
                        fputs("&lt;", file);
                        break;
                case '>':
                        fputs("&gt;", file);
                        break;
                case '&':
                        fputs("&amp;", file);
                        break;
                case '"':
                        fputs("&quot;", file);
                        break;
                default:
                        fputc((unsigned char)*text < 0x20 ? ' ' : *text, file);
                }
}

/* --- numbers in words --- */

static const char *micros(double ns, char *text, size_t cap) {
        if (ns >= 1e7)
                snprintf(text, cap, "%.0f\u00a0ms", ns / 1e6);
        else if (ns >= 1e6)
                snprintf(text, cap, "%.1f\u00a0ms", ns / 1e6);
        else
                snprintf(text, cap, ns < 1e5 ? "%.1f\u00a0µs" : "%.0f\u00a0µs", ns / 1e3);
        return text;
}

static const char *short_count(double value, const char *unit, char *text, size_t cap) {
        if (value >= 1e9)
                snprintf(text, cap, "%.1f\u00a0G%s", value / 1e9, unit);
        else if (value >= 1e6)
                snprintf(text, cap, value >= 1e8 ? "%.0f\u00a0M%s" : "%.1f\u00a0M%s", value / 1e6, unit);
        else if (value >= 1e3)
                snprintf(text, cap, "%.0f\u00a0k%s", value / 1e3, unit);
        else
                snprintf(text, cap, "%.0f\u00a0%s", value, unit);
        return text;
}

/* --- head --- */

static void processor(char *text, size_t cap) {
        FILE *file = fopen("/proc/cpuinfo", "re");
        char line[256];

        snprintf(text, cap, "unknown processor");
        while (file && fgets(line, sizeof(line), file))
                if (strncmp(line, "model name", 10) == 0 && strchr(line, ':')) {
                        line[strcspn(line, "\n")] = '\0';
                        snprintf(text, cap, "%s", strchr(line, ':') + 2);
                        break;
                }
        if (file)
                fclose(file);
}

static void write_head(FILE *file, const struct demo_report *report) {
        struct utsname name = {0};
        time_t now = time(NULL);
        char date[32] = "", cpu[128];
        struct tm parts;
        unsigned n_right = 0;
        bool cut = false;

        uname(&name);
        processor(cpu, sizeof(cpu));
        if (gmtime_r(&now, &parts))
                strftime(date, sizeof(date), "%Y-%m-%d %H:%M UTC", &parts);
        for (unsigned i = 0; i < report->n_rows; i++) {
                n_right += report->rows[i].verified;
                cut |= report->rows[i].verified && report->rows[i].carried.n_files < report->corpus->n_files;
        }
        fprintf(file,
                "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
                "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">"
                "<link rel=\"icon\" href=\"data:,\"><title>confab: every mechanism, measured "
                "here</title>\n<style>%s</style></head>"
                "<body><main>\n<h1>Every mechanism, measured on this machine</h1>\n<p class=\"soft\">confab "
                "%s · %s · ",
                style, confab_version(), date);
        report_text(file, cpu);
        fprintf(file, ", %ld processors · ", sysconf(_SC_NPROCESSORS_ONLN));
        report_text(file, name.sysname);
        fputc(' ', file);
        report_text(file, name.release);
        fprintf(file,
                "</p>\n<p>A source tree as a tar stream and %u files (%.0f MB), each a message, went through "
                "%u mechanisms "
                "between two real processes. The far end computed SHA-256 of every item: <b class=\"%s\">%u "
                "of %u "
                "carried everything right</b>.%s The whole took %.0f s.</p>\n",
                report->corpus->n_files, (double)report->corpus->n_bytes / 1e6, report->n_rows,
                n_right == report->n_rows ? "yes" : "bad", n_right, report->n_rows,
                cut ? " The machine was too busy to send some of them all files in their time." : "",
                report->seconds);
}

/* --- the best --- */

static double shortness(const struct demo_row *row) {
        return demo_point_p50(row) > 0 ? 1 / demo_point_p50(row) : 0;
}

static double width(const struct demo_row *row) {
        return row->bytes_per_s;
}

static bool any(const struct confab_properties *properties) {
        (void)properties;
        return true;
}

/* The best verified mechanism that @fits; NULL: none. */
static const struct demo_row *best(const struct demo_report *report, double (*value)(const struct demo_row *),
                                   bool (*fits)(const struct confab_properties *)) {
        const struct demo_row *found = NULL;

        for (unsigned i = 0; i < report->n_rows; i++) {
                const struct demo_row *row = &report->rows[i];

                if (row->verified && fits(&row->properties) && (!found || value(row) > value(found)))
                        found = row;
        }
        return found;
}

static void write_best(FILE *file, const struct demo_report *report) {
        const struct demo_row *row;
        char text[32];

        fputs("<div class=\"best\">", file);
        if ((row = best(report, shortness, any)))
                fprintf(file,
                        "<div><span>shortest round trip, 64 bytes</span><b>%s</b><span>%s, half of them are "
                        "faster</span></div>",
                        micros(demo_point_p50(row), text, sizeof(text)), row->name);
        if ((row = best(report, demo_point_rate, any)))
                fprintf(file,
                        "<div><span>most messages of 64 bytes</span><b>%s</b><span>%s, one way</span></div>",
                        short_count(demo_point_rate(row), "/s", text, sizeof(text)), row->name);
        if ((row = best(report, width, any)))
                fprintf(file,
                        "<div><span>most verified bytes of files</span><b>%s</b><span>%s, hashed at the far "
                        "end</span></div>",
                        short_count(row->bytes_per_s, "B/s", text, sizeof(text)), row->name);
        fputs("</div>\n", file);
}

/* --- the result table --- */

static void write_result(FILE *file, const struct demo_row *row, unsigned place) {
        char a[32], b[32], c[32], d[32];

        fprintf(file, "<tr><td class=\"n wide\">%u</td><td>%s</td>", place, row->name);
        if (!row->verified) {
                fputs("<td class=\"bad\" colspan=\"3\">failed: ", file);
                report_text(file, row->failed ? row->error : "something did not arrive right");
                fputs("</td><td class=\"wide\" colspan=\"5\"></td></tr>\n", file);
                return;
        }
        fprintf(file,
                "<td class=\"n\">%.1f<span class=\"bar\"><i style=\"width:%.0f%%\"></i></span></td><td "
                "class=\"n\">%s</td>"
                "<td class=\"n wide\">%s</td><td class=\"n wide\">%s</td><td class=\"n\">%s</td><td "
                "class=\"n wide\">%" PRIu64 "</td><td class=\"n wide\">%" PRIu64
                "</td><td class=\"n wide\">%" PRIu64 "</td></tr>\n",
                row->fitness, row->fitness, micros(demo_point_p50(row), a, sizeof(a)),
                micros((double)row->points[0].latency.p99, b, sizeof(b)),
                short_count(demo_point_rate(row), "", c, sizeof(c)),
                short_count(row->bytes_per_s, "B/s", d, sizeof(d)), row->carried.n_files,
                row->carried.n_parts, row->carried.n_resent);
}

static void write_results(FILE *file, const struct demo_report *report) {
        fputs("<h2>By fitness</h2>\n<p class=\"soft\">Fitness, 0 to 100: the geometric mean of three figures "
              "as shares of the best "
              "one here: median round trip of 64 bytes, messages of 64 bytes a second, verified bytes of the "
              "files a second. A "
              "mechanism that delivered anything wrong has 0. It measures speed; what each one promises "
              "stands at the end.</p>\n"
              "<figure><table><thead><tr><th class=\"n wide\">#</th><th>mechanism</th><th "
              "class=\"n\">fitness</th>"
              "<th class=\"n\">round trip p50</th><th class=\"n wide\">p99</th><th class=\"n "
              "wide\">messages/s</th>"
              "<th class=\"n\">files</th><th class=\"n wide\">files right</th><th class=\"n "
              "wide\">messages</th>"
              "<th class=\"n wide\">sent again</th></tr></thead><tbody>\n",
              file);
        for (unsigned i = 0; i < report->n_rows; i++)
                write_result(file, &report->rows[i], i + 1);
        fputs("</tbody></table></figure>\n", file);
}

/* --- which to choose when --- */

static bool is_shared_queue(const struct confab_properties *p) {
        return p->connection == CONFAB_CONNECTION_NONE && p->boundaries == CONFAB_BOUNDARIES_MESSAGE &&
               p->loss == CONFAB_LOSS_NONE && p->reach == CONFAB_REACH_MACHINE;
}

static bool is_connected_here(const struct confab_properties *p) {
        return p->connection == CONFAB_CONNECTION_ACCEPTED && p->reach == CONFAB_REACH_MACHINE;
}

static bool is_whole_duplex(const struct confab_properties *p) {
        return is_connected_here(p) && p->boundaries == CONFAB_BOUNDARIES_MESSAGE;
}

static bool is_family(const struct confab_properties *p) {
        return p->connection == CONFAB_CONNECTION_MADE && p->addressing == CONFAB_ADDRESSING_NONE &&
               p->direction == CONFAB_DIRECTION_SIMPLEX; /* not stdio://, which others have made */
}

static bool is_program(const struct confab_properties *p) {
        return p->addressing == CONFAB_ADDRESSING_COMMAND;
}

static bool is_given(const struct confab_properties *p) {
        return p->addressing == CONFAB_ADDRESSING_NUMBER;
}

static bool has_priorities(const struct confab_properties *p) {
        return p->priorities > 1;
}

static bool has_types(const struct confab_properties *p) {
        return p->types == CONFAB_YES;
}

static bool passes_descriptors(const struct confab_properties *p) {
        return p->descriptors == CONFAB_YES && p->connection == CONFAB_CONNECTION_ACCEPTED;
}

static bool reaches_network(const struct confab_properties *p) {
        return p->reach == CONFAB_REACH_NETWORK && p->loss == CONFAB_LOSS_NONE;
}

static bool reaches_loosely(const struct confab_properties *p) {
        return p->reach == CONFAB_REACH_NETWORK && p->boundaries == CONFAB_BOUNDARIES_MESSAGE;
}

static bool is_named_pipe(const struct confab_properties *p) {
        return p->addressing == CONFAB_ADDRESSING_PATH && p->direction == CONFAB_DIRECTION_SIMPLEX;
}

static const struct need {
        const char *need, *because;
        bool (*fits)(const struct confab_properties *properties);
        double (*value)(const struct demo_row *row);
} needs[] = {
        {"A parent and its child, or a pipeline",
         "made before the fork, needs no name, leaves nothing behind", is_family, shortness},
        {"A program as the other end", "its standard input and output, whatever it is written in", is_program,
         shortness},
        {"What a shell or systemd has opened already", "the ends a program is started with", is_given,
         shortness},
        {"A server and its clients on this machine",
         "a connection for each, both directions, the kernel proves who is there", is_connected_here,
         shortness},
        {"The same, with whole messages", "boundaries without framing of your own", is_whole_duplex,
         shortness},
        {"Many senders, one inbox, nothing lost", "no connections; a full queue makes the sender wait",
         is_shared_queue, demo_point_rate},
        {"Urgent before ordinary", "the highest priority is received first", has_priorities, shortness},
        {"Several kinds of messages in one queue", "a receiver picks by type", has_types, shortness},
        {"Handing over open files", "descriptors travel inside messages", passes_descriptors, shortness},
        {"Programs that only know files; the shell", "opened by its path like a file", is_named_pipe,
         shortness},
        {"Another machine", "the same program, another address; nothing lost, nothing reordered",
         reaches_network, width},
        {"Another machine, where late is as bad as lost",
         "whole datagrams, no connection; a loss stays a loss", reaches_loosely, shortness},
};

static void write_choices(FILE *file, const struct demo_report *report) {
        char a[32], b[32], c[32];

        fputs("<h2>Which to choose when</h2>\n<p class=\"soft\">Among the mechanisms whose properties fit, "
              "the one that was fastest "
              "here: median round trip, messages of 64 bytes a second, verified bytes a "
              "second.</p>\n<figure><table class=\"choose\">"
              "<thead><tr><th>You need</th><th>Take</th><th>Because</th><th>Here</th></tr></thead><tbody>\n",
              file);
        for (unsigned i = 0; i < sizeof(needs) / sizeof(needs[0]); i++) {
                const struct demo_row *row = best(report, needs[i].value, needs[i].fits);

                if (row)
                        fprintf(file,
                                "<tr><td>%s</td><td><b>%s</b></td><td>%s</td><td class=\"soft\">%s · %s · "
                                "%s</td></tr>\n",
                                needs[i].need, row->name, needs[i].because,
                                micros(demo_point_p50(row), a, sizeof(a)),
                                short_count(demo_point_rate(row), "/s", b, sizeof(b)),
                                short_count(row->bytes_per_s, "B/s", c, sizeof(c)));
        }
        fputs("</tbody></table></figure>\n", file);
}

/* --- properties --- */

/* The value of property @index in words; numbers of bytes shortened. False past the last. */
static bool property(const struct demo_row *row, unsigned index, const char **namep, const char **helpp,
                     char *value, size_t cap) {
        return confab_property(&row->properties, index, namep, helpp, value, cap) >= 0;
}

static const char *kind(const char *value) {
        return strcmp(value, "yes") == 0                                ? " class=\"yes\""
               : strcmp(value, "no") == 0 || strcmp(value, "none") == 0 ? " class=\"no\""
                                                                        : "";
}

static void write_properties_wide(FILE *file, const struct demo_report *report) {
        const char *name, *help;
        char value[128];

        fputs("<figure class=\"propswide\"><table class=\"props\"><thead><tr><th>property</th>", file);
        for (unsigned i = 0; i < report->n_rows; i++)
                fprintf(file, "<th>%s</th>", report->rows[i].name);
        fputs("</tr></thead><tbody>\n", file);
        for (unsigned p = 0;
             report->n_rows && property(&report->rows[0], p, &name, &help, value, sizeof(value)); p++) {
                fprintf(file, "<tr><th title=\"");
                report_text(file, help);
                fprintf(file, "\">%s</th>", name);
                for (unsigned i = 0; i < report->n_rows; i++) {
                        property(&report->rows[i], p, NULL, NULL, value, sizeof(value));
                        fprintf(file, "<td%s>%s</td>", kind(value), value);
                }
                fputs("</tr>\n", file);
        }
        fputs("</tbody></table></figure>\n", file);
}

static void write_properties_cards(FILE *file, const struct demo_report *report) {
        const char *name;
        char value[128];

        fputs("<div class=\"cards\">\n", file);
        for (unsigned i = 0; i < report->n_rows; i++) {
                fprintf(file, "<details%s><summary>%s</summary><dl>", i ? "" : " open", report->rows[i].name);
                for (unsigned p = 0; property(&report->rows[i], p, &name, NULL, value, sizeof(value)); p++)
                        fprintf(file, "<dt>%s</dt><dd%s>%s</dd>", name, kind(value), value);
                fputs("</dl></details>\n", file);
        }
        fputs("</div>\n", file);
}

static void write_end(FILE *file) {
        fputs("<h2>How this was measured</h2>\n<p>Two processes, each on a processor of its own where there "
              "are two. Round trips are a "
              "ping-pong after a warm-up, one message under way; a simplex mechanism takes two of its kind. "
              "Throughput counts what arrived, from the "
              "first send to the last receive; every message carries a number that the receiver checks. The "
              "files are mapped, sent with a header of "
              "80 bytes, and hashed (SHA-256) by the receiver; streams carry them with "
              "<code>frame=record</code>, mechanisms with a smaller "
              "maximum in parts. udp keeps three parts under way and sends again what is not acknowledged in "
              "20 ms.</p>\n"
              "<p>Other load on the machine shows in these figures; <code>confab bench --raw</code> compares "
              "with bare system calls in "
              "interleaved pairs, which is immune to it.</p>\n</main></body></html>\n",
              file);
}

int report_write(const char *path, const struct demo_report *report) {
        FILE *file = fopen(path, "we");

        if (!file)
                return -errno;
        write_head(file, report);
        write_best(file, report);
        write_results(file, report);
        report_plot_latency(file, report);
        report_plot_throughput(file, report);
        write_choices(file, report);
        fputs("<h2>What each one promises</h2>\n<p class=\"soft\">From <code>confab properties</code>; the "
              "conformance suite proves each "
              "cell. Sizes in bytes.</p>\n",
              file);
        write_properties_wide(file, report);
        write_properties_cards(file, report);
        write_end(file);
        if (ferror(file) | fclose(file))
                return -EIO;
        return 0;
}
