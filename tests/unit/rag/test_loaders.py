"""What the loaders make of files, and of what only claims to be one."""

from __future__ import annotations

import pytest
from hypothesis import given, settings, strategies as st

from llm_deploy.rag.loaders import UnreadableError, load

MARKDOWN = b"""---
title: Costs
tags: [aws, money]
lang: en
---
Intro.

# Costs

## Storage
Ten dollars.

```sh
# no heading
```

Next way
--------
Setext.
"""

HTML = b"""<!doctype html><html lang="de"><head><title> Die  Seite </title><meta name=keywords content="a, b"></head>
<body><nav>menu</nav><script>var x</script><p>Vorwort.</p><h1>Eins</h1><p>Text <b>fett</b>.</p><ul><li>A<li>B</ul>
<h2>Zwei</h2><table><tr><td>1<td>2</tr></table><pre>a
  b</pre></body></html>"""

PYTHON = b'''"""Module."""
import os

# About it.
@decorated
def first(x):
    return x


class Second:
    def inner(self):
        pass
'''

GO = b"""package main

// Answer answers.
func Answer(x int) int {
\treturn x
}

type Thing struct {
}
"""


def pdf(*pages: str) -> bytes:
    """A small PDF with these texts, one a page."""
    objects = [b"<</Type/Catalog/Pages 2 0 R>>"]
    kids = " ".join(f"{3 + 2 * n} 0 R" for n in range(len(pages)))
    objects.append(f"<</Type/Pages/Kids[{kids}]/Count {len(pages)}>>".encode())
    font = "<</Font<</F1<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>>>>>"
    for number, text in enumerate(pages):
        content = f"BT /F1 12 Tf 72 720 Td ({text}) Tj ET".encode()
        contents = 4 + 2 * number
        objects.append(
            f"<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Resources{font}/Contents {contents} 0 R>>".encode()
        )
        objects.append(b"<</Length %d>>stream\n%s\nendstream" % (len(content), content))
    body, places = b"%PDF-1.4\n", []
    for number, each in enumerate(objects, 1):
        places.append(len(body))
        body += b"%d 0 obj%s endobj\n" % (number, each)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    head = b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    return (
        body
        + head
        + table
        + b"trailer<</Size %d/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF"
        % (
            len(objects) + 1,
            len(body),
        )
    )


@pytest.mark.row("T7")
def test_markdown_has_sections_and_front_matter() -> None:
    """Headings of both kinds make sections; a comment in a fence does not; front matter gives title and tags."""
    found = load("a/b.md", MARKDOWN)
    assert (found.title, found.tags, found.language, found.kind) == ("Costs", ("aws", "money"), "en", "markdown")
    assert [(each.section, each.text) for each in found.blocks] == [
        ("", "Intro."),
        ("Storage", "Ten dollars.\n\n```sh\n# no heading\n```"),
        ("Next way", "Setext."),
    ]


@pytest.mark.parametrize("text", ["---\n: [\n---\nbody", "---\njust text\n---\nbody", "--- no front matter\n"])
def test_what_only_looks_like_front_matter_is_text(text: str) -> None:
    """A horizontal rule, or YAML that is none, loses nothing."""
    assert load("a.md", text.encode()).blocks[-1].text.endswith(text.rsplit("\n", maxsplit=1)[-1] or "matter")


def test_html_gives_what_a_reader_sees() -> None:
    """Menus and scripts are left out; headings make sections; cells and list items stay apart."""
    found = load("a.html", HTML)
    assert (found.title, found.language, found.tags) == ("Die Seite", "de", ("a", "b"))
    assert [each.section for each in found.blocks] == ["", "Eins", "Eins > Zwei"]
    assert [each.text.split() for each in found.blocks] == [
        ["Vorwort."],
        ["Text", "fett.", "A", "B"],
        ["|", "1", "|", "2", "a", "b"],
    ]


def test_html_of_any_depth_is_read() -> None:
    """Nesting without end is no stack without end."""
    assert load("a.html", b"<div>" * 20_000 + b"deep").blocks[0].text == "deep"


@pytest.mark.row("T7")
def test_pdf_has_pages() -> None:
    """Each page with text is a block with its number."""
    found = load("a.pdf", pdf("First page.", "", "Third page."))
    assert [(each.page, each.text) for each in found.blocks] == [(1, "First page."), (3, "Third page.")]


def test_a_pdf_that_is_none_is_unreadable() -> None:
    """Damaged, cut or something else: a note, not a traceback."""
    for data in (b"", b"%PDF-1.4 nonsense", pdf("Text")[:150], b"\x89PNG"):
        with pytest.raises(UnreadableError):
            load("a.pdf", data)


def test_python_is_cut_at_its_definitions() -> None:
    """A function with its decorator and the comment above it; a short class in one piece."""
    found = load("a.py", PYTHON)
    assert [each.section for each in found.blocks] == ["", "first", "Second"]
    assert found.blocks[1].text.startswith("# About it.\n@decorated\ndef first")
    assert found.language == "python"


