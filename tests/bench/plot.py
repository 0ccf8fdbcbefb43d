# SPDX-License-Identifier: MIT
"""Figures as pictures: self-contained SVG, with a logarithmic axis."""
import html
import math

LABELS, CHART, ROW, TOP = 330, 560, 26, 56
STYLE = ("text{font:12px sans-serif;fill:#222}.t{font:bold 15px sans-serif}.g{stroke:#ddd}.b{fill:#2d7dbb}"
         ".s{stroke:#222}path{fill:none;stroke-width:2}")
COLOURS = ("#2d7dbb", "#c0392b", "#3c8d5a", "#b8860b", "#7d3c98")


def begin(title, width, height):
    return [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}">', f"<style>{STYLE}</style>",
            '<rect width="100%" height="100%" fill="#fff"/>', text(12, 24, title, "t")]


def text(x, y, words, kind="", anchor="start"):
    return f'<text x="{x:.0f}" y="{y:.0f}" class="{kind}" text-anchor="{anchor}">{html.escape(str(words))}</text>'


def ticks(low, high):
    return [10 ** power for power in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)]


def bars(title, rows, unit):
    """@rows: (label, value, (least, most)), on an axis from 0.5 up."""
    top = max(row[1] for row in rows) * 1.3

    def x_of(value):
        return LABELS + CHART * math.log(max(value, 0.5) / 0.5) / math.log(top / 0.5)
    height = TOP + ROW * len(rows) + 16
    lines = begin(title, LABELS + CHART + 60, height)
    for tick in [1, 2, 5, 10, 20, 50, 100]:
        if tick < top:
            lines += [f'<line x1="{x_of(tick):.0f}" x2="{x_of(tick):.0f}" y1="{TOP - 4}" y2="{height - 12}" class="g"/>',
                      text(x_of(tick), TOP - 8, f"{tick}", anchor="middle")]
    lines.append(text(LABELS, TOP - 8, unit))
    for i, (label, value, (least, most)) in enumerate(rows):
        y = TOP + ROW * i
        lines += [text(12, y + 15, label), f'<rect x="{LABELS}" y="{y + 4}" width="{x_of(value) - LABELS:.0f}" '
                  f'height="{ROW - 10}" class="b"/>', text(x_of(most) + 6, y + 16, f"{value:.2f}"),
                  f'<line x1="{x_of(least):.0f}" x2="{x_of(most):.0f}" y1="{y + 12}" y2="{y + 12}" class="s"/>']
    return "\n".join(lines + ["</svg>", ""])


def curves(title, series, across, unit):
    """@series: {name: [(x, y)]}, both above 0, on two logarithmic axes."""
    points = [point for of in series.values() for point in of]
    across_ticks, up_ticks = ticks(*span(p[0] for p in points)), ticks(*span(p[1] for p in points))
    width, height, left, bottom = 760, 420, 90, 370

    def place(x, y):
        return (left + 500 * math.log10(x / across_ticks[0]) / max(math.log10(across_ticks[-1] / across_ticks[0]), 1),
                bottom - 300 * math.log10(y / up_ticks[0]) / max(math.log10(up_ticks[-1] / up_ticks[0]), 1))
    lines = begin(title, width, height)
    for tick in across_ticks:
        x, _ = place(tick, up_ticks[0])
        lines += [f'<line x1="{x:.0f}" x2="{x:.0f}" y1="70" y2="{bottom}" class="g"/>',
                  text(x, bottom + 18, f"{tick:g}", anchor="middle")]
    for tick in up_ticks:
        _, y = place(across_ticks[0], tick)
        lines += [f'<line x1="{left}" x2="{left + 500}" y1="{y:.0f}" y2="{y:.0f}" class="g"/>',
                  text(left - 8, y + 4, f"{tick:g}", anchor="end")]
    lines += [text(left + 500, bottom + 38, across, anchor="end"), text(12, 52, unit)]
    for i, (name, of) in enumerate(series.items()):
        colour = COLOURS[i % len(COLOURS)]
        path = " ".join(f"{'L' if k else 'M'}{x:.0f} {y:.0f}" for k, (x, y) in enumerate(place(*p) for p in of))
        lines += [f'<path d="{path}" stroke="{colour}"/>', text(place(*of[-1])[0] + 8, place(*of[-1])[1] + 4, name)]
    return "\n".join(lines + ["</svg>", ""])


def span(values):
    values = list(values)
    return min(values), max(values)
