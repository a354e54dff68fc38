/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/* The plots: SVG with horizontal places in percent and text in pixels, so that they stretch without shrinking their labels. */
#include "arithmetic.h"
#include "demo.h"

/* --- latency: one line a mechanism, logarithmic --- */

struct axis {
        double low, high; /* powers of ten */
};

static double place(const struct axis *axis, double value) {
        double share = cli_log2(value / axis->low) / cli_log2(axis->high / axis->low);

        return 100 * cli_least(1, cli_most(0, share));
}

static struct axis latency_axis(const struct demo_report *report) {
        struct axis axis = {1e9, 1e3};

        for (unsigned i = 0; i < report->n_rows; i++) {
                const struct measure_latency *latency = &report->rows[i].points[0].latency;
                double low = (double)report->rows[i].polling.p50;

                if (!report->rows[i].verified || !latency->count)
                        continue;
                if (low > 0)
                        axis.low = cli_least(axis.low, low);
                axis.low = cli_least(axis.low, (double)latency->p50);
                axis.high = cli_most(axis.high, (double)latency->max);
        }
        axis.low = cli_decade_below(cli_most(axis.low, 1));
        axis.high = cli_decade_above(axis.high);
        if (axis.high <= axis.low)
                axis.high = axis.low * 10;
        return axis;
}

static void write_grid(FILE *file, const struct axis *axis) {
        double tick = axis->low;

        while (tick <= axis->high * 1.01) {
                fprintf(file, "<line class=\"grid\" x1=\"%.2f%%\" x2=\"%.2f%%\" y1=\"0\" y2=\"30\"/>",
                        place(axis, tick), place(axis, tick));
                tick *= 10;
        }
}

static void write_ticks(FILE *file, const struct axis *axis) {
        /* On a narrow screen there is room for six words at most. */
        double tick = axis->low, step = axis->high / axis->low > 1.01e5 ? 100 : 10;

        fputs("<div></div><svg height=\"20\">", file);
        while (tick <= axis->high * 1.01) {
                const char *anchor = tick == axis->low ? "start" : "middle";

                fprintf(file, "<text x=\"%.2f%%\" y=\"15\" text-anchor=\"%s\">", place(axis, tick),
                        tick * 1.01 > axis->high ? "end" : anchor);
                if (tick >= 1e9)
                        fprintf(file, "%g s", tick / 1e9);
                else if (tick >= 1e6)
                        fprintf(file, "%g ms", tick / 1e6);
                else
                        fprintf(file, "%g µs", tick / 1e3);
                fputs("</text>", file);
                tick *= step;
        }
        fputs("</svg>\n", file);
}

static void write_range(FILE *file, const struct axis *axis, const struct demo_row *row) {
        const struct measure_latency *latency = &row->points[0].latency;
        double p50 = place(axis, (double)latency->p50), p99 = place(axis, (double)latency->p99);
        double p999 = place(axis, (double)latency->p999), max = place(axis, (double)latency->max);

        fprintf(file,
                "<div>%s</div><svg height=\"30\" role=\"img\" aria-label=\"%s: p50 %.1f, p99 %.1f, p99.9 "
                "%.1f, max %.1f "
                "microseconds; polling p50 %.1f\">",
                row->name, row->name, (double)latency->p50 / 1e3, (double)latency->p99 / 1e3,
                (double)latency->p999 / 1e3, (double)latency->max / 1e3, (double)row->polling.p50 / 1e3);
        write_grid(file, axis);
        if (latency->count)
                fprintf(file,
                        "<line class=\"max\" x1=\"%.2f%%\" x2=\"%.2f%%\" y1=\"15\" y2=\"15\"/><line "
                        "class=\"range\" x1=\"%.2f%%\" "
                        "x2=\"%.2f%%\" y1=\"15\" y2=\"15\"/><line class=\"p999\" x1=\"%.2f%%\" x2=\"%.2f%%\" "
                        "y1=\"9\" y2=\"21\"/>"
                        "<line class=\"max\" x1=\"%.2f%%\" x2=\"%.2f%%\" y1=\"11\" y2=\"19\"/><circle "
                        "class=\"p99\" cx=\"%.2f%%\" "
                        "cy=\"15\" r=\"4.5\"/><circle class=\"p50\" cx=\"%.2f%%\" cy=\"15\" r=\"5.5\"/>",
                        p50, max, p50, p99, p999, p999, max, max, p99, p50);
        if (row->polling.count)
                fprintf(file, "<circle class=\"poll\" cx=\"%.2f%%\" cy=\"15\" r=\"4\"/>",
                        place(axis, (double)row->polling.p50));
        fputs("</svg>\n", file);
}

