"""A page as Markdown, as GitHub reads it. Pictures are PNG files beside it."""

import functools
import re

from keras_norms.reports import blocks

# An underscore inside a word is one; `$` begins a formula on GitHub.
_SPECIAL = re.compile(r"[\\`*\[\]|~$]|(?<!\w)_|_(?!\w)")
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


def render(page):
    """Returns the text of a `blocks.Page`."""
    return "\n\n".join([f"# {escaped(page.title)}", *map(_block, page.blocks)]) + "\n"


def escaped(text):
    """Returns text on one line that Markdown shows as it is."""
    text = re.sub(r"[&<>]", lambda found: _ENTITIES[found[0]], " ".join(text.split()))
    return _SPECIAL.sub(r"\\\g<0>", text)


@functools.singledispatch
def _block(block):
    raise TypeError(f"`block` must be one of keras_norms.reports.blocks. Received: {block!r}.")


@_block.register
def _(block: blocks.Heading):
    return f"## {escaped(block.text)}"


@_block.register
def _(block: blocks.Paragraph):
    return escaped(block.text)


@_block.register
def _(block: blocks.Bullets):
    return "\n".join(f"- {escaped(item)}" for item in block.items)


@_block.register
def _(block: blocks.Code):
    return "\n".join(f"    {line}" for line in block.text.splitlines())


@_block.register
def _(block: blocks.Notes):
    return block.text.strip()


@_block.register
def _(block: blocks.Table):
    lines = [
        [escaped(column.title) for column in block.columns],
        ["--:" if column.number else "---" for column in block.columns],
        *(map(_cell, row) for row in block.rows),
    ]
    return "\n".join([escaped(block.caption), "", *(f"| {' | '.join(line)} |" for line in lines)])


@_block.register
def _(block: blocks.Picture):
    caption = escaped(block.caption)
    return f"![{caption}]({block.name}.png)\n\n{caption}"


def _cell(cell):
    return f"{escaped(cell.text)} `{cell.code}`" if isinstance(cell, blocks.Label) else escaped(cell)