def test_python_with_errors_is_cut_by_its_lines() -> None:
    """Code that does not parse is code all the same."""
    assert [each.section for each in load("a.py", b"x = (\ndef broken(:\n  1\n").blocks] == ["", "broken"]


def test_other_languages_are_cut_at_declarations() -> None:
    """By the shape of a line; comments above belong to it."""
    found = load("a.go", GO)
    assert [each.section for each in found.blocks] == ["main", "Answer", "Thing"]
    assert found.blocks[1].text.startswith("// Answer answers.")


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ("naïve".encode(), "naïve"),
        ("naïve".encode("utf-8-sig"), "naïve"),
        ("naïve".encode("utf-16"), "naïve"),
        ("naïve".encode("cp1252"), "naïve"),
        (b"a\r\nb\rc", "a\nb\nc"),
        ("nai\u0308ve".encode(), "naïve"),
    ],
)
def test_texts_of_any_encoding_are_read(data: bytes, expected: str) -> None:
    """Byte-order marks, UTF-8, Windows; one form of accents and of line ends."""
    assert load("a.txt", data).blocks[0].text == expected


def test_html_says_its_encoding() -> None:
    """What a page says of itself goes before a guess."""
    data = '<meta charset="koi8-r"><p>Привет</p>'.encode("koi8-r")
    assert load("a.html", data).blocks[0].text == "Привет"


@pytest.mark.parametrize("data", [b"\x7fELF\0\0", b"GIF89a\x01\0", bytes(range(32)) * 10])
def test_binary_files_are_unreadable(data: bytes) -> None:
    """Whatever their name says."""
    with pytest.raises(UnreadableError, match="binary"):
        load("a.txt", data)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=400), st.sampled_from(["a.md", "a.html", "a.pdf", "a.py", "a.c", "a.yaml", "a.txt", "a"]))
def test_any_bytes_are_a_document_or_unreadable(data: bytes, name: str) -> None:
    """No loader lets another error out."""
    try:
        found = load(name, data)
    except UnreadableError:
        return
    assert all(each.text.strip() for each in found.blocks)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_a_damaged_pdf_is_a_document_or_unreadable(data: st.DataObject) -> None:
    """Any byte of a sound one changed, or its end cut off."""
    whole = bytearray(pdf("Some text.", "More text."))
    for _ in range(data.draw(st.integers(1, 5))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    try:
        load("a.pdf", bytes(whole[: data.draw(st.integers(0, len(whole)))]))
    except UnreadableError:
        return


POISON = {
    "long number": ("a.md", b"---\ntitle: 0x" + b"f" * 20_000 + b"\n---\ntext"),
    "no number": ("a.md", b'---\ntitle: !!int ""\n---\ntext'),
    "no truth": ("a.md", b"---\ntitle: !!bool maybe\n---\ntext"),
    "no date": ("a.md", b"---\ntitle: !!timestamp soon\n---\ntext"),
    "half a character": ("a.md", b'---\ntitle: "\\ud800"\n---\ntext'),
    "codec that refuses": ("a.html", b"<meta charset=undefined><body>text \xff"),
    "hidden root": ("a.html", b"<html hidden><body hidden>text"),
}


@pytest.mark.row("T7")
@pytest.mark.parametrize("name", POISON)
def test_no_file_ends_a_run(name: str) -> None:
    """Whatever a parser makes of it, a file is a document or unreadable, and its text can be sent on as UTF-8."""
    try:
        found = load(*POISON[name])
    except UnreadableError:
        return
    for text in (found.title, *found.tags, *(each.text for each in found.blocks)):
        text.encode()


@pytest.mark.parametrize(
    "page", [b"<div>" * 50_000, b"<p>" + b"<font>" * 2000 + b"<p>x" * 20_000], ids=["deep", "opened again"]
)
def test_html_that_costs_more_than_it_holds_is_unreadable(page: bytes) -> None:
    """A page of half a megabyte must not take a minute, nor gigabytes."""
    with pytest.raises(UnreadableError, match="nested"):
        load("a.html", page)


def test_a_pdf_that_unpacks_to_anything_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages are read until their text is more than enough, and the document says that there were more."""
    monkeypatch.setattr("llm_deploy.rag.loaders.pdf.MOST_CHARACTERS", 15)
    found = load("a.pdf", pdf("Eleven char", "Eleven char", "Third page."))
    assert len(found.blocks) == 2
    assert "last 1 of 3 pages" in found.note


def test_very_long_python_is_not_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its tree would take hundreds of times its size; it is cut by the shape of its lines."""
    monkeypatch.setattr("llm_deploy.rag.loaders.code.ast.parse", pytest.fail)
    found = load("a.py", b"def one():\n    return 1\n" * 20_000)
    assert found.blocks[-1].section == "one"