void report_plot_latency(FILE *file, const struct demo_report *report) {
        struct axis axis = latency_axis(report);

        fputs("<h2>Round trips of 64 bytes</h2>\n<p class=\"soft\">There and back, logarithmic. Blocking "
              "waits in the kernel, so it "
              "includes waking a process on another processor; polling never sleeps.</p>\n<div class=\"key\">"
              "<span><svg><circle class=\"p50\" cx=\"13\" cy=\"6\" r=\"5.5\"/></svg>median</span>"
              "<span><svg><circle class=\"p99\" cx=\"13\" cy=\"6\" r=\"4.5\"/></svg>99 %</span>"
              "<span><svg><line class=\"p999\" x1=\"13\" x2=\"13\" y1=\"0\" y2=\"12\"/></svg>99.9 %</span>"
              "<span><svg><line class=\"max\" x1=\"4\" x2=\"22\" y1=\"6\" y2=\"6\"/><line class=\"max\" "
              "x1=\"22\" x2=\"22\" y1=\"2\" "
              "y2=\"10\"/></svg>longest</span>"
              "<span><svg><circle class=\"poll\" cx=\"13\" cy=\"6\" r=\"4\"/></svg>median, "
              "polling</span></div>\n"
              "<figure class=\"rows\">\n",
              file);
        for (unsigned i = 0; i < report->n_rows; i++)
                if (report->rows[i].verified)
                        write_range(file, &axis, &report->rows[i]);
        write_ticks(file, &axis);
        fputs("</figure>\n", file);
}

/* --- throughput by size: one small plot a mechanism, the others as ghosts behind it --- */

enum { PLOT_TOP = 8, PLOT_HEIGHT = 120, PLOT_LEFT = 20, PLOT_RIGHT = 97 }; /* horizontally in percent */

static double size_place(uint64_t size) {
        return PLOT_LEFT + (PLOT_RIGHT - PLOT_LEFT) * (cli_log2((double)size) - 6) / 10; /* 64 to 65536 */
}

static double rate_place(const struct axis *axis, double rate) {
        return PLOT_TOP + PLOT_HEIGHT * (1 - place(axis, cli_most(rate, 1)) / 100);
}

static struct axis rate_axis(const struct demo_report *report) {
        struct axis axis = {1e12, 1e6};

        for (unsigned i = 0; i < report->n_rows; i++)
                for (unsigned p = 0; p < DEMO_POINTS; p++) {
                        double rate = report->rows[i].points[p].throughput.bytes_per_s;

                        if (report->rows[i].points[p].size && rate > 0) {
                                axis.low = cli_least(axis.low, rate);
                                axis.high = cli_most(axis.high, rate);
                        }
                }
        axis.low = cli_decade_below(axis.low);
        axis.high = cli_decade_above(axis.high);
        if (axis.high <= axis.low)
                axis.high = axis.low * 10;
        return axis;
}

static void write_curve(FILE *file, const struct axis *axis, const struct demo_row *row, const char *class) {
        const struct measure_point *last = NULL;

        for (unsigned p = 0; p < DEMO_POINTS; p++) {
                const struct measure_point *point = &row->points[p];

                if (!point->size || point->throughput.bytes_per_s <= 0)
                        continue;
                if (last)
                        fprintf(file,
                                "<line class=\"%s\" x1=\"%.2f%%\" x2=\"%.2f%%\" y1=\"%.1f\" y2=\"%.1f\"/>",
                                class, size_place(last->size), size_place(point->size),
                                rate_place(axis, last->throughput.bytes_per_s),
                                rate_place(axis, point->throughput.bytes_per_s));
                last = point;
        }
}

