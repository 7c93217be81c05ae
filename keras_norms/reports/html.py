"""A page as one HTML file that needs nothing else: no network, no script, pictures inside."""

import functools
import html
import re
import string

from keras_norms.reports import blocks, pictures, words

_PAGE = string.Template(
    """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<style>
$style</style>
</head>
<body>
<main>
<h1>$title</h1>
$body
</main>
</body>
</html>
"""
)

# On narrow screens a line of a table becomes a card, its cells named by their columns. The roles in the markup keep
# it a table for those who hear it.
_STYLE = """\
:root { color-scheme: light; }
body { margin: 0; background: #fff; color: #111; font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 75rem; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.7rem; line-height: 1.2; }
h2 { font-size: 1.25rem; margin-top: 2.5rem; border-bottom: 2px solid #111; }
p, li, figcaption, caption { max-width: 50rem; overflow-wrap: anywhere; }
a { color: inherit; }
code, pre { font-family: ui-monospace, monospace; font-size: 0.85em; overflow-wrap: anywhere; }
pre { white-space: pre-wrap; border: 1px solid #888; padding: 0.5rem; }
.table { overflow-x: auto; margin: 1.5rem 0; }
table { border-collapse: collapse; width: 100%; font-size: 0.875rem; line-height: 1.35; }
caption { text-align: left; font-weight: 600; padding-bottom: 0.5rem; }
th, td { text-align: left; vertical-align: top; padding: 0.35rem 0.5rem; border-bottom: 1px solid #aaa; }
td { overflow-wrap: break-word; }
td a { overflow-wrap: anywhere; }
td:not(.number) { min-width: 8em; }
thead th { vertical-align: bottom; border-bottom: 2px solid #111; }
tbody th { font-weight: 600; min-width: 10em; }
tbody th code { display: block; font-weight: 400; overflow-wrap: normal; }
.number { text-align: right; font-variant-numeric: tabular-nums; }
td.number { white-space: nowrap; }
figure { margin: 1.5rem 0; }
.panels { display: grid; gap: 0.75rem; grid-template-columns: repeat(auto-fit, minmax(min(100%, 26rem), 1fr)); }
.small .panels { grid-template-columns: repeat(auto-fill, minmax(min(100%, 17rem), 1fr)); }
svg { display: block; width: 100%; height: auto; }
.panels svg { max-width: 40rem; }
.legend { max-width: 24rem; }
figcaption { margin-top: 0.5rem; font-size: 0.9rem; }
@media screen and (max-width: 48rem) {
  table, caption, tbody, tr, th, td { display: block; }
  thead { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
  tr { border: 1px solid #888; border-radius: 4px; margin-bottom: 0.75rem; padding: 0.25rem 0.5rem; }
  tbody th { border-bottom: 1px solid #111; font-size: 1rem; }
  td, td.number { display: flex; justify-content: space-between; gap: 1rem; text-align: right; white-space: normal; }
  td::before { content: attr(data-label); text-align: left; flex: 0 1 auto; color: #444; }
  td > span { overflow-wrap: anywhere; }
  td:not(.number) > span { flex: 0 1 65%; }
  td.none { display: none; }
  tr > :last-child { border-bottom: 0; }
}
@page { size: A4; margin: 14mm 12mm; }
@media print {
  body { font-size: 10pt; }
  main { max-width: none; padding: 0; }
  h2, caption { break-after: avoid; }
  tr, figure:not(.small), .panels > *, pre, li { break-inside: avoid; }
  .table { overflow: visible; }
  table { font-size: 7.5pt; }
  th, td { padding: 1mm 1.2mm; }
  thead { display: table-header-group; }
  .panels { grid-template-columns: 1fr 1fr; }
  .small .panels { grid-template-columns: 1fr 1fr 1fr; }
  a { text-decoration: none; }
}
"""

_LINK = re.compile(r"https?://[^\s<>;,()]*[^\s<>;,().]")


def render(page):
    """Returns the text of a `blocks.Page`."""
    body = "\n".join(map(_block, page.blocks))
    return _PAGE.substitute(title=html.escape(page.title), style=_STYLE, body=body)


@functools.singledispatch
def _block(block):
    raise TypeError(f"`block` must be one of keras_norms.reports.blocks. Received: {block!r}.")


@_block.register
def _(block: blocks.Heading):
    return f"<h2>{html.escape(block.text)}</h2>"


@_block.register
def _(block: blocks.Paragraph):
    return f"<p>{_linked(block.text)}</p>"


@_block.register
def _(block: blocks.Bullets):
    return _list(map(_linked, block.items))


@_block.register
def _(block: blocks.Code):
    return f"<pre><code>{html.escape(block.text)}</code></pre>"


@_block.register
def _(block: blocks.Notes):
    return "\n".join(_noted(part) for part in re.split(r"\n\s*\n", block.text.strip()))


@_block.register
def _(block: blocks.Table):
    head = "".join(
        f'<th scope="col" role="columnheader"{_class(column)}>{html.escape(column.title)}</th>'
        for column in block.columns
    )
    body = "\n".join(_row(block.columns, row) for row in block.rows)
    return (
        f'<div class="table">\n<table role="table">\n<caption>{html.escape(block.caption)}</caption>\n'
        f'<thead role="rowgroup"><tr role="row">{head}</tr></thead>\n'
        f'<tbody role="rowgroup">\n{body}\n</tbody>\n</table>\n</div>'
    )


@_block.register
def _(block: blocks.Picture):
    small = ' class="small"' if block.small else ""
    drawn = "\n".join(pictures.svgs(block))
    legend = f'\n<div class="legend">{pictures.legend_svg(block)}</div>' if block.small else ""
    return (
        f'<figure{small}>\n<div class="panels">\n{drawn}\n</div>{legend}\n'
        f"<figcaption>{_linked(block.caption)}</figcaption>\n</figure>"
    )


def _row(columns, row):
    first, *others = row
    cells = [f'<th scope="row" role="rowheader">{_cell(first)}</th>']
    for column, cell in zip(columns[1:], others, strict=True):
        label = html.escape(column.title)
        cells.append(f'<td role="cell"{_class(column, cell)} data-label="{label}"><span>{_cell(cell)}</span></td>')
    return f'<tr role="row">{"".join(cells)}</tr>'


def _class(column, cell=""):
    classes = ["number"] * column.number + ["none"] * (cell == words.NONE)
    return f' class="{" ".join(classes)}"' if classes else ""


def _cell(cell):
    if isinstance(cell, blocks.Label):
        return f"{html.escape(cell.text)} <code>{html.escape(cell.code).replace('_', '_<wbr>')}</code>"
    return _linked(cell)


def _noted(part):
    """Returns a part of notes between empty lines: a heading, a list or a paragraph."""
    if part.startswith("#"):
        return f"<h3>{_marked(part.lstrip('#').strip())}</h3>"
    items = re.split(r"(?:^|\n)\s*[-*] ", part)
    if len(items) > 1 and not items[0]:
        return _list(map(_marked, items[1:]))
    return f"<p>{_marked(part)}</p>"


def _marked(text):
    """Returns a paragraph of notes, with what stands between backticks as code and between double stars bold."""
    return re.sub(r"\*\*([^*]+)\*\*", r"<strong>\1</strong>", re.sub(r"`([^`]+)`", r"<code>\1</code>", _linked(text)))


def _list(items):
    return "<ul>\n" + "\n".join(f"<li>{item}</li>" for item in items) + "\n</ul>"


def _linked(text):
    """Returns text as HTML, with its addresses as links."""
    return _LINK.sub(r'<a href="\g<0>">\g<0></a>', html.escape(text))
