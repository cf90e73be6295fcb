"""Writes parts of docs/benchmarks.md, each between markers of its own, and leaves everything else as it is."""

import os
import sys

HEADING = "# Benchmarks\n"


def put(path, part, lines):
    """Puts the lines where that part stands, or at the end."""
    begin, end = f"<!-- bench-cache {part}: begin -->", f"<!-- bench-cache {part}: end -->"
    text = HEADING
    if os.path.exists(path):
        with open(path, encoding="utf-8") as page:
            text = page.read()
    block = "\n".join([begin, *lines, end])
    before, found, rest = text.partition(begin)
    if found:
        _, closed, after = rest.partition(end)
        if not closed:
            raise SystemExit(f"bench/cache: {path} has '{begin}' without '{end}'")
        text = before + block + after
    else:
        text = text.rstrip("\n") + "\n\n" + block + "\n"
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    with open(path, "w", encoding="utf-8") as page:
        page.write(text)


def table(head, rows):
    """A table in Markdown."""
    return ["| " + " | ".join(head) + " |", "| " + " | ".join("---" for _ in head) + " |", *("| " + " | ".join(row) + " |" for row in rows)]


def cell(figure, shown="{:,.0f}", base=False):
    """A figure with its ratio, and between which ratios the rounds lie."""
    text = shown.format(figure.median)
    return text if base else f"{text} **{figure.ratio:.2f}** ({figure.least:.2f}-{figure.most:.2f})"


if __name__ == "__main__":
    # page.py PAGE PART: puts what standard input says.
    put(sys.argv[1], sys.argv[2], sys.stdin.read().rstrip("\n").split("\n"))
