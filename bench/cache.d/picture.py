"""Draws grouped bars as SVG that can be read on light and on dark pages."""

from html import escape

# Each pair is told apart from the others on white and on near-black, and by people who see fewer colours.
COLOURS = [("#8a8f98", "#9aa0aa"), ("#b3577e", "#e08bb0"), ("#c98a1b", "#e3b04b"), ("#1b7f79", "#4cc2b8"),
           ("#2f5fd0", "#7fa6ff"), ("#5b3a8e", "#b79aec"), ("#4d7c2a", "#94c973")]
BAR, GAP, LEFT, TOP, HEIGHT = 22, 26, 64, 64, 240


def bars(title, unit, groups, names, top=None, shown="{:,.0f}"):
    """`groups` is a list of (label, {name: (value, whisker or None)}); a whisker is a second, higher value."""
    scale = nice(top or max(max(pair[1] or 0, pair[0]) for _, values in groups for pair in values.values()))
    width_of_group = BAR * len(names)
    width = max(LEFT + sum(width_of_group + GAP for _ in groups) + 16, LEFT + 130 * len(names))
    gap = (width - LEFT - 16) / len(groups) - width_of_group
    height = TOP + HEIGHT + 46
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img">',
           f"<title>{escape(title)}</title>", style(len(names)),
           f'<rect class="page" width="{width}" height="{height}" rx="6"/>',
           f'<text class="title" x="16" y="24">{escape(title)}</text>']
    for place, name in enumerate(names):
        left = 16 + 130 * place
        out.append(f'<rect class="c{place}" x="{left}" y="36" width="10" height="10" rx="2"/><text x="{left + 15}" y="45">{escape(name)}</text>')
    for step in range(5):
        value = scale * step / 4
        level = TOP + HEIGHT - HEIGHT * step / 4
        out.append(f'<line class="grid" x1="{LEFT}" x2="{width - 8}" y1="{level}" y2="{level}"/>')
        out.append(f'<text class="end" x="{LEFT - 6}" y="{level + 4}">{short(value)}</text>')
    out.append(f'<text x="16" y="{height - 8}">{escape(unit)}</text>')
    left = LEFT + gap / 2
    for label, values in groups:
        for place, name in enumerate(names):
            if name in values:
                value, whisker = values[name]
                size = HEIGHT * value / scale
                begin, level = left + BAR * place, TOP + HEIGHT - size
                out.append(f'<rect class="c{place}" x="{begin + 1:.1f}" y="{level:.1f}" width="{BAR - 3}" height="{size:.1f}" rx="2">'
                           f"<title>{escape(f'{label}, {name}: {shown.format(value)}')}</title></rect>")
                if whisker:
                    high = TOP + HEIGHT - HEIGHT * min(whisker, scale) / scale
                    middle = begin + BAR / 2 - 0.5
                    # One that goes beyond the picture has no end.
                    cap = f"M{middle - 4:.1f} {high:.1f}h8" if whisker <= scale else ""
                    out.append(f'<path class="whisker" d="M{middle:.1f} {level:.1f}V{high:.1f}{cap}"/>')
        out.append(f'<text class="middle" x="{left + width_of_group / 2:.1f}" y="{TOP + HEIGHT + 18}">{escape(label)}</text>')
        left += width_of_group + gap
    return "\n".join([*out, "</svg>", ""])


def style(count):
    light = "".join(f".c{place}{{fill:{COLOURS[place][0]}}}" for place in range(count))
    dark = "".join(f".c{place}{{fill:{COLOURS[place][1]}}}" for place in range(count))
    return ("<style>svg{color:#1f2328}text{font:12px system-ui,sans-serif;fill:currentColor}.title{font-size:15px;font-weight:600}"
            ".end{text-anchor:end}.middle{text-anchor:middle}.page{fill:none}.grid{stroke:currentColor;stroke-opacity:.18}"
            f".whisker{{stroke:currentColor;stroke-opacity:.7;fill:none}}{light}"
            f"@media(prefers-color-scheme:dark){{svg{{color:#e6edf3}}{dark}}}</style>")


def nice(value):
    """The next round number that is not below."""
    size = 1.0
    while size * 10 <= value:
        size *= 10
    while size > value:
        size /= 10
    return next(size * step for step in (1, 1.2, 1.6, 2, 2.4, 3.2, 4, 5, 6, 8, 10) if size * step >= value)


def short(value):
    for size, unit in ((1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{unit}"
    return f"{value:.3g}"