static void write_frame(FILE *file, const struct axis *axis) {
        static const struct {
                uint64_t size;
                const char *text, *anchor;
        } sizes[] = {{64, "64 B", "middle"},
                     {1024, "1 KiB", "middle"},
                     {8192, "8 KiB", "middle"},
                     {65536, "64 KiB", "end"}};

        /* Labels of 12 pixels: at most six of them in the height of a plot. */
        double step = axis->high / axis->low > 1.01e5 ? 100 : 10, tick = axis->low;

        while (tick <= axis->high * 1.01) {
                double y = rate_place(axis, tick);

                fprintf(file,
                        "<line class=\"grid\" x1=\"%d%%\" x2=\"%d%%\" y1=\"%.1f\" y2=\"%.1f\"/><text "
                        "x=\"%d%%\" y=\"%.1f\" "
                        "dx=\"-6\" text-anchor=\"end\">%g %s</text>",
                        PLOT_LEFT, PLOT_RIGHT, y, y, PLOT_LEFT, y + 4,
                        tick >= 1e9   ? tick / 1e9
                        : tick >= 1e6 ? tick / 1e6
                                      : tick / 1e3,
                        tick >= 1e9   ? "GB"
                        : tick >= 1e6 ? "MB"
                                      : "kB");
                tick *= step;
        }
        for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
                fprintf(file, "<text x=\"%.2f%%\" y=\"%d\" text-anchor=\"%s\">%s</text>",
                        size_place(sizes[i].size), PLOT_TOP + PLOT_HEIGHT + 18, sizes[i].anchor,
                        sizes[i].text);
}

static void write_small(FILE *file, const struct demo_report *report, const struct axis *axis,
                        const struct demo_row *row) {
        double best = 0;

        for (unsigned p = 0; p < DEMO_POINTS; p++)
                best = cli_most(best, row->points[p].throughput.bytes_per_s);
        fprintf(file,
                "<div><h3>%s <span>up to %.*f %s/s</span></h3><svg height=\"%d\" role=\"img\" "
                "aria-label=\"throughput of %s by "
                "size\">",
                row->name, best >= 1e9 || best < 1e7 ? 1 : 0, best >= 1e9 ? best / 1e9 : best / 1e6,
                best >= 1e9 ? "GB" : "MB", PLOT_TOP + PLOT_HEIGHT + 24, row->name);
        write_frame(file, axis);
        for (unsigned i = 0; i < report->n_rows; i++)
                if (&report->rows[i] != row)
                        write_curve(file, axis, &report->rows[i], "ghost");
        write_curve(file, axis, row, "own");
        for (unsigned p = 0; p < DEMO_POINTS; p++)
                if (row->points[p].size && row->points[p].throughput.bytes_per_s > 0)
                        fprintf(file,
                                "<circle class=\"dot\" cx=\"%.2f%%\" cy=\"%.1f\" r=\"4\"><title>%llu bytes: "
                                "%.0f messages/s, "
                                "%.1f MB/s</title></circle>",
                                size_place(row->points[p].size),
                                rate_place(axis, row->points[p].throughput.bytes_per_s),
                                (unsigned long long)row->points[p].size,
                                row->points[p].throughput.messages_per_s,
                                row->points[p].throughput.bytes_per_s / 1e6);
        fputs("</svg></div>\n", file);
}

void report_plot_throughput(FILE *file, const struct demo_report *report) {
        struct axis axis = rate_axis(report);

        fputs("<h2>Throughput by message size</h2>\n<p class=\"soft\">Bytes a second, one way, blocking, "
              "both axes logarithmic; the "
              "others stand behind each in grey. Where a line ends early the mechanism carries no larger "
              "message.</p>\n"
              "<figure class=\"many\">\n",
              file);
        for (unsigned i = 0; i < report->n_rows; i++)
                if (report->rows[i].verified)
                        write_small(file, report, &axis, &report->rows[i]);
        fputs("</figure>\n", file);
}
