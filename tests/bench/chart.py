"""The bench's result as one SVG: a panel of bars for each scenario, shorter is better."""

from html import escape

COLOURS = {"floor": "#9aa5b1", "haproxy": "#6b8fb5", "nginx": "#7fb08a", "nghttpx": "#c2a36b",
           "envoy": "#a98bc0", "sluice": "#d1495b"}
PANEL_WIDTH, BAR, GAP, LEFT, RIGHT, COLUMNS = 440, 18, 6, 74, 80, 2
STYLE = ("<style>text{font:12px system-ui,sans-serif;fill:#1f2933}"
         ".t{font-weight:600;font-size:13px}.s{fill:#616e7c}</style>")


def panel(title, unit, bars, x, y):
    """bars: (name, value, low, high). Returns SVG and the panel's height."""
    out = [f'<text class="t" x="{x}" y="{y + 14}">{escape(title)}</text>',
           f'<text class="s" x="{x}" y="{y + 30}">{escape(unit)}</text>']
    top = max([high for _, _, _, high in bars] + [1e-9])
    scale = (PANEL_WIDTH - LEFT - RIGHT) / top
    at = y + 40
    for name, value, low, high in bars:
        width = max(value * scale, 1)
        middle = at + BAR / 2
        out.append(f'<text x="{x + LEFT - 8}" y="{middle + 4}" text-anchor="end">{name}</text>')
        out.append(f'<rect x="{x + LEFT}" y="{at}" width="{width:.1f}" height="{BAR}" rx="2" '
                   f'fill="{COLOURS.get(name, "#888888")}"/>')
        if high > low:
            out.append(f'<line x1="{x + LEFT + low * scale:.1f}" x2="{x + LEFT + high * scale:.1f}" '
                       f'y1="{middle}" y2="{middle}" stroke="#1f2933" stroke-width="1.5"/>')
        text = f"{value:.1f}" if value < 100 else f"{value:,.0f}"
        out.append(f'<text x="{x + LEFT + max(width, high * scale) + 6:.1f}" y="{middle + 4}">'
                   f'{text}</text>')
        at += BAR + GAP
    return out, at - y + 16


def panels_of(results):
    for name, r in results["scenarios"].items():
        bars = [(proxy, s["cost"]["median"], s["cost"]["min"], s["cost"]["max"])
                for proxy, s in r["proxies"].items() if s["cost"]]
        unit = "CPU µs a request" if r["unit"] == "us" else "CPU ms a GiB"
        yield f"{name}: {r['title']}", unit, bars
    idle = results.get("idle-10k")
    if idle:
        yield ("idle-10k: memory of idle keep-alive connections", "RssAnon, bytes a connection",
               [(p, max(m["bytes_per_connection"], 0), 0, max(m["bytes_per_connection"], 0))
                for p, m in idle.items()])
        yield ("idle-10k: memory in all", "RssAnon, MB",
               [(p, m["after"]["rss_anon"] / 1e6, 0, m["after"]["rss_anon"] / 1e6)
                for p, m in idle.items()])
    start = results.get("start")
    if start and start["rounds"]:
        bars = []
        for proxy in start["rounds"][0]:
            times = sorted(r[proxy] for r in start["rounds"] if r[proxy] == r[proxy])
            if times:
                bars.append((proxy, times[len(times) // 2], times[0], times[-1]))
        yield "start: from exec to the first answer", "ms", bars


def svg(results):
    body, heights = [], [56] * COLUMNS
    for i, (title, unit, bars) in enumerate(panels_of(results)):
        column = i % COLUMNS
        if column == 0:
            heights = [max(heights)] * COLUMNS
        drawn, height = panel(title, unit, bars, 20 + column * (PANEL_WIDTH + 20), heights[column])
        body += drawn
        heights[column] += height + 10
    width, height = 20 + COLUMNS * (PANEL_WIDTH + 20), max(heights) + 10
    head = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
            f'width="{width}" height="{height}">', STYLE,
            f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
            '<text class="t" x="20" y="26">What a proxy costs: one worker each, one CPU</text>',
            f'<text class="s" x="20" y="42">medians of {results["rounds"]} rounds, lines from the '
            f'smallest to the largest; shorter is better; {escape(results["when"])}</text>']
    return "\n".join(head + body + ["</svg>", ""])
