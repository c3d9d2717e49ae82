"""Pages that open from disk, without a network or script: what all have in common.

Pictures stand in the page as base64, styles inline; all text is escaped by whoever
calls, but for what is said to be text here.
"""

import base64
import html
import struct
from collections.abc import Iterable

from alpt_jax.report.grid import Grid

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #222; background: #fff;
  max-width: 1120px; margin: 2.5rem auto; padding: 0 1.2rem; }
h1 { font-size: 1.7rem; margin-bottom: .2rem; } h2 { margin-top: 2.6rem; }
h3 { font-size: 1rem; margin: 1.6rem 0 .4rem; } .cards h3 { margin-top: .4rem; }
.lead { font-size: 1.12rem; border-left: 4px solid #0072B2; padding-left: 1rem; }
.quiet { color: #666; font-size: .9rem; }
.warning { color: #a33c00; }
.wide { overflow-x: auto; }
img { max-width: 100%; height: auto; }
ul.lead { padding-left: 2.2rem; } .lead li { margin: .25rem 0; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums;
  font-size: .92rem; }
th, td { padding: .28rem .65rem; text-align: right; white-space: nowrap;
  vertical-align: top; }
th { border-bottom: 2px solid #444; white-space: normal; vertical-align: bottom; }
.word { text-align: left; }
.words th, .words td, .claims th, .claims td { text-align: left; }
.claims td { white-space: normal; border-top: 1px solid #ddd; }
.claims { table-layout: fixed; width: 100%; }
.claims th:nth-child(1) { width: 30%; } .claims th:nth-child(2) { width: 19%; }
.claims th:nth-child(3) { width: 27%; }
.yes b { color: #00704f; } .no b { color: #a33c00; } .untested b { color: #777; }
tr.section td, .words td { border-top: 1px solid #ddd; }
tr.reference { color: #777; font-style: italic; }
.cards { display: flex; flex-wrap: wrap; gap: 1.6rem; }
figure { margin: 0; width: 320px; } figcaption { font-size: .9rem; color: #444; }
.pixels img { width: 100%; image-rendering: pixelated; border: 1px solid #ddd; }
.cards td, .cards th { padding: .1rem .6rem .1rem 0; white-space: normal;
  vertical-align: top;
  border: 0; text-align: left; font-weight: normal; }
.strips figure { width: auto; margin: 1.2rem 0; }
details table { margin-bottom: 1.2rem; }
summary { cursor: pointer; font-weight: bold; }
"""


def document(title: str, body: Iterable[str]) -> str:
  """A whole page: `title` is text, `body` HTML, empty parts of it are left out."""
  return (
    '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
    '<meta name="viewport" content="width=device-width">\n'
    f'<title>{html.escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n'
    + '\n'.join(filter(None, body))
    + '\n</body>\n</html>\n'
  )


def section(title: str, *parts: str) -> str:
  """A section, or nothing when it has no content: `title` is text, `parts` HTML."""
  content = '\n'.join(filter(None, parts))
  return f'<h2>{html.escape(title)}</h2>\n{content}' if content else ''


def table(found: Grid | None) -> str:
  """A table as HTML, nothing where there is none."""
  return found.to_html() if found else ''


def paragraph(text: str, kind: str = '') -> str:
  """Text as a paragraph of a CSS class."""
  attribute = f' class="{kind}"' if kind else ''
  return f'<p{attribute}>{html.escape(text)}</p>'


def image(png: bytes, alt: str) -> str:
  """A drawing, at half its size: it is drawn at twice what the page shows."""
  return f'<p>{embedded(png, "png", alt, _width(png) // 2)}</p>'


def embedded(content: bytes, kind: str, alt: str, width: int = 0) -> str:
  """A picture file as part of the page: 'png' or 'gif', `width` 0: as it is."""
  size = f' width="{width}"' if width else ''
  data = base64.b64encode(content).decode()
  return f'<img{size} alt="{html.escape(alt)}" src="data:image/{kind};base64,{data}">'


def _width(png: bytes) -> int:
  return struct.unpack('>I', png[16:20])[0]
